"""Masks of tokens: one training example, and when decoding decided each token."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ssenv_core.metrics.diversity import evenly
from ssenv_core.plots.style import COLOURS, heatmap, styled
from ssenv_core.soundstorm.decoding import Iteration

TRAINING_STATES = {"visible": "#9DB8DC", "to predict": COLOURS["generated"], "hidden": "#E6E6E6"}
STATES = {
    "masked": "#E6E6E6",
    "decided before": "#9DB8DC",
    "decided now": COLOURS["generated"],
    "given": "#F3E3BD",
}
STAGES = 6  # iterations that stand for all of them in a static picture


def training_mask(n_q: int, level: int, mask: np.ndarray, frame_rate: float) -> go.Figure:
    """Quantizer level against time (s): visible, to predict, or hidden and not a target.

    Args:
        n_q: number of levels.
        level: the level that was drawn, from 0.
        mask: (T,) bool, the frames of that level that the model predicts.
        frame_rate: frames per second.
    """
    state = np.full((n_q, len(mask)), 2, np.int8)
    state[:level] = 0
    state[level] = mask
    fig = go.Figure(go.Heatmap(z=state, **_grid(frame_rate), coloraxis="coloraxis"))
    fig.update_traces(hovertemplate="level %{y}, %{x:.2f} s<extra></extra>")
    return _level_axes(_colour_states(fig, TRAINING_STATES), height=300)


def stages(trace: Sequence[Iteration]) -> list[int]:
    """The positions in a trace of up to STAGES iterations, the first and the last among them."""
    return evenly(len(trace), min(STAGES, len(trace))).tolist()


def mask_trace(trace: Sequence[Iteration], frame_rate: float) -> go.Figure:
    """The iteration that decided each token of the first item: quantizer level against time (s).

    Given tokens stay blank.

    Args:
        trace: as `decode(..., record=True)` returns it, one entry per iteration.
    """
    hover = "level %{y}, %{x:.2f} s: iteration %{z}<extra></extra>"
    look = {"colorscale": "Viridis", "hovertemplate": hover}
    heat = heatmap(_decided_at(trace), "iteration", **_grid(frame_rate), **look)
    return _level_axes(go.Figure(heat), height=340)


def mask_stages(
    trace: Sequence[Iteration], frame_rate: float, stages: Sequence[int], item: int = 0
) -> go.Figure:
    """The tokens of one item after some iterations, one panel each.

    A token is masked, decided before, decided by that iteration, or given.

    Args:
        trace: see `mask_trace`.
        stages: positions in the trace.
    """
    decided = _decided_at(trace, item)
    rows = len(stages)
    titles = [stage_name(trace, at) for at in stages]
    spacing = {"shared_xaxes": True, "vertical_spacing": 0.2 / rows}
    fig = make_subplots(rows, 1, subplot_titles=titles, **spacing)
    for row, at in enumerate(stages, 1):
        conditions = [decided > at + 1, decided == at + 1, np.isnan(decided)]
        state = np.select(conditions, [0, 2, 3], 1).astype(np.int8)
        fig.add_heatmap(
            z=state,
            text=np.array(list(STATES))[state],
            **_grid(frame_rate),
            coloraxis="coloraxis",
            zsmooth=False,
            hovertemplate="level %{y}, %{x:.2f} s: %{text}<extra></extra>",
            row=row,
            col=1,
        )
    fig.update_xaxes(title="time (s)", row=rows)
    fig.update_yaxes(autorange="reversed", tickvals=[1, len(decided)])
    fig.update_yaxes(title="level", row=(rows + 1) // 2)
    return styled(_colour_states(fig, STATES), height=110 + 110 * rows, grid=False)


def stage_name(trace: Sequence[Iteration], at: int) -> str:
    """The name of an iteration of a decoding: "iteration 3: level 1, 3 of 12"."""
    level = trace[at].level
    total = sum(iteration.level == level for iteration in trace)
    return f"iteration {at + 1}: level {level + 1}, {trace[at].iteration} of {total}"


def _decided_at(trace: Sequence[Iteration], item: int = 0) -> np.ndarray:
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


def _colour_states(fig: go.Figure, states: Mapping[str, str]) -> go.Figure:
    """Give each state, a number from 0, one plain colour."""
    count = len(states)
    edges = np.repeat(np.arange(count + 1) / count, 2)[1:-1]
    return fig.update_layout(
        coloraxis={
            "colorscale": list(zip(edges, np.repeat(list(states.values()), 2), strict=True)),
            "cmin": -0.5,
            "cmax": count - 0.5,
            "colorbar": {"tickvals": list(range(count)), "ticktext": list(states), "thickness": 14},
        }
    )


def _level_axes(fig: go.Figure, height: int) -> go.Figure:
    fig.update_xaxes(title="time (s)")
    fig.update_yaxes(title="quantizer level", autorange="reversed", dtick=1)
    return styled(fig, height=height, grid=False)
