"""How every figure of the study looks: colours, axes, and frame.

Real, codec and generated have the same three colours and dashes everywhere, apart in lightness as well as hue, so that they survive grey
and colour-blind eyes.
"""

import re

import plotly.graph_objects as go

COLOURS = {"real": "#1A1A1A", "codec": "#C8860D", "generated": "#2B5FA6"}
DASHES = {"real": "solid", "codec": "dot", "generated": "dash"}
OTHERS = (
    "#7B3294",
    "#4D9221",
    "#8A8A8A",
)  # whatever is none of the three: training and validation, other studies
MARK = {
    "line": {"color": COLOURS["real"], "dash": "dot", "width": 1.5},
    "opacity": 1,
}  # the template's own lines have no width
HERTZ = {
    100: "100",
    500: "500",
    1000: "1k",
    2000: "2k",
    5000: "5k",
    10000: "10k",
}  # the ticks of a frequency axis


def styled(fig: go.Figure, *, height: int, grid: bool = True) -> go.Figure:
    """The figure in the study's font, frame and margins, `height` px high."""
    font = {"size": 14, "family": "Open Sans, Arial, sans-serif"}
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    fig.update_layout(
        template="simple_white",
        height=height,
        font=font,
        legend=legend,
        margin={"l": 80, "r": 30, "t": 50, "b": 60},
    )
    fig.update_xaxes(showgrid=grid, gridcolor="#E6E6E6")
    return fig.update_yaxes(showgrid=grid, gridcolor="#E6E6E6")


def line_of(name: str, position: int = 0) -> dict:
    """The line of real, codec or generated, and of anything else by its position among the others."""
    return {
        "color": COLOURS.get(name, OTHERS[position % len(OTHERS)]),
        "dash": DASHES.get(name, "solid"),
        "width": 2.5,
    }


def measure_label(name: str) -> str:
    """A measure's name as an axis writes it: energy_above_4khz as "energy above 4 kHz"."""
    return re.sub(r"(\d)(k?)hz", r"\1 \2Hz", name.replace("_", " "))
