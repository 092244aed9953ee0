"""The look of all figures: colours, axes, and frame.

Real, codec and generated have the same three colours and dashes everywhere. The colours differ in
lightness as well as hue, so they stay apart in grey and for colour-blind readers.
"""

import re

import plotly.graph_objects as go

COLOURS = {"real": "#1A1A1A", "codec": "#C8860D", "generated": "#2B5FA6"}
DASHES = {"real": "solid", "codec": "dot", "generated": "dash"}
# lines that are none of the three: training and validation, other studies
OTHERS = ("#7B3294", "#4D9221", "#8A8A8A")
# reference lines; the template's own have no width
MARK = {"line": {"color": COLOURS["real"], "dash": "dot", "width": 1.5}, "opacity": 1}
# ticks of a frequency axis
HERTZ = {100: "100", 500: "500", 1000: "1k", 2000: "2k", 5000: "5k", 10000: "10k"}


def styled(fig: go.Figure, *, height: int, grid: bool = True) -> go.Figure:
    """Set the study's font, frame and margins, and a height in px."""
    fig.update_layout(
        template="simple_white",
        height=height,
        font={"size": 14, "family": "Open Sans, Arial, sans-serif"},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        margin={"l": 80, "r": 30, "t": 50, "b": 60},
    )
    lines = {"showgrid": grid, "gridcolor": "#E6E6E6"}
    return fig.update_xaxes(**lines).update_yaxes(**lines)


def line_of(name: str, position: int = 0) -> dict:
    """Colour and dash of a line: fixed for real, codec, generated, else by position."""
    colour = COLOURS.get(name, OTHERS[position % len(OTHERS)])
    return {"color": colour, "dash": DASHES.get(name, "solid"), "width": 2.5}


def heatmap(z: object, unit: str, **look: object) -> go.Heatmap:
    """A heat map without smoothing, whose colour bar has `unit` as title."""
    return go.Heatmap(z=z, zsmooth=False, colorbar={"title": unit, "thickness": 14}, **look)


def measure_label(name: str) -> str:
    """A measure's name as text: energy_above_4khz becomes "energy above 4 kHz"."""
    return re.sub(r"(\d)(k?)hz", r"\1 \2Hz", name.replace("_", " "))
