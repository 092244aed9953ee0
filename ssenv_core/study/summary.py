"""Studies side by side, from the records and manifests they left: headline numbers, how they differ, which is best, and what was set
differently.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import read_json
from ssenv_core.base.folders import StudyFolder
from ssenv_core.study.records import outdated_steps

CLASSIFIERS = r"probe|fine-tuned|^(log-mel CNN|(small )?AST, .*|k-NN|random forest|SVM)$"
HIGHER = (
    rf"judge on |loudness_correlation|onset_f1|{CLASSIFIERS}|kbps carried|tokenize .*(/s|real time)"
)
LOWER = (
    r"cross-entropy|^level \d+$|Fréchet|distance|^error|^loss$|dead codes|\((codec|generated)\)$"
)
NEAR_ZERO = r"gap %$"
NEAR_HALF = r"\(rank\)$"


@dataclass(frozen=True)
class Summary:
    """Several studies.

    Attributes:
        numbers: headline numbers of steps that are not outdated (see `outdated_steps`), indexed by (step, name); a column per study, NaN
            where it has none.
        differences: each study's numbers less those of the first; no column for that.
        best: indexed as `numbers`: the study with the best value, "" where there is no better and worse, or no single best.
        settings: indexed by parameter, a column per study: those that are not the same in all of them, as JSON; "" where a study has none.
        unknown: studies without a manifest, whose settings nobody wrote down: `ssenv run` does, notebooks run one by one do not.
        over_folds: indexed as `numbers`: "mean", "std" (of the sample) and how many "folds", of studies that hold out different folds and
            else differ in nothing but the file of a generator that does not know the fold; None of other studies.
    """

    numbers: pd.DataFrame
    differences: pd.DataFrame
    best: pd.Series
    settings: pd.DataFrame
    unknown: tuple[str, ...]
    over_folds: pd.DataFrame | None


def summarise_studies(studies: Sequence[str]) -> Summary:
    """Read what studies of these names left in outputs/.

    Raises:
        SsenvError: a study has no finished step, or is named twice.
    """
    if len(set(studies)) < len(studies):
        raise SsenvError(f"studies {', '.join(studies)}: each is to be named once")
    folders = {study: StudyFolder.of(study) for study in studies}
    numbers = pd.DataFrame({study: _headlines(study, folder) for study, folder in folders.items()})
    numbers.index = numbers.index.set_names(["step", "name"])
    best = pd.Series(
        {key: _best(key[1], row) for key, row in numbers.iterrows()},
        index=numbers.index,
        name="best",
        dtype=object,
    )
    settings = pd.DataFrame({study: _settings(folder) for study, folder in folders.items()}).fillna(
        ""
    )
    settings = settings[settings.nunique(axis=1) > 1].rename_axis("parameter")
    unknown = tuple(study for study, folder in folders.items() if not folder.manifest.exists())
    differences = numbers.iloc[:, 1:].sub(numbers.iloc[:, 0], axis=0)
    over_folds = None if unknown else _over_folds(numbers, settings)
    if over_folds is not None:
        best[:] = ""  # other clips are asked about: what is higher is no better
    return Summary(numbers, differences, best, settings, unknown, over_folds)


def _over_folds(numbers: pd.DataFrame, settings: pd.DataFrame) -> pd.DataFrame | None:
    differing = set(settings.index)
    if (
        "fold" not in differing
        or not differing <= {"fold", "generator"}
        or settings.loc["fold"].nunique() < numbers.shape[1]
    ):
        return None
    return pd.DataFrame(
        {"mean": numbers.mean(axis=1), "std": numbers.std(axis=1), "folds": numbers.count(axis=1)}
    )


def _headlines(study: str, folder: StudyFolder) -> pd.Series:
    steps = read_json(folder.manifest)["steps"] if folder.manifest.exists() else {}
    outdated = outdated_steps(steps)
    records = [
        record for record in map(read_json, folder.step_records) if record["step"] not in outdated
    ]
    if not records:
        raise SsenvError(f"study {study!r} has no finished step in {folder.metrics}: run it first")
    return pd.Series(
        {
            (record["step"], name): value
            for record in records
            for name, value in record["headline"].items()
        },
        dtype=float,
    )


def _settings(folder: StudyFolder) -> pd.Series:
    """Parameters by name; one that has several values in the steps of a study has all of them."""
    found: dict[str, list[str]] = {}
    steps = read_json(folder.manifest)["steps"].values() if folder.manifest.exists() else ()
    for name, value in (
        (name, value)
        for step in steps
        for name, value in step["parameters"].items()
        if name != "study"
    ):
        values = found.setdefault(name, [])
        if (text := json.dumps(value)) not in values:
            values.append(text)
    return pd.Series({name: " / ".join(values) for name, values in found.items()}, dtype=object)


def _best(name: str, values: pd.Series) -> str:
    """The study whose value is best, if it alone is."""
    if re.search(NEAR_ZERO, name):
        score = -values.abs()
    elif re.search(NEAR_HALF, name):
        score = -(values - 0.5).abs()
    elif re.search(LOWER, name):
        score = -values
    elif re.search(HIGHER, name):
        score = values
    else:
        return ""
    winners = score.index[score == score.max()]
    return winners[0] if len(winners) == 1 and score.count() > 1 else ""
