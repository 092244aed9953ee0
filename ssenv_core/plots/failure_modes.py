"""Figures of the four failure modes: the diagnosis, spectra, curves, and maps of numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ssenv_core.metrics.failure_measures import MODES
from ssenv_core.metrics.failure_modes import Diagnosis
from ssenv_core.plots.style import (
    COLOURS,
    HERTZ,
    MARK,
    OTHERS,
    heatmap,
    line_of,
    measure_label,
    styled,
)

VERDICT_COLOURS = {"absent": "#E3E8EF", "present": COLOURS["generated"], "reversed": OTHERS[2]}
VERDICT_NOTES = {"absent": "", "present": " present", "reversed": " other direction"}


def spectrum_chart(spectra: Mapping[str, pd.Series]) -> go.Figure:
    """Levels (dB) against frequency (Hz, logarithmic), one line per side.

    Args:
        spectra: levels indexed by frequency; -inf leaves a gap.
    """
    finite = {name: levels.where(np.isfinite(levels)).round(2) for name, levels in spectra.items()}
    fig = curves(finite, "frequency (Hz)", "level (dB re the clip's energy)", log_x=True)
    return fig.update_xaxes(tickvals=[50, *HERTZ], ticktext=["50", *HERTZ.values()])


def diagnosis_chart(diagnoses: Sequence[Diagnosis]) -> go.Figure:
    """Every measure's gap towards failure in noise floors, by failure mode.

    Dark blue above 1: the failure is present. Grey below -1: generated clips differ in the other
    direction. A measure whose noise floor is 0 has no bar, and its row says so.
    """
    groups = {mode: [d for d in diagnoses if d.mode == mode] for mode in MODES}
    groups = {mode: group for mode, group in groups.items() if group}
    titles = [MODES[mode] for mode in groups]
    layout = {"row_heights": [*map(len, groups.values())], "vertical_spacing": 0.07}
    fig = make_subplots(len(groups), 1, shared_xaxes=True, subplot_titles=titles, **layout)
    for row, group in enumerate(groups.values(), 1):
        fig.add_bar(
            x=np.nan_to_num([d.ratio for d in group]),
            y=[measure_label(d.measure) for d in group],
            orientation="h",
            showlegend=False,
            text=[_bar_text(d) for d in group],
            textposition="outside",
            cliponaxis=False,
            marker_color=[VERDICT_COLOURS[d.verdict] for d in group],
            marker_line={"color": COLOURS["generated"], "width": 1},
            hovertext=[d.sentence for d in group],
            hoverinfo="text",
            row=row,
            col=1,
        )
        for floor in (-1, 1):
            fig.add_vline(x=floor, **MARK, row=row, col=1)
    fig.update_yaxes(autorange="reversed")
    ratios = np.nan_to_num([-1, 1, *(d.ratio for d in diagnoses)])
    space = 0.45 * np.ptp(ratios)  # for the texts beside the bars
    fig.update_xaxes(range=(ratios.min() - space, ratios.max() + space))
    title = "gap / noise floor (above 1: failure present; below −1: other direction)"
    fig.update_xaxes(title=title, row=len(groups))
    return styled(fig, height=120 + 36 * len(diagnoses) + 40 * len(groups), grid=False)


def curves(lines: Mapping[str, pd.Series], x: str, y: str, *, log_x: bool = False) -> go.Figure:
    """One line per series over its index; `real`, `codec` and `generated` in their colours.

    Args:
        x, y: the axes' titles, with units.
    """
    fig = go.Figure()
    for position, (name, series) in enumerate(lines.items()):
        mode = "lines" if len(series) > 12 else "lines+markers"
        line = line_of(name, position)
        fig.add_scatter(x=series.index, y=series, name=name, mode=mode, line=line)
    fig.update_xaxes(title=x)
    if log_x:
        ticks = [step * 10.0**power for power in range(-3, 6) for step in (1, 2, 5)]
        fig.update_xaxes(type="log", tickvals=ticks)
    fig.update_yaxes(title=y)
    return styled(fig, height=400)


def number_map(table: pd.DataFrame, unit: str, reach: float = 5.0) -> go.Figure:
    """A table as a heat map with its numbers: blue towards failure, grey away from it.

    Args:
        unit: title of the colour bar.
        reach: value of the strongest colour. NaN stays blank.
    """
    few = len(table) <= 12
    x, y = ([measure_label(str(name)) for name in axis] for axis in (table.columns, table.index))
    rounded = np.round(table, 1) + 0.0  # + 0.0 turns -0.0 into 0.0
    heat = heatmap(
        table,
        unit,
        x=x,
        y=y,
        zmin=-reach,
        zmax=reach,
        text=np.where(np.isfinite(table), rounded.astype(str), ""),
        texttemplate="%{text}",
        textfont_size=12 if few else 9,
        colorscale=[(0, OTHERS[2]), (0.5, "#FFFFFF"), (1, COLOURS["generated"])],
        hovertemplate="%{y}, %{x}: %{z:.2f}<extra></extra>",
    )
    fig = styled(go.Figure(heat), height=220 + (34 if few else 18) * len(y), grid=False)
    fig.update_xaxes(tickangle=-50, dtick=1)
    fig.update_yaxes(autorange="reversed", dtick=1, tickfont_size=13 if few else 10)
    return fig.update_layout(margin_l=190)


def _bar_text(diagnosis: Diagnosis) -> str:
    ratio = f"{round(diagnosis.ratio, 1) + 0.0:.1f}"
    if np.isnan(diagnosis.ratio):
        ratio = "real clips do not differ"
    return ratio + VERDICT_NOTES[diagnosis.verdict]
