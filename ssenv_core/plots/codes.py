"""The figure of how codes use the codebooks."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ssenv_core.plots.style import MARK, OTHERS, styled


def codebook_usage(use: pd.DataFrame, codebook_size: int) -> go.Figure:
    """Per level, the share of codebook entries that occur (%) and the entropy of the codes (bit).

    use: of `ceiling.code_use`. The entropy of M codes is at most log2 M, whatever the codec.
    """
    levels = [str(level) for level in use.index]
    fig = make_subplots(1, 2, horizontal_spacing=0.12)
    panels = (
        (100 * (1 - use["dead"]), "entries used (%)", 100),
        (use["entropy"], "entropy (bit)", np.log2(codebook_size)),
    )
    for j, (values, title, top) in enumerate(panels, 1):
        fig.add_bar(
            x=levels,
            y=values,
            text=[f"{value:.3g}" for value in values],
            marker_color=OTHERS[0],
            showlegend=False,
            row=1,
            col=j,
        )
        fig.add_hline(y=top, **MARK, row=1, col=j)
        fig.update_yaxes(title=title, range=[0, 1.1 * top], row=1, col=j)
    fig.update_xaxes(title="quantizer level", type="category")
    return styled(fig, height=360)
