"""Tables of numbers, formatted for a notebook."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from ssenv_core.metrics.acoustic import METRICS
from ssenv_core.plots.style import COLOURS


def comparison_table(table: pd.DataFrame, caption: str = "") -> Styler:
    """A table of metrics as HTML, numbers to three digits: columns ending in `percent` are signed, in `_n` whole, in `_p` probabilities;
    those beginning with real, codec or generated carry the colour. Rows named as in METRICS are spelled out with their unit."""

    def row_label(name: object) -> str:
        return (
            f"{METRICS[name].label} ({METRICS[name].unit})"
            if name in METRICS
            else str(name).replace("_", " ")
        )

    def mark(names: pd.Index) -> list[str]:
        colours = [COLOURS.get(str(name).split("_")[0]) for name in names]
        return [f"border-bottom: 3px solid {colour}" if colour else "" for colour in colours]

    style = table.style.format({name: _formatter(name) for name in table}).format_index(
        row_label, axis=0
    )
    style = style.format_index(lambda name: str(name).replace("_", " "), axis=1).apply_index(
        mark, axis=1
    )
    style = style.set_table_styles(
        [{"selector": "th, td", "props": "text-align: right; padding: 3px 10px"}]
    )
    return style.set_caption(caption) if caption else style


def study_table(
    numbers: pd.DataFrame, best: pd.Series | None = None, *, signed: bool = False
) -> Styler:
    """Numbers indexed by (step, name), a column per study; those of the study that `best` names are bold. signed: with a plus."""

    def write(value: float) -> str:
        return f"{value:{'+' * signed}.5g}" if np.isfinite(value) else "–"

    def bold(row: pd.Series) -> list[str]:
        return [
            "font-weight: bold" if best is not None and study == best[row.name] else ""
            for study in row.index
        ]

    style = numbers.style.format(write).apply(bold, axis=1)
    return style.set_table_styles(
        [
            {
                "selector": "th, td",
                "props": "text-align: right; padding: 3px 10px; vertical-align: top",
            }
        ]
    )


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
