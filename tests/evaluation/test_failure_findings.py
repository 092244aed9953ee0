"""Sentences and numbers of the findings on failure modes, from known verdicts."""

import numpy as np
import pandas as pd
import pytest

from ssenv_core.evaluation.columns import Columns
from ssenv_core.evaluation.failure_findings import (
    codec_or_model_finding,
    diagnose_columns,
    distances_finding,
    evolution_finding,
    modulation_finding,
    overview_finding,
    plan_finding,
    spectrum_finding,
)
from ssenv_core.metrics.failure_modes import Diagnosis

RATE = 24_000


def noise(seed: int, bursts: int = 0) -> np.ndarray:
    """2 s of noise that swells, with `bursts` sharp bursts a second."""
    rng = np.random.default_rng(seed)
    time = np.arange(2 * RATE) / RATE
    wav = (0.02 + 0.02 * time) * rng.standard_normal(len(time))
    if bursts:
        wav += 0.5 * np.exp(-80 * (time % (1 / bursts))) * rng.standard_normal(len(time))
    return wav.astype(np.float32)


@pytest.fixture(scope="module")
def diagnosed():
    """Codec clips are the real ones; generated clips have many more onsets."""
    real = [noise(i) for i in range(10)]
    columns = Columns(
        sample_rate=RATE,
        class_names=("rain", "sea"),
        names=tuple(f"real {i}" for i in range(10)),
        recordings=("",) * 10,
        labels=np.arange(10) % 2,
        real=real,
        codec=real,
        generated_names=tuple(f"made {i}" for i in range(6)),
        generated_labels=np.arange(6) % 2,
        generated=[*(noise(20 + i, bursts=8) for i in range(5)), np.zeros(RATE, np.float32)],
        generated_codes=None,
        planned=True,
    )
    return diagnose_columns(columns, seed=1)


def diagnosis(measure: str, ratio: float) -> Diagnosis:
    """A diagnosis with a gap of `ratio` noise floors towards failure."""
    direction = {"onset_rate": -1, "level_spread": -1, "block_similarity": 1}[measure]
    return Diagnosis(measure, 5.0, 5.0 + direction * ratio, 1.0)


def test_more_onsets_than_in_real_clips_are_present_in_the_other_direction(diagnosed):
    (line,) = [
        line for line in modulation_finding(diagnosed).sentence.splitlines() if "onsets per" in line
    ]
    assert line.startswith("Temporal smoothing: present, in the other direction (more onsets than")
    assert line.endswith("away from failure (1 silent or short clips left out).")


def test_the_codec_s_clips_are_judged_against_the_real_ones_too(diagnosed):
    assert all(d.gap == 0 for d in diagnosed.diagnoses["codec"] if d.mode != "reduced_diversity")
    assert all(d.verdict == "absent" for d in diagnosed.diagnoses["codec"])


def test_the_overview_counts_both_directions_and_states_how_wide_the_noise_floor_is(diagnosed):
    finding = overview_finding(diagnosed)
    generated = diagnosed.diagnoses["generated"]
    verdicts = [d.verdict for d in generated if d.mode == "temporal_smoothing"]
    beyond = len(verdicts) - verdicts.count("absent")
    assert f"temporal smoothing in {beyond} of 5 measures" in finding.sentence
    assert f"({verdicts.count('reversed')} in the other direction)" in finding.sentence
    assert "subsets of 5 real clips" in finding.sentence
    assert "(10 real and 5 generated clips)" in finding.sentence
    assert "differ 1.15 times as much" in finding.sentence
    assert finding.name == "diagnosis"


def test_each_mode_s_finding_has_the_sentences_of_that_mode_alone(diagnosed):
    for finding, title, count in (
        (spectrum_finding(diagnosed), "High-frequency attenuation", 3),
        (modulation_finding(diagnosed), "Temporal smoothing", 5),
        (distances_finding(diagnosed), "Reduced diversity", 3),
        (evolution_finding(diagnosed), "No temporal evolution", 3),
    ):
        lines = finding.sentence.splitlines()
        assert len(lines) == count
        assert all(line.startswith(f"{title}: ") for line in lines)
    for finding in (spectrum_finding(diagnosed), evolution_finding(diagnosed)):
        assert [line.name for line in finding.figure.data] == ["real", "codec", "generated"]


def test_plans_are_said_to_hand_over_the_time_course_if_the_recipe_has_them():
    assert "Their time course is not the model's own" in plan_finding({"plan": True}).sentence
    assert "is the model's own" in plan_finding({"plan": False}).sentence
    assert "not the model's own" not in plan_finding({"plan": False}).sentence


def test_what_only_generation_changes_is_told_from_what_the_codec_changes():
    finding = codec_or_model_finding(
        {
            "codec": [diagnosis("onset_rate", 2.0), diagnosis("block_similarity", 0.5)],
            "generated": [diagnosis("onset_rate", 3.0), diagnosis("block_similarity", -2.0)],
        }
    )
    assert finding.sentence == (
        "Beyond the noise floor: 1 of 2 measures after the codec alone, 2 of 2 measures (1 in the "
        "other direction) after generation. The codec alone changes onset rate; only generation "
        "changes block similarity."
    )
    numbers = {name: number.value for name, number in finding.numbers.items() if number.value}
    assert numbers == {
        "Temporal smoothing (codec)": 1,
        "Temporal smoothing (generated)": 1,
        "No temporal evolution, other direction (generated)": 1,
    }
    assert {number.better for number in finding.numbers.values()} == {"lower"}
    assert len(finding.numbers) == 16
    ratios = finding.tables["failure_modes"]
    assert ratios["generated"].tolist() == [3.0, -2.0]
    assert finding.table["generated: verdict"].tolist() == [
        "present",
        "present, in the other direction",
    ]


def test_without_any_difference_neither_codec_nor_generation_changes_a_measure():
    same = [diagnosis("level_spread", 0.2)]
    sentence = codec_or_model_finding({"codec": same, "generated": same}).sentence
    assert sentence.endswith("The codec alone changes none; only generation changes none.")
    assert isinstance(
        codec_or_model_finding({"codec": same, "generated": same}).table, pd.DataFrame
    )
