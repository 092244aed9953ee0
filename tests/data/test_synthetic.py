"""The synthetic dataset: reproducible, varied, level-controlled, and each class measurable."""

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from ssenv_core.base.errors import SsenvError
from ssenv_core.data import load_dataset
from ssenv_core.data.synthetic import CLASS_NAMES, load_synthetic, render

RATE = 24000
CLIPS = 10


def log_mel(wav):
    """(64, T) log-mel in dB."""
    return librosa.power_to_db(
        librosa.feature.melspectrogram(y=wav, sr=RATE, n_fft=1024, hop_length=512, n_mels=64) + 1e-8
    )


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("synthetic", clips_per_class=CLIPS)


@pytest.fixture(scope="module")
def sounds(dataset):
    return [dataset.read(clip, RATE) for clip in dataset.clips]


def of_class(name, sounds):
    label = CLASS_NAMES.index(name)
    return sounds[label * CLIPS : (label + 1) * CLIPS]


def spectrum(wav):
    """(frequencies in Hz, mean power spectrum)."""
    return librosa.fft_frequencies(sr=RATE), (np.abs(librosa.stft(wav)) ** 2).mean(axis=1)


def power_between(wav, low, high):
    """Share of the power between two frequencies in Hz."""
    f, power = spectrum(wav)
    return power[(f >= low) & (f < high)].sum() / power.sum()


