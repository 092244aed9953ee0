"""A map of clips: what lies beside what in a classifier's features, and what was named rightly."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.colors import qualitative

from ssenv_core.plots.style import styled

SHAPES = ("circle", "square", "diamond", "triangle-up", "star")  # one for each ten classes, which in ESC-50 are its five categories


def clip_map(
    points: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str], class_names: Sequence[str]
) -> go.Figure:
    """Clips on a map, filled where they were named rightly, open where not; the pointer shows class, clip and what was named, how surely.

    One trace for each class that has a clip; `customdata` holds, for each point, the clip's name, the class named and its probability.

    Args:
        points: (N, 2) float.
        labels: (N,) int, indices into `class_names`.
        probabilities: (N, C) float, of the classes.
        names: N clip names.
    """
    predictions = probabilities.argmax(1)
    fig = go.Figure()
    for label in np.unique(labels):
        index = np.flatnonzero(labels == label)
        shape, title = SHAPES[label // 10 % len(SHAPES)], class_names[label].replace("_", " ")
        symbols = [shape if predictions[i] == label else f"{shape}-open" for i in index]
        told = [[names[i], class_names[predictions[i]].replace("_", " "), f"{probabilities[i].max():.0%}"] for i in index]
        fig.add_scatter(
            x=np.round(points[index, 0], 2), y=np.round(points[index, 1], 2), name=title, mode="markers", customdata=told,
            marker={"color": qualitative.T10[label % 10], "size": 9, "symbol": symbols, "line": {"width": 1.5}},
            hovertemplate=f"<b>{title}</b><br>%{{customdata[0]}}<br>named %{{customdata[1]}} (%{{customdata[2]}})<extra></extra>",
        )  # fmt: skip
    styled(fig, height=640, grid=False)
    many = len(fig.data) > 12
    fig.update_layout(legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "font": {"size": 9 if many else 13}})
    if many:
        fig.update_layout(height=820, legend_tracegroupgap=0)
    empty = {"title": None, "showticklabels": False, "ticks": "", "zeroline": False, "mirror": True}
    return fig.update_xaxes(**empty).update_yaxes(**empty, scaleanchor="x", scaleratio=1)
