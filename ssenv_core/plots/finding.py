"""A finding: the answer to one question of a notebook, as sentence, figure, table and numbers.

Functions that compute results return findings. `study.step.NotebookStep.show` displays a finding,
writes its files and keeps its numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pandas as pd
import plotly.graph_objects as go
from pandas.io.formats.style import Styler

Better = Literal["lower", "higher", "near zero", "near half", ""]


class Number(NamedTuple):
    """A headline number of a study, and which values of it are better ("": neither)."""

    value: float
    better: Better = ""

    @classmethod
    def rounded(cls, value: float, better: Better = "") -> "Number":
        """A number to four significant digits; whole numbers stay whole."""
        return cls(value if isinstance(value, int) else float(f"{value:.4g}"), better)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a notebook shows for one question.

    Attributes:
        sentence: the answer in words, one or more sentences; "" where the figure or table says it.
        figure: shown, and written to figures/ under `name`.
        name: of the figure's files, without the step's number and a suffix; needed with a figure.
        table: shown.
        numbers: headline numbers by name, for the step's record.
        tables: written to metrics/ as CSV, by file name without suffix.
    """

    sentence: str = ""
    figure: go.Figure | None = None
    name: str = ""
    table: pd.DataFrame | Styler | None = None
    numbers: Mapping[str, Number] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.figure is not None and not self.name:
            raise ValueError("a finding with a figure needs a name for its files")
