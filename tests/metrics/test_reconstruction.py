"""Distances of a reconstruction from its original: values that follow from their definitions."""

import numpy as np
import pytest

from ssenv_core.metrics.reconstruction import log_mel_distance, si_sdr

RATE = 24_000


def noise(samples: int = 24_000, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def test_equal_clips_are_zero_apart_and_infinitely_clean():
    assert log_mel_distance(noise(), noise(), RATE) == 0
    assert si_sdr(noise(), noise()) == np.inf


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_gain_is_its_own_log_mel_distance_and_does_not_count_for_si_sdr(gain):
    assert log_mel_distance(noise(), gain * noise(), RATE) == pytest.approx(
        abs(20 * np.log10(gain)), abs=1e-6
    )
    other = noise() + 0.3 * noise(seed=1)
    assert si_sdr(noise(), gain * other) == pytest.approx(si_sdr(noise(), other))


@pytest.mark.parametrize("decibel", [0, 10, 30])
def test_si_sdr_is_the_ratio_of_signal_to_orthogonal_noise(decibel):
    x = noise()
    n = noise(seed=1)
    n -= (n @ x) / (x @ x) * x
    n *= np.linalg.norm(x) / np.linalg.norm(n) * 10 ** (-decibel / 20)
    assert si_sdr(x, x + n) == pytest.approx(decibel)


def test_noise_drawn_anew_is_near_in_log_mel_and_far_in_si_sdr():
    assert log_mel_distance(noise(seed=1), noise(seed=2), RATE) < 6
    assert log_mel_distance(noise(seed=1), noise(seed=2)[::-1] * 10, RATE) > 15
    assert si_sdr(noise(seed=1), noise(seed=2)) < -20


def test_frames_that_are_silent_in_both_do_not_dilute_the_distance():
    padding = np.zeros(24_000)
    whole = log_mel_distance(np.append(noise(), padding), np.append(2 * noise(), padding), RATE)
    assert whole == pytest.approx(20 * np.log10(2), rel=0.03)  # a few frames straddle the end
    assert np.isnan(log_mel_distance(padding, padding, RATE))
    assert log_mel_distance(padding, noise(), RATE) > 30  # sound where there was none counts


def test_a_silent_side_has_no_si_sdr():
    assert np.isnan(si_sdr(noise(), 0 * noise()))
    assert np.isnan(si_sdr(0 * noise(), noise()))


def test_clips_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="24000 samples, its reconstruction 23999"):
        log_mel_distance(noise(), noise()[:-1], RATE)
