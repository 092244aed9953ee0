"""Figures of a training: loss over time and per level."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ssenv_core.plots.style import MARK, OTHERS, styled


def training_curve(rows: Sequence[Mapping], reference: float | None = None) -> go.Figure:
    """Draw training and held-out loss (nat per token) against the optimizer step.

    The training loss is over levels as training draws them, which can favour coarse ones; the
    held-out loss is the mean over levels with equal weights.

    Args:
        rows: the training log, with `step`, `loss` and `validation_loss` (None if not measured).
        reference: loss of a uniform guess, ln(codebook size), drawn as a line.
    """
    table = pd.DataFrame(list(rows), columns=["step", "loss", "validation_loss"]).astype(float)
    fig = go.Figure()
    for column, name, colour, mode in (
        ("loss", "training loss, as drawn", OTHERS[2], "lines"),
        ("validation_loss", "held-out, mean over levels", OTHERS[0], "lines+markers"),
    ):
        points = _thinned(table[["step", column]].dropna())
        line = {"color": colour, "width": 1.5}
        fig.add_scatter(x=points["step"], y=points[column], name=name, mode=mode, line=line)
    fig.update_xaxes(title="step")
    return _loss_axis(fig, reference, height=400)


def level_loss(losses: Sequence[float], reference: float | None = None) -> go.Figure:
    """Draw the cross-entropy (nat per token) of every quantizer level, coarse first.

    `reference` is as in `training_curve`.
    """
    levels = [str(level) for level in range(1, len(losses) + 1)]
    text = [f"{loss:.2f}" for loss in losses]
    fig = go.Figure(go.Bar(x=levels, y=list(losses), text=text, marker_color=OTHERS[0]))
    fig.update_xaxes(title="quantizer level", type="category")
    return _loss_axis(fig, reference, height=360, rangemode="tozero")


def _loss_axis(
    fig: go.Figure, reference: float | None, height: int, rangemode: str | None = None
) -> go.Figure:
    if reference is not None:
        fig.add_hline(y=reference, **MARK, annotation_text=f"guessing: {reference:.2f}")
    fig.update_yaxes(title="cross-entropy (nat per token)", rangemode=rangemode)
    return styled(fig, height=height)


def _thinned(table: pd.DataFrame, most: int = 1000) -> pd.DataFrame:
    """Average a long log over `most` stretches of equal length, to keep the notebook small."""
    if len(table) <= most:
        return table
    return table.groupby(np.arange(len(table)) * most // len(table)).mean()
