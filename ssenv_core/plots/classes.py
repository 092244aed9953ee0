"""Figures by class: confusions, accuracy, calibration, and clips on a map."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import qualitative

from ssenv_core.plots.style import MARK, OTHERS, heatmap, styled

SYMBOLS = ("circle-open", "square-open", "diamond-open")
# One per ten classes: in ESC-50 these are its five categories.
SHAPES = ("circle", "square", "diamond", "triangle-up", "star")
# The strongest and weakest classes on ESC-50 according to the paper. Its "clock" may be either of
# two classes there; here it stands for clock_tick.
PAPER_CLASSES = {
    "clock_tick": 0.92,
    "dog": 0.87,
    "keyboard_typing": 0.85,
    "engine": 0.71,
    "chainsaw": 0.68,
    "helicopter": 0.64,
}


def confusion_matrix(matrix: np.ndarray, class_names: Sequence[str]) -> go.Figure:
    """Draw a confusion matrix as percentages of each true class.

    Args:
        matrix: (C, C) counts, true classes in rows, predicted ones in columns.
        class_names: C names.
    """
    matrix = np.asarray(matrix)
    share = np.round(100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))
    names = _spelled(class_names)
    few = len(names) <= 12
    heat = heatmap(
        share.astype(np.uint8),
        "% of the<br>true class",
        x=names,
        y=names,
        zmin=0,
        zmax=100,
        colorscale="Blues",
        texttemplate="%{z}" if few else None,
        hovertemplate="%{y}, taken for %{x}: %{z} %<extra></extra>",
    )
    fig = styled(go.Figure(heat), height=180 + (40 if few else 16) * len(names), grid=False)
    size = 15 if few else 10
    fig.update_xaxes(title="predicted class", tickangle=-60, dtick=1, tickfont_size=size)
    return fig.update_yaxes(title="true class", autorange="reversed", dtick=1, tickfont_size=size)


def class_accuracy(
    accuracy: Mapping[str, pd.Series], published: Mapping[str, float] | None = None
) -> go.Figure:
    """Draw the accuracy by class of several classifiers, sorted by the first one's.

    Args:
        accuracy: by classifier, shares in [0, 1] indexed by class.
        published: the paper's accuracy of some classes.
    """
    order = next(iter(accuracy.values())).sort_values(ascending=False, kind="stable").index
    names = _spelled(order)
    fig = go.Figure()
    for (label, shares), colour, symbol in zip(accuracy.items(), OTHERS, SYMBOLS, strict=False):
        marker = {"color": colour, "size": 9, "symbol": symbol}
        fig.add_scatter(x=names, y=shares[order], name=label, mode="markers", marker=marker)
    if published:
        shown = {name: share for name, share in published.items() if name in order}
        line = {"width": 2, "color": "black"}
        marker = {"color": "black", "size": 11, "symbol": "x-thin", "line": line}
        points = {"x": _spelled(shown), "y": list(shown.values())}
        fig.add_scatter(**points, name="the paper", mode="markers", marker=marker)
    styled(fig, height=480)
    fig.update_xaxes(tickangle=-60, dtick=1, tickfont_size=15 if len(names) <= 12 else 10)
    return _accuracy_axis(fig, range=[-0.03, 1.03])


def reliability(labels: np.ndarray, probabilities: Mapping[str, np.ndarray]) -> go.Figure:
    """Draw how often predictions are correct against the probability they are made with.

    On the diagonal, probability and accuracy agree. Each point is the mean of a tenth of the clips,
    sorted by probability.

    Args:
        labels: (N,) int.
        probabilities: (N, C) by classifier.
    """
    fig = go.Figure()
    fig.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, **MARK)
    for colour, (label, shares) in zip(OTHERS, probabilities.items(), strict=False):
        clips = pd.DataFrame({"x": shares.max(1), "y": shares.argmax(1) == labels})
        rank = clips["x"].rank(method="first")
        means = clips.groupby(pd.qcut(rank, min(10, len(clips)), labels=False)).mean()
        line = {"color": colour, "width": 1.5}
        fig.add_scatter(x=means["x"], y=means["y"], name=label, mode="lines+markers", line=line)
    fig.update_xaxes(
        title="probability of the predicted class", tickformat=".0%", range=[-0.02, 1.02]
    )
    return styled(_accuracy_axis(fig, range=[-0.02, 1.02]), height=440)


def accuracy_by_clips(curves: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Draw accuracy against the number of labelled clips per class.

    Points are means over draws, bars their standard deviation if there are several.

    Args:
        curves: by features; columns `clips` and `accuracy`, one row per draw.
    """
    fig = go.Figure()
    for colour, (label, curve) in zip(OTHERS, curves.items(), strict=False):
        groups = curve.groupby("clips")["accuracy"]
        means = groups.mean()
        error = {"array": groups.std(), "thickness": 1}
        line = {"color": colour, "width": 1.5}
        points = {"x": means.index, "y": means, "error_y": error}
        fig.add_scatter(**points, name=label, mode="lines+markers", line=line)
    fig.update_xaxes(title="labelled clips per class", type="log", tickvals=[1, 2, 4, 8, 16, 32])
    return styled(_accuracy_axis(fig, rangemode="tozero"), height=420)


def clip_map(
    points: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    class_names: Sequence[str],
) -> go.Figure:
    """Draw clips on a map: filled if classified correctly, open if not.

    There is one trace per class with a clip. `customdata`, shown on hover, holds for each point the
    clip's name, the predicted class and its probability.

    Args:
        points: (N, 2) float.
        labels: (N,) int, indices into `class_names`.
        probabilities: (N, C) float.
        names: N clip names.
    """
    predictions = probabilities.argmax(1)
    spelled = _spelled(class_names)
    details = [
        [name, spelled[predicted], f"{row.max():.0%}"]
        for name, predicted, row in zip(names, predictions, probabilities, strict=True)
    ]
    fig = go.Figure()
    for label in np.unique(labels):
        index = np.flatnonzero(labels == label)
        shape = SHAPES[label // 10 % len(SHAPES)]
        symbols = [shape if predictions[i] == label else f"{shape}-open" for i in index]
        x, y = np.round(points[index], 2).T
        fig.add_scatter(
            x=x,
            y=y,
            name=spelled[label],
            mode="markers",
            customdata=[details[i] for i in index],
            marker={"color": qualitative.T10[label % 10], "size": 9, "symbol": symbols},
            marker_line_width=1.5,
            hovertemplate=(
                f"<b>{spelled[label]}</b><br>%{{customdata[0]}}<br>"
                "predicted: %{customdata[1]} (%{customdata[2]})<extra></extra>"
            ),
        )
    many = len(fig.data) > 12
    styled(fig, height=820 if many else 640, grid=False)
    fig.update_layout(
        legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top"},
        legend_font_size=9 if many else 13,
        legend_tracegroupgap=0 if many else None,
    )
    empty = {"title": None, "showticklabels": False, "ticks": "", "zeroline": False, "mirror": True}
    return fig.update_xaxes(**empty).update_yaxes(**empty, scaleanchor="x", scaleratio=1)


def _spelled(class_names: Iterable[str]) -> list[str]:
    return [name.replace("_", " ") for name in class_names]


def _accuracy_axis(fig: go.Figure, **limits: object) -> go.Figure:
    return fig.update_yaxes(title="classified correctly", tickformat=".0%", **limits)
