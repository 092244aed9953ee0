"""Figures of the acoustic metrics: distributions, gaps and their parts."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.io.formats.style import Styler
from plotly.subplots import make_subplots

from ssenv_core.metrics.acoustic import COMPARED, METRICS
from ssenv_core.plots.style import COLOURS, HERTZ, OTHERS, line_of, styled
from ssenv_core.plots.tables import cells

_COLUMNS = 3  # of panels
_MARKERS = {"real": "circle-open", "codec": "x-thin-open", "generated": "diamond"}
_PARTS = {
    "rate": OTHERS[0],
    "codec": COLOURS["codec"],
    "model": COLOURS["generated"],
    "total": COLOURS["real"],
}


def metric_distributions(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Cumulative distributions of the metrics over clips; KS D is the largest vertical distance.

    Args:
        tables: by column of sound (real, codec, generated), one row per clip, columns as
            `metrics.acoustic.measure` names them; values that are not finite are left out.
    """
    rows, places = _places(COMPARED)
    spacing = {"vertical_spacing": 0.44 / rows, "horizontal_spacing": 0.04}
    fig = make_subplots(rows, _COLUMNS, shared_yaxes=True, **spacing)
    for name, at in places.items():
        values = {
            label: np.sort(table[name][np.isfinite(table[name])].to_numpy(np.float64))
            for label, table in tables.items()
        }
        together = np.concatenate(list(values.values()))
        for label, x in values.items():
            if not len(x):
                continue
            share = np.append(np.arange(len(x) + 1), len(x)) / len(x)
            fig.add_scatter(
                # Every curve runs from 0 to 1 over the range of all.
                x=np.concatenate([[together.min()], x, [together.max()]]),
                y=share,
                mode="lines",
                line=line_of(label),
                line_shape="hv",
                name=label,
                legendgroup=label,
                showlegend=name == COMPARED[0],
                **at,
            )
        fig.update_xaxes(title=METRICS[name].title, **at)
    fig.update_yaxes(title="share of clips", col=1)
    return styled(fig, height=280 * rows)


def gap_waterfall(parts: pd.DataFrame) -> go.Figure:
    """A panel per metric: each part of the gap begins where the last one ends, beside the total.

    parts: `metrics.stats.gap_parts` with the columns rate, codec, model and total, in percent of
    the real value. A part that is not finite is not drawn.
    """
    rows, places = _places(parts.index)
    titles = [METRICS[name].label for name in parts.index]
    spacing = {"horizontal_spacing": 0.08, "vertical_spacing": 0.16}
    fig = make_subplots(rows, _COLUMNS, subplot_titles=titles, **spacing)
    for metric, at in places.items():
        sizes = parts.loc[metric]
        ends = sizes.cumsum(skipna=False)
        ends["total"] = sizes["total"]
        edges = np.nan_to_num([0.0, *ends])
        room = 0.16 * max(np.ptp(edges), 1e-9)
        for position, (name, size) in enumerate(sizes.items()):
            end = ends[name]
            if not np.isfinite(end):
                continue
            fig.add_bar(
                x=[name],
                y=[size],
                base=[end - size],
                marker={"color": _PARTS[name], "line": {"color": _PARTS[name], "width": 1}},
                showlegend=False,
                width=0.62,
                hovertemplate=f"{name}: {size:+.1f} %<extra></extra>",
                **at,
            )
            label = {"text": _signed(size), "font_size": 13, "showarrow": False}
            fig.add_annotation(x=name, y=max(end - size, end), yshift=9, **label, **at)
            if name != "total":
                line = {"x0": position + 0.31, "x1": position + 0.69, "y0": end, "y1": end}
                fig.add_shape(type="line", **line, line={"color": "#8A8A8A", "width": 1.5}, **at)
        fig.add_hline(y=0, line={"color": COLOURS["real"], "width": 1}, **at)
        fig.update_yaxes(range=[edges.min() - room / 2, edges.max() + room], ticksuffix=" %", **at)
    fig.update_yaxes(title="gap, of the real value", col=1)
    fig.update_xaxes(type="category", categoryorder="array", categoryarray=list(_PARTS))
    return styled(fig, height=90 + 250 * rows).update_xaxes(showgrid=False)


def tilt_scatter(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """SNR (dB) against spectral centroid (Hz, logarithmic), a point per clip that has both.

    tables: by column of sound (real, codec, generated), as `metrics.acoustic.measure` makes them.
    """
    fig = go.Figure()
    for label, table in tables.items():
        both = table[np.isfinite(table["snr"]) & (table["spectral_centroid"] > 0)]
        line = {"width": 1.5, "color": COLOURS[label]}
        marker = {"color": COLOURS[label], "symbol": _MARKERS[label], "size": 7, "line": line}
        points = {"x": both["spectral_centroid"].round(1), "y": both["snr"].round(2)}
        fig.add_scatter(**points, mode="markers", name=label, marker=marker)
    ticks = {"tickvals": list(HERTZ), "ticktext": list(HERTZ.values())}
    fig.update_xaxes(title=METRICS["spectral_centroid"].title, type="log", **ticks)
    fig.update_yaxes(title=METRICS["snr"].title)
    return styled(fig, height=420)


def class_gaps(gaps: Mapping[str, pd.DataFrame], class_names: tuple[str, ...]) -> Styler:
    """Gaps by class as HTML, in percent of the class's real value, the darker the larger.

    gaps: by column of sound (codec, generated), as `metrics.stats.gaps_by_class` makes them. The
    columns of one metric stand side by side.
    """
    table = pd.concat(gaps, axis=1).swaplevel(axis=1)
    table = table[[(metric, side) for metric in next(iter(gaps.values())) for side in gaps]]
    table = table.rename(columns={name: metric.label for name, metric in METRICS.items()}, level=0)
    table.index = pd.Index([class_names[label].replace("_", " ") for label in table.index])

    def write(value: float) -> str:
        return _signed(value).removesuffix(" %") if np.isfinite(value) else "–"

    def shade(value: float) -> str:
        if not np.isfinite(value):
            return ""
        return f"background-color: rgba(26, 26, 26, {min(abs(value), 100) / 300:.2f})"

    style = table.style.format(write).map(shade)
    return cells(style.set_caption("Gaps in percent of the class's real value"), "3px 6px")


def _places(names: Sequence[str]) -> tuple[int, dict[str, dict[str, int]]]:
    """The number of rows of panels, and the row and column of each name's panel."""
    places = {
        name: {"row": i // _COLUMNS + 1, "col": i % _COLUMNS + 1} for i, name in enumerate(names)
    }
    return -(-len(names) // _COLUMNS), places


def _signed(percent: float) -> str:
    digits = 1 if abs(percent) < 10 else 0
    return f"{round(percent, digits) + 0.0:+.{digits}f} %".replace("-", "−")
