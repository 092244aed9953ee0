"""Findings about generated clips say what was measured, for either outcome."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from ssenv_core.evaluation import generation_findings as findings
from ssenv_core.generator.clip_set import ClipSet

RATE = 24_000


def clip_set(wavs: list[np.ndarray], codes: list[list[int]]) -> ClipSet:
    names = [f"dog_{i}" for i in range(len(wavs))]
    return ClipSet(names, ["dog"] * len(wavs), wavs, torch.tensor(codes)[:, None])


def test_equal_clips_count_once_and_peaks_beyond_full_scale_are_counted() -> None:
    wavs = [np.full(100, level, np.float32) for level in (0.1, 0.5, 1.5)]
    finding = findings.clip_set_finding(clip_set(wavs, [[1, 2], [1, 2], [3, 4]]))
    assert "3 clips, 2 of them different" in finding.sentence
    assert "between 0.1000 and 1.5000" in finding.sentence
    assert "1 peak beyond full scale" in finding.sentence
    assert finding.numbers["median RMS"].value == pytest.approx(0.5)


def test_adherence_is_read_from_the_columns_that_it_names() -> None:
    columns = ["both", "loudness alone", "onsets alone", "class alone", "recording"]
    scores = pd.DataFrame(
        [[0.7, 0.6, 0.2, 0.1, 0.9], [0.5, 0.4, 0.45, 0.15, 0.8]],
        index=["loudness_correlation", "onset_f1"],
        columns=columns,
    )
    finding = findings.describe_adherence(scores)
    assert "correlation of 0.70 (class alone 0.10, recordings through the codec 0.90)" in (
        finding.sentence
    )
    assert "F1 of 0.50 (0.15, 0.80); given the onsets alone, 0.45" in finding.sentence
    assert finding.numbers["onset F1 of onsets alone"] == (0.45, "higher")


def test_the_joints_of_silent_clips_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "joints", lambda generator, duration: [1.0])
    generator = SimpleNamespace(format=SimpleNamespace(duration=1.0))
    codec = SimpleNamespace(sample_rate=RATE)
    silent = clip_set([np.zeros(3 * RATE, np.float32)], [[0, 0]])
    assert "All long clips are silent" in findings.joints_finding(generator, silent, codec).sentence
    noise = np.random.default_rng(0).normal(0, 0.01, 3 * RATE).astype(np.float32)
    noise[RATE:] *= 30  # a jump at the joint
    seam = findings.joints_finding(generator, clip_set([noise], [[0, 0]]), codec)
    assert "At the 1 joints" in seam.sentence
    assert seam.numbers["change at joints (rank)"].value > 0.9


def test_the_class_that_pauses_most_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "silent_where", lambda controls: controls[..., 0] == 0)
    controls = torch.ones(3, 4, 2)
    controls[1, 1:] = 0
    plans = SimpleNamespace(controls=controls, labels=torch.tensor([0, 1, 0]))
    assert findings.eventful_class(SimpleNamespace(plans=plans)) == 1
    assert findings.eventful_class(SimpleNamespace(plans=None)) == 0
