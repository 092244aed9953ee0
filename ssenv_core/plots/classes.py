"""Figures by class: confusions, accuracy, calibration, and clips on a map."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import qualitative

from ssenv_core.plots.style import MARK, OTHERS, styled

SYMBOLS = ("circle-open", "square-open", "diamond-open")


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
    share = share.astype(np.uint8)
    names = [name.replace("_", " ") for name in class_names]
    few = len(names) <= 12
    fig = go.Figure(
        go.Heatmap(
            z=share,
            x=names,
            y=names,
            zmin=0,
            zmax=100,
            zsmooth=False,
            colorscale="Blues",
            texttemplate="%{z}" if few else None,
            colorbar={"title": "% of the<br>true class", "thickness": 14},
            hovertemplate="%{y}, taken for %{x}: %{z} %<extra></extra>",
        )
    )
    fig.update_xaxes(title="predicted class", tickangle=-60, dtick=1)
    fig.update_yaxes(title="true class", autorange="reversed", dtick=1)
    styled(fig, height=180 + (40 if few else 16) * len(names), grid=False)
    size = 15 if few else 10
    return fig.update_xaxes(tickfont_size=size).update_yaxes(tickfont_size=size)


def class_accuracy(
    accuracy: Mapping[str, pd.Series], published: Mapping[str, float] | None = None
) -> go.Figure:
    """Draw the accuracy by class of several classifiers, sorted by the first one's.

    Args:
        accuracy: by classifier, shares in [0, 1] indexed by class.
        published: the paper's accuracy of some classes.
    """
    order = next(iter(accuracy.values())).sort_values(ascending=False, kind="stable").index
    names = [name.replace("_", " ") for name in order]
    fig = go.Figure()
    for number, (label, shares) in enumerate(accuracy.items()):
        fig.add_scatter(
            x=names,
            y=shares[order],
            name=label,
            mode="markers",
            marker={"color": OTHERS[number], "size": 9, "symbol": SYMBOLS[number]},
        )
    if published:
        published = {name: share for name, share in published.items() if name in order}
        marker = {
            "color": "black",
            "size": 11,
            "symbol": "x-thin",
            "line": {"width": 2, "color": "black"},
        }
        x = [name.replace("_", " ") for name in published]
        fig.add_scatter(
            x=x, y=list(published.values()), name="the paper", mode="markers", marker=marker
        )
    fig.update_xaxes(tickangle=-60, dtick=1)
    fig.update_yaxes(title="classified correctly", tickformat=".0%", range=[-0.03, 1.03])
    styled(fig, height=480)
    return fig.update_xaxes(tickfont_size=15 if len(names) <= 12 else 10)


def reliability(
    labels: np.ndarray, probabilities: Mapping[str, np.ndarray], bins: int = 10
) -> go.Figure:
    """Draw how often predictions are correct against the probability they are made with.

    On the diagonal, probability and accuracy agree. Each point is the mean of one of `bins` groups
    of clips, sorted by probability.

    Args:
        labels: (N,) int.
        probabilities: (N, C) by classifier.
        bins: number of groups.
    """
    fig = go.Figure()
    fig.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, **MARK)
    for number, (label, shares) in enumerate(probabilities.items()):
        clips = pd.DataFrame({"probability": shares.max(1), "correct": shares.argmax(1) == labels})
        rank = clips["probability"].rank(method="first")
        groups = clips.groupby(pd.qcut(rank, min(bins, len(clips)), labels=False)).mean()
        fig.add_scatter(
            x=groups["probability"],
            y=groups["correct"],
            name=label,
            mode="lines+markers",
            line={"color": OTHERS[number], "width": 1.5},
        )
    fig.update_xaxes(
        title="probability of the predicted class", tickformat=".0%", range=[-0.02, 1.02]
    )
    fig.update_yaxes(title="classified correctly", tickformat=".0%", range=[-0.02, 1.02])
    return styled(fig, height=440)


def accuracy_by_clips(curves: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Draw accuracy against the number of labelled clips per class.

    Points are means over draws, bars their standard deviation if there are several.

    Args:
        curves: by features; columns `clips` and `accuracy`, one row per draw.
    """
    fig = go.Figure()
    for number, (label, curve) in enumerate(curves.items()):
        groups = curve.groupby("clips")["accuracy"]
        means, spread = groups.mean(), groups.std()
        line = {"color": OTHERS[number], "width": 1.5}
        fig.add_scatter(
            x=means.index,
            y=means,
            error_y={"array": spread, "thickness": 1},
            name=label,
            mode="lines+markers",
            line=line,
        )
    fig.update_xaxes(title="labelled clips per class", type="log", tickvals=[1, 2, 4, 8, 16, 32])
    fig.update_yaxes(title="classified correctly", tickformat=".0%", rangemode="tozero")
    return styled(fig, height=420)


# One per ten classes: in ESC-50 these are its five categories.
SHAPES = ("circle", "square", "diamond", "triangle-up", "star")


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
    fig = go.Figure()
    for label in np.unique(labels):
        index = np.flatnonzero(labels == label)
        shape, title = SHAPES[label // 10 % len(SHAPES)], class_names[label].replace("_", " ")
        symbols = [shape if predictions[i] == label else f"{shape}-open" for i in index]
        details = [
            [
                names[i],
                class_names[predictions[i]].replace("_", " "),
                f"{probabilities[i].max():.0%}",
            ]
            for i in index
        ]
        fig.add_scatter(
            x=np.round(points[index, 0], 2),
            y=np.round(points[index, 1], 2),
            name=title,
            mode="markers",
            customdata=details,
            marker={
                "color": qualitative.T10[label % 10],
                "size": 9,
                "symbol": symbols,
                "line": {"width": 1.5},
            },
            hovertemplate=(
                f"<b>{title}</b><br>%{{customdata[0]}}<br>"
                "predicted: %{customdata[1]} (%{customdata[2]})<extra></extra>"
            ),
        )
    styled(fig, height=640, grid=False)
    many = len(fig.data) > 12
    fig.update_layout(
        legend={
            "orientation": "v",
            "x": 1.01,
            "y": 1,
            "yanchor": "top",
            "font": {"size": 9 if many else 13},
        }
    )
    if many:
        fig.update_layout(height=820, legend_tracegroupgap=0)
    empty = {"title": None, "showticklabels": False, "ticks": "", "zeroline": False, "mirror": True}
    return fig.update_xaxes(**empty).update_yaxes(**empty, scaleanchor="x", scaleratio=1)
