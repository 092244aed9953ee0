"""Every sentence about the ceiling follows from its numbers."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from tiny import tiny_codec

from ssenv_core.codecs.melrvq.codec import MelRVQ
from ssenv_core.data import load_dataset
from ssenv_core.evaluation import ceiling_findings as findings
from ssenv_core.metrics.acoustic import COMPARED
from ssenv_core.plots.finding import Number

MAIN = "melrvq_24khz 6 kbps"
OTHER = "melrvq_24khz 12 kbps"
RECORDED = "real 44.1 kHz"


@pytest.fixture(scope="module")
def sounds():
    return load_dataset("synthetic", "", clips_per_class=5, seed=0)


@pytest.fixture
def summary() -> pd.DataFrame:
    """A table of `summarise` where every difference is 0 and every distance 1 dB."""
    columns = [
        f"{name}{suffix}" for name in COMPARED for suffix in ("", "_percent", "_ks", "_apart")
    ]
    table = pd.DataFrame(0.0, index=[RECORDED, "real", MAIN, OTHER], columns=columns)
    for name, of_codecs in (("log_mel_distance", 1.0), ("si_sdr", -3.0), ("total_variation", 0.1)):
        table[name] = [np.nan, np.nan, of_codecs, of_codecs]
    table["right"] = [np.nan, 0.8, 0.8, 0.8]
    return table


def tokens(**changes) -> SimpleNamespace:
    given = {
        "codes": torch.zeros(2, 3, 4, dtype=torch.int64),
        "active": torch.ones(2, 4, dtype=torch.bool),
    }
    return SimpleNamespace(**given | changes)


def plain_codec(**changes) -> SimpleNamespace:
    given = {"name": "plain", "codebook_size": 4, "frame_rate": 50.0, "bandwidth": 0.3}
    return SimpleNamespace(**given | changes)


def fitted_codec(**card) -> MelRVQ:
    codec = tiny_codec()
    codec.card = card
    return codec


def test_the_dataset_is_counted_by_class_and_fold_and_lacking_folds_are_named(sounds):
    finding = findings.dataset_finding(sounds)
    assert finding.sentence == "The dataset has 50 clips of 5 s in 10 classes and 5 folds."
    assert finding.table.to_numpy().sum() == 50
    lacking = findings.dataset_finding(replace(sounds, missing_folds=(3, 5)))
    assert lacking.sentence.endswith(" This copy lacks the official folds 3, 5.")


def test_silent_frames_and_speed_are_those_of_the_tokens():
    active = torch.tensor([[True] * 4, [True, False, True, True]])
    speed = {"clips": 2, "seconds": 0.8, "clips/s": 2.46, "x real time": 12.34}
    finding = findings.tokens_finding(
        tokens(active=active), plain_codec(), speed, dataset="esc50", fold=1
    )
    assert finding.sentence == (
        "2 clips became codes of 3 levels x 4 frames each; 12.5% of the frames are digital silence."
    )
    assert finding.numbers == {
        "clips": Number(2),
        "frames": Number(4),
        "silent share": Number(0.125),
        "tokenize clips/s": Number(2.5, "higher"),
        "tokenize x real time": Number(12.3, "higher"),
    }


@pytest.mark.parametrize(("fold", "fitted"), [(1, False), (2, True)])
def test_a_codec_that_was_fitted_to_the_held_out_fold_is_reported(fold: int, fitted: bool):
    codec = fitted_codec(dataset="esc50", heldout_fold=1)
    speed = {"clips/s": 1.0, "x real time": 5.0}
    finding = findings.tokens_finding(tokens(), codec, speed, dataset="esc50", fold=fold)
    assert ("was fitted to clips of fold" in finding.sentence) == fitted
    assert ("codec fitted to the held-out fold" in finding.numbers) == fitted


def test_the_information_is_the_sum_of_entropies_over_frames_that_are_not_silent():
    codes = torch.tensor([[[0, 1, 2, 3, 0], [1, 1, 1, 1, 0]]])
    active = torch.tensor([[True] * 4 + [False]])
    finding = findings.codebook_finding(tokens(codes=codes, active=active), plain_codec())
    assert finding.sentence == (
        "The 2 levels carry at most 2.0 bits per frame, 0.10 of the 0.3 kbps that they take. "
        "Level 2 has the most unused entries: 75.0%."
    )
    assert finding.numbers == {"kbps carried": Number(0.1, "higher")}
    assert finding.tables["ceiling_codes"]["entropy"].tolist() == [2, 0]


def test_the_judge_is_described_by_its_training(sounds):
    training = sounds.subset(exclude_folds=[1])
    judge = SimpleNamespace(class_names=sounds.class_names)
    assert findings.judge_finding(judge, training).sentence == (
        "The judge learned 10 classes from 40 real clips of folds 2, 3, 4, 5."
    )
    assert "no judge" in findings.judge_finding(None, training).sentence


@pytest.mark.parametrize(("change", "said"), [(-4.7, "-4.7 %"), (4.7, "+4.7 %")])
def test_the_mean_that_changes_most_is_named_with_its_sign(summary, change: float, said: str):
    summary.loc[MAIN, ["rms_percent", "spectral_centroid_percent"]] = [1.0, change]
    sentence = findings.means_finding(summary, MAIN, {}).sentence
    assert sentence == f"Through {MAIN}, the mean spectral centroid changes most: by {said}."


def test_the_sampling_rate_is_told_apart_from_the_codec(summary):
    summary.loc[RECORDED, ["zcr_percent", "rms_percent"]] = [-24.0, 3.0]
    sentence = findings.means_finding(summary, MAIN, {}).sentence
    assert "The clips as recorded (real 44.1 kHz)" in sentence
    assert "most in zero-crossing rate (-24.0 %)" in sentence


def test_a_codec_that_is_not_measured_is_reported_with_the_reason(summary):
    sentence = findings.means_finding(summary, MAIN, {"dac_44khz 8 kbps": "no weights"}).sentence
    assert sentence.endswith(" dac_44khz 8 kbps is not measured: no weights.")


def test_the_largest_ks_d_is_that_of_the_main_codec(summary):
    summary.loc[MAIN, ["snr_ks", "rms_ks"]] = [0.1, 0.25]
    summary.loc[OTHER, "snr_ks"] = 0.9
    sentence = findings.distributions_finding(summary, MAIN).sentence
    assert sentence == f"Through {MAIN}, RMS energy has the largest KS D of the metrics: 0.25."


@pytest.mark.parametrize(("main", "other"), [(2.9, 2.7), (2.7, 2.9)])
def test_the_nearest_and_the_farthest_codec_are_found_by_distance(summary, main, other):
    summary["log_mel_distance"] = [np.nan, np.nan, main, other]
    summary.loc[MAIN, ["rms_apart", "snr_apart"]] = [9.9, 7.3]
    clips = pd.DataFrame({"clip": ["a"]})
    finding = findings.same_clip_finding(summary, clips, MAIN)
    nearest, farthest = (MAIN, OTHER) if main < other else (OTHER, MAIN)
    assert finding.sentence == (
        f"Through {MAIN}, the log-mel distance of a clip from itself is {main:.2f} dB; of the "
        "metrics, RMS energy changes most, by 9.9 % of the real mean. The distance is smallest "
        f"through {nearest} (2.70 dB) and largest through {farthest} (2.90 dB)."
    )
    assert finding.numbers == {"log-mel distance (dB)": Number(main, "lower")}
    alone = findings.same_clip_finding(summary.drop(OTHER), clips, MAIN)
    assert "smallest" not in alone.sentence


@pytest.mark.parametrize(
    ("right", "change"),
    [(0.762, "3.8 points fewer"), (0.85, "5.0 points more"), (0.8, "no change")],
)
def test_the_judge_s_loss_has_its_sign(summary, right: float, change: str):
    summary.loc[MAIN, "right"] = right
    finding = findings.recognition_finding(summary, MAIN, plain_codec())
    assert finding.sentence == (
        f"The judge classifies 80.0% of the real clips correctly and {right:.1%} through {MAIN}: "
        f"{change}."
    )
    assert finding.numbers == {
        "judge on real": Number(0.8, "higher"),
        f"judge on {MAIN}": Number(right, "higher"),
        f"judge on {OTHER}": Number(0.8, "higher"),
    }


@pytest.mark.parametrize(("steps", "said"), [(3787, True), (0, False)])
def test_the_judge_is_said_to_favour_a_codec_that_was_finished_with_its_kind(summary, steps, said):
    codec = fitted_codec(finish_steps=steps)
    sentence = findings.recognition_finding(summary, MAIN, codec).sentence
    assert ("the judge favours it" in sentence) == said


def test_without_a_judge_there_is_no_share(summary):
    unjudged = summary.drop(columns=["right", "total_variation"])
    finding = findings.recognition_finding(unjudged, MAIN, plain_codec())
    assert "no judge" in finding.sentence
    assert finding.numbers == {}


def test_the_classes_that_lose_most_and_least_do_not_overlap():
    classes = pd.DataFrame(
        {"log_mel_distance": [4.0, 3.0, 2.0]}, pd.Index(list("abc"), name="class")
    )
    assert findings.classes_finding(classes).sentence == (
        "a lose most (up to 4.00 dB), c least (down to 2.00 dB)."
    )
    alone = findings.classes_finding(classes.head(1))
    assert alone.sentence == "There is one class; it loses 4.00 dB."


def test_a_trait_counts_only_beyond_chance():
    loss = np.arange(10.0)[::-1]
    names = pd.Index(list("abcdefghij"), name="class")
    classes = pd.DataFrame({"log_mel_distance": loss}, names)
    weak = [3.0, 0, 8, 1, 9, 5, 2, 7, 4, 6]
    finding = findings.traits_finding(classes, pd.DataFrame({"a_b": -loss, "c": weak}, names))
    assert "a b -1.00, c -0.30" in finding.sentence
    assert finding.sentence.endswith("lie within ±0.63; outside: a b.")
    assert list(finding.tables["ceiling_classes"]) == ["log_mel_distance", "a_b", "c"]
    none = findings.traits_finding(classes, pd.DataFrame({"c": weak}, names))
    assert none.sentence.endswith("outside: none.")
    few = findings.traits_finding(classes.head(3), pd.DataFrame({"c": weak}, names))
    assert few.sentence == "Rank correlations need at least 4 classes; there are 3."


def test_the_chance_correlation_is_the_one_whose_p_is_five_percent():
    rng = np.random.default_rng(0)
    ranks = [scipy.stats.spearmanr(*rng.random((2, 12))).statistic for _ in range(2000)]
    share = np.mean(np.abs(ranks) > findings.chance_correlation(12))
    assert share == pytest.approx(0.05, abs=0.015)


def test_examples_are_drawn_by_class_and_version():
    wav = np.random.default_rng(0).uniform(-0.1, 0.1, 24_000)
    finding = findings.examples_finding({"dog": {"real": wav, "codec": wav}}, 24_000)
    assert finding.name == "real_and_codec"
    assert len(finding.figure.data) == 2
