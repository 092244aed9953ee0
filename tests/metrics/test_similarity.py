"""Spectral convergence and log spectral distance: values that follow from their definitions."""

import warnings

import librosa
import numpy as np
import pytest
import soundfile

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.similarity import paired_similarity, whole_clip_similarity


def noise(samples: int = 8000, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def spectral_convergence(real: np.ndarray, generated: np.ndarray) -> float:
    return paired_similarity([real], [generated]).loc[0, "spectral_convergence"]


def log_spectral_distance(real: np.ndarray, generated: np.ndarray) -> float:
    return paired_similarity([real], [generated]).loc[0, "log_spectral_distance"]


def test_equal_clips_are_zero_apart():
    assert spectral_convergence(noise(), noise()) == 0
    assert log_spectral_distance(noise(), noise()) == 0


@pytest.mark.parametrize("gain", [0.5, 2.0, 3.0])
def test_a_gain_is_its_own_distance(gain):
    assert spectral_convergence(noise(), gain * noise()) == pytest.approx(abs(gain - 1))
    assert log_spectral_distance(noise(), gain * noise()) == pytest.approx(
        abs(np.log(gain)), rel=1e-4
    )


def test_against_silence_convergence_is_one_or_undefined():
    assert spectral_convergence(noise(), 0 * noise()) == 1
    assert np.isnan(spectral_convergence(0 * noise(), noise()))
    assert np.isnan(spectral_convergence(0 * noise(), 0 * noise()))


def test_log_distance_to_silence_is_measured_from_the_floor():
    impulse = np.zeros(4096)
    # At the centre of frame 4 and of a Hann window: magnitude w[n] in every bin of its frames.
    impulse[2048] = 1.0
    window = (
        0.5
        * (1 + np.cos(2 * np.pi * 512 * (np.arange(9) - 4) / 2048))
        * (np.abs(np.arange(9) - 4) < 2)
    )
    expected = np.sqrt(np.mean(np.log((window + 1e-8) / 1e-8) ** 2))
    assert log_spectral_distance(impulse, np.zeros(4096)) == pytest.approx(expected)


def test_distance_is_symmetric_and_convergence_is_relative_to_the_real_side():
    assert log_spectral_distance(noise(seed=1), noise(seed=2)) == log_spectral_distance(
        noise(seed=2), noise(seed=1)
    )
    assert spectral_convergence(noise(), 4 * noise()) == pytest.approx(3)
    assert spectral_convergence(4 * noise(), noise()) == pytest.approx(0.75)


@pytest.mark.parametrize("samples", [2, 1000, 2048, 8001])
def test_the_spectra_are_those_of_librosas_default_stft(samples):
    a, b = noise(samples), noise(samples, seed=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_fft=2048 is too large")
        r, g = np.abs(librosa.stft(a)), np.abs(librosa.stft(b))
    assert spectral_convergence(a, b) == pytest.approx(np.linalg.norm(r - g) / np.linalg.norm(r))
    assert log_spectral_distance(a, b) == pytest.approx(
        np.sqrt(np.mean((np.log(r + 1e-8) - np.log(g + 1e-8)) ** 2))
    )


def test_only_the_frames_of_the_shorter_clip_count():
    long = noise(16_384)
    assert (
        0 < spectral_convergence(long, long[:8192]) < 0.2
    )  # the last two frames of the short clip end in padding
    assert 0 < spectral_convergence(long[:8192], long) < 0.2
    assert spectral_convergence(long, np.concatenate([long[:8192], noise(8192, seed=1)])) > 0.3


def test_the_papers_published_values_are_those_of_whole_clips_at_different_rates(recordings):
    published = {
        "spectral_convergence": [0.9988, 1.0180, 1.3148],
        "log_spectral_distance": [2.841, 2.223, 1.963],
    }
    values = []
    for i, path in enumerate(sorted((recordings / "esc50/audio").glob("2-*"))[:3], start=1):
        real = (
            np.round(soundfile.read(path)[0][: 5 * 44_100] * 2**15) / 2**15
        )  # the dataset's 16-bit wavs, made from these files
        values.append(
            whole_clip_similarity(
                real, soundfile.read(recordings / f"paper/generated_clips/sample_{i:03}.flac")[0]
            )
        )
    assert [v["spectral_convergence"] for v in values] == pytest.approx(
        published["spectral_convergence"], abs=6e-5
    )
    assert [v["log_spectral_distance"] for v in values] == pytest.approx(
        published["log_spectral_distance"], abs=2e-3
    )


def test_whole_clips_are_compared_after_padding_the_shorter_one():
    impulse, late = np.eye(1, 64)[0], np.eye(1, 100, 70)[0]
    assert whole_clip_similarity(impulse, late) == {
        "spectral_convergence": pytest.approx(0),
        "log_spectral_distance": pytest.approx(0),
    }
    assert whole_clip_similarity(late, 3 * impulse)["spectral_convergence"] == pytest.approx(2)
    assert whole_clip_similarity(3 * impulse, late)["log_spectral_distance"] == pytest.approx(
        np.log(3)
    )


def test_pairs_are_taken_in_order():
    reals, generateds = [noise(seed=i) for i in range(3)], [noise(seed=i) for i in (0, 4, 5)]
    table = paired_similarity(reals, generateds)
    assert table["spectral_convergence"].tolist() == [
        spectral_convergence(r, g) for r, g in zip(reals, generateds, strict=True)
    ]
    assert table["log_spectral_distance"].tolist() == [
        log_spectral_distance(r, g) for r, g in zip(reals, generateds, strict=True)
    ]
    assert table.loc[0].tolist() == [0, 0]
    assert (table.loc[1:] > 0.1).all(axis=None)


def test_lists_that_do_not_pair_and_broken_clips_are_refused():
    with pytest.raises(SsenvError, match="2 and 1"):
        paired_similarity([noise(), noise()], [noise()])
    with pytest.raises(SsenvError, match=r"generated clip 1: .*NaN"):
        paired_similarity([noise(), noise()], [noise(), noise() * np.nan])
