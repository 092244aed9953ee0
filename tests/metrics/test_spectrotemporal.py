"""Measures of single clips on sounds with known values: tones, noise, clicks, loops, silence."""

import numpy as np
import pytest
import scipy.stats

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.spectrotemporal import (
    LEAST_FRAMES,
    analyse,
    change_ranks,
    energy_share_below,
    high_frequency_attenuation,
    is_constant,
    log_mel_embedding,
    long_term_spectrum,
    no_temporal_evolution,
    self_similarity,
    temporal_smoothing,
)

RATE, SECONDS = 24_000, 3
SAMPLES = RATE * SECONDS


def noise(seed: int = 0, samples: int = SAMPLES) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def tone(frequency: float) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(SAMPLES) / RATE)


def test_energy_lies_where_the_tone_is():
    shares = {
        f: high_frequency_attenuation(analyse(tone(f), RATE)) for f in (50, 1000, 5000, 10_000)
    }
    assert [shares[f]["energy_below_100hz"] for f in shares] == pytest.approx(
        [0, -60, -60, -60], abs=1e-6
    )
    assert [shares[f]["energy_above_4khz"] for f in shares] == pytest.approx(
        [-60, -60, 0, 0], abs=1e-6
    )
    assert [shares[f]["energy_above_8khz"] for f in shares] == pytest.approx(
        [-60, -60, -60, 0], abs=1e-6
    )


def test_the_share_below_a_frequency_is_that_of_the_tones_there_whatever_the_level_or_the_offset():
    mixed = 0.01 * (3 * tone(50) + 4 * tone(1000)) + 0.5
    assert energy_share_below(mixed, RATE, 100) == pytest.approx(9 / 25)
    assert energy_share_below(mixed, RATE, 2000) == pytest.approx(1)
    assert np.isnan(energy_share_below(np.zeros(SAMPLES), RATE, 100))


def test_white_noise_has_the_energy_of_its_bandwidth():
    shares = high_frequency_attenuation(analyse(noise(), RATE))
    assert shares["energy_above_4khz"] == pytest.approx(10 * np.log10(8 / 12), abs=0.1)
    assert shares["energy_above_8khz"] == pytest.approx(10 * np.log10(4 / 12), abs=0.1)
    assert shares["energy_below_100hz"] == pytest.approx(10 * np.log10(0.1 / 12), abs=1)


def test_third_octaves_hold_the_tone_and_rise_with_bandwidth_in_noise():
    levels = long_term_spectrum(tone(1000), RATE)
    assert levels.idxmax() == 1000
    assert levels.max() == pytest.approx(0, abs=1e-6)
    white = long_term_spectrum(noise(), RATE)
    assert white.index[[0, -1]].tolist() == pytest.approx([25, 10_000], rel=0.02)
    assert white.loc[8000.0] - white.loc[1000.0] == pytest.approx(
        9, abs=0.5
    )  # three octaves, 3 dB each


def test_onsets_are_counted_and_noise_has_none():
    clicks = 1e-4 * noise()
    clicks[RATE // 8 :: RATE // 4] = 1.0
    sharp, flat = (
        temporal_smoothing(analyse(clicks, RATE)),
        temporal_smoothing(analyse(noise(), RATE)),
    )
    assert sharp["onset_rate"] == pytest.approx(4, abs=0.4)
    assert flat["onset_rate"] == 0
    assert sharp["onset_strength"] > 20 > 3 > flat["onset_strength"]
    assert sharp["crest_factor"] > flat["crest_factor"] + 3


@pytest.mark.parametrize(
    ("rate", "expected"), [(1, 0), (5, 1 / 3), (40, 0)]
)  # a cosine has half the energy of its mean 1
def test_modulation_share_is_that_of_2_to_20_hz(rate, expected):
    envelope = 1 + np.cos(2 * np.pi * rate * np.arange(SAMPLES) / RATE)
    assert temporal_smoothing(analyse(envelope * tone(3000), RATE))[
        "modulation_share"
    ] == pytest.approx(expected, abs=0.02)


def test_a_loop_is_similar_to_itself_at_every_lag_and_a_change_is_not():
    loop = self_similarity(analyse(np.tile(noise(samples=RATE // 2), 2 * SECONDS), RATE))
    assert loop.index[:3].tolist() == [0, 0.5, 1]
    assert loop.to_numpy() == pytest.approx(np.ones(len(loop)), abs=1e-3)
    half = np.concatenate([tone(500)[: SAMPLES // 2], tone(5000)[: SAMPLES // 2]])
    change = self_similarity(analyse(half, RATE))
    assert change.iloc[0] == pytest.approx(1)
    assert change.iloc[-1] < 0.5 * change.iloc[1]
    assert no_temporal_evolution(analyse(half, RATE))["block_similarity"] == pytest.approx(
        change.iloc[2:].mean()
    )


def test_a_seam_changes_the_sound_more_than_other_moments_do():
    wav = noise()
    wav[RATE:] *= 3
    wav[2 * RATE :] = 1e-3 * tone(3000)[2 * RATE :]
    ranks = change_ranks(analyse(wav, RATE), [0.5, 1.0, 1.5, 2.0])
    assert ranks[1] > 0.9  # the moments around the other one change more
    assert ranks[3] > 0.9
    assert max(ranks[0], ranks[2]) < 0.9


def test_moments_of_nothing_special_have_ranks_of_all_sizes():
    ranks = np.concatenate(
        [change_ranks(analyse(noise(seed), RATE), [0.7, 1.3, 2.1]) for seed in range(40)]
    )
    assert scipy.stats.kstest(ranks, "uniform").pvalue > 0.01
    assert change_ranks(analyse(noise(), RATE), []).size == 0


@pytest.mark.parametrize("time", [0.09, 2.95])
def test_a_change_needs_what_is_before_and_after_it(time):
    with pytest.raises(SsenvError, match=r"needs 0\.1 s of the clip before and after it"):
        change_ranks(analyse(noise(), RATE), [time])


def test_half_seconds_1_s_apart_need_1_5_s():
    shortest = analyse(noise(samples=3 * RATE // 2), RATE)
    assert shortest.mel.shape == (40, LEAST_FRAMES)
    assert self_similarity(shortest).index.tolist() == [0, 0.5, 1]


def test_the_embedding_of_a_tone_stands_out_where_the_tone_is():
    embedding = log_mel_embedding(analyse(tone(5000) + 0.1 * noise(), RATE))
    assert embedding.shape == (80,)
    assert np.argmax(embedding[:40]) == np.argmax(analyse(tone(5000), RATE).mel.sum(axis=1))
    assert np.argmin(embedding[40:]) == np.argmax(
        embedding[:40]
    )  # the tone is steady, noise is not


def test_clips_without_sound_are_refused_in_one_line():
    constant = np.full(SAMPLES, 0.1) + 1e-12 * noise()
    assert is_constant(constant)
    assert not is_constant(1e-6 * noise())
    for refused, words in (
        (lambda: analyse(constant, RATE, "rain 3"), "rain 3: silent"),
        (lambda: analyse(noise(samples=100), RATE, "rain 3"), "rain 3: 100 samples, under 512"),
        (lambda: long_term_spectrum(constant, RATE), "waveform: silent"),
    ):
        with pytest.raises(SsenvError, match=words) as error:
            refused()
        assert "\n" not in str(error.value)
