"""The paper's table, recomputed on real data; reading, pairing and refusing on made-up files."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import soundfile

from ssenv_core.base.errors import SsenvError
from ssenv_core.data import load_dataset
from ssenv_core.data.recordings import Clip, Dataset
from ssenv_core.evaluation.replication import real_side, replicate
from ssenv_core.metrics import paper as published
from ssenv_core.metrics.acoustic import COMPARED, acoustic_metrics


@dataclass(frozen=True)
class Hiss:
    """Noise of a level, the same at every rate."""

    level: float

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        return (
            self.level * np.random.default_rng(0).standard_normal(round(sample_rate * duration))
        ).astype(np.float32)

    def identity(self) -> list:
        return [self.level]

    modified = 0


def dataset(name: str, clips: int) -> Dataset:
    """Every second clip is in fold 2, where levels fall with the names, listed backwards."""
    made = [
        Clip(f"{i % 2 + 1}-{i:04d}", 0, i % 2 + 1, Hiss(0.1 / (1 + i)))
        for i in reversed(range(clips))
    ]
    return Dataset(name, ("hiss",), tuple(made), 0.05)


@pytest.fixture
def paper(tmp_path):
    """Two clips and their values."""
    values = {}
    for i, rate in enumerate((24_000, 24_000)):
        wav = Hiss(0.1 * (i + 1)).read(rate, 0.1)
        path = tmp_path / "generated_clips" / f"sample_{i:03}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, wav, rate, subtype="FLOAT")
        values[path.stem] = acoustic_metrics(wav, rate)
    (tmp_path / "generated_metrics.json").write_text(json.dumps(values))
    return tmp_path


def test_the_papers_table_is_reproduced(recordings):
    paper = replicate(recordings / "paper", load_dataset("esc50", recordings / "esc50"))
    assert len(paper.clips) == 20
    assert paper.largest_deviation < 5e-7  # six significant digits of every metric of every clip
    ours = paper.means["real_44100_hz"] / paper.means["real_published"] - 1
    assert ours.drop("rms").abs().max() < 1e-3
    assert abs(ours["rms"]) < 0.02
    pd.testing.assert_series_equal(
        paper.means["generated"],
        paper.means["generated_published_here"],
        check_names=False,
        rtol=1e-6,
    )
    assert paper.gaps.loc["snr", "published_percent"] == pytest.approx(54.89, abs=0.01)
    assert paper.gaps.loc["snr", "published_matched_percent"] == pytest.approx(120, abs=1)
    assert "+120 %, not +55 %" in paper.sentence


def test_values_that_agree_and_one_that_does_not_are_told_apart(paper):
    found = replicate(paper, dataset("synthetic", 4))
    assert found.largest_deviation == pytest.approx(0, abs=1e-6)
    assert found.means["generated"].tolist() == pytest.approx(
        found.means["generated_published_here"].tolist()
    )
    assert [path.name for path in found.files] == [
        "generated_metrics.json",
        "sample_000.wav",
        "sample_001.wav",
    ]
    values = json.loads((paper / "generated_metrics.json").read_text())
    values["sample_001"]["zcr"] *= 1.02
    (paper / "generated_metrics.json").write_text(json.dumps(values))
    assert replicate(paper, dataset("synthetic", 4)).largest_deviation == pytest.approx(
        0.02 / 1.02, rel=1e-3
    )


def test_the_real_side_is_left_empty_for_another_dataset_and_not_spoken_of(paper):
    found = replicate(paper, dataset("esc10", 4))
    assert found.means[["real_44100_hz", "real_24000_hz"]].isna().all(axis=None)
    assert found.gaps[["published_percent", "published_ks_d"]].notna().all(axis=None)
    assert (
        found.gaps[["published_matched_percent", "here_own_percent", "here_matched_ks_d"]]
        .isna()
        .all(axis=None)
    )
    assert "nan" not in found.sentence
    assert "at one rate" not in found.sentence
    assert "at one rate" in replicate(paper, dataset("esc50", 4)).sentence


def test_the_real_side_is_the_first_hundred_of_fold_2_by_name_at_16_bits():
    own, matched = real_side(dataset("esc50", 2 * published.REAL_CLIPS + 6))
    assert len(own) == len(matched) == published.REAL_CLIPS
    assert (own["sample_rate"] == 44_100).all()
    assert (matched["sample_rate"] == 24_000).all()
    for i in (0, 99):
        wav = np.round(Hiss(0.1 / (2 + 2 * i)).read(44_100, 0.05) * 2**15) / 2**15
        expected = acoustic_metrics(wav, 44_100)
        assert own.loc[i, list(COMPARED)].tolist() == pytest.approx(
            [expected[name] for name in COMPARED]
        )


def test_a_folder_without_the_papers_files_is_refused_in_one_line(paper):
    sounds = dataset("synthetic", 4)
    (paper / "generated_clips" / "sample_001.wav").unlink()
    with pytest.raises(SsenvError, match=r"lacks 1 of 2 published clips \(first: sample_001\)"):
        replicate(paper, sounds)
    (paper / "generated_metrics.json").unlink()
    with pytest.raises(SsenvError, match=r"no file at .*generated_metrics\.json"):
        replicate(paper, sounds)


def test_published_differences_are_those_of_the_published_means():
    percent = 100 * (published.ACOUSTIC["generated_mean"] / published.ACOUSTIC["real_mean"] - 1)
    printed = {
        "snr": 54.89,
        "zcr": -66.79,
        "rms": -34.92,
        "spectral_entropy": -9.49,
        "spectral_centroid": -54.95,
        "spectral_rolloff": -43.18,
    }
    assert percent.to_dict() == pytest.approx(printed, abs=0.1)
    assert set(published.ACOUSTIC.index) <= set(COMPARED)
