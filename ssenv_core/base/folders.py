"""The project folder, and the layout of outputs/<study>/."""

from dataclasses import dataclass
from pathlib import Path

from ssenv_core.base.errors import SsenvError


def project_root(start: Path | None = None) -> Path:
    """Find the project: the nearest folder at or above `start` with notebooks/ and params/.

    Args:
        start: by default the working directory.

    Raises:
        SsenvError: there is none.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    raise SsenvError(
        f"no ssenv project at or above {start}: "
        "run from the checkout that holds notebooks/ and params/"
    )


@dataclass(frozen=True)
class StudyFolder:
    """The files of a study: outputs/<study>/ and everything below it."""

    root: Path

    @classmethod
    def of(cls, study: str) -> "StudyFolder":
        """Find the folder of a study in the project around the working directory."""
        return cls(project_root() / "outputs" / study)

    @property
    def tokens(self) -> Path:
        return self.root / "tokens" / "tokens.safetensors"

    @property
    def generator(self) -> Path:
        return self.root / "checkpoints" / "generator.safetensors"

    @property
    def judge(self) -> Path:
        return self.root / "checkpoints" / "judge.safetensors"

    @property
    def classifier(self) -> Path:
        return self.root / "checkpoints" / "classifier.safetensors"

    @property
    def generated(self) -> Path:
        return self.root / "generated"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    def step_record(self, step: str) -> Path:
        return self.metrics / f"{step}.json"

    @property
    def step_records(self) -> list[Path]:
        """The records of finished steps in order, without summaries (notebooks 90 to 99).

        A summary reads the records of the other steps.
        """
        return sorted(self.metrics.glob("[0-8][0-9]_*.json"))

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"
