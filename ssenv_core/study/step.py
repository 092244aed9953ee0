"""A notebook of a study while it runs: its parameters, the findings it shows, and its record."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from IPython.display import display

from ssenv_core.base.devices import resolve_device
from ssenv_core.base.files import write_text
from ssenv_core.base.folders import StudyFolder
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.pictures import add_pictures, save_figure
from ssenv_core.study.params import NOTEBOOK_PARAMS, Params
from ssenv_core.study.records import finish_step


@dataclass
class NotebookStep:
    """A running notebook.

    Attributes:
        name: of the notebook, "04_metrics".
        params: its parameters, checked.
        folder: where the study keeps its files.
        device: where networks run, the CPU for a notebook without a `device` parameter.
        numbers: headline numbers of the findings shown so far, by name.
        sentences: of the findings shown so far.
        written: CSV files of the findings shown so far.
    """

    name: str
    params: Params
    folder: StudyFolder
    device: torch.device
    numbers: dict[str, Number] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)

    @classmethod
    def begin(cls, name: str, namespace: Mapping[str, object]) -> "NotebookStep":
        """Check the parameters in a notebook's namespace (`globals()`).

        Figures are shown with a PNG beside them where no front end draws them.

        Raises:
            SsenvError: a parameter has the wrong type or is out of bounds.
        """
        params = NOTEBOOK_PARAMS[name].from_cell(namespace)
        add_pictures()
        folder = StudyFolder.of(params.study)
        return cls(name, params, folder, resolve_device(getattr(params, "device", "cpu")))

    def show(self, *findings: Finding) -> None:
        """Display findings, write their files, and keep their numbers and sentences.

        Raises:
            SsenvError: a file cannot be written.
            ValueError: a number of this name is there already.
        """
        for finding in findings:
            if finding.figure is not None:
                save_figure(
                    finding.figure, self.folder.figures / f"{self.name[:2]}_{finding.name}.png"
                )
                display(finding.figure)
            if finding.table is not None:
                display(finding.table)
            if finding.sentence:
                print(finding.sentence)
                self.sentences.append(finding.sentence)
            if twice := self.numbers.keys() & finding.numbers.keys():
                raise ValueError(f"{self.name} shows {', '.join(twice)} twice")
            self.numbers |= finding.numbers
            self.written += [
                write_text(self.folder.metrics / f"{name}.csv", table.to_csv())
                for name, table in finding.tables.items()
            ]

    def finish(
        self, *, inputs: Iterable[Path], outputs: Iterable[Path], missing: Iterable[str] = ()
    ) -> None:
        """Write the step's record; see `finish_step`.

        Args:
            inputs: files and folders that the step read.
            outputs: files and folders that it wrote, besides those of its findings.
            missing: what it had to leave out, each with the reason.
        """
        finish_step(
            self.folder,
            self.name,
            numbers=self.numbers,
            sentences=self.sentences,
            inputs=list(inputs),
            outputs=[*outputs, *self.written],
            missing=missing,
        )
