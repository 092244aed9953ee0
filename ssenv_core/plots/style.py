"""How every figure of the study looks, and how one becomes files: colours, axes, and a picture beside plotly's own JSON.

Real, codec and generated have the same three colours and dashes everywhere, apart in lightness as well as hue, so that they survive grey
and colour-blind eyes.
"""

import re
import warnings
from functools import cache
from pathlib import Path

import plotly
import plotly.graph_objects as go
from kaleido.scopes.plotly import PlotlyScope

from ssenv_core.artifacts import atomic_path, write_text
from ssenv_core.errors import SsenvError

COLOURS = {"real": "#1A1A1A", "codec": "#C8860D", "generated": "#2B5FA6"}
DASHES = {"real": "solid", "codec": "dot", "generated": "dash"}
OTHERS = ("#7B3294", "#4D9221", "#8A8A8A")  # whatever is none of the three: training and validation, other studies
MARK = {"line": {"color": COLOURS["real"], "dash": "dot", "width": 1.5}, "opacity": 1}  # the template's own lines have no width
HERTZ = {100: "100", 500: "500", 1000: "1k", 2000: "2k", 5000: "5k", 10000: "10k"}  # the ticks of a frequency axis


def styled(fig: go.Figure, *, height: int, grid: bool = True) -> go.Figure:
    """The figure in the study's font, frame and margins, `height` px high."""
    font = {"size": 14, "family": "Open Sans, Arial, sans-serif"}
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    fig.update_layout(template="simple_white", height=height, font=font, legend=legend, margin={"l": 80, "r": 30, "t": 50, "b": 60})
    fig.update_xaxes(showgrid=grid, gridcolor="#E6E6E6")
    return fig.update_yaxes(showgrid=grid, gridcolor="#E6E6E6")


def line_of(name: str, position: int = 0) -> dict:
    """The line of real, codec or generated, and of anything else by its position among the others."""
    return {"color": COLOURS.get(name, OTHERS[position % len(OTHERS)]), "dash": DASHES.get(name, "solid"), "width": 2.5}


def measure_label(name: str) -> str:
    """A measure's name as an axis writes it: energy_above_4khz as "energy above 4 kHz"."""
    return re.sub(r"(\d)(k?)hz", r"\1 \2Hz", name.replace("_", " "))


def save_figure(fig: go.Figure, path: str | Path) -> tuple[Path, Path]:
    """Write a figure as `path` with .png (at 1.5 times its size, 900 px wide if it has no width) and with .json (plotly's), atomically.

    Raises SsenvError where the image cannot be rendered or written.
    """
    png, json = Path(path).with_suffix(".png"), Path(path).with_suffix(".json")
    with atomic_path(png) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"setDaemon\(\) is deprecated", DeprecationWarning)  # in kaleido
        try:
            image = _renderer().transform(fig, format="png", width=fig.layout.width or 900, height=fig.layout.height, scale=1.5)
        except ValueError as error:
            raise SsenvError(f"cannot render {png}: {' '.join(str(error).split())}") from error
        temporary.write_bytes(image)
    return png, write_text(json, fig.to_json())


@cache
def _renderer() -> PlotlyScope:
    """The browser that kaleido 0.2.1 brings along, started at the first picture. One process: at low priority on a busy machine its several
    processes wait for each other for ever. Used directly, because plotly would have it fetch MathJax from the network first."""
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return PlotlyScope(plotlyjs=str(script), chromium_args=(*PlotlyScope.default_chromium_args(), "--single-process"))
