"""One HTML page that opens from disk, with plotly figures that share one copy of plotly.js."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from ssenv_core.base.files import write_text


def place_figure(figure: Mapping, figures: list[str]) -> str:
    """HTML of the place of a plotly figure (its JSON as a mapping), which is added to `figures`."""
    height = figure.get("layout", {}).get("height", 450)
    kept = {key: figure[key] for key in ("data", "layout") if key in figure}
    figures.append(json.dumps(kept).replace("<", "\\u003c"))
    return f'<div class="figure" id="figure-{len(figures) - 1}" style="height:{height}px"></div>'


def write_page(
    path: Path, title: str, header: str, sections: str, figures: Sequence[str] = (), style: str = ""
) -> Path:
    """Write the page, atomically.

    Args:
        title: plain text; everything else is HTML.
        header: what stands below the title.
        sections: `<section>` elements, with the places of the figures in them.
        figures: as `place_figure` collected them.
        style: CSS in front of the page's own.
    """
    page = Template(Path(__file__).with_name("page.template.html").read_text())
    scripts = [
        f'<script type="application/json" id="figure-{i}-data">{figure}</script>'
        for i, figure in enumerate(figures)
    ]
    library = f"<script>{get_plotlyjs()}</script>" if "Plotly" in sections or figures else ""
    text = page.substitute(
        title=html.escape(title),
        style=style,
        header=header,
        sections=sections,
        figures="".join(scripts),
        plotly=library,
    )
    return write_text(path, text)
