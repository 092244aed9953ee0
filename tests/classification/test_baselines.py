"""The published baselines: features of known sounds, and folds that are never mixed."""

from dataclasses import replace

import numpy as np
import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.classification.baselines import BASELINES, SAMPLE_RATE, cross_validate, mfcc_zcr
from ssenv_core.data.synthetic import load_synthetic


def test_a_tone_crosses_zero_twice_a_period_and_moves_less_than_one_that_stops() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE)
    features = mfcc_zcr(tone.astype(np.float32))
    assert features.shape == (26,)
    assert features[24] == pytest.approx(2 * 1000 / SAMPLE_RATE, rel=0.02)
    stopped = mfcc_zcr(np.concatenate([tone, np.zeros_like(tone)]).astype(np.float32))
    assert stopped[24] == pytest.approx(features[24] / 2, rel=0.02)
    assert stopped[12:24].sum() > 3 * features[12:24].sum()
    assert stopped[25] > 10 * features[25]


def test_level_is_in_no_feature() -> None:
    sound = np.random.default_rng(0).normal(scale=0.1, size=SAMPLE_RATE).astype(np.float32)
    assert np.allclose(mfcc_zcr(sound), mfcc_zcr(0.5 * sound), rtol=1e-2, atol=0.05)


def test_silence_has_features_too() -> None:
    assert np.isfinite(mfcc_zcr(np.zeros(SAMPLE_RATE, np.float32))).all()


def test_classes_are_told_apart_and_the_same_seed_repeats() -> None:
    sounds = load_synthetic(clips_per_class=5, duration=1.0)
    (table, right), (again, _) = cross_validate(sounds, seed=1), cross_validate(sounds, seed=1)
    assert tuple(table.index) == BASELINES
    assert [*table.columns] == [
        *(f"fold {fold}" for fold in sounds.folds),
        "mean",
        "std",
        "seconds",
    ]
    assert (table["mean"] > 0.5).all()  # chance is 0.1
    assert table.drop(columns="seconds").equals(again.drop(columns="seconds"))
    assert sorted(right.index) == sorted(clip.name for clip in sounds.clips)
    of_two = right.loc[[clip.name for clip in sounds.subset(folds=[2]).clips]]
    assert of_two.mean().to_dict() == table["fold 2"].to_dict()


def test_no_fold_is_asked_about_its_own_clips() -> None:
    """Where every fold has a class of its own, nobody can name any clip."""
    sounds = load_synthetic(clips_per_class=2, duration=1.0)
    alone = replace(
        sounds, clips=tuple(replace(clip, fold=clip.label + 1) for clip in sounds.clips)
    )
    assert (cross_validate(alone)[0]["mean"] == 0).all()


def test_a_fold_whose_absence_leaves_too_few_clips_is_left_out_or_refused_if_required() -> None:
    sounds = load_synthetic(clips_per_class=5, duration=1.0).subset(folds=[1, 2])
    few = replace(
        sounds, clips=tuple(clip for clip in sounds.clips if clip.fold == 1 or clip.label < 7)
    )
    with pytest.raises(
        SsenvError,
        match=r"^without fold 1 synthetic has 7 clips of 7 classes: "
        r"the baselines need 8 clips of 2 classes or more$",
    ):
        cross_validate(few, required=1)
    table, right = cross_validate(few, required=2)
    assert [*table.columns] == ["fold 2", "mean", "std", "seconds"]
    assert len(right) == len(few.subset(folds=[2]))
    one = replace(
        sounds,
        clips=tuple(replace(clip, label=0) if clip.fold == 2 else clip for clip in sounds.clips),
    )
    with pytest.raises(SsenvError, match="without fold 1 synthetic has 10 clips of 1 classes"):
        cross_validate(one, required=1)
    neither = replace(few, clips=few.clips[:3] + few.clips[-3:])
    with pytest.raises(SsenvError, match=r"^without fold 1 synthetic has"):
        cross_validate(neither)


def test_one_fold_is_refused_in_one_line() -> None:
    sounds = load_synthetic(clips_per_class=5, duration=1.0)
    with pytest.raises(SsenvError, match="has one fold here") as error:
        cross_validate(sounds.subset(folds=[1]))
    assert "\n" not in str(error.value)
