"""Train every classifier of notebook 06 without one fold and measure it on that fold."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from ssenv_core.base.environment import peak_memory
from ssenv_core.base.training_loop import EpochSettings
from ssenv_core.classification.ast import ast_baseline
from ssenv_core.classification.baselines import cross_validate
from ssenv_core.classification.classifier import Classifier, FeatureSpec, read_features
from ssenv_core.classification.fine_tuning import ClassifierSettings, fine_tune
from ssenv_core.classification.judge import Judge
from ssenv_core.classification.probes import (
    Classification,
    classify_with_judge,
    learning_curve,
    probe,
    random_twin,
)
from ssenv_core.data.recordings import Clip, Dataset
from ssenv_core.data.tokens import TokenSet, require_dataset
from ssenv_core.generator.file import TrainedGenerator, require_heldout, require_tokens

RANDOM, FIRST, FROZEN = "random weights, probe", "first level, probe", "frozen, probe"
TUNED, CNN = "fine-tuned", "log-mel CNN"
CLIP_COUNTS = (1, 2, 4, 8, 16, 32)  # labelled clips per class of the learning curves
DRAWS = 5  # random choices of labelled clips per count


@dataclass(frozen=True)
class Split:
    """A dataset with one fold held out, as sounds and as tokens."""

    sounds: Dataset
    training: TokenSet
    heldout: TokenSet
    fold: int

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.heldout.class_names

    @cached_property
    def heldout_clips(self) -> tuple[Clip, ...]:
        return self.sounds.subset(folds=[self.fold]).clips

    @property
    def protocol(self) -> str:
        """Say which fold is held out, and whether official folds are missing."""
        folds = ", ".join(map(str, self.sounds.folds))
        protocol = f"Fold {self.fold} of {folds} is held out."
        if self.sounds.missing_folds:
            missing = ", ".join(map(str, self.sounds.missing_folds))
            protocol += (
                f" The official folds {missing} are missing, so this is not the official protocol."
            )
        return protocol


@dataclass(frozen=True)
class Measured:
    """A classification of the held-out clips, and the peak memory (MB) of computing it."""

    result: Classification
    megabytes: float


@dataclass(frozen=True)
class Classic:
    """The baselines on classic features.

    Attributes:
        table, correct: as `cross_validate` returns them.
        megabytes: peak memory of computing them.
    """

    table: pd.DataFrame
    correct: pd.DataFrame
    megabytes: float


@dataclass(frozen=True)
class Probes:
    """Linear probes on frozen features.

    Attributes:
        measured: by name: RANDOM, FIRST, FROZEN.
        curves: by the same names, as `learning_curve` returns them.
        frozen: the classifier of FROZEN, its head fitted.
    """

    measured: dict[str, Measured]
    curves: dict[str, pd.DataFrame]
    frozen: Classifier


@dataclass(frozen=True)
class AstRun:
    """Results of AST by name, and why others are missing, by the name for a table."""

    measured: dict[str, Measured]
    missing: dict[str, str]


def split_fold(sounds: Dataset, tokens: TokenSet, generator: TrainedGenerator, fold: int) -> Split:
    """Hold out one fold of a dataset and its tokens.

    Raises:
        SsenvError: the fold is empty or the only one, the generator was trained on this fold or on
            other tokens, or the tokens are of another dataset.
    """
    split = Split(sounds, tokens.without(fold), tokens.where([fold]), fold)
    require_tokens(generator, tokens)
    require_heldout(generator, fold)
    require_dataset(tokens, sounds)
    return split


def run_classic(split: Split, seed: int) -> Classic:
    """Cross-validate the baselines on classic features; raises as `cross_validate`."""
    with peak_memory() as peak:
        table, correct = cross_validate(split.sounds, seed, required=split.fold)
    return Classic(table, correct, peak.megabytes)


def run_probes(
    generator: TrainedGenerator, split: Split, spec: FeatureSpec, seed: int, device: str = "auto"
) -> Probes:
    """Fit linear probes on features of random weights, of the first level, and of all levels.

    Raises:
        SsenvError: as `Classifier`, `read_features` and `probe`.
    """
    classes = len(split.class_names)
    classifiers = {
        RANDOM: Classifier(random_twin(generator, seed), classes, spec),
        FIRST: Classifier(generator.model, classes, replace(spec, levels=1)),
        FROZEN: Classifier(generator.model, classes, spec),
    }
    recorded = {clip.name for clip in split.sounds.clips}  # variations are not further labels
    measured, curves = {}, {}
    for name, classifier in classifiers.items():
        with peak_memory() as peak:
            train = read_features(classifier, split.training, device)
            test = read_features(classifier, split.heldout, device)
            result = probe(classifier, train, test)
        measured[name] = Measured(result, peak.megabytes)
        curves[name] = learning_curve(train.select(recorded), test, CLIP_COUNTS, DRAWS, seed)
    return Probes(measured, curves, classifiers[FROZEN])


def run_fine_tuning(
    probed: Classifier,
    split: Split,
    settings: ClassifierSettings,
    state_file: Path,
    device: str = "auto",
) -> tuple[Classifier, Measured]:
    """Fine-tune a copy of a probed classifier; raises as `fine_tune`."""
    tuned = deepcopy(probed).requires_grad_(True)
    measured = _measure(
        lambda: fine_tune(tuned, split.training, split.heldout, settings, state_file, device)
    )
    return tuned, measured


def run_cnn(judge_file: Path, split: Split, device: str = "auto") -> Measured:
    """Classify the held-out clips with the CNN of 01; raises as `classify_with_judge`."""
    return _measure(
        lambda: classify_with_judge(Judge.load(judge_file, device), split.sounds, split.fold)
    )


def run_ast(
    split: Split, settings: EpochSettings, state_file: Path, device: str = "auto"
) -> AstRun:
    """Train AST, unless its settings have 0 epochs; raises as `ast_baseline`."""
    if not settings.epochs:
        return AstRun({}, {})
    with peak_memory() as peak:
        results, missing = ast_baseline(split.sounds, split.fold, settings, state_file, device)
    return AstRun(
        {name: Measured(result, peak.megabytes) for name, result in results.items()}, missing
    )


def _measure(classify: Callable[[], Classification]) -> Measured:
    with peak_memory() as peak:
        result = classify()
    return Measured(result, peak.megabytes)