def envelope(wav):
    """RMS in frames of 10 ms."""
    return np.sqrt((wav[: len(wav) // 240 * 240].reshape(-1, 240) ** 2).mean(axis=1))


def tonality(wav, n_fft):
    """Level in dB of a frame's sharpest spectral line above its surroundings.

    The median over frames; noise reaches about 10.
    """
    levels = librosa.amplitude_to_db(
        np.abs(librosa.stft(wav, n_fft=n_fft, hop_length=2048)), amin=1e-6, top_db=None
    )
    return np.median((levels - median_filter(levels, (31, 1))).max(axis=0))


@settings(deadline=None, max_examples=20)
@given(
    name=st.sampled_from(CLASS_NAMES),
    seed=st.integers(0, 2**31),
    rate=st.sampled_from([8000, 24000, 44100, 48000]),
    duration=st.floats(0.05, 1.5),
)
def test_any_clip_is_reproducible_finite_and_within_its_peak(name, seed, rate, duration):
    wav = render(name, seed, rate, duration)
    assert wav.shape == (round(duration * rate),)
    assert wav.dtype == np.float32
    assert np.isfinite(wav).all()
    assert np.abs(wav).max() <= 0.95
    assert np.array_equal(wav, render(name, seed, rate, duration))


def test_a_clip_is_the_same_sound_at_every_rate():
    for name in CLASS_NAMES:
        high, low = render(name, 3, 48000, 1.0), render(name, 3, 16000, 1.0)
        again = librosa.resample(high, orig_sr=48000, target_sr=16000, res_type="soxr_hq")
        assert np.corrcoef(again, low)[0, 1] > 0.98, name


def test_different_seeds_and_indices_share_no_clip():
    recipes = [
        clip.source for seed in range(3) for clip in load_dataset("synthetic", seed=seed).clips
    ]
    assert len(set(recipes)) == 3 * 400
    assert not np.array_equal(render("wind", 0, duration=1.0), render("wind", 1, duration=1.0))


def test_more_clips_leave_the_first_ones_as_they_are():
    small, large = (
        load_dataset("synthetic", clips_per_class=3),
        load_dataset("synthetic", clips_per_class=7),
    )
    assert set(small.clips) < set(large.clips)


def test_folds_are_balanced_over_every_class(dataset):
    for label in range(10):
        assert [clip.fold for clip in dataset.clips if clip.label == label] == [1, 2, 3, 4, 5] * 2


def test_fingerprint_is_that_of_the_parameters():
    prints = {
        load_synthetic(count, seed, seconds).fingerprint
        for seed, count, seconds in [
            (0, 5, 5.0),
            (1, 5, 5.0),
            (0, 6, 5.0),
            (0, 5, 4.0),
            (0, 5, 5.0),
        ]
    }
    assert len(prints) == 4


@pytest.mark.parametrize(
    "arguments", [{"clips_per_class": 0}, {"clips_per_class": 10_001}, {"seed": -1}]
)
def test_parameters_out_of_range_are_refused(arguments):
    with pytest.raises(SsenvError, match=next(iter(arguments)).replace("seed", "the seed")):
        load_dataset("synthetic", **arguments)


def test_an_unknown_class_is_a_programming_mistake():
    with pytest.raises(ValueError, match="no synthetic class 'meow'"):
        render("meow", 0)


def test_levels_vary_as_recordings_do(sounds):
    levels = np.array([20 * np.log10(np.sqrt(np.mean(wav**2))) for wav in sounds]).reshape(
        10, CLIPS
    )
    assert levels.std(axis=1).min() > 1
    assert -50 < levels.min() < levels.max() < -5
    assert (
        levels[CLASS_NAMES.index("clock_tick")].mean()
        < levels[CLASS_NAMES.index("siren")].mean() - 12
    )


def test_a_trivial_classifier_tells_the_classes_apart_though_no_two_clips_are_alike(
    dataset, sounds
):
    mels = [log_mel(wav) for wav in sounds]
    features = np.stack(
        [np.concatenate([mel.mean(axis=1) - mel.mean(), mel.std(axis=1)]) for mel in mels]
    )
    labels, held_out = (
        np.array([clip.label for clip in dataset.clips]),
        np.array([clip.fold == 1 for clip in dataset.clips]),
    )
    means = np.stack([features[(labels == label) & ~held_out].mean(axis=0) for label in range(10)])
    nearest = np.linalg.norm(features[held_out][:, None] - means, axis=2).argmin(axis=1)
    assert np.mean(nearest == labels[held_out]) >= 0.7  # chance is 0.1

    for label in range(10):
        own = features[labels == label]
        distances = np.sqrt(((own[:, None] - own) ** 2).mean(axis=2))[np.triu_indices(CLIPS, 1)]
        assert np.median(distances) > 1, CLASS_NAMES[
            label
        ]  # dB per feature; the halves of one clip of rain differ by 0.4
        assert distances.min() > 0.2, CLASS_NAMES[label]


def test_rain_is_dense_and_broadband(sounds):
    for wav in of_class("rain", sounds):
        quiet, loud = np.quantile(envelope(wav), [0.05, 0.95])
        assert loud / quiet < 4
        assert power_between(wav, 1000, 12000) > 0.15
        assert tonality(wav, 8192) < 14


def test_wind_is_low_and_gusty(sounds):
    for wav in of_class("wind", sounds):
        assert power_between(wav, 0, 1500) > 0.9
        gusts = np.convolve(envelope(wav), np.ones(50) / 50, mode="valid")
        assert gusts.max() / gusts.min() > 1.5


def test_waves_swell_slowly_and_brighten(sounds):
    for wav in of_class("waves", sounds):
        swell = np.convolve(envelope(wav), np.ones(50) / 50, mode="valid")
        assert swell.max() / swell.min() > 2
        crest, trough = swell.argmax() * 240, swell.argmin() * 240
        assert power_between(wav[crest : crest + 12000], 1500, 12000) > power_between(
            wav[trough : trough + 12000], 1500, 12000
        )


def test_crackling_fire_is_impulses_over_a_quiet_bed(sounds):
    for wav in of_class("crackling_fire", sounds):
        assert np.abs(wav).max() / np.median(np.abs(wav)) > 50


def test_a_clock_ticks_regularly_one_to_four_times_a_second(sounds):
    for wav in of_class("clock_tick", sounds):
        beat = envelope(wav) - envelope(wav).mean()
        correlation = np.correlate(beat, beat, "full")[len(beat) - 1 :]
        best = (
            20 + correlation[20:320].argmax()
        )  # lags of 0.2 to 3.2 s: tick to tick or, alternating, tick to next tick
        assert correlation[best] > 0.4 * correlation[0]
        period = best / 100
        assert any(
            0.95 <= rate * period / steps <= 1.05
            for rate in (1, 2, 2.5, 3, 4)
            for steps in (1, 2, 3, 4, 5, 6, 7, 8)
        )


def test_a_dog_barks_one_to_five_times_with_falling_pitch(sounds):
    for wav in of_class("dog", sounds):
        loud = (
            librosa.util.normalize(np.convolve(envelope(wav), np.ones(5) / 5, mode="same")) > 0.25
        )
        assert 1 <= np.sum(np.diff(loud.astype(int), prepend=0) == 1) <= 6
        assert loud.mean() < 0.5


def test_crickets_sing_between_3_and_5_and_a_half_kilohertz(sounds):
    for wav in of_class("crickets", sounds):
        f, power = spectrum(wav)
        assert 2900 < f[np.where(f > 500, power, 0).argmax()] < 5600
        assert power_between(wav, 2800, 5700) > 0.5


def test_an_engine_is_low_and_tonal(sounds):
    for wav in of_class("engine", sounds):
        assert power_between(wav, 0, 1000) > 0.7
        assert tonality(wav, 8192) > 15


def test_a_siren_is_tonal_and_moves(sounds):
    for wav in of_class("siren", sounds):
        assert tonality(wav, 512) > 18
        magnitude = np.abs(librosa.stft(wav))
        pitch = librosa.fft_frequencies(sr=RATE)[magnitude[:300].argmax(axis=0)]
        assert np.quantile(pitch, 0.95) / np.quantile(pitch, 0.05) > 1.2


def test_footsteps_come_at_a_walking_pace(sounds):
    for wav in of_class("footsteps", sounds):
        quiet, loud = np.quantile(envelope(wav), [0.1, 0.98])
        assert loud / quiet > 3
        smooth = np.convolve(envelope(wav), np.hanning(30), mode="same")
        rate = np.abs(np.fft.rfft(smooth - smooth.mean()))
        pace = np.fft.rfftfreq(len(smooth), 0.01)
        band = (pace > 0.6) & (pace < 6)
        assert 0.65 < pace[band][rate[band].argmax()] < 5


def test_padding_with_digital_silence_occurs(sounds):
    silent_ends = [not wav[-240:].any() for wav in of_class("dog", sounds)]
    assert any(silent_ends)
    assert not all(silent_ends)
