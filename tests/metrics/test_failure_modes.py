"""The diagnosis of sets of sounds with a failure that the test made; noise floor, errors."""

import numpy as np
import pandas as pd
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.failure_measures import MEASURES, MODES
from ssenv_core.metrics.failure_modes import (
    Diagnosis,
    Examination,
    examine,
    floor_factor,
    judge,
    subset_size,
)

RATE, SECONDS, CLIPS = 24_000, 3, 24
SAMPLES = RATE * SECONDS


def scene(seed: int) -> np.ndarray:
    """Coloured noise that swells and fades, under bursts with sharp attacks at random times."""
    rng = np.random.default_rng(seed)
    colour = rng.uniform(0, 0.85)
    wav = 10 ** rng.uniform(-2.5, -1) * scipy.signal.lfilter(
        [1], [1, -colour], rng.standard_normal(SAMPLES)
    )
    for _ in range(rng.integers(6, 14)):
        start, length = rng.integers(0, SAMPLES - 2400), int(rng.uniform(0.05, 0.3) * RATE)
        burst = scipy.signal.lfilter(
            [1], [1, -colour - rng.uniform(-0.1, 0.1)], rng.standard_normal(length)
        )
        wav[start : start + length] += (
            rng.uniform(0.1, 0.5) * burst * np.exp(-5 * np.arange(length) / length)
        )[: SAMPLES - start]
    level = np.interp(
        np.arange(SAMPLES), np.arange(SECONDS + 1) * RATE, rng.normal(0, 8, SECONDS + 1)
    )
    return wav * 10 ** (level / 20)


def low_passed(wav: np.ndarray) -> np.ndarray:
    return scipy.signal.sosfilt(scipy.signal.butter(4, 2500, fs=RATE, output="sos"), wav)


def smeared(wav: np.ndarray, window: int = 8192) -> np.ndarray:
    """Random phases in frames of 0.34 s: events are spread over a frame, changes between stay."""
    _, _, frames = scipy.signal.stft(wav, nperseg=window, noverlap=window * 3 // 4)
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, frames.shape)
    return scipy.signal.istft(
        np.abs(frames) * np.exp(1j * phases), nperseg=window, noverlap=window * 3 // 4
    )[1][: wav.size]


