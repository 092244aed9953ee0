"""Writes the report.html of `ssenv evaluate`: metrics with tests, distributions, pairs, all clips.

It computes nothing; the numbers are those of a `folders.Evaluation`.
"""

import html
import json
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from ssenv_core.evaluation.folders import Evaluation
from ssenv_core.metrics.acoustic import METRICS
from ssenv_core.metrics.frechet import SPLITS
from ssenv_core.plots.metrics import metric_distributions, tilt_scatter
from ssenv_core.plots.page import place_figure, write_page
from ssenv_core.plots.tables import comparison_table

SHOWN = [
    *("real_n", "real_mean", "real_std", "generated_n", "generated_mean", "generated_std"),
    *("difference_percent", "ks_d", "ks_p", "ks_holm_p"),
]


def write_evaluation(path: Path, evaluation: Evaluation) -> Path:
    """Write the page, atomically, and return its path."""
    figures: list[str] = []
    report = evaluation.report
    rates = {side: ", ".join(map(str, rates)) for side, rates in report["sample_rates"].items()}
    lines = [
        f"{side}: {report['folders'][side]}, {report['clips'][side]} clips measured at {rate} Hz"
        for side, rate in rates.items()
    ]
    header = "".join(
        f"<p>{html.escape(line)}</p>" for line in [*lines, f"convention: {report['convention']}"]
    )
    said = "".join(f"<li>{html.escape(note)}</li>" for note in report["notes"])
    metrics = comparison_table(evaluation.comparison[SHOWN]).to_html()
    explained = (
        "Means and population standard deviations over the n clips with a finite value. ks_d is "
        "the largest distance between the two distribution functions, ks_p the p-value of the "
        "Kolmogorov-Smirnov test, ks_holm_p the same after Holm's correction for the number of "
        "metrics."
    )
    tilt = (
        "SNR divides a signal's power by that of its first difference: it is a spectral tilt. The "
        "figure shows how it relates to the spectral centroid."
    )
    parts = [
        _section("Metrics", f"<ul>{said}</ul>" if said else "", metrics, f"<p>{explained}</p>"),
        _section(
            "Distributions", place_figure(_json(metric_distributions(evaluation.clips)), figures)
        ),
        _section(
            "SNR and centroid",
            f"<p>{tilt}</p>",
            place_figure(_json(tilt_scatter(evaluation.clips)), figures),
        ),
        *_frechet(report["frechet"]),
        _section(
            "Pairs",
            f"<p>{html.escape(report['pairing'])}</p>",
            _similarity(evaluation),
            _folded("all pairs", evaluation.pairs),
        ),
        _section(
            "Clips",
            *(
                _folded(f"{side} clips", table.drop(columns="sha256"))
                for side, table in evaluation.clips.items()
            ),
        ),
    ]
    return write_page(path, "real against generated", header, "".join(parts), figures)


def _frechet(report: dict[str, dict]) -> list[str]:
    """A section with the Fréchet distances by embedding, if there are any."""
    if not report:
        return []
    rows = {
        (embedding, name): values
        for embedding, entry in report.items()
        for name, values in entry["distances"].items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    shown = table.to_html(border=0, na_rep="–", float_format="{:.4g}".format)
    sentences = "".join(f"<li>{html.escape(entry['sentence'])}</li>" for entry in report.values())
    explained = (
        "Distances between sets of equally many clips, described as Gaussians of a network's "
        f"embeddings: mean, lowest and highest of {SPLITS} random splits of the real files into "
        "halves. The first row, one half of the real clips against the other, is the noise floor. "
        "Extrapolated: to infinitely many clips. The split is by file: files cut from one "
        "recording can be on both sides, and then the noise floor is too low."
    )
    return [_section("Fréchet distance", f"<ul>{sentences}</ul><p>{explained}</p>", shown)]


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>"


def _json(figure: go.Figure) -> dict:
    return json.loads(figure.to_json())


def _similarity(evaluation: Evaluation) -> str:
    rows = "".join(
        f"<tr><td>{name.replace('_', ' ')}</td>"
        f"<td class=number>{value['mean']:.4f}</td><td class=number>{value['std']:.4f}</td>"
        f"<td class=number>{value['n']}</td></tr>"
        for name, value in evaluation.report["similarity"].items()
        if value["n"]
    )
    return f"<table><tr><th>of pairs<th>mean<th>std<th>n</tr>{rows}</table>"


def _folded(summary: str, table: pd.DataFrame) -> str:
    named = {
        name: f"{METRICS[name].label} ({METRICS[name].unit})"
        if name in METRICS
        else name.replace("_", " ")
        for name in table
    }
    shown = table.rename(columns=named).to_html(
        index=False, border=0, na_rep="–", float_format="{:.5g}".format
    )
    return f"<details><summary>{summary}</summary>{shown}</details>"
