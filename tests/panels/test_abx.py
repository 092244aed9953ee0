"""Sounds to be compared are equally loud, none is turned up, and X is a fair coin."""

import numpy as np
import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.panels.abx import Trials, level_matched


def test_matching_turns_down_only_and_makes_lengths_equal() -> None:
    quiet, loud = np.full(100, 0.1, np.float32), np.full(50, -0.5, np.float32)
    matched = level_matched([quiet, loud])
    np.testing.assert_array_equal(matched[0], quiet)
    np.testing.assert_allclose(matched[1], np.r_[np.full(50, -0.1), np.zeros(50)], atol=1e-7)


def test_silence_is_refused() -> None:
    with pytest.raises(SsenvError, match="silent"):
        level_matched([np.full(10, 0.1, np.float32), np.zeros(10, np.float32)])


def test_x_is_either_equally_often_and_guessing_is_not_significant() -> None:
    trials = Trials(0)
    assert trials.p == 1
    drawn = []
    for _ in range(400):
        drawn.append(trials.x)
        trials.answer(0)
    assert 160 < sum(drawn) < 240
    assert trials.correct == 400 - sum(drawn)
    assert trials.p > 0.01


def test_p_is_the_chance_to_guess_as_well() -> None:
    trials = Trials(0)
    for _ in range(5):
        assert trials.answer(trials.x)
    assert trials.p == pytest.approx(1 / 32)
