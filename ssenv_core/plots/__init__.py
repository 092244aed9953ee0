"""The study's figures: tables and arrays in, `plotly.graph_objects.Figure` out, and one function that writes a figure to disk."""

from ssenv_core.plots.charts import (
    codebook_usage,
    comparison_table,
    diagnosis_chart,
    level_loss,
    long_term_spectrum,
    metric_distributions,
    study_table,
    training_curve,
)
from ssenv_core.plots.classes import PAPER_CLASSES, accuracy_by_clips, class_accuracy, confusion_matrix, reliability
from ssenv_core.plots.curves import curves, number_map
from ssenv_core.plots.gaps import class_gaps, gap_waterfall, tilt_scatter
from ssenv_core.plots.maps import clip_map
from ssenv_core.plots.masks import mask_stages, mask_trace, stage_name
from ssenv_core.plots.pictures import add_pictures, save_figure
from ssenv_core.plots.ratings import rating_intervals
from ssenv_core.plots.spectrograms import DB_RANGE, colour_top, extremes, mel_levels, spectrogram_grid
from ssenv_core.plots.style import COLOURS

__all__ = [
    "COLOURS",
    "DB_RANGE",
    "PAPER_CLASSES",
    "accuracy_by_clips",
    "add_pictures",
    "class_accuracy",
    "class_gaps",
    "clip_map",
    "codebook_usage",
    "colour_top",
    "comparison_table",
    "confusion_matrix",
    "curves",
    "diagnosis_chart",
    "extremes",
    "gap_waterfall",
    "level_loss",
    "long_term_spectrum",
    "mask_stages",
    "mask_trace",
    "mel_levels",
    "metric_distributions",
    "number_map",
    "rating_intervals",
    "reliability",
    "save_figure",
    "spectrogram_grid",
    "stage_name",
    "study_table",
    "tilt_scatter",
    "training_curve",
]
