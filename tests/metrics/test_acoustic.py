"""Acoustic metrics against the paper's values, known signals, and implied properties."""

import json

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.acoustic import METRICS, acoustic_metrics, is_clipped, measure

SPECTRAL = ["snr", "zcr", "spectral_entropy", "spectral_centroid", "spectral_rolloff"]


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def tone(frequency: float, sample_rate: int, seconds: float, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(
        2 * np.pi * frequency * (np.arange(round(seconds * sample_rate)) + 0.5) / sample_rate
    )


def test_published_values_of_the_paper_are_reproduced(recordings):
    paper = recordings / "paper"
    published = json.loads((paper / "generated_metrics.json").read_text())
    clips = [
        soundfile.read(paper / f"generated_clips/{name}.flac", dtype="float32")
        for name in published
    ]
    measured = measure(clips, convention="paper")
    assert len(measured) == 20
    for row, expected in zip(measured.to_dict("records"), published.values(), strict=True):
        assert {name: row[name] for name in METRICS} == pytest.approx(expected, rel=1e-7)


def test_a_sine_has_the_values_of_the_formulas():
    f, rate, a = 1000, 8000, 0.5
    values = acoustic_metrics(tone(f, rate, 1, a), rate)
    assert values["rms"] == pytest.approx(a / np.sqrt(2))
    assert values["zcr"] == pytest.approx(2 * f / rate, rel=1e-3)
    assert values["snr"] == pytest.approx(
        -20 * np.log10(2 * np.sin(np.pi * f / rate)), abs=1e-2
    )  # |1 - exp(-iw)| = 2 sin(w / 2)
    assert values["spectral_centroid"] == pytest.approx(f, rel=1e-6)
    assert values["spectral_rolloff"] == f
    assert values["spectral_entropy"] == pytest.approx(0, abs=1e-4)
    assert values["duration"] == 1


def test_an_impulse_has_a_flat_spectrum():
    impulse = np.zeros(1001)
    impulse[500] = 1.0
    values = acoustic_metrics(impulse, 2002)
    assert values["spectral_entropy"] == pytest.approx(np.log(501))
    assert values["spectral_centroid"] == pytest.approx(500)
    assert values["spectral_rolloff"] == pytest.approx(850, abs=2)
    assert values["snr"] == pytest.approx(10 * np.log10((1 / 1001) / (2 / 1000)))
    assert values["zcr"] == pytest.approx(2 / (2 * 1001))


def test_white_noise_has_the_values_of_its_distribution():
    values = acoustic_metrics(noise(200_000), 24_000)
    assert values["snr"] == pytest.approx(-10 * np.log10(2), abs=0.05)
    assert values["zcr"] == pytest.approx(0.5, abs=0.005)
    assert values["spectral_centroid"] == pytest.approx(6000, rel=0.01)
    assert values["spectral_rolloff"] == pytest.approx(0.85 * 12_000, rel=0.01)


@given(gain=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_gain_changes_the_rms_alone(gain, seed):
    before, after = (
        acoustic_metrics(noise(1000, seed), 8000),
        acoustic_metrics(gain * noise(1000, seed), 8000),
    )
    assert after["rms"] == pytest.approx(gain * before["rms"])
    assert [after[name] for name in SPECTRAL] == pytest.approx([before[name] for name in SPECTRAL])


@given(samples=st.integers(2, 600), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_a_clip_played_backwards_has_the_same_values(samples, seed):
    wav = noise(samples, seed)
    assert acoustic_metrics(wav[::-1], 8000) == pytest.approx(acoustic_metrics(wav, 8000))


def test_silence_and_constants_have_the_documented_values():
    silent, constant = (
        acoustic_metrics(np.zeros(100), 100),
        acoustic_metrics(np.full(100, 0.25), 100),
    )
    assert np.isnan(
        [silent[name] for name in ("snr", "spectral_entropy", "spectral_centroid")]
    ).all()
    assert [silent[name] for name in ("zcr", "rms", "spectral_rolloff", "duration")] == [0, 0, 0, 1]
    assert constant["snr"] == np.inf
    assert constant["rms"] == 0.25


def test_full_scale_of_any_channel_is_clipped_and_just_below_is_not():
    assert is_clipped(np.array([[0.0, 0.1], [0.2, 32767 / 32768]]))
    assert is_clipped(np.array([0.0, -1.0]))
    assert not is_clipped(np.array([0.0, 32766 / 32768, -32766 / 32768]))


def test_matched_keeps_silent_clips_out_of_the_averages_and_paper_does_not():
    clips = [(noise(4800), 24_000), (np.zeros(4800), 24_000)]
    paper, matched = measure(clips, convention="paper"), measure(clips, convention="matched")
    for table in (paper, matched):
        assert table["silent"].tolist() == [False, True]
    assert paper["rms"].mean() == pytest.approx(paper["rms"][0] / 2)
    assert matched["rms"].mean() == matched["rms"][0] == paper["rms"][0]
    assert matched.loc[1, [*SPECTRAL, "rms"]].isna().all()
    assert matched["duration"].tolist() == [0.2, 0.2]


def test_matched_brings_every_clip_to_one_rate_and_paper_leaves_it():
    clips = [(noise(220_500), 44_100), (noise(120_000), 24_000)]
    paper, matched = (
        measure(clips, convention="paper"),
        measure(clips, convention="matched", sample_rate=24_000),
    )
    assert paper["sample_rate"].tolist() == [44_100, 24_000]
    assert paper["spectral_centroid"].tolist() == pytest.approx([11_025, 6000], rel=0.02)
    assert matched["sample_rate"].tolist() == [24_000, 24_000]
    assert matched["spectral_centroid"].tolist() == pytest.approx(
        [6000, 6000], rel=0.05
    )  # resampling rolls off below half the rate
    assert matched["duration"].tolist() == [5.0, 5.0]


def test_matched_keeps_what_lies_below_the_new_half_rate():
    high, low = (
        measure([(tone(1000, rate, 1), rate)], convention="matched", sample_rate=8000)
        for rate in (44_100, 8000)
    )
    assert high["rms"][0] == pytest.approx(low["rms"][0], rel=1e-3)
    assert high["zcr"][0] == pytest.approx(low["zcr"][0], rel=1e-2)


def test_every_metric_is_named_with_a_unit_and_measured():
    table = measure([(noise(100).astype(np.float32), 8000)], convention="matched", sample_rate=8000)
    assert list(table) == ["sample_rate", "silent", *METRICS]
    assert all(metric.label and metric.unit for metric in METRICS.values())


@pytest.mark.parametrize(
    ("wav", "words"),
    [
        (np.array([0.1, np.nan, 0.1]), "1 of 3 samples are NaN"),
        (np.zeros((2, 100)), "mono"),
        (np.zeros(1), "too few"),
        (np.zeros(100, dtype=np.int16), "int16"),
    ],
)
def test_input_that_cannot_be_measured_is_refused_in_one_line(wav, words):
    with pytest.raises(SsenvError, match=words) as alone:
        acoustic_metrics(wav, 8000)
    with pytest.raises(SsenvError, match=f"clip 1: .*{words}"):
        measure([(noise(100), 8000), (wav, 8000)], convention="paper")
    assert "\n" not in str(alone.value)


def test_nothing_to_measure_is_refused():
    with pytest.raises(SsenvError, match="empty"):
        measure([], convention="paper")
    with pytest.raises(ValueError, match="convention"):
        measure([(noise(100), 8000)], convention="fair")
