"""Tables of numbers, formatted for a notebook."""

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from ssenv_core.metrics.acoustic import METRICS
from ssenv_core.plots.style import COLOURS


def comparison_table(table: pd.DataFrame, caption: str = "") -> Styler:
    """A table of metrics as HTML, with numbers to three digits.

    Columns ending in `percent` are signed, in `_n` whole, in `_p` probabilities; those beginning
    with real, codec or generated carry the colour. Rows named as in METRICS get their unit.
    """

    def row_label(name: object) -> str:
        return METRICS[name].title if name in METRICS else str(name).replace("_", " ")

    def mark(names: pd.Index) -> list[str]:
        colours = [COLOURS.get(str(name).split("_")[0]) for name in names]
        return [f"border-bottom: 3px solid {colour}" if colour else "" for colour in colours]

    style = table.style.format(
        {name: lambda value, name=name: _text(name, value) for name in table}
    )
    style.format_index(row_label, axis=0)
    style.format_index(lambda name: str(name).replace("_", " "), axis=1)
    style.apply_index(mark, axis=1)
    cells(style, "3px 10px")
    return style.set_caption(caption) if caption else style


def study_table(
    numbers: pd.DataFrame, best: pd.Series | None = None, *, signed: bool = False
) -> Styler:
    """A table of numbers with a column per study.

    Args:
        numbers: indexed by (step, name).
        best: with the same index: the study whose number is bold.
        signed: write a plus before positive numbers.
    """

    def write(value: float) -> str:
        return f"{value:{'+' * signed}.5g}" if np.isfinite(value) else "–"

    def bold(row: pd.Series) -> list[str]:
        winner = None if best is None else best[row.name]
        return ["font-weight: bold" if study == winner else "" for study in row.index]

    style = numbers.style.format(write).apply(bold, axis=1)
    return cells(style, "3px 10px; vertical-align: top")


def cells(style: Styler, padding: str) -> Styler:
    """Align the cells of a table to the right."""
    look = {"selector": "th, td", "props": f"text-align: right; padding: {padding}"}
    return style.set_table_styles([look])


def _text(column: str, value: object) -> str:
    """Spell a value of `comparison_table`; a dash if it is missing."""
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
