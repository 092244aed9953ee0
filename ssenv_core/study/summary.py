"""Compare studies by the records and manifests that they left: headline numbers and settings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import read_json
from ssenv_core.base.folders import StudyFolder
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.tables import study_table
from ssenv_core.study.records import outdated_steps

SCORE = {  # by what is better: the study with the highest score is best
    "higher": lambda values: values,
    "lower": lambda values: -values,
    "near zero": lambda values: -values.abs(),
    "near half": lambda values: -(values - 0.5).abs(),
}


@dataclass(frozen=True)
class Summary:
    """The numbers and settings of several studies, side by side.

    Attributes:
        numbers: headline numbers of steps that are up to date (see `outdated_steps`), indexed by
            (step, name); one column per study, NaN where it has none.
        differences: each study's numbers minus the first study's, without a column for the first.
        best: indexed as `numbers`: the study with the best value; "" where no value is better than
            another, or several are best.
        settings: indexed by parameter, one column per study: parameters whose values differ, as
            JSON; "" where a study has none.
        unknown: studies without a manifest, whose settings are unknown (`ssenv run` writes it).
        over_folds: indexed as `numbers`: "mean", "std" (of the sample) and number of "folds", if
            the studies hold out different folds and differ in nothing else but the generator file
            that was trained without that fold; None otherwise.
    """

    numbers: pd.DataFrame
    differences: pd.DataFrame
    best: pd.Series
    settings: pd.DataFrame
    unknown: tuple[str, ...]
    over_folds: pd.DataFrame | None


def summarise_studies(studies: Sequence[str]) -> Summary:
    """Read the records of studies in outputs/.

    Raises:
        SsenvError: a study has no finished step, or is listed twice.
    """
    if len(set(studies)) < len(studies):
        raise SsenvError(f"studies {', '.join(studies)}: list each study once")
    folders = {study: StudyFolder.of(study) for study in studies}
    records = {study: _records(study, folder) for study, folder in folders.items()}
    numbers = pd.DataFrame({study: _column(steps, "headline") for study, steps in records.items()})
    numbers = numbers.astype(float).rename_axis(["step", "name"])
    better = pd.concat([_column(steps, "better") for steps in records.values()])
    better = better[~better.index.duplicated()]
    best = [_best(better.get(key, ""), row) for key, row in numbers.iterrows()]
    settings = pd.DataFrame({study: _settings(folder) for study, folder in folders.items()})
    settings = settings.fillna("")
    settings = settings[settings.nunique(axis=1) > 1].rename_axis("parameter")
    unknown = tuple(study for study, folder in folders.items() if not folder.manifest.exists())
    over_folds = None if unknown else _over_folds(numbers, settings)
    if over_folds is not None:
        best = ""  # scores on different clips do not rank studies
    return Summary(
        numbers,
        numbers.iloc[:, 1:].sub(numbers.iloc[:, 0], axis=0),
        pd.Series(best, index=numbers.index, name="best", dtype=object),
        settings,
        unknown,
        over_folds,
    )


def numbers_finding(summary: Summary) -> Finding:
    """All headline numbers side by side, the best of each row in bold."""
    studies = list(summary.numbers)
    wins = summary.best[summary.best != ""].value_counts()
    sentences = [
        f"{len(studies)} studies, {len(summary.numbers)} numbers, "
        f"{len(summary.settings)} parameters that differ.",
        *(f"{study} is best in {count} numbers." for study, count in wins.items()),
        *(
            f"The settings of {study} are unknown: `ssenv run` did not run it."
            for study in summary.unknown
        ),
    ]
    return Finding(
        sentence=" ".join(sentences),
        table=study_table(summary.numbers, summary.best),
        numbers={"studies": Number(len(studies)), "numbers": Number(len(summary.numbers))},
        tables={
            "summary_numbers": summary.numbers,
            "summary_best": summary.best.to_frame(),
            "summary_settings": summary.settings,
        },
    )


def differences_finding(summary: Summary) -> Finding:
    """Each study's numbers minus those of the first study."""
    if summary.differences.empty:
        return Finding(sentence="There is one study only, so there is nothing to subtract.")
    table = study_table(summary.differences, signed=True)
    return Finding(table=table, tables={"summary_differences": summary.differences})


def folds_finding(summary: Summary) -> Finding:
    """Mean and standard deviation over folds, if the studies differ in their fold only."""
    if summary.over_folds is None:
        return Finding(sentence="These studies do not differ in their held-out fold alone.")
    table = study_table(summary.over_folds)
    return Finding(table=table, tables={"summary_over_folds": summary.over_folds})


def summary_inputs(studies: Sequence[str], own: str) -> list[Path]:
    """The files that a summary read: records, and manifests other than the own study's."""
    folders = {study: StudyFolder.of(study) for study in studies}
    manifests = [folder.manifest for study, folder in folders.items() if study != own]
    records = [record for folder in folders.values() for record in folder.step_records]
    return [*records, *(manifest for manifest in manifests if manifest.exists())]


def _records(study: str, folder: StudyFolder) -> list[dict]:
    """The records of the steps of a study that are up to date."""
    steps = read_json(folder.manifest)["steps"] if folder.manifest.exists() else {}
    outdated = outdated_steps(steps)
    records = [read_json(path) for path in folder.step_records]
    current = [record for record in records if record["step"] not in outdated]
    if not current:
        raise SsenvError(f"study {study!r} has no finished step in {folder.metrics}: run it first")
    return current


def _column(records: Sequence[dict], entry: str) -> pd.Series:
    """One entry of the records, indexed by step and the name of the number."""
    values = {
        (record["step"], name): value for record in records for name, value in record[entry].items()
    }
    return pd.Series(
        values, index=pd.MultiIndex.from_tuples(values, names=["step", "name"]), dtype=object
    )


def _over_folds(numbers: pd.DataFrame, settings: pd.DataFrame) -> pd.DataFrame | None:
    differing = set(settings.index)
    if "fold" not in differing or not differing <= {"fold", "generator"}:
        return None
    if settings.loc["fold"].nunique() < numbers.shape[1]:
        return None
    return pd.DataFrame(
        {"mean": numbers.mean(axis=1), "std": numbers.std(axis=1), "folds": numbers.count(axis=1)}
    )


def _settings(folder: StudyFolder) -> pd.Series:
    """Parameters by name as JSON; one whose value differs between steps has all its values."""
    values: dict[str, list[str]] = {}
    steps = read_json(folder.manifest)["steps"].values() if folder.manifest.exists() else ()
    for name, value in (pair for step in steps for pair in step["parameters"].items()):
        if name != "study" and json.dumps(value) not in values.setdefault(name, []):
            values[name].append(json.dumps(value))
    return pd.Series({name: " / ".join(texts) for name, texts in values.items()}, dtype=object)


def _best(better: str, values: pd.Series) -> str:
    """The study whose value is best, if it alone is; "" where no value is better than another."""
    if better not in SCORE:
        return ""
    score = SCORE[better](values)
    winners = score.index[score == score.max()]
    return winners[0] if len(winners) == 1 and score.count() > 1 else ""
