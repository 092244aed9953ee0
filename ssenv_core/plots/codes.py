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
    for col, (values, title, top) in enumerate(panels, 1):
        at = {"row": 1, "col": col}
        text = [f"{value:.3g}" for value in values]
        bars = {"x": levels, "y": values, "text": text, "marker_color": OTHERS[0]}
        fig.add_bar(**bars, showlegend=False, **at)
        fig.add_hline(y=top, **MARK, **at)
        fig.update_yaxes(title=title, range=[0, 1.1 * top], **at)
    fig.update_xaxes(title="quantizer level", type="category")
    return styled(fig, height=360)
