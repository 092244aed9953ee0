"""Figures of a training: loss over time and per level."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ssenv_core.plots.style import MARK, OTHERS, styled


def training_curve(rows: Sequence[Mapping], reference: float | None = None) -> go.Figure:
    """Training and held-out loss (nat per token) against the optimizer step. They are two quantities, not one on two sets of clips:
    the first is over levels as training draws them, coarse ones more often if it was told so, the second the mean over levels, all alike.

    rows: the training log; of each row `step`, `loss` and `validation_loss` (None where it was not measured) are drawn.
    reference: the loss of guessing all codes alike, ln(codebook size), drawn as a line.
    """
    table = pd.DataFrame(list(rows), columns=["step", "loss", "validation_loss"]).astype(float)
    fig = go.Figure()
    for column, name, colour, mode in (
        ("loss", "training loss, as drawn", OTHERS[2], "lines"),
        ("validation_loss", "held-out, mean over levels", OTHERS[0], "lines+markers"),
    ):
        line = _thinned(table[["step", column]].dropna())
        fig.add_scatter(
            x=line["step"],
            y=line[column],
            name=name,
            mode=mode,
            line={"color": colour, "width": 1.5},
        )
    _mark_guessing(fig, reference)
    fig.update_xaxes(title="step")
    fig.update_yaxes(title="cross-entropy (nat per token)")
    return styled(fig, height=400)


def level_loss(losses: Sequence[float], reference: float | None = None) -> go.Figure:
    """Cross-entropy (nat per token) of every quantizer level, coarse first; `reference` as in `training_curve`."""
    levels = [str(level) for level in range(1, len(losses) + 1)]
    fig = go.Figure(
        go.Bar(
            x=levels,
            y=list(losses),
            text=[f"{loss:.2f}" for loss in losses],
            marker_color=OTHERS[0],
        )
    )
    _mark_guessing(fig, reference)
    fig.update_xaxes(title="quantizer level", type="category")
    fig.update_yaxes(title="cross-entropy (nat per token)", rangemode="tozero")
    return styled(fig, height=360)


def _mark_guessing(fig: go.Figure, reference: float | None) -> None:
    if reference is not None:
        fig.add_hline(y=reference, **MARK, annotation_text=f"guessing: {reference:.2f}")


def _thinned(table: pd.DataFrame, most: int = 1000) -> pd.DataFrame:
    """The means of at most `most` stretches of equal length: a log of every step would weigh down the notebook."""
    return (
        table
        if len(table) <= most
        else table.groupby(np.arange(len(table)) * most // len(table)).mean()
    )
