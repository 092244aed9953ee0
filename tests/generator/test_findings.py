"""Findings of a training say what was drawn and what was learned, even if nothing was."""

import pandas as pd
import pytest
import torch

from ssenv_core.generator.findings import Example, example_finding, levels_finding, loss_finding
from ssenv_core.soundstorm.inputs import Inputs


def example(level: int) -> Example:
    mask = torch.tensor([[True, True, False, False, False]])
    inputs = Inputs(torch.zeros(1, 3, 5, dtype=torch.int64), torch.tensor([0]))
    return Example("a.wav", "dog", inputs, torch.tensor([level]), mask)


@pytest.mark.parametrize(
    ("level", "seen", "hidden"),
    [
        (0, "sees the other 3 frames of level 1 and predicts", "Levels 2 to 3 stay hidden"),
        (1, "sees level 1 whole and the other 3 frames of level 2", "Level 3 stays hidden"),
        (2, "sees levels 1 to 2 whole and the other 3 frames of level 3", ""),
    ],
)
def test_an_example_says_what_is_seen_and_what_is_predicted(
    level: int, seen: str, hidden: str
) -> None:
    finding = example_finding(example(level), 75.0, 40, 10)
    assert "40 clips are for training, 10 are held out." in finding.sentence
    assert seen in finding.sentence
    assert hidden in finding.sentence
    assert ("hidden" in finding.sentence) is bool(hidden)
    states = finding.figure.data[0].z
    assert states[level].tolist() == [1, 1, 0, 0, 0]
    assert [set(row.tolist()) for row in states[:level]] == [{0}] * level
    assert [set(row.tolist()) for row in states[level + 1 :]] == [{2}] * (2 - level)


def levels(losses: list[float], conditioned: list[float] | None = None) -> pd.DataFrame:
    table = pd.DataFrame({"entropy": [6.0, 6.5], "class alone": losses})
    table.index = pd.RangeIndex(1, 3, name="level")
    if conditioned:
        table["with loudness and onsets"] = conditioned
    table["learned"] = table["entropy"] - table.drop(columns="entropy").min(axis=1)
    table["accuracy"] = 0.1
    return table


def test_what_is_learned_is_the_difference_from_the_entropy_of_the_codes() -> None:
    finding = levels_finding(levels([4.0, 6.25], [3.5, 6.0]), 1024)
    assert "4.00 nat at level 1 and 5.12 averaged" in finding.sentence
    assert "would have 6.00 to 6.50 nat" in finding.sentence
    assert "Most is learned at level 1 (2.50 nat), least at level 2 (0.50)" in finding.sentence
    assert "it is 3.50 and 4.75 nat" in finding.sentence
    assert finding.numbers["level 1"] == (4.0, "lower")


def test_a_model_above_the_entropy_has_learned_nothing() -> None:
    finding = levels_finding(levels([6.5, 6.9]), 1024)
    assert "not better than that at any level" in finding.sentence
    assert "Most is learned" not in finding.sentence
    assert "loudness" not in finding.sentence


def test_the_first_loss_stands_beside_that_of_guessing() -> None:
    rows = [{"step": 1, "loss": 5.5, "validation_loss": None}]
    finding = loss_finding(rows, 1024)
    assert "costs 6.93 nat per token. Training began at 5.50 nat" in finding.sentence
    assert finding.numbers["first loss"].value == 5.5
