"""Sentences and numbers of 04 about sets of clips: judge, distances, copies, pairs, padding."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import token_format

from ssenv_core.data.tokens import TokenSet
from ssenv_core.evaluation import set_findings as findings
from ssenv_core.evaluation.columns import Columns
from ssenv_core.metrics.frechet import FLOOR, VERDICTS

RATE = 8000


def columns(codes: torch.Tensor | None = None) -> Columns:
    """Three clips a column; clip i of a column is the constant that its label stands for."""
    rng = np.random.default_rng(0)
    wavs = [0.1 * rng.standard_normal(RATE).astype(np.float32) for _ in range(3)]
    return Columns(
        sample_rate=RATE,
        class_names=("dog", "rain", "crow"),
        names=("a", "b", "c"),
        recordings=("",) * 3,
        labels=np.array([0, 0, 1]),
        real=wavs,
        codec=wavs,
        generated_names=("dog_1", "rain_1", "crow_1"),
        generated_labels=np.array([0, 1, 2]),
        generated=wavs,
        generated_codes=torch.zeros(3, 2, 4, dtype=torch.int64) if codes is None else codes,
        planned=False,
    )


def tokens(codes: torch.Tensor, active: torch.Tensor | None = None) -> TokenSet:
    count, _, frames = codes.shape
    return TokenSet(
        codes,
        torch.zeros(count, dtype=torch.int64),
        torch.ones(count, dtype=torch.int64),
        torch.ones(count, frames, dtype=torch.bool) if active is None else active,
        torch.zeros(count, frames, 2),
        tuple(f"train{i}" for i in range(count)),
        ("",) * count,
        ("dog",),
        token_format(),
    )


def distances(generated: float) -> pd.DataFrame:
    names = ["distance", "distance_low", "distance_high", "extrapolated"]
    values = {FLOOR: 4.0, "codec": 4.5, "generated": generated}
    rows = {name: [value, value - 1, value + 1, value] for name, value in values.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).assign(clips=20)


def test_the_judge_is_counted_against_the_labels_of_each_column() -> None:
    judge = SimpleNamespace(predict_all=lambda wavs, rate: np.array([0, 0, 0]))
    finding = findings.judge_finding(columns(), judge)
    assert finding.sentence == (
        "The judge classifies correctly 66.7% of 3 (real), 66.7% of 3 (codec), 33.3% of 3 "
        "(generated); chance is 33.3%."
    )
    assert finding.numbers["judge on generated"].value == 0.333
    assert finding.table.loc["rain", "real"] == 0.0


def test_without_a_judge_the_reason_is_said() -> None:
    assert "all clips are of one class" in findings.judge_finding(columns(), None).sentence


@pytest.mark.parametrize(("generated", "verdict"), [(9.0, "beyond"), (4.2, "within")])
def test_a_distance_is_compared_with_its_noise_floor(generated: float, verdict: str) -> None:
    table = distances(generated)
    given = findings.Distances({"latents of x": table, "vggish": table}, {"clap": "no weights"})
    finding = findings.distances_finding(given)
    assert finding.sentence.count(f"Generated: {generated:g}, {VERDICTS[verdict]}.") == 2
    assert finding.sentence.endswith("clap was not measured: no weights")
    assert finding.numbers["Fréchet generated"].value == generated
    assert "Fréchet generated, vggish" in finding.numbers


def test_a_copy_is_named_with_its_source() -> None:
    codes = torch.randint(1, 1000, (6, 2, 30), generator=torch.Generator().manual_seed(0))
    training, heldout, made = tokens(codes[:2]), tokens(codes[2:3]), codes[3:].clone()
    made[1] = codes[1]
    sentence = findings.copies_finding(columns(made), heldout, training).sentence
    assert "shares is 100.0% (rain_1 with train1)" in sentence
    assert "that a held-out clip shares 0.0%" in sentence


def test_pairs_are_of_one_class() -> None:
    sentence = findings.pairs_finding(columns(), 1).sentence
    assert sentence == "2 of 3 generated clips have a real clip of their class in fold 1."


def test_padding_of_long_clips_is_not_counted() -> None:
    active = torch.ones(1, 512, dtype=torch.bool)
    active[:, :128] = False
    short = tokens(torch.ones(1, 2, 512, dtype=torch.int64), active)
    assert findings.padding_finding(short).sentence == (
        "Of the 512 token frames of a training clip 25.0% are silent, 25.0% before its first or "
        "after its last sound. Padded to 1024 frames, 50.0% would be padding."
    )
    long = tokens(torch.ones(1, 2, 2000, dtype=torch.int64))
    assert "Padded" not in findings.padding_finding(long).sentence


def test_the_paper_is_left_out_without_its_files() -> None:
    (finding,) = findings.paper_findings(None)
    assert "paper_root names no folder" in finding.sentence


def test_the_papers_low_frequencies_are_measured() -> None:
    t = np.arange(24_000) / 24_000
    paper = SimpleNamespace(
        wavs=[np.sin(2 * np.pi * 50 * t)],
        means=pd.DataFrame({"real_mean": [1.0]}, index=["snr"]),
        gaps=pd.DataFrame({"ks_d": [0.5]}, index=["snr"]),
        sentence="Reproduced.",
    )
    *_, last = findings.paper_findings(paper)
    assert last.sentence == "Reproduced. Of their energy 100.0% lies below 100 Hz."


def test_missing_embeddings_are_listed_with_their_reasons() -> None:
    given = findings.Distances({}, {"clap": "no weights"})
    assert given.left_out == ["clap was not measured: no weights"]
    assert replace(given, missing={}).left_out == []
