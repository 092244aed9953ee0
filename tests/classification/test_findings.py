"""What 06 says of its classifiers is what they do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import token_format

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.training_loop import EpochSettings
from ssenv_core.classification import comparison, findings
from ssenv_core.classification.classifier import FeatureSpec
from ssenv_core.classification.comparison import (
    CNN,
    FIRST,
    FROZEN,
    RANDOM,
    TUNED,
    AstRun,
    Classic,
    Measured,
    Split,
)
from ssenv_core.classification.feature_map import FeatureMap
from ssenv_core.classification.probes import Classification
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.synthetic import load_synthetic
from ssenv_core.data.tokens import TokenFormat, TokenSet
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.plots.finding import Number
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

CLASSES = ("big_dog", "rain", "wind")


def classification(correct: list[int], sure: float = 0.6) -> Classification:
    """Clips of the classes 0, 1, 2, 0, ...; a wrong prediction is the next class."""
    labels = np.arange(len(correct)) % 3
    predictions = np.where(correct, labels, (labels + 1) % 3)
    probabilities = np.full((len(labels), 3), (1 - sure) / 2)
    probabilities[np.arange(len(labels)), predictions] = sure
    return Classification(labels, probabilities, ("",) * len(labels), [], 2.0)


@pytest.fixture(scope="module")
def sounds() -> Dataset:
    """Six clips of three classes, one of each in both of two folds."""
    whole = load_synthetic(clips_per_class=2, duration=0.5)
    clips = [clip for clip in whole.clips if clip.label < 3]
    counts = {label: 0 for label in range(3)}
    folded = []
    for clip in clips:
        counts[clip.label] += 1
        folded.append(replace(clip, fold=counts[clip.label]))
    return replace(whole, class_names=CLASSES, clips=tuple(folded))


@pytest.fixture(scope="module")
def tokens(sounds: Dataset) -> TokenSet:
    labels = torch.tensor([clip.label for clip in sounds.clips])
    codes = torch.randint(4, (6, 2, 12), generator=torch.Generator().manual_seed(0))
    tokens = token_format(
        dataset="synthetic", dataset_fingerprint=sounds.fingerprint, codec="made up", n_q=2
    )
    return TokenSet(
        codes + 4 * labels[:, None, None],
        labels,
        torch.tensor([clip.fold for clip in sounds.clips]),
        torch.ones(6, 12, dtype=torch.bool),
        torch.zeros(6, 12, 2),
        tuple(clip.name for clip in sounds.clips),
        ("",) * 6,
        CLASSES,
        tokens,
    )


@pytest.fixture(scope="module")
def split(sounds: Dataset, tokens: TokenSet) -> Split:
    return Split(sounds, tokens.without(1), tokens.where([1]), 1)


def classic(split: Split, correct: dict[str, list[int]]) -> Classic:
    """Baselines that are correct for these of the clips of fold 1."""
    names = [clip.name for clip in split.heldout_clips]
    right = pd.DataFrame(correct, index=names).astype(bool)
    table = pd.DataFrame({"fold 1": right.mean(), "fold 2": 0.5, "seconds": 1.0})
    return Classic(table, right, 100.0)


def measured(correct: dict[str, list[int]]) -> dict[str, Measured]:
    return {name: Measured(classification(values), 50.0) for name, values in correct.items()}


ROWS = {
    RANDOM: [1, 0, 0, 0, 0, 0],
    FIRST: [1, 1, 1, 1, 0, 0],
    FROZEN: [1, 1, 1, 0, 0, 0],
    TUNED: [1, 1, 1, 1, 1, 0],
    CNN: [0, 0, 0, 0, 0, 0],
}


def compared(split: Split, rows: dict[str, list[int]], **missing: str):
    baselines = classic(split, {"k-NN": [1, 0, 0], "SVM": [1, 1, 0]})
    return findings.comparison_finding(measured(rows), baselines, split, missing=missing, seed=0)


def test_the_comparison_says_how_much_training_and_finer_levels_contribute(split: Split) -> None:
    sentence = compared(split, ROWS).sentence
    assert "classifies 50.0 % of 6 held-out clips correctly" in sentence
    assert "with random weights 33.3 points less (95 % interval of the gain: +0.0" in sentence
    assert "with the first level alone 16.7 points more (95 % interval of the gain: -" in sentence
    assert "After fine-tuning it is 83.3 %; chance is 33.3 %" in sentence
    assert "The log-mel CNN reaches 0.0 %" in sentence
    assert "the best of the classic features, SVM, 66.7 %" in sentence
    same = compared(split, ROWS | {FIRST: ROWS[FROZEN]}).sentence
    assert "with the first level alone as much (95 % interval of the gain: +0.0 to +0.0" in same


def test_clips_of_one_recording_have_no_interval(split: Split) -> None:
    rows = {
        name: Measured(replace(row.result, recordings=("one",) * 6), 50.0)
        for name, row in measured(ROWS).items()
    }
    baselines = classic(split, {"k-NN": [1, 0, 0]})
    finding = findings.comparison_finding(rows, baselines, split, missing={}, seed=0)
    assert "33.3 points less (all clips are of one recording, so without an" in finding.sentence
    assert "nan" not in finding.sentence


def test_every_accuracy_is_a_number_of_which_more_is_better(split: Split) -> None:
    numbers = compared(split, ROWS, AST="no weights").numbers
    assert numbers == {
        RANDOM: Number(0.1667, "higher"),
        FIRST: Number(0.6667, "higher"),
        FROZEN: Number(0.5, "higher"),
        TUNED: Number(0.8333, "higher"),
        CNN: Number(0.0, "higher"),
        "k-NN": Number(0.3333, "higher"),
        "SVM": Number(0.6667, "higher"),
    }


def test_missing_official_folds_are_counted_and_said(split: Split) -> None:
    less = replace(split, sounds=replace(split.sounds, missing_folds=(3, 4)))
    finding = compared(less, ROWS)
    assert finding.numbers["official folds missing"] == Number(2)
    assert "folds 3, 4 are missing, so this is not the official protocol." in finding.sentence
    assert "official" not in findings.split_finding(split).sentence


def test_the_split_is_counted(split: Split) -> None:
    sentence = "3 clips for training, 3 for the test. Fold 1 of 1, 2 is held out."
    assert findings.split_finding(split).sentence == sentence


def test_the_table_has_a_row_per_classifier_and_empty_ones_for_the_missing(split: Split) -> None:
    baselines = classic(split, {"k-NN": [1, 0, 0]})
    table = findings.comparison_table(measured(ROWS), baselines, split, {"AST": "no weights"})
    assert [*table.index] == [*ROWS, "k-NN", "AST"]
    assert table.loc[TUNED, ["correct", "clips", "seconds", "MB"]].tolist() == [5, 6, 2, 50]
    assert table.loc["k-NN", ["correct", "clips", "seconds", "MB"]].tolist() == [1, 3, 1, 100]
    assert table.loc["AST"].isna().all()
    low, accuracy, high = table.drop(index="AST")[["low", "accuracy", "high"]].to_numpy().T
    assert (low <= accuracy + 1e-9).all()
    assert (accuracy <= high + 1e-9).all()


def test_the_spread_between_folds_is_that_of_the_most_variable_baseline(split: Split) -> None:
    two = classic(split, {"k-NN": [1, 1, 0], "SVM": [0, 0, 0]})
    assert "up to 50.0 points between folds" in findings.classic_finding(two).sentence
    one = replace(two, table=two.table.drop(columns="fold 2"))
    assert "One fold was evaluated" in findings.classic_finding(one).sentence


def test_ast_is_reported_or_its_absence_is(split: Split, tmp_path: Path) -> None:
    off = comparison.run_ast(split, EpochSettings(epochs=0), tmp_path / "state")
    assert findings.ast_finding(off).sentence == "AST is left out: ast_epochs is 0."
    half = AstRun(measured({"small AST": [1, 0]}), {"AST, pretrained": "no such file"})
    assert findings.ast_finding(half).sentence.split("\n") == [
        "AST, pretrained. no such file",
        "small AST: 50.0 % of the held-out clips classified correctly.",
    ]


@pytest.mark.parametrize(
    ("correct", "sure", "verdict"),
    [([1, 1, 0, 0], 0.7, "overconfident"), ([1, 1, 1, 0], 0.7, "underconfident")],
)
def test_more_probability_than_accuracy_is_overconfident(
    correct: list[int], sure: float, verdict: str
) -> None:
    rows = {name: Measured(classification(correct, sure), 1.0) for name in (TUNED, FROZEN)}
    finding = findings.reliability_finding(rows)
    assert finding.name == "reliability"
    share = 100 * np.mean(correct)
    assert f"{TUNED} is {verdict} on average" in finding.sentence
    assert f"a probability of 70.0 % and is correct for {share:.1f} %" in finding.sentence


def features(points: list[float], labels: list[int], recordings: list[str]) -> FeatureMap:
    """Clips on a line, the same line in the features reversed in sign of every second point."""
    line = np.array(points)[:, None]
    names = tuple(f"clip{i}" for i in range(len(points)))
    return FeatureMap(names, np.array(labels), tuple(recordings), line, np.hstack([line % 3, line]))


def test_neighbours_of_the_same_class_are_counted_on_the_map_and_in_the_features(
    split: Split,
) -> None:
    result = classification([1, 1, 1, 1])
    line = features([0.0, 0.1, 5.0, 5.1], [0, 1, 2, 0], [""] * 4)
    apart = findings.map_finding(line, result, split).sentence
    assert "0.0 % of the clips on the map and for 0.0 % in the features; by chance" in apart
    line = features([0.0, 5.0, 9.0, 0.1], [0, 1, 2, 0], [""] * 4)
    mixed = findings.map_finding(line, result, split).sentence
    assert "50.0 % in the features; by chance for 16.7 %" in mixed
    line = features([0.0, 5.0, 9.0, 0.1], [0, 1, 2, 0], ["one"] * 4)
    assert "cut from one recording" in findings.map_finding(line, result, split).sentence


def test_confusions_are_named_with_their_share_of_the_class(split: Split) -> None:
    result = classification([1, 1, 1, 0, 0, 1])
    line = features([0, 5, 9, 4, 6, 9], [0, 1, 2, 0, 1, 2], [""] * 6)
    sentence = findings.confused_finding(line, result, split).sentence
    assert sentence == (
        "Most frequent confusions: big dog, taken for rain (1 of 2); rain, taken for wind (1 of 2)."
    )
    none = findings.confused_finding(line, classification([1] * 6), split)
    assert none.sentence == "No class was taken for another that has clips here."


def test_each_confusion_is_played_beside_the_nearest_clip_of_the_other_class(split: Split) -> None:
    names = tuple(clip.name for clip in split.heldout_clips)
    line = replace(features([0, 5, 9], [0, 1, 2], [""] * 3), names=names)
    clips = findings.confused_clips(line, classification([0, 1, 1]), split, 8000)
    label = "big dog, taken for rain"
    assert [clip[:2] for clip in clips] == [(label, names[0]), (label, names[1])]
    assert [clip[3] for clip in clips] == [f"0_{names[0]}", f"1_{names[1]}"]
    for clip, (_, _, wav, _) in zip(split.heldout_clips, clips, strict=False):
        np.testing.assert_array_equal(wav, split.sounds.read(clip, 8000))


def test_classes_and_confusions_are_drawn_under_the_names_of_their_files(split: Split) -> None:
    rows = measured(ROWS)
    confusion = findings.confusion_finding(rows[TUNED].result, split)
    assert confusion.name == "confusion"
    assert np.asarray(confusion.figure.data[0].z).tolist() == [
        [100, 0, 0],
        [0, 100, 0],
        [50, 0, 50],
    ]
    by_class = findings.class_accuracy_finding(rows, split)
    assert by_class.name == "classes"
    assert [trace.name for trace in by_class.figure.data] == [TUNED, FROZEN, CNN]


def generator(folds: list[int], tokens: TokenFormat) -> TrainedGenerator:
    torch.manual_seed(0)
    config = SoundStormConfig(
        n_q=2, codebook_size=16, num_classes=3, dim=16, depth=1, heads=2, kernel_size=3
    )
    return TrainedGenerator(SoundStorm(config).eval(), CLASSES, tokens, {"folds": folds})


def test_a_generator_that_knows_the_fold_or_other_sounds_are_refused(
    sounds: Dataset, tokens: TokenSet
) -> None:
    fitting = generator([2], tokens.format)
    assert len(comparison.split_fold(sounds, tokens, fitting, 1).training) == 3
    with pytest.raises(SsenvError, match="fold 1 is not held out"):
        comparison.split_fold(sounds, tokens, generator([1], tokens.format), 1)
    other = generator([2], replace(tokens.format, codec="other"))
    with pytest.raises(SsenvError, match="tokens of codec"):
        comparison.split_fold(sounds, tokens, other, 1)
    with pytest.raises(SsenvError, match="not made from this copy"):
        comparison.split_fold(replace(sounds, duration=0.4), tokens, fitting, 1)


def test_probes_differ_in_weights_and_levels_and_leave_the_frozen_one_fitted(split: Split) -> None:
    probes = comparison.run_probes(
        generator([2], split.heldout.format), split, FeatureSpec(), 0, "cpu"
    )
    assert [*probes.measured] == [*probes.curves] == [RANDOM, FIRST, FROZEN]
    assert probes.frozen.reading == FeatureSpec()
    assert probes.frozen.head.weight.abs().max() > 0
    assert all(row.megabytes > 0 for row in probes.measured.values())
    different = [row.result.probabilities for row in probes.measured.values()]
    assert not np.allclose(different[0], different[2])
    assert not np.allclose(different[1], different[2])
    assert findings.labelled_clips_finding(probes).name == "labelled_clips"
