"""PNGs of figures: as files, and in notebooks that no live front end shows."""

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

WIDTH = 900  # px, of a figure without a width
SCALE = 1.5  # pixels of the PNG per pixel of the figure
PLOTLY = "application/vnd.plotly.v1+json"
RENDERER = "plotly_and_png"


def save_figure(fig: go.Figure, path: str | Path) -> tuple[Path, Path]:
    """Write a figure as PNG, at 1.5 times its size, and as plotly's JSON, both atomically.

    Args:
        fig: 900 px wide if it has no width.
        path: its suffix is replaced by .png and .json.

    Raises:
        SsenvError: the image cannot be rendered or written.
    """
    png = Path(path).with_suffix(".png")
    with atomic_path(png) as temporary:
        try:
            image = _png(_as_json(fig.to_dict()))
        except ValueError as error:
            raise SsenvError(f"cannot render {png}: {' '.join(str(error).split())}") from error
        temporary.write_bytes(image)
    return png, write_text(png.with_suffix(".json"), fig.to_json())


def add_pictures() -> None:
    """Show every further figure of this notebook with a PNG beside it.

    The PNG is for readers without plotly, such as GitHub and nbconvert. With a live front end,
    which draws figures itself, nothing changes.
    """
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


@lru_cache(maxsize=2)  # a figure is shown right after it is saved
def _png(figure: str) -> bytes:
    """Render a figure's JSON as a PNG.

    Raises:
        ValueError: the browser does not render it.
    """
    drawn = json.loads(figure)
    layout = drawn.get("layout", {})
    with warnings.catch_warnings():
        # Raised in kaleido.
        warnings.filterwarnings("ignore", r"setDaemon\(\) is deprecated", DeprecationWarning)
        return _renderer().transform(
            drawn,
            format="png",
            width=layout.get("width") or WIDTH,
            height=layout.get("height"),
            scale=SCALE,
        )


@cache
def _renderer() -> PlotlyScope:
    """The browser of kaleido 0.2.1, started at the first picture.

    It runs as a single process: at low priority on a busy machine, its several processes can wait
    for each other forever. It is used directly, because plotly would first have it fetch MathJax
    from the network.
    """
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return PlotlyScope(
        plotlyjs=str(script),
        chromium_args=(*PlotlyScope.default_chromium_args(), "--single-process"),
    )