def looped(wav: np.ndarray, period: int = RATE // 2) -> np.ndarray:
    loudest = np.argmax(scipy.signal.fftconvolve(wav**2, np.ones(period), "valid"))
    return np.tile(wav[loudest : loudest + period], wav.size // period)


def steady(wav: np.ndarray) -> np.ndarray:
    """Random phases over the whole clip: stationary noise with its spectrum."""
    spectrum = np.fft.rfft(wav)
    return np.fft.irfft(
        spectrum * np.exp(2j * np.pi * np.random.default_rng(0).random(spectrum.size)), wav.size
    )


def clicks(seed: int, per_second: int = 10) -> np.ndarray:
    """Short bursts of noise, louder than what is around them."""
    rng = np.random.default_rng(seed)
    envelope = np.exp(-60 * (np.arange(SAMPLES) % (RATE // per_second)) / RATE)
    return envelope * rng.standard_normal(SAMPLES)


@pytest.fixture(scope="module")
def real() -> list[np.ndarray]:
    return [scene(i) for i in range(CLIPS)]


@pytest.fixture(scope="module")
def others() -> list[np.ndarray]:
    return [scene(1000 + i) for i in range(CLIPS)]


@pytest.fixture(scope="module")
def examined(real) -> Examination:
    return examine(real, RATE)


def found(
    examined: Examination, generated: list[np.ndarray], verdict: str = "present"
) -> dict[str, set[str]]:
    """The measures with a verdict, by mode."""
    present = [d for d in judge(examined, examine(generated, RATE)) if d.verdict == verdict]
    return {
        mode: {d.measure for d in present if d.mode == mode} for mode in {d.mode for d in present}
    }


def test_real_against_real_flags_next_to_nothing_in_either_direction(examined, others):
    assert found(examined, others, "present") == {}
    ratios = [d.ratio for d in judge(examined, examine(others, RATE))]
    assert np.sum(np.abs(ratios) > 1) <= 1  # one in twenty is the chance of each
    assert np.max(np.abs(ratios)) < 1.2


def test_false_alarms_are_rare(examined, others):
    both = [examined, examine(others, RATE)]
    values, embeddings = (
        pd.concat([e.values for e in both], ignore_index=True),
        np.concatenate([e.embeddings for e in both]),
    )
    alarms = []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(2 * CLIPS)
        halves = (
            Examination(values.iloc[half], embeddings[half])
            for half in (order[:CLIPS], order[CLIPS:])
        )
        alarms += [d.verdict for d in judge(*halves, repeats=100)]
    assert alarms.count("present") / len(alarms) < 0.02
    assert alarms.count("absent") / len(alarms) > 0.95


def test_a_low_pass_flags_high_frequency_attenuation_alone(examined, others):
    verdict = found(examined, [low_passed(wav) for wav in others])
    assert set(verdict) == {"high_frequency_attenuation"}
    assert verdict["high_frequency_attenuation"] >= {"energy_above_4khz", "energy_above_8khz"}


def test_smearing_within_a_third_of_a_second_flags_temporal_smoothing_alone(examined, others):
    verdict = found(examined, [smeared(wav) for wav in others])
    assert set(verdict) == {"temporal_smoothing"}
    assert verdict["temporal_smoothing"] == {
        name for name, m in MEASURES.items() if m.mode == "temporal_smoothing"
    }


def test_one_clip_repeated_flags_reduced_diversity_whatever_its_levels(examined, others):
    # the clip in the middle, so that its other measures are no outliers
    embeddings = examine(others, RATE).embeddings
    middle = others[np.argmin(squareform(pdist(embeddings / embeddings.std(axis=0))).sum(axis=1))]
    verdict = found(examined, [gain * middle for gain in np.geomspace(0.01, 1, CLIPS)])
    assert verdict == {"reduced_diversity": {"mean_distance", "nearest_distance"}}


def test_a_loop_flags_the_lack_of_evolution_alone(examined, others):
    verdict = found(examined, [looped(wav) for wav in others])
    assert set(verdict) == {"no_temporal_evolution"}
    assert verdict["no_temporal_evolution"] == {
        "block_similarity",
        "spectral_change",
        "level_spread",
    }


def test_stationary_noise_is_both_smooth_and_without_evolution(examined, others):
    verdict = found(examined, [steady(wav) for wav in others])
    assert {"temporal_smoothing", "no_temporal_evolution"} <= set(verdict)
    assert "high_frequency_attenuation" not in verdict


def test_clips_with_more_onsets_than_real_ones_differ_in_the_other_direction(examined, others):
    busy = [wav + 0.2 * clicks(i) for i, wav in enumerate(others)]
    assert "onset_rate" in found(examined, busy, "reversed")["temporal_smoothing"]
    assert "onset_rate" not in found(examined, busy, "present").get("temporal_smoothing", ())
    (onsets,) = [d for d in judge(examined, examine(busy, RATE)) if d.measure == "onset_rate"]
    assert onsets.generated > onsets.real
    assert "present, in the other direction (more onsets than real clips)" in onsets.sentence


def test_smearing_and_its_inverse_have_opposite_verdicts(examined, others):
    smooth = examine([smeared(wav) for wav in others], RATE)
    there = {d.measure: d.verdict for d in judge(examined, smooth)}
    back = {d.measure: d.verdict for d in judge(smooth, examined)}
    for name in ("spectral_flux", "crest_factor", "modulation_share"):
        assert (there[name], back[name]) == ("present", "reversed")


def test_clips_of_a_class_that_are_alike_flag_the_class_distance(real, others):
    labels = [i % 4 for i in range(CLIPS)]
    generated = [others[label] for label in labels]
    sides = (examine(clips, RATE) for clips in (real, generated))
    verdicts = {d.measure: d for d in judge(*sides, real_labels=labels, generated_labels=labels)}
    assert list(verdicts) == list(MEASURES)
    assert verdicts["class_distance"].verdict == "present"
    assert verdicts["class_distance"].generated == pytest.approx(0, abs=1e-9)
    assert verdicts["class_distance"].real > 0.5


def test_classes_of_one_clip_have_no_class_distance(examined):
    for real_labels, labels in ((range(CLIPS), [0] * CLIPS), ([0] * CLIPS, range(CLIPS))):
        verdicts = judge(
            examined, examined, real_labels=real_labels, generated_labels=labels, repeats=20
        )
        assert [d.measure for d in verdicts] == [
            name for name in MEASURES if name != "class_distance"
        ]


@given(gain=st.floats(1e-4, 1e3), seed=st.integers(0, 20))
@settings(deadline=None, max_examples=10)
def test_level_does_not_matter(gain, seed):
    one, other = (examine([g * scene(seed)], RATE) for g in (1.0, gain))
    assert other.values.iloc[0].to_dict() == pytest.approx(one.values.iloc[0].to_dict())
    assert other.embeddings == pytest.approx(one.embeddings)


def test_a_constant_offset_does_not_matter():
    one, other = (examine([offset + scene(0)], RATE) for offset in (0, 0.5))
    assert other.values.iloc[0].to_dict() == pytest.approx(one.values.iloc[0].to_dict())
    assert other.embeddings == pytest.approx(one.embeddings)


def test_a_filter_hardly_moves_the_measures_of_time():
    columns = [
        name
        for name, m in MEASURES.items()
        if m.mode in ("temporal_smoothing", "no_temporal_evolution")
    ]
    tilted, plain = (
        examine([scipy.signal.lfilter([1, -0.9], [1], scene(0)), scene(0)], RATE)
        .values[columns]
        .to_dict("records")
    )
    assert tilted == pytest.approx(plain, rel=0.15)


def test_distances_between_clips_are_those_of_their_embeddings():
    embeddings = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    reference = np.tile([[-1.0, -1.0], [1.0, 1.0]], (4, 1))  # standard deviation 1
    for scale in (1, 10):
        real, generated = (
            Examination(pd.DataFrame({"silent": [False] * len(e)}), e)
            for e in (scale * reference, embeddings)
        )
        verdicts = judge(
            real,
            generated,
            real_labels=[0, 1] * 4,
            generated_labels=["dog", "dog", "rain"],
            repeats=20,
        )
        found = {
            d.measure: d.generated * scale * np.sqrt(2) for d in verdicts
        }  # rms over 2 columns
        assert found == pytest.approx(
            {"mean_distance": 4, "nearest_distance": 10 / 3, "class_distance": 3}
        )


def test_the_embedding_is_the_callers_choice(real, others):
    sides = (
        examine(clips, RATE, embedding=lambda clip: np.array([np.ptp(clip.wav)]))
        for clips in (real, others)
    )
    verdicts = {d.measure: d for d in judge(*sides)}
    peaks = np.array([np.ptp(wav) for wav in real])
    expected = np.abs(peaks[:, None] - peaks).sum() / (CLIPS * (CLIPS - 1)) / peaks.std()
    assert verdicts["mean_distance"].real == pytest.approx(expected, rel=0.02)


def test_a_diagnosis_says_what_its_numbers_say(examined, others):
    verdicts = judge(examined, examine([low_passed(wav) for wav in others], RATE))
    assert [d.measure for d in verdicts] == [name for name in MEASURES if name != "class_distance"]
    for d in verdicts:
        assert d.mode == MEASURES[d.measure].mode
        assert d.gap == pytest.approx(MEASURES[d.measure].direction * (d.generated - d.real))
        assert d.ratio == d.gap / d.noise_floor
        assert d.sentence.startswith(f"{MODES[d.mode]}: {d.verdict}: ")
        side = "towards" if d.gap > 0 else "away from"
        assert d.sentence.endswith(f"a gap of {abs(d.ratio):.1f} noise floors {side} failure")
        if d.measure in examined.values:
            assert d.real == pytest.approx(examined.values[d.measure].mean())
    words = verdicts[0].sentence
    assert f"{100 * 10 ** (verdicts[0].generated / 10):.3g} % of the energy above 4 kHz" in words
    assert f"against {100 * 10 ** (verdicts[0].real / 10):.3g} % in real clips" in words


@pytest.mark.parametrize("measure", MEASURES)
def test_a_verdict_follows_from_the_gap_and_the_noise_floor_in_both_directions(measure):
    towards = MEASURES[measure].direction
    for gap, verdict in ((2.1, "present"), (1.9, "absent"), (-1.9, "absent"), (-2.1, "reversed")):
        d = Diagnosis(measure, real=10.0, generated=10.0 + towards * gap, noise_floor=2.0)
        assert d.verdict == verdict
        assert ("in the other direction" in d.sentence) == (verdict == "reversed")
        assert (": absent: " in d.sentence) == (verdict == "absent")
        assert ("towards failure" in d.sentence) == (gap > 0)
        assert (MEASURES[measure].opposite in d.sentence) == (verdict == "reversed")


def test_where_real_clips_do_not_differ_any_difference_counts():
    for generated, verdict in ((1.0, "absent"), (0.9, "present"), (1.1, "reversed")):
        d = Diagnosis("onset_rate", 1.0, generated, 0.0)
        assert d.verdict == verdict
        assert np.isnan(d.ratio)
        assert "real clips do not differ at all" in d.sentence


@pytest.mark.parametrize(
    ("real", "generated", "factor"), [(400, 200, 1.15), (400, 400, 1.41), (400, 40, 1.35)]
)
def test_the_noise_floor_is_as_much_wider_as_its_subsets_are_smaller(real, generated, factor):
    rng = np.random.default_rng(0)
    size = subset_size(real, generated)
    subsets, sets = (
        rng.standard_normal((5000, a)).mean(axis=1) - rng.standard_normal((5000, b)).mean(axis=1)
        for a, b in ((size, size), (real, generated))
    )
    assert floor_factor(real, generated) == pytest.approx(factor, abs=0.01)
    assert subsets.std() / sets.std() == pytest.approx(factor, rel=0.05)


def test_a_diagnosis_is_seeded(examined, others):
    generated = examine(others, RATE)
    first = judge(examined, generated, seed=1, repeats=50)
    assert first == judge(examined, generated, seed=1, repeats=50)
    assert first != judge(examined, generated, seed=2, repeats=50)


def test_silent_and_short_clips_are_left_out_and_counted(examined, others):
    some = others[:6]
    mixed = examine(
        [some[0], np.zeros(SAMPLES), *some[1:], np.full(SAMPLES, 0.1), some[0][: RATE // 2]], RATE
    )
    assert np.flatnonzero(mixed.values["silent"]).tolist() == [1, 7]
    assert np.flatnonzero(mixed.values["onset_rate"].isna()).tolist() == [1, 7, 8]
    assert len(mixed.embeddings) == 7
    verdicts = {d.measure: d for d in judge(examined, mixed, repeats=50)}
    assert verdicts["onset_rate"].sentence.endswith("(3 silent or short clips left out)")
    assert verdicts["mean_distance"].sentence.endswith("(2 silent or short clips left out)")
    assert verdicts["onset_rate"].generated == pytest.approx(
        examine(some, RATE).values["onset_rate"].mean()
    )


def test_clips_that_cannot_be_examined_are_refused_in_one_line(real):
    for generated, words in (
        ([real[0], real[1] * np.nan], r"generated clip 1: .*NaN"),
        ([np.zeros((2, SAMPLES))], r"generated clip 0: .*mono"),
        ([], "generated clips: the list is empty"),
        ([np.zeros(SAMPLES)] * 2, "generated clips: all 2 are silent"),
        ([real[0][:100]], "generated clip 0: 100 samples"),
    ):
        with pytest.raises(SsenvError, match=words) as error:
            examine(generated, RATE, name="generated clip")
        assert "\n" not in str(error.value)
    with pytest.raises(SsenvError, match="clip 0: its embedding"):
        examine(real[:1], RATE, embedding=lambda clip: np.array([np.nan]))


def test_sets_that_cannot_be_judged_are_refused_in_one_line(examined, real):
    few, short = examine(real[:7], RATE), examine([wav[:RATE] for wav in real[:3]], RATE)
    for one, other, words in (
        (few, examined, "energy_above_4khz: 7 real and 24 generated"),
        (examined, examine(real[:1], RATE), "24 real and 1 generated"),
        (examined, short, r"onset_rate: 24 real and 0 generated .*1.5 s"),
    ):
        with pytest.raises(SsenvError, match=words) as error:
            judge(one, other)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="both sides or for neither"):
        judge(examined, examined, real_labels=range(CLIPS))
    with pytest.raises(ValueError, match="3 labels for 24 clips"):
        judge(examined, examined, real_labels=range(3), generated_labels=range(CLIPS), repeats=20)
