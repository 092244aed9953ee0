"""Evaluate and baselines write what they print, and refuse bad input in one line."""

import csv
import json
import re
from dataclasses import replace

import pytest
import soundfile
from tiny.commands import BAD_FOLDERS, ssenv

from ssenv_core import data as datasets
from ssenv_core.metrics.acoustic import acoustic_metrics
from ssenv_core.metrics.similarity import paired_similarity, whole_clip_similarity


@pytest.mark.parametrize(("folder", "line"), BAD_FOLDERS)
@pytest.mark.parametrize("side", ["--real", "--generated"])
def test_evaluate_refuses_folders_it_cannot_read(sounds, side, folder, line):
    other = "--generated" if side == "--real" else "--real"
    result = ssenv(
        "evaluate", side, sounds / folder, other, sounds / "generated", "--output", sounds / "out"
    )
    assert result.exit_code == 1
    assert re.fullmatch(f"error: {line}\n", result.stderr)
    assert not (sounds / "out").exists()


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_evaluate_in_the_matched_convention(sounds):
    result = ssenv(
        "evaluate",
        "--real",
        sounds / "real",
        "--generated",
        sounds / "generated",
        "--output",
        sounds / "out",
    )
    assert result.exit_code == 0, result.output
    rows = table(sounds / "out" / "metrics.csv")
    assert [(row["side"], row["clip"], row["sample_rate"]) for row in rows] == [
        ("real", "b.wav", "24000"),
        ("real", "c.wav", "24000"),
        ("real", "dog/1.flac", "24000"),
        ("generated", "x.wav", "24000"),
        ("generated", "y.wav", "24000"),
    ]
    wav, rate = soundfile.read(sounds / "generated" / "y.wav", dtype="float32")
    assert float(rows[-1]["snr"]) == pytest.approx(acoustic_metrics(wav, rate)["snr"])
    report = json.loads((sounds / "out" / "report.json").read_text())
    assert report["silent"] == {"real": ["c.wav"], "generated": []}
    assert report["comparison"]["snr"]["real_n"] == 2  # the silent clip is no zero in a mean
    assert report["pairing"] == (
        "2 pairs by sorted file name, the i-th real with the i-th generated clip: spectrograms; "
        "1 of 3 real clips have no partner, and count in all else."
    )
    assert [(row["real"], row["generated"]) for row in table(sounds / "out" / "pairs.csv")] == [
        ("b.wav", "x.wav"),
        ("c.wav", "y.wav"),
    ]
    pair = [
        soundfile.read(sounds / name, dtype="float32")[0]
        for name in ("real/b.wav", "generated/x.wav")
    ]
    expected = paired_similarity(*([wav] for wav in pair))["spectral_convergence"].item()
    assert report["similarity"]["spectral_convergence"] == {
        "n": 1,
        "mean": pytest.approx(expected),
        "std": 0.0,
    }
    assert [row["metric"] for row in table(sounds / "out" / "comparison.csv")] == list(
        report["comparison"]
    )
    assert (
        "1 of 3 real clips is silent throughout, so left out of the means: c.wav." in result.stdout
    )
    assert "zcr" in result.stdout


def test_evaluate_in_the_papers_convention_keeps_rates_and_says_where_they_differ(sounds):
    (sounds / "real" / "dog" / "1.flac").rename(sounds / "real" / "a.flac")
    options = ["--output", sounds / "out", "--convention", "paper"]
    result = ssenv(
        "evaluate", "--real", sounds / "real", "--generated", sounds / "generated", *options
    )
    assert result.exit_code == 0, result.output
    assert [row["sample_rate"] for row in table(sounds / "out" / "metrics.csv")] == [
        "44100",
        "24000",
        "24000",
        "24000",
        "24000",
    ]
    report = json.loads((sounds / "out" / "report.json").read_text())
    assert "at different rates (24000, 44100 Hz), so not the same frequencies" in report["pairing"]
    pair = [
        soundfile.read(sounds / name, dtype="float32")[0]
        for name in ("real/a.flac", "generated/x.wav")
    ]
    row = table(sounds / "out" / "pairs.csv")[0]
    assert float(row["log_spectral_distance"]) == pytest.approx(
        whole_clip_similarity(*pair)["log_spectral_distance"]
    )


def test_baselines_writes_every_fold_and_names_those_that_are_missing(monkeypatch, tmp_path):
    few = replace(
        datasets.load_dataset("synthetic", clips_per_class=5).subset(folds=[1, 2]),
        missing_folds=(3,),
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: few)
    result = ssenv("baselines", "synthetic", "--output", tmp_path / "new" / "table.csv")
    assert result.exit_code == 0
    assert "synthetic: folds 3 are missing: this is not the official protocol" in result.stdout
    rows = list(csv.DictReader((tmp_path / "new" / "table.csv").open()))
    assert [row["baseline"] for row in rows] == ["k-NN", "random forest", "SVM"]
    assert all(
        float(row["mean"]) == pytest.approx((float(row["fold 1"]) + float(row["fold 2"])) / 2)
        for row in rows
    )
