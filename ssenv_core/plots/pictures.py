"""Pictures of figures: files beside plotly's own JSON, and, where no front end is there to draw them, in the notebook beside the figure."""

import base64
import json
import warnings
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import plotly
import plotly.graph_objects as go
import plotly.io as pio
from kaleido.scopes.plotly import PlotlyScope
from plotly.io.base_renderers import MimetypeRenderer

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import atomic_path, write_text
from ssenv_core.base.progress import live_front_end

WIDTH, SCALE = (
    900,
    1.5,
)  # px of a figure that has no width; pixels of a picture for each of a figure's
PLOTLY = "application/vnd.plotly.v1+json"
RENDERER = "plotly_and_png"


def save_figure(fig: go.Figure, path: str | Path) -> tuple[Path, Path]:
    """Write a figure as `path` with .png (at 1.5 times its size, 900 px wide if it has no width) and with .json (plotly's), atomically.

    Raises SsenvError where the image cannot be rendered or written.
    """
    png, file = Path(path).with_suffix(".png"), Path(path).with_suffix(".json")
    with atomic_path(png) as temporary:
        try:
            image = _png(_as_json(fig.to_dict()))
        except ValueError as error:
            raise SsenvError(f"cannot render {png}: {' '.join(str(error).split())}") from error
        temporary.write_bytes(image)
    return png, write_text(file, fig.to_json())


def add_pictures() -> None:
    """From now on, put a picture beside every figure that this notebook shows, for readers without plotly, GitHub's and nbconvert's pages
    among them. With a live front end, which draws figures itself, nothing changes."""
    if not live_front_end():
        pio.renderers[RENDERER] = FigureAndPicture()
        pio.renderers.default = RENDERER


class FigureAndPicture(MimetypeRenderer):
    """Shows a figure as plotly's JSON and as the PNG of `save_figure`."""

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, Any]:
        text = _as_json(fig_dict)
        return {PLOTLY: json.loads(text), "image/png": base64.b64encode(_png(text)).decode()}


def _as_json(figure: dict[str, Any]) -> str:
    return pio.to_json(figure, validate=False)


@lru_cache(maxsize=2)  # figures are shown right after they are saved
def _png(figure: str) -> bytes:
    """A figure's JSON as a PNG. Raises ValueError where the browser does not render it."""
    drawn = json.loads(figure)
    layout = drawn.get("layout", {})
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"setDaemon\(\) is deprecated", DeprecationWarning
        )  # in kaleido
        return _renderer().transform(
            drawn,
            format="png",
            width=layout.get("width") or WIDTH,
            height=layout.get("height"),
            scale=SCALE,
        )


@cache
def _renderer() -> PlotlyScope:
    """The browser that kaleido 0.2.1 brings along, started at the first picture. One process: at low priority on a busy machine its several
    processes wait for each other for ever. Used directly, because plotly would have it fetch MathJax from the network first."""
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return PlotlyScope(
        plotlyjs=str(script),
        chromium_args=(*PlotlyScope.default_chromium_args(), "--single-process"),
    )
