"""Intervals of shares and means of correlated clips, against known values and simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from ssenv_core.metrics.intervals import mean_interval, share_interval


@pytest.mark.parametrize("right", [0, 1, 15, 20])
def test_of_clips_that_have_nothing_in_common_it_is_wilson_s(right: int) -> None:
    found = share_interval(np.arange(20) < right, [""] * 10 + [f"recording {i}" for i in range(10)])
    assert found == pytest.approx(
        tuple(binomtest(right, 20).proportion_ci(method="wilson")), abs=1e-9
    )


@pytest.mark.parametrize("right", [0, 40, 100])
def test_of_copies_it_is_that_of_their_originals(right: int) -> None:
    copies = share_interval(
        (np.arange(100) < right).repeat(7), [f"recording {i}" for i in range(100) for _ in range(7)]
    )
    assert copies == pytest.approx(
        tuple(binomtest(right, 100).proportion_ci(method="wilson")), abs=0.001
    )


def test_of_clips_of_one_recording_it_is_that_of_one_clip() -> None:
    assert share_interval(np.ones(70, bool), ["one"] * 70) == pytest.approx(
        tuple(binomtest(1, 1).proportion_ci(method="wilson"))
    )
    low, high = share_interval(np.arange(70) < 35, ["one"] * 70)
    assert low < 0.1
    assert high > 0.9


def test_shares_of_recordings_that_differ_lie_inside_19_times_in_20() -> None:
    rng, inside, narrow = np.random.default_rng(0), [], []
    for _ in range(400):
        sizes = rng.integers(1, 15, 60)
        right = rng.random(sizes.sum()) < rng.beta(0.6, 0.6, 60).repeat(sizes)
        recordings = [f"recording {i}" for i, size in enumerate(sizes) for _ in range(size)]
        for found, names in ((inside, recordings), (narrow, [""] * len(right))):
            low, high = share_interval(right, names)
            found.append(low < 0.5 < high)
    assert 0.92 < np.mean(inside) < 0.98
    assert np.mean(narrow) < 0.8


def test_a_mean_s_interval_is_of_recordings_and_unknown_for_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = mean_interval(
        values.repeat(5), [f"recording {i}" for i in range(400) for _ in range(5)], seed=0
    )
    half = 1.96 * values.std() / np.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert np.isnan(mean_interval(values, ["one"] * 400, seed=0)).all()
