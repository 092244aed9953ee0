"""A figure of ratings by condition, from computed medians and intervals."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ssenv_core.plots.style import COLOURS, OTHERS, styled

_KNOWN = {"reference": COLOURS["real"], "real": COLOURS["real"], "generated": COLOURS["generated"]}


def rating_intervals(summary: pd.DataFrame) -> go.Figure:
    """Draw median and 95 % interval of each condition, one panel per test and scale.

    summary: of `listening.analysis.Verdict`, indexed by (test, scale, condition), not empty.
    """
    panels = [
        (key, table.droplevel(["test", "scale"]))
        for key, table in summary.groupby(level=["test", "scale"], sort=False)
    ]
    titles = [scale if test == scale else f"{test}: {scale}" for (test, scale), _ in panels]
    heights = [len(table) for _, table in panels]
    layout = {"row_heights": heights, "vertical_spacing": 0.35 / (len(panels) + 1)}
    fig = make_subplots(len(panels), 1, subplot_titles=titles, shared_xaxes="all", **layout)
    hover = (
        "%{y}: %{x:.0f} (%{customdata[2]:.0f} to %{customdata[3]:.0f}), "
        "n = %{customdata[0]} × %{customdata[1]}<extra></extra>"
    )
    for row, (_, table) in enumerate(panels, 1):
        above = table["high"] - table["median"]
        below = table["median"] - table["low"]
        fig.add_scatter(
            x=table["median"],
            y=table.index,
            error_x={"type": "data", "symmetric": False, "array": above, "arrayminus": below},
            mode="markers",
            marker={"size": 10, "color": [_colour(name) for name in table.index]},
            customdata=table[["listeners", "pages", "low", "high"]],
            hovertemplate=hover,
            showlegend=False,
            row=row,
            col=1,
        )
    fig.update_yaxes(autorange="reversed", type="category")
    fig.update_xaxes(range=[-2, 102], dtick=20)
    fig.update_xaxes(title="score, median and 95 % interval", row=len(panels))
    styled(fig, height=140 + 34 * sum(heights) + 90 * len(panels))
    return fig.update_layout(margin_l=210)


def _colour(condition: str) -> str:
    """The study's colour for real, codec and generated; grey for anchors."""
    return _KNOWN.get(condition, OTHERS[2] if "anchor" in condition else COLOURS["codec"])
