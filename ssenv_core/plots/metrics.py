"""Figures of the acoustic metrics: distributions, gaps and their parts."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.io.formats.style import Styler
from plotly.subplots import make_subplots

from ssenv_core.metrics.acoustic import COMPARED, METRICS
from ssenv_core.plots.style import COLOURS, HERTZ, OTHERS, line_of, styled


def metric_distributions(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Cumulative distributions of the metrics over clips; KS D is the largest vertical distance.

    Args:
        tables: by column of sound (real, codec, generated), one row per clip, columns as
            `metrics.acoustic.measure` names them; values that are not finite are left out.
    """
    rows = -(-len(COMPARED) // 3)
    spacing = {"vertical_spacing": 0.44 / rows, "horizontal_spacing": 0.04}
    fig = make_subplots(rows, 3, shared_yaxes=True, **spacing)
    for i, name in enumerate(COMPARED):
        at = {"row": i // 3 + 1, "col": i % 3 + 1}
        values = {
            label: np.sort(table[name][np.isfinite(table[name])].to_numpy(np.float64))
            for label, table in tables.items()
        }
        together = np.concatenate(list(values.values()))
        for label, x in values.items():
            if not len(x):
                continue
            share = np.append(np.arange(len(x) + 1), len(x)) / len(x)
            # Every curve runs from 0 to 1 over the range of all.
            x = np.concatenate([[together.min()], x, [together.max()]])
            line = line_of(label) | {"shape": "hv"}
            fig.add_scatter(
                x=x,
                y=share,
                mode="lines",
                line=line,
                name=label,
                legendgroup=label,
                showlegend=i == 0,
                **at,
            )
        fig.update_xaxes(title=f"{METRICS[name].label} ({METRICS[name].unit})", **at)
    fig.update_yaxes(title="share of clips", col=1)
    return styled(fig, height=280 * rows)


_PARTS = {
    "rate": OTHERS[0],
    "codec": COLOURS["codec"],
    "model": COLOURS["generated"],
    "total": COLOURS["real"],
}


_MARKERS = {"real": "circle-open", "codec": "x-thin-open", "generated": "diamond"}


def gap_waterfall(parts: pd.DataFrame) -> go.Figure:
    """A panel for each metric: every part of the gap begins where the one before ends, and the total stands beside them.

    parts: `metrics.stats.gap_parts` with the columns rate, codec, model and total, in percent of the real value. A part that is not
    finite is not drawn.
    """
    columns = 3
    rows = -(-len(parts) // columns)
    titles = [METRICS[name].label for name in parts.index]
    fig = make_subplots(
        rows, columns, subplot_titles=titles, horizontal_spacing=0.08, vertical_spacing=0.16
    )
    for i, (_, row) in enumerate(parts.iterrows()):
        at = {"row": i // columns + 1, "col": i % columns + 1}
        steps = row.drop("total")
        ends = steps.cumsum(skipna=False)
        begins = ends - steps
        bars = pd.DataFrame(
            {"begin": [*begins, 0.0], "size": [*steps, row["total"]]}, index=[*steps.index, "total"]
        )
        edges = np.nan_to_num([0.0, *ends, row["total"]])
        room = 0.16 * max(np.ptp(edges), 1e-9)
        for name, bar in bars.iterrows():
            if not np.isfinite(bar["begin"] + bar["size"]):
                continue
            fig.add_bar(
                x=[name], y=[bar["size"]], base=[bar["begin"]], marker={"color": _PARTS[name], "line": {"color": _PARTS[name], "width": 1}},
                showlegend=False, width=0.62, **at,
                hovertemplate=f"{name}: {bar['size']:+.1f} %<extra></extra>",
            )  # fmt: skip
            above = max(bar["begin"], bar["begin"] + bar["size"])
            label = {
                "x": name,
                "y": above,
                "text": _signed(bar["size"]),
                "yshift": 9,
                "showarrow": False,
                "font": {"size": 13},
            }
            fig.add_annotation(**label, **at)
        for position, end in enumerate(ends):
            if np.isfinite(end):
                line = {"x0": position + 0.31, "x1": position + 1 - 0.31, "y0": end, "y1": end}
                fig.add_shape(type="line", **line, line={"color": "#8A8A8A", "width": 1.5}, **at)
        fig.add_hline(y=0, line={"color": COLOURS["real"], "width": 1}, **at)
        fig.update_yaxes(range=[edges.min() - room / 2, edges.max() + room], ticksuffix=" %", **at)
    fig.update_yaxes(title="gap, of the real value", col=1)
    fig.update_xaxes(type="category", categoryorder="array", categoryarray=list(_PARTS))
    return styled(fig, height=90 + 250 * rows).update_xaxes(showgrid=False)


def tilt_scatter(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """SNR (dB) against spectral centroid (Hz, logarithmic), a point for each clip of each column of sound that has both.

    tables: by column (real, codec, generated), one row per clip as `metrics.acoustic.measure` makes it.
    """
    fig = go.Figure()
    for label, table in tables.items():
        both = table[np.isfinite(table["snr"]) & (table["spectral_centroid"] > 0)]
        marker = {
            "color": COLOURS[label],
            "symbol": _MARKERS[label],
            "size": 7,
            "line": {"width": 1.5, "color": COLOURS[label]},
        }
        points = {"x": both["spectral_centroid"].round(1), "y": both["snr"].round(2)}
        fig.add_scatter(**points, mode="markers", name=label, marker=marker)
    fig.update_xaxes(
        title="spectral centroid (Hz)",
        type="log",
        tickvals=list(HERTZ),
        ticktext=list(HERTZ.values()),
    )
    fig.update_yaxes(title="SNR (dB)")
    return styled(fig, height=420)


def class_gaps(gaps: Mapping[str, pd.DataFrame], class_names: tuple[str, ...]) -> Styler:
    """Gaps class by class as HTML, in percent of the class's real value, the darker the larger; a metric's columns stand side by side.

    gaps: by column of sound (codec, generated), as `metrics.stats.gaps_by_class` makes them.
    """
    table = pd.concat(gaps, axis=1).swaplevel(axis=1)
    names = [
        (METRICS[metric].label, column) for metric in next(iter(gaps.values())) for column in gaps
    ]
    table = table[[(metric, column) for metric in next(iter(gaps.values())) for column in gaps]]
    table.columns = pd.MultiIndex.from_tuples(names)
    table.index = pd.Index([class_names[label].replace("_", " ") for label in table.index])
    style = table.style.format(
        lambda value: _signed(value).removesuffix(" %") if np.isfinite(value) else "–"
    )
    style = style.map(
        lambda value: (
            f"background-color: rgba(26, 26, 26, {min(abs(value), 100) / 300:.2f})"
            if np.isfinite(value)
            else ""
        )
    )
    style = style.set_caption("Gaps in percent of the class's real value")
    return style.set_table_styles(
        [{"selector": "th, td", "props": "text-align: right; padding: 3px 6px"}]
    )


def _signed(percent: float) -> str:
    digits = 1 if abs(percent) < 10 else 0
    return f"{round(percent, digits) + 0.0:+.{digits}f} %".replace("-", "−")
