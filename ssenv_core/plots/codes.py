"""How codes are used, level by level."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ssenv_core.plots.style import MARK, OTHERS, styled


def codebook_usage(use: pd.DataFrame, codebook_size: int) -> go.Figure:
    """How much of each level's codebook is used: the entries that occur at all (%), and the entropy of their use (bit).

    use: as `ceiling.code_use` makes it. The entropy of M tokens is at most log2 M, whatever the codec.
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
