"""Curves of the three columns of sound over any axis, and maps of numbers by row and column. What they mean is said by whoever calls."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ssenv_core.plots.style import COLOURS, line_of, measure_label, styled


def curves(lines: Mapping[str, pd.Series], x: str, y: str, *, log_x: bool = False) -> go.Figure:
    """One line per series over its index; `real`, `codec` and `generated` in their colours. x, y: the axes' titles, with units."""
    fig = go.Figure()
    for position, (name, series) in enumerate(lines.items()):
        mode = "lines" if len(series) > 12 else "lines+markers"
        fig.add_scatter(x=series.index, y=series, name=name, mode=mode, line=line_of(name, position))
    fig.update_xaxes(title=x)
    if log_x:
        fig.update_xaxes(type="log", tickvals=[step * 10.0**power for power in range(-3, 6) for step in (1, 2, 5)])
    fig.update_yaxes(title=y)
    return styled(fig, height=400)


def number_map(table: pd.DataFrame, unit: str, reach: float = 5.0) -> go.Figure:
    """A table as colours, its numbers written in: blue towards failure, grey away from it, the strongest at `reach`; NaN stays blank."""
    few = len(table) <= 12
    names, rows = ([measure_label(str(name)) for name in axis] for axis in (table.columns, table.index))
    shown = np.where(np.isfinite(table), (np.round(table, 1) + 0.0).astype(str), "")  # + 0.0: there is no -0.0
    fig = go.Figure(
        go.Heatmap(
            z=table, x=names, y=rows, zmin=-reach, zmax=reach, zsmooth=False, text=shown, texttemplate="%{text}",
            colorscale=[(0, "#8A8A8A"), (0.5, "#FFFFFF"), (1, COLOURS["generated"])], colorbar={"title": unit, "thickness": 14},
            hovertemplate="%{y}, %{x}: %{z:.2f}<extra></extra>",
        )
    )  # fmt: skip
    fig.update_xaxes(tickangle=-50, dtick=1)
    fig.update_yaxes(autorange="reversed", dtick=1)
    styled(fig, height=220 + (34 if few else 18) * len(rows), grid=False)
    fig.update_layout(margin_l=190)
    return fig.update_traces(textfont_size=12 if few else 9).update_yaxes(tickfont_size=13 if few else 10)
