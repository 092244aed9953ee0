"""Figures of the four failure modes: spectra, curves, and maps of numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ssenv_core.metrics.failure_modes import MODES, Diagnosis
from ssenv_core.plots.style import COLOURS, HERTZ, MARK, line_of, measure_label, styled


def long_term_spectrum(spectra: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    """Levels (dB) against frequency (Hz, logarithmic), one line for each label -> (frequencies (F,), levels (F,)); -inf leaves a gap."""
    fig = go.Figure()
    for i, (label, (frequency, level)) in enumerate(spectra.items()):
        level = np.where(np.isfinite(level), np.round(level, 2), np.nan)
        fig.add_scatter(
            x=np.asarray(frequency), y=level, mode="lines", line=line_of(label, i), name=label
        )
    fig.update_xaxes(
        title="frequency (Hz)", type="log", tickvals=[50, *HERTZ], ticktext=["50", *HERTZ.values()]
    )
    fig.update_yaxes(title="level (dB re the clip's energy)")
    return styled(fig, height=400)


def diagnosis_chart(diagnoses: Sequence[Diagnosis]) -> go.Figure:
    """Every measure's gap towards failure in units of its real-vs-real noise floor, by failure mode; what exceeds 1 is present (dark).

    A negative gap lies on the other side of real. A measure whose noise floor is 0 has no such unit: its row says so and has no bar.
    """
    groups = {mode: [d for d in diagnoses if d.mode == mode] for mode in MODES}
    groups = {mode: group for mode, group in groups.items() if group}
    titles, heights = [MODES[mode] for mode in groups], [len(group) for group in groups.values()]
    fig = make_subplots(
        len(groups),
        1,
        shared_xaxes=True,
        subplot_titles=titles,
        row_heights=heights,
        vertical_spacing=0.07,
    )
    for row, group in enumerate(groups.values(), 1):
        gaps = [d.gap / d.noise_floor if d.noise_floor > 0 else np.nan for d in group]
        text = [
            "real clips do not differ" if np.isnan(gap) else f"{round(gap, 1) + 0.0:.1f}"
            for gap in gaps
        ]
        gaps = np.nan_to_num(gaps)
        fig.add_bar(
            x=gaps, y=[measure_label(d.measure) for d in group], orientation="h", showlegend=False,
            text=text, textposition="outside", cliponaxis=False,
            marker_color=[COLOURS["generated"] if d.present else "#D5DCE6" for d in group],
            marker_line={"color": COLOURS["generated"], "width": 1},
            hovertext=[d.sentence for d in group], hoverinfo="text", row=row, col=1,
        )  # fmt: skip
        fig.add_vline(x=1, **MARK, row=row, col=1)
    fig.update_yaxes(autorange="reversed")
    fig.update_xaxes(
        title="gap towards failure / real-vs-real noise floor (present above 1)", row=len(groups)
    )
    return styled(fig, height=120 + 36 * len(diagnoses) + 40 * len(groups), grid=False)


def curves(lines: Mapping[str, pd.Series], x: str, y: str, *, log_x: bool = False) -> go.Figure:
    """One line per series over its index; `real`, `codec` and `generated` in their colours. x, y: the axes' titles, with units."""
    fig = go.Figure()
    for position, (name, series) in enumerate(lines.items()):
        mode = "lines" if len(series) > 12 else "lines+markers"
        fig.add_scatter(
            x=series.index, y=series, name=name, mode=mode, line=line_of(name, position)
        )
    fig.update_xaxes(title=x)
    if log_x:
        fig.update_xaxes(
            type="log",
            tickvals=[step * 10.0**power for power in range(-3, 6) for step in (1, 2, 5)],
        )
    fig.update_yaxes(title=y)
    return styled(fig, height=400)


def number_map(table: pd.DataFrame, unit: str, reach: float = 5.0) -> go.Figure:
    """A table as colours, its numbers written in: blue towards failure, grey away from it, the strongest at `reach`; NaN stays blank."""
    few = len(table) <= 12
    names, rows = (
        [measure_label(str(name)) for name in axis] for axis in (table.columns, table.index)
    )
    shown = np.where(
        np.isfinite(table), (np.round(table, 1) + 0.0).astype(str), ""
    )  # + 0.0: there is no -0.0
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
    return fig.update_traces(textfont_size=12 if few else 9).update_yaxes(
        tickfont_size=13 if few else 10
    )
