"""Writes a study's report.html: one page that opens from disk, without server or network.

It computes nothing. nbconvert renders the executed notebooks, code folded away; plotly figures
come from their JSON and share one inline copy of plotly.js. Sounds and other files stay where they
are in the study's folder; the page links to them.
"""

import html
import json
import logging
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from pygments.formatters import HtmlFormatter

from ssenv_core.base.folders import StudyFolder
from ssenv_core.plots.page import place_figure, write_page

OUTDATED = "outdated: its last run did not end, or it read what has changed since"
PLOTLY = "application/vnd.plotly.v1+json"
PLOTLY_LIBRARY = re.compile(
    r"<script[^>]*>\s*(/\*\*\s*\* plotly\.js|import\b).*?</script>", re.DOTALL
)
WIDGET = "application/vnd.jupyter.widget-view+json"

FOLDED_CODE = """{%- extends 'basic/index.html.j2' -%}
{% block input_group %}
<details class="code"><summary>code</summary>{{ super() }}</details>
{% endblock %}"""


def write_report(
    folder: StudyFolder, study: str, records: Mapping[str, dict], outdated: Collection[str]
) -> Path:
    """Write folder.report.

    Args:
        records: the steps to show, by name and in order, as in manifest.json.
        outdated: see `outdated_steps`.
    """
    figures: list[str] = []
    sections = "".join(
        f'<section id="{name}">'
        f'<div class="step">{name}{f" ({OUTDATED})" * (name in outdated)}</div>'
        f"{_notebook(folder, record['notebook'], records, figures)}</section>"
        for name, record in records.items()
    )
    header = (
        "<p>A study run with ssenv: SoundStorm on environmental sound.</p>"
        f"{_environment(records)}{_steps(records, outdated)}"
        f"<details><summary>parameters</summary>{_parameters(records)}</details>"
    )
    return write_page(
        folder.report,
        study,
        header,
        sections,
        figures,
        HtmlFormatter(style="default").get_style_defs(".highlight"),
    )


def format_seconds(seconds: float) -> str:
    """A time in the two units that suit it, e.g. "4.2 s", "3 min 20 s", "1 h 05 min"."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    return f"{round(seconds / 60) // 60} h {round(seconds / 60) % 60:02d} min"


def format_headline(headline: Mapping[str, object]) -> str:
    """A step's headline numbers on one line."""
    return ", ".join(f"{name} {_number(value)}" for name, value in headline.items())


def format_result(record: dict, outdated: bool) -> str:
    """A step's headline numbers on one line, or that they no longer stand."""
    return OUTDATED if outdated else format_headline(record["headline"])


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _steps(records: Mapping[str, dict], outdated: Collection[str]) -> str:
    rows = "".join(
        f'<tr><td><a href="#{name}">{name}</a></td>'
        f"<td>{record['started'].replace('T', ' ').removesuffix('+00:00')}</td>"
        f"<td class=number>{format_seconds(record['seconds'])}</td>"
        f"<td class=number>{record['peak_memory_mb']} MB</td>"
        f"<td>{html.escape(format_result(record, name in outdated))}</td></tr>"
        for name, record in records.items()
    )
    head = "<th>step<th>started (UTC)<th>time<th>peak memory<th>headline numbers"
    return f"<table><tr>{head}</tr>{rows}</table>"


def _parameters(records: Mapping[str, dict]) -> str:
    """A table with one row per distinct value of a parameter, and the steps that have it."""
    steps: dict[tuple[str, str], list[str]] = {}
    for step, record in records.items():
        for name, value in record["parameters"].items():
            steps.setdefault((name, json.dumps(value, ensure_ascii=False).strip('"')), []).append(
                step.split("_")[0]
            )
    rows = "".join(
        f"<tr><td>{name}</td><td>{html.escape(value)}</td><td>{' '.join(where)}</td></tr>"
        for (name, value), where in steps.items()
    )
    return f"<table><tr><th>parameter<th>value<th>steps</tr>{rows}</table>"


def _environment(records: Mapping[str, dict]) -> str:
    """What the steps ran on, one line for each difference between them."""
    lines = {}
    for name, record in records.items():
        about = record["environment"]
        versions = ", ".join(
            f"{package} {version}" for package, version in about["packages"].items()
        )
        line = (
            f"{about['device']} ({about['machine']}), Python {about['python']}, {versions}; "
            f"git {about['git'] or 'unknown'}"
        )
        lines.setdefault(line, []).append(name.split("_")[0])
    if len(lines) == 1:
        return f"<p>{html.escape(next(iter(lines)))}</p>"
    return "".join(
        f"<p>{' '.join(where)}: {html.escape(line)}</p>" for line, where in lines.items()
    )


def _notebook(
    folder: StudyFolder, path: str, records: Mapping[str, dict], figures: list[str]
) -> str:
    """One executed notebook as HTML; its plotly figures are appended to `figures` as JSON."""
    if not (folder.root / path).is_file():
        return f"<p>{html.escape(path)} is gone: run this step again to have it here</p>"
    try:
        notebook = nbformat.read(folder.root / path, as_version=4)
    except ValueError:  # cut short by a full disk, say
        return f"<p>{html.escape(path)} cannot be read: run this step again to have it here</p>"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [shown for output in cell.outputs if (shown := _static(output, figures))]
    quiet = logging.Logger(
        "nbconvert", logging.ERROR
    )  # it warns of every image without a text for it
    exporter = HTMLExporter(
        raw_template=FOLDED_CODE, exclude_input_prompt=True, exclude_output_prompt=True, log=quiet
    )
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    body, _ = exporter.from_notebook_node(notebook)
    return _local(body, folder, (folder.root / path).parent, records)


def _static(output: nbformat.NotebookNode, figures: list[str]) -> nbformat.NotebookNode | None:
    """An output as a page without a kernel can show it; None for one that it cannot."""
    data = output.get("data", {})
    if PLOTLY in data:
        figure = data[PLOTLY]
        return nbformat.v4.new_output("display_data", {"text/html": place_figure(figure, figures)})
    if "text/html" in data:
        data["text/html"] = PLOTLY_LIBRARY.sub("", data["text/html"])
    return None if WIDGET in data and "text/html" not in data else output


def _local(body: str, folder: StudyFolder, base: Path, records: Mapping[str, dict]) -> str:
    """Make links relative to the report, link notebooks to sections, and load nothing remote."""

    def relink(match: re.Match) -> str:
        attribute, quote, link = match.groups()
        parts = urlsplit(html.unescape(link))
        if parts.scheme or parts.netloc:
            return (
                f'data-remote="{link}"'
                if attribute == "src" and parts.scheme != "data"
                else match.group()
            )
        if not parts.path:
            return match.group()
        target = Path(parts.path)
        if target.suffix == ".ipynb" and target.stem in records:
            return f'{attribute}="#{target.stem}"'
        path = os.path.relpath(base / parts.path, folder.root)
        return f"{attribute}={quote}{html.escape(path)}{quote}"

    body = re.sub(r"<link\b[^>]*>|<script\b[^>]*\bsrc=[^>]*>\s*</script>", "", body)
    return re.sub(
        r"<[a-zA-Z][^<>]*>",
        lambda tag: re.sub(r"""\b(src|href)=(["'])([^"']*)\2""", relink, tag.group()),
        body,
    )
