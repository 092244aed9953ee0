"""Curves, bars, tables and heat maps of numbers that arrive computed: metrics, diagnoses, losses, codes. Nothing is judged here."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.io.formats.style import Styler
from plotly.subplots import make_subplots

from ssenv_core.failure_modes import MODES, Diagnosis
from ssenv_core.metrics.acoustic import METRICS
from ssenv_core.plots.style import COLOURS, HERTZ, MARK, OTHERS, line_of, measure_label, styled


def training_curve(rows: Sequence[Mapping], reference: float | None = None) -> go.Figure:
    """Training and held-out loss (nat per token) against the optimizer step. They are two quantities, not one on two sets of clips:
    the first is over levels as training draws them, coarse ones more often if it was told so, the second the mean over levels, all alike.

    rows: the training log; of each row `step`, `loss` and `validation_loss` (None where it was not measured) are drawn.
    reference: the loss of guessing all codes alike, ln(codebook size), drawn as a line.
    """
    table = pd.DataFrame(list(rows), columns=["step", "loss", "validation_loss"]).astype(float)
    fig = go.Figure()
    for column, name, colour, mode in (
        ("loss", "training loss, as drawn", OTHERS[2], "lines"),
        ("validation_loss", "held-out, mean over levels", OTHERS[0], "lines+markers"),
    ):
        line = _thinned(table[["step", column]].dropna())
        fig.add_scatter(x=line["step"], y=line[column], name=name, mode=mode, line={"color": colour, "width": 1.5})
    _mark_guessing(fig, reference)
    fig.update_xaxes(title="step")
    fig.update_yaxes(title="cross-entropy (nat per token)")
    return styled(fig, height=400)


def level_loss(losses: Sequence[float], reference: float | None = None) -> go.Figure:
    """Cross-entropy (nat per token) of every quantizer level, coarse first; `reference` as in `training_curve`."""
    levels = [str(level) for level in range(1, len(losses) + 1)]
    fig = go.Figure(go.Bar(x=levels, y=list(losses), text=[f"{loss:.2f}" for loss in losses], marker_color=OTHERS[0]))
    _mark_guessing(fig, reference)
    fig.update_xaxes(title="quantizer level", type="category")
    fig.update_yaxes(title="cross-entropy (nat per token)", rangemode="tozero")
    return styled(fig, height=360)


def metric_distributions(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Cumulative distributions over clips of the paper's six metrics: the largest vertical distance of two curves is their KS D.

    tables: by column of sound (real, codec, generated), one row per clip, columns as `metrics.acoustic.measure` names them; values that are
        not finite are left out.
    """
    names = [name for name in METRICS if name != "duration"]
    fig = make_subplots(2, 3, shared_yaxes=True, vertical_spacing=0.22, horizontal_spacing=0.04)
    for i, name in enumerate(names):
        at = {"row": i // 3 + 1, "col": i % 3 + 1}
        values = {label: np.sort(table[name][np.isfinite(table[name])].to_numpy(np.float64)) for label, table in tables.items()}
        together = np.concatenate(list(values.values()))
        for label, x in values.items():
            if not len(x):
                continue
            share = np.append(np.arange(len(x) + 1), len(x)) / len(x)
            x = np.concatenate([[together.min()], x, [together.max()]])  # every curve runs from 0 to 1 over the range of all
            line = line_of(label) | {"shape": "hv"}
            fig.add_scatter(x=x, y=share, mode="lines", line=line, name=label, legendgroup=label, showlegend=i == 0, **at)
        fig.update_xaxes(title=f"{METRICS[name].label} ({METRICS[name].unit})", **at)
    fig.update_yaxes(title="share of clips", col=1)
    return styled(fig, height=560)


def comparison_table(table: pd.DataFrame, caption: str = "") -> Styler:
    """A table of metrics as HTML, numbers to three digits: columns ending in `percent` are signed, in `_n` whole, in `_p` probabilities;
    those beginning with real, codec or generated carry the colour. Rows named as in METRICS are spelled out with their unit."""

    def row_label(name: object) -> str:
        return f"{METRICS[name].label} ({METRICS[name].unit})" if name in METRICS else str(name).replace("_", " ")

    def mark(names: pd.Index) -> list[str]:
        colours = [COLOURS.get(str(name).split("_")[0]) for name in names]
        return [f"border-bottom: 3px solid {colour}" if colour else "" for colour in colours]

    style = table.style.format({name: _formatter(name) for name in table}).format_index(row_label, axis=0)
    style = style.format_index(lambda name: str(name).replace("_", " "), axis=1).apply_index(mark, axis=1)
    style = style.set_table_styles([{"selector": "th, td", "props": "text-align: right; padding: 3px 10px"}])
    return style.set_caption(caption) if caption else style


def study_table(numbers: pd.DataFrame, best: pd.Series | None = None, *, signed: bool = False) -> Styler:
    """Numbers indexed by (step, name), a column per study; those of the study that `best` names are bold. signed: with a plus."""

    def write(value: float) -> str:
        return f"{value:{'+' * signed}.5g}" if np.isfinite(value) else "–"

    def bold(row: pd.Series) -> list[str]:
        return ["font-weight: bold" if best is not None and study == best[row.name] else "" for study in row.index]

    style = numbers.style.format(write).apply(bold, axis=1)
    return style.set_table_styles([{"selector": "th, td", "props": "text-align: right; padding: 3px 10px; vertical-align: top"}])


def codebook_usage(use: pd.DataFrame, codebook_size: int) -> go.Figure:
    """How much of each level's codebook is used: the entries that occur at all (%), and the entropy of their use (bit).

    use: as `ceiling.code_use` makes it. The entropy of M tokens is at most log2 M, whatever the codec.
    """
    levels = [str(level) for level in use.index]
    fig = make_subplots(1, 2, horizontal_spacing=0.12)
    panels = ((100 * (1 - use["dead"]), "entries used (%)", 100), (use["entropy"], "entropy (bit)", np.log2(codebook_size)))
    for j, (values, title, top) in enumerate(panels, 1):
        fig.add_bar(x=levels, y=values, text=[f"{value:.3g}" for value in values], marker_color=OTHERS[0], showlegend=False, row=1, col=j)
        fig.add_hline(y=top, **MARK, row=1, col=j)
        fig.update_yaxes(title=title, range=[0, 1.1 * top], row=1, col=j)
    fig.update_xaxes(title="quantizer level", type="category")
    return styled(fig, height=360)


def long_term_spectrum(spectra: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> go.Figure:
    """Levels (dB) against frequency (Hz, logarithmic), one line for each label -> (frequencies (F,), levels (F,)); -inf leaves a gap."""
    fig = go.Figure()
    for i, (label, (frequency, level)) in enumerate(spectra.items()):
        level = np.where(np.isfinite(level), np.round(level, 2), np.nan)
        fig.add_scatter(x=np.asarray(frequency), y=level, mode="lines", line=line_of(label, i), name=label)
    fig.update_xaxes(title="frequency (Hz)", type="log", tickvals=[50, *HERTZ], ticktext=["50", *HERTZ.values()])
    fig.update_yaxes(title="level (dB re the clip's energy)")
    return styled(fig, height=400)


def diagnosis_chart(diagnoses: Sequence[Diagnosis]) -> go.Figure:
    """Every measure's gap towards failure in units of its real-vs-real noise floor, by failure mode; what exceeds 1 is present (dark).

    A negative gap lies on the other side of real. A measure whose noise floor is 0 has no such unit: its row says so and has no bar.
    """
    groups = {mode: [d for d in diagnoses if d.mode == mode] for mode in MODES}
    groups = {mode: group for mode, group in groups.items() if group}
    titles, heights = [MODES[mode] for mode in groups], [len(group) for group in groups.values()]
    fig = make_subplots(len(groups), 1, shared_xaxes=True, subplot_titles=titles, row_heights=heights, vertical_spacing=0.07)
    for row, group in enumerate(groups.values(), 1):
        gaps = [d.gap / d.noise_floor if d.noise_floor > 0 else np.nan for d in group]
        text = ["real clips do not differ" if np.isnan(gap) else f"{round(gap, 1) + 0.0:.1f}" for gap in gaps]
        gaps = np.nan_to_num(gaps)
        fig.add_bar(
            x=gaps, y=[measure_label(d.measure) for d in group], orientation="h", showlegend=False,
            text=text, textposition="outside", cliponaxis=False,
            marker_color=[COLOURS["generated"] if d.present else "#D5DCE6" for d in group],
            marker_line={"color": COLOURS["generated"], "width": 1},
            hovertext=[d.sentence for d in group], hoverinfo="text", row=row, col=1,
        )  # fmt: skip
        fig.add_vline(x=1, **MARK, row=row, col=1)
    fig.update_yaxes(autorange="reversed")
    fig.update_xaxes(title="gap towards failure / real-vs-real noise floor (present above 1)", row=len(groups))
    return styled(fig, height=120 + 36 * len(diagnoses) + 40 * len(groups), grid=False)


def _mark_guessing(fig: go.Figure, reference: float | None) -> None:
    if reference is not None:
        fig.add_hline(y=reference, **MARK, annotation_text=f"guessing: {reference:.2f}")


def _thinned(table: pd.DataFrame, most: int = 1000) -> pd.DataFrame:
    """The means of at most `most` stretches of equal length: a log of every step would weigh down the notebook."""
    return table if len(table) <= most else table.groupby(np.arange(len(table)) * most // len(table)).mean()


def _formatter(column: str) -> Callable[[object], str]:
    """How the numbers of a column are written; missing ones are a dash."""

    def write(value: object) -> str:
        if not isinstance(value, int | float | np.number):
            return str(value)
        if not np.isfinite(value):
            return "–"
        if column.endswith("percent"):
            return f"{value:+.1f} %"
        if column.endswith("_p") and value < 0.001:
            return "< 0.001"
        whole = column.endswith("_n") or abs(value) >= 100 or value == 0
        return f"{value:.0f}" if whole else f"{value:#.3g}"

    return write
