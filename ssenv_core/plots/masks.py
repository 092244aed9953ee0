"""When decoding decided each token: one map, or the mask at several stages."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ssenv_core.metrics.diversity import evenly
from ssenv_core.plots.style import COLOURS, styled
from ssenv_core.soundstorm.decoding import Iteration

STATES = {
    "masked": "#E6E6E6",
    "decided before": "#9DB8DC",
    "decided now": COLOURS["generated"],
    "given": "#F3E3BD",
}


STAGES = 6  # iterations that stand for all of them in a static picture


def stages(trace: Sequence[Iteration]) -> list[int]:
    """The positions in a trace of up to STAGES iterations, the first and the last among them."""
    return evenly(len(trace), min(STAGES, len(trace))).tolist()


def mask_trace(trace: Sequence[Iteration], frame_rate: float, item: int = 0) -> go.Figure:
    """The iteration that decided each token of one item: quantizer level against time (s).

    Given tokens stay blank.

    Args:
        trace: as `decode(..., record=True)` returns it, one entry per iteration.
    """
    fig = go.Figure(
        go.Heatmap(
            z=_decided_at(trace, item),
            **_grid(frame_rate),
            colorscale="Viridis",
            zsmooth=False,
            colorbar={"title": "iteration", "thickness": 14},
            hovertemplate="level %{y}, %{x:.2f} s: iteration %{z}<extra></extra>",
        )
    )
    fig.update_xaxes(title="time (s)")
    fig.update_yaxes(title="quantizer level", autorange="reversed", dtick=1)
    return styled(fig, height=340, grid=False)


def mask_stages(
    trace: Sequence[Iteration], frame_rate: float, stages: Sequence[int], item: int = 0
) -> go.Figure:
    """The tokens of one item after some iterations, one panel each.

    A token is masked, decided before, decided by that iteration, or given.

    Args:
        trace, item: see `mask_trace`.
        stages: positions in the trace.
    """
    decided = _decided_at(trace, item)
    spacing = 0.2 / len(stages)
    fig = make_subplots(
        len(stages),
        1,
        shared_xaxes=True,
        vertical_spacing=spacing,
        subplot_titles=[stage_name(trace, at) for at in stages],
    )
    colours = [
        [(i + side) / len(STATES), colour]
        for i, colour in enumerate(STATES.values())
        for side in (0, 1)
    ]
    bar = {"tickvals": list(range(len(STATES))), "ticktext": list(STATES), "thickness": 14}
    for row, at in enumerate(stages, 1):
        state = np.select(
            [decided > at + 1, decided == at + 1, np.isnan(decided)], [0, 2, 3], 1
        ).astype(np.int8)
        names = np.array(list(STATES))[state]
        hover = "level %{y}, %{x:.2f} s: %{text}<extra></extra>"
        fig.add_heatmap(
            z=state,
            text=names,
            **_grid(frame_rate),
            coloraxis="coloraxis",
            zsmooth=False,
            hovertemplate=hover,
            row=row,
            col=1,
        )
    fig.update_xaxes(title="time (s)", row=len(stages))
    fig.update_yaxes(autorange="reversed", tickvals=[1, len(decided)])
    fig.update_yaxes(title="level", row=(len(stages) + 1) // 2)
    fig.update_layout(
        coloraxis={"colorscale": colours, "cmin": -0.5, "cmax": len(STATES) - 0.5, "colorbar": bar}
    )
    return styled(fig, height=110 + 110 * len(stages), grid=False)


def stage_name(trace: Sequence[Iteration], at: int) -> str:
    """The name of an iteration of a decoding: "iteration 3: level 1, 3 of 12"."""
    level = trace[at].level
    total = sum(iteration.level == level for iteration in trace)
    return f"iteration {at + 1}: level {level + 1}, {trace[at].iteration} of {total}"


def _decided_at(trace: Sequence[Iteration], item: int) -> np.ndarray:
    """(Q, T) float32: the iteration, from 1, that decided each token; NaN for given ones."""
    if not trace:
        raise ValueError("the trace is empty: decode with record=True")
    decided = np.full(trace[0].codes.shape[1:], np.nan, np.float32)
    for count, iteration in enumerate(trace, 1):
        row = decided[iteration.level]
        row[(iteration.free & ~iteration.masked)[item].cpu().numpy() & np.isnan(row)] = count
    return decided


def _grid(frame_rate: float) -> dict[str, float]:
    return {"x0": 0.5 / frame_rate, "dx": 1 / frame_rate, "y0": 1, "dy": 1}
