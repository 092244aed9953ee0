"""Sentences and numbers of 04 about the acoustic metrics follow from the sounds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.evaluation import gap_findings as findings
from ssenv_core.evaluation.columns import Columns
from ssenv_core.metrics.acoustic import COMPARED

RATE = 8000


def noise(count: int, seed: int, gain: float = 0.1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [gain * rng.standard_normal(RATE // 4).astype(np.float32) for _ in range(count)]


def columns(**changes: object) -> Columns:
    """Eight clips of two classes; the codec doubles them, generated ones are ten times as loud."""
    real = noise(8, 0)
    given = {
        "sample_rate": RATE,
        "class_names": ("dog", "rain"),
        "names": tuple(f"real{i}" for i in range(8)),
        "recordings": ("",) * 8,
        "labels": np.repeat([0, 1], 4),
        "real": real,
        "codec": [2 * wav for wav in real],
        "generated_names": tuple(f"made{i}" for i in range(8)),
        "generated_labels": np.repeat([0, 1], 4),
        "generated": noise(8, 1, gain=1.0),
        "generated_codes": torch.zeros(8, 1, 4, dtype=torch.int64),
        "planned": False,
    }
    return Columns(**given | changes)


@pytest.fixture(scope="module")
def gap() -> findings.AcousticGap:
    return findings.measure_gap(columns(), seed=0)


def test_the_metrics_beyond_the_floor_are_counted_and_named(gap: findings.AcousticGap) -> None:
    assert "rms" in gap.beyond_floor
    sentence = findings.generated_finding(gap).sentence
    assert f"In {len(gap.beyond_floor)} of {len(COMPARED)} metrics (" in sentence
    assert "RMS energy" in sentence
    assert "Silent clips: real 0, codec 0, generated 0." in sentence


def test_no_metric_beyond_the_floor_reads_as_a_sentence(gap: findings.AcousticGap) -> None:
    far = gap.floor.assign(ks_d_95=1.0)
    sentence = findings.generated_finding(replace(gap, floor=far)).sentence
    assert "In none of 6 metrics generated clips differ from real ones by more than" in sentence


def test_the_numbers_are_the_differences_of_the_means(gap: findings.AcousticGap) -> None:
    numbers = findings.generated_finding(gap).numbers
    assert numbers["rms gap %"].value == pytest.approx(900, abs=20)
    assert numbers["rms gap %"].better == "near zero"


def test_the_codec_is_judged_by_its_largest_change(gap: findings.AcousticGap) -> None:
    sentence = findings.codec_finding(gap).sentence
    assert sentence.startswith("Through the codec the mean of RMS energy changes most, by +100.0 %")


def test_different_lengths_are_told_before_the_metrics() -> None:
    half = [wav[: RATE // 8] for wav in noise(8, 1)]
    sentence = findings.generated_finding(findings.measure_gap(columns(generated=half), 0)).sentence
    assert sentence.startswith("Clips last 0.25 s (real) and 0.12 s (generated) on average")


def test_a_silent_recording_counts_on_neither_side_of_the_codec() -> None:
    real = noise(8, 0)
    real[2] = np.zeros_like(real[2])
    gap = findings.measure_gap(columns(real=real, codec=noise(8, 3)), seed=0)
    assert gap.comparison["codec"].loc["rms", ["real_n", "generated_n"]].tolist() == [7, 7]
    assert [len(wav) > 0 for wav in findings.audible_sounds(gap)["codec"]].index(False) == 2


@pytest.mark.parametrize("side", ["real", "generated"])
def test_nothing_but_silence_is_refused(side: str) -> None:
    silence = [np.zeros(RATE // 4, np.float32)] * 8
    with pytest.raises(SsenvError, match="nothing to compare"):
        findings.measure_gap(columns(**{side: silence}), seed=0)


def test_plans_and_a_codec_that_knows_the_fold_are_said() -> None:
    plain = findings.columns_finding(columns(), 1, "").sentence
    assert plain == "8 real clips of fold 1, 8 generated, all at 8000 Hz."
    said = findings.columns_finding(columns(planned=True), 1, "melrvq_24khz").sentence
    assert "melrvq_24khz was trained on fold 1 too" in said
    assert "follow the loudness and onsets of training clips" in said


def test_the_largest_part_of_each_gap_is_counted() -> None:
    parts = pd.DataFrame(
        {"rate": [10.0, -1.0, 0.0], "codec": [2.0, 3.0, 0.5], "model": [-4.0, 1.0, 2.0]},
        index=["snr", "zcr", "rms"],
    )
    parts["total"] = parts.sum(axis=1)
    sentence = findings.parts_finding(findings.NativeGap(parts, 24_000, 44_100, 40)).sentence
    assert "rate's in 1 of 3 metrics, the codec's in 1, the model's in 1." in sentence
    assert "40 recordings at 24000 instead of 44100 Hz differ by +10.0 % in SNR" in sentence


def test_the_nearest_and_the_farthest_class_are_named() -> None:
    generated = [*noise(4, 2), *noise(4, 3, gain=1.0)]
    finding = findings.classes_finding(findings.measure_gap(columns(generated=generated), 0))
    assert finding.tables["gaps_by_class_generated"].index.tolist() == ["dog", "rain"]
    rms = finding.tables["gaps_by_class_generated"]["rms"]
    assert abs(rms["dog"]) < 10 < 500 < rms["rain"]


def test_the_tilt_is_the_rank_correlation_of_real_clips(gap: findings.AcousticGap) -> None:
    real = gap.tables["real"]
    tables = gap.tables | {"real": real.assign(spectral_centroid=-real["snr"])}
    finding = findings.tilt_finding(replace(gap, tables=tables))
    assert finding.numbers["SNR and centroid, rank correlation"].value == -1.0
    assert "over clips of -1.00 (real)" in finding.sentence


def test_energy_below_100_hz_is_a_share_of_each_column() -> None:
    t = np.arange(RATE) / RATE
    low = [np.sin(2 * np.pi * 50 * t).astype(np.float32)] * 8
    high = [np.sin(2 * np.pi * 1000 * t).astype(np.float32)] * 8
    given = columns(real=low, codec=low, generated=high)
    sentence = findings.low_energy_finding(findings.measure_gap(given, 0)).sentence
    assert "100.0% of the energy (real), 100.0% of the energy (codec), 0.0%" in sentence
