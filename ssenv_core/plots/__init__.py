"""The study's figures: tables and arrays in, `plotly.graph_objects.Figure` out, and one function that writes a figure to disk."""

from ssenv_core.plots.charts import (
    codebook_usage,
    comparison_table,
    confusion_matrix,
    diagnosis_chart,
    level_loss,
    long_term_spectrum,
    mask_trace,
    metric_distributions,
    study_table,
    training_curve,
)
from ssenv_core.plots.spectrograms import DB_RANGE, colour_top, extremes, mel_levels, spectrogram_grid
from ssenv_core.plots.style import COLOURS, save_figure

__all__ = [
    "COLOURS",
    "DB_RANGE",
    "codebook_usage",
    "colour_top",
    "comparison_table",
    "confusion_matrix",
    "diagnosis_chart",
    "extremes",
    "level_loss",
    "long_term_spectrum",
    "mask_trace",
    "mel_levels",
    "metric_distributions",
    "save_figure",
    "spectrogram_grid",
    "study_table",
    "training_curve",
]
