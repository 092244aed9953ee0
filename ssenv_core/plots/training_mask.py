"""One training example as a picture: which tokens the model sees, which it predicts."""

import numpy as np
import plotly.graph_objects as go

from ssenv_core.plots.style import COLOURS, styled

STATES = {"visible": "#9DB8DC", "to predict": COLOURS["generated"], "hidden": "#E6E6E6"}


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
    colours = [
        [(i + side) / len(STATES), colour]
        for i, colour in enumerate(STATES.values())
        for side in (0, 1)
    ]
    fig = go.Figure(
        go.Heatmap(
            z=state,
            x0=0.5 / frame_rate,
            dx=1 / frame_rate,
            y=list(range(1, n_q + 1)),
            zmin=-0.5,
            zmax=len(STATES) - 0.5,
            colorscale=colours,
            colorbar={"tickvals": list(range(len(STATES))), "ticktext": list(STATES)},
            hovertemplate="level %{y}, %{x:.2f} s<extra></extra>",
        )
    )
    fig.update_xaxes(title="time (s)")
    fig.update_yaxes(title="quantizer level", autorange="reversed", dtick=1)
    return styled(fig, height=300, grid=False)
