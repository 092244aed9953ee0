"""Controls: onsets and loudness are measured, and requested, at the right frames."""

import numpy as np
import pytest
import soundfile
import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.data.controls import (
    LOUDNESS,
    ONSET,
    QUIETEST,
    build_controls,
    file_level,
    measure_controls,
)
from ssenv_core.evaluation.controls import control_adherence

RATE, FRAMES_PER_SECOND = 24_000, 75.0
SCORES = ("loudness_correlation", "onset_precision", "onset_recall", "onset_f1")


def bursts(times, seconds=2.0, level=0.1, length=0.1):
    """Decaying noise at `times` above a faint floor."""
    rng = np.random.default_rng(0)
    wav = 1e-4 * rng.standard_normal(round(seconds * RATE))
    for time in times:
        start = round(time * RATE)
        sound = (
            level
            * rng.standard_normal(round(length * RATE))
            * np.linspace(1, 0, round(length * RATE))
        )
        wav[start : start + len(sound)] += sound
    return wav.astype(np.float32)


def test_onsets_are_where_sounds_begin() -> None:
    times = [0.4, 0.9, 1.63]
    marks = measure_controls(bursts(times), RATE, 150, FRAMES_PER_SECOND)[:, ONSET]
    found = (marks.nonzero()[:, 0] + 0.5) / FRAMES_PER_SECOND
    assert len(found) == 3
    assert np.abs(found.numpy() - times).max() < 0.03


def test_what_is_far_below_the_loudest_moment_and_what_rises_little_is_no_onset() -> None:
    loud, faint = bursts([0.4, 1.2]), bursts([0.8, 1.6], level=0.1 * 10 ** (-40 / 20))
    steady = 0.05 * np.random.default_rng(1).standard_normal(2 * RATE)
    louder = (steady * np.where(np.arange(2 * RATE) < RATE, 1.0, 10 ** (4 / 20))).astype(
        np.float32
    )  # by 4 dB
    for wav, count in ((loud + faint, 2), (loud + bursts([0.8], level=0.01), 3), (louder, 0)):
        assert measure_controls(wav, RATE, 150, FRAMES_PER_SECOND)[:, ONSET].sum() == count


@pytest.mark.parametrize("level", [-60.0, -20.0])
def test_loudness_is_the_level_of_the_sound_in_decibels(level: float) -> None:
    wav = (10 ** (level / 20) * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    loudness = measure_controls(wav, RATE, 75, FRAMES_PER_SECOND)[2:-2, LOUDNESS]
    assert torch.allclose(loudness, torch.tensor(1 - level / QUIETEST), atol=0.02)


def test_loudness_rises_where_the_sound_does() -> None:
    wav = np.concatenate(
        [np.zeros(RATE), 0.1 * np.random.default_rng(0).standard_normal(RATE)]
    ).astype(np.float32)
    loudness = measure_controls(wav, RATE, 150, FRAMES_PER_SECOND)[:, LOUDNESS]
    assert not loudness[:72].any()
    assert (loudness[78:148] > 0.7).all()


@pytest.mark.parametrize("wav", [np.zeros(RATE, np.float32), np.full(100, 0.1, np.float32)])
def test_silence_and_a_blink_have_no_onsets(wav) -> None:
    controls = measure_controls(wav, RATE, 75, FRAMES_PER_SECOND)
    assert controls.shape == (75, 2)
    assert torch.isfinite(controls).all()
    assert not controls[:, ONSET].any()


def test_nothing_is_asked_but_what_was_said() -> None:
    assert build_controls(10, 10.0).isnan().all()
    onsets = build_controls(10, 10.0, onsets=[0.0, 0.35])
    assert onsets[:, ONSET].tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert onsets[:, LOUDNESS].isnan().all()
    level = build_controls(5, 10.0, level=np.array([QUIETEST, 0.0]))
    assert level[:, LOUDNESS].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert level[:, ONSET].isnan().all()
    assert not build_controls(5, 10.0, onsets=[])[:, ONSET].any()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"onsets": [0.5, 1.0]}, r"onsets 0\.5, 1 s must lie within the 1\.00 s"),
        ({"onsets": [-0.1]}, "must lie within"),
        ({"level": np.array([np.nan])}, "finite"),
        ({"level": np.array([])}, "one level or more"),
    ],
)
def test_what_cannot_be_asked_is_one_line(asked, message) -> None:
    with pytest.raises(SsenvError, match=message) as error:
        build_controls(10, 10.0, **asked)
    assert "\n" not in str(error.value)


def test_the_level_of_a_file_is_that_of_its_sound(tmp_path) -> None:
    wav = 0.1 * np.random.default_rng(0).standard_normal(12_000)
    soundfile.write(tmp_path / "a.wav", wav, RATE)
    level = file_level(tmp_path / "a.wav")
    assert len(level) == 50
    assert np.abs(level[3:-3] + 20).max() < 1


def test_a_silent_file_has_no_loudness_to_take(tmp_path):
    soundfile.write(tmp_path / "quiet.wav", np.zeros(2400), 24_000)
    with pytest.raises(SsenvError, match=r"quiet\.wav is silent throughout"):
        file_level(tmp_path / "quiet.wav")


def test_a_sound_that_does_as_asked_scores_one_and_another_does_not() -> None:
    times = [0.4, 0.9, 1.63]
    wav = bursts(times)
    asked = measure_controls(wav, RATE, 150, FRAMES_PER_SECOND)
    assert control_adherence(asked, wav, RATE, FRAMES_PER_SECOND) == pytest.approx(
        dict.fromkeys(SCORES, 1.0)
    )
    other = control_adherence(asked, bursts([0.2, 0.9, 1.2, 1.4]), RATE, FRAMES_PER_SECOND)
    assert (other["onset_precision"], other["onset_recall"]) == pytest.approx((1 / 4, 1 / 3))
    assert other["loudness_correlation"] < 0.5


def test_what_was_not_asked_has_no_score() -> None:
    nothing = control_adherence(
        build_controls(150, FRAMES_PER_SECOND), bursts([0.4]), RATE, FRAMES_PER_SECOND
    )
    assert set(nothing) == set(SCORES)
    assert np.isnan(list(nothing.values())).all()
    onsets = control_adherence(
        build_controls(150, FRAMES_PER_SECOND, onsets=[0.4]), bursts([0.4]), RATE, FRAMES_PER_SECOND
    )
    assert np.isnan(onsets["loudness_correlation"])
    assert onsets["onset_f1"] == 1
    silent = control_adherence(
        build_controls(150, FRAMES_PER_SECOND, onsets=[0.4], level=np.array([-40.0, -20.0])),
        np.zeros(2 * RATE, np.float32),
        RATE,
        75.0,
    )
    assert silent["onset_f1"] == 0
    assert np.isnan(silent["loudness_correlation"])


def test_nothing_begins_as_asked_where_nothing_was_to_begin() -> None:
    steady, none = (
        0.1 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32),
        build_controls(150, FRAMES_PER_SECOND, onsets=[]),
    )
    as_wanted = control_adherence(none, steady, RATE, FRAMES_PER_SECOND)
    assert [as_wanted[name] for name in SCORES if name.startswith("onset")] == [1, 1, 1]
    assert control_adherence(none, bursts([0.4]), RATE, FRAMES_PER_SECOND)["onset_f1"] == 0
