"""Comparisons of sets against hand-made cases, scipy, theory, and enumeration."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.stats import compare, gap_parts, gaps_by_class, holm, noise_floor


def normal(n: int, mean: float = 0.0, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"x": np.random.default_rng(seed).normal(mean, 1.0, n)})


def test_means_deviations_and_ks_of_a_hand_made_case():
    row = compare(pd.DataFrame({"x": [1.0, 3.0]}), pd.DataFrame({"x": [3.0, 3.0, 6.0]})).loc["x"]
    assert row[["real_n", "real_mean", "real_std"]].tolist() == [2, 2, 1]
    assert row[["generated_n", "generated_mean"]].tolist() == [3, 4]
    assert row["generated_std"] == pytest.approx(np.sqrt(2))
    assert row["difference_percent"] == 100
    assert row["mean_difference"] == 2
    assert row["ks_d"] == pytest.approx(0.5)


def test_a_fall_of_a_negative_mean_is_negative():
    assert (
        compare(pd.DataFrame({"x": [-2.0]}), pd.DataFrame({"x": [-3.0]})).loc[
            "x", "difference_percent"
        ]
        == -50
    )


def test_a_real_mean_of_zero_has_no_percentage():
    assert np.isnan(
        compare(pd.DataFrame({"x": [0.0]}), pd.DataFrame({"x": [1.0]})).loc[
            "x", "difference_percent"
        ]
    )


@pytest.mark.filterwarnings("ignore:ks_2samp")
@given(
    a=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    b=st.lists(st.integers(0, 5), min_size=1, max_size=12),
)
@settings(deadline=None, max_examples=30)
def test_intervals_are_ordered_and_equal_sets_are_zero_apart(a, b):
    a, b = (pd.DataFrame({"x": np.array(v, dtype=float)}) for v in (a, b))
    row = compare(a, b, resamples=50).loc["x"]
    assert 0 <= row["ks_d_low"] <= row["ks_d_high"] <= 1
    assert row["mean_difference_low"] <= row["mean_difference_high"]
    assert row["ks_d"] == pytest.approx(scipy.stats.ks_2samp(a["x"], b["x"]).statistic)
    same = compare(a, a, resamples=50).loc["x"]
    assert same["ks_d"] == same["mean_difference"] == 0
    assert same["ks_p"] == 1


def test_constants_are_exactly_zero_or_one_apart():
    fives = pd.DataFrame({"x": np.full(30, 5.0)})
    assert compare(fives, fives).loc["x", ["ks_d_low", "ks_d_high"]].tolist() == [0, 0]
    assert compare(fives, fives + 1e-9).loc["x", ["ks_d_low", "ks_d_high"]].tolist() == [1, 1]


def test_the_bootstrap_agrees_with_theory_and_with_a_plain_loop():
    real, generated = normal(200), normal(150, mean=1.0, seed=1)
    row = compare(real, generated, resamples=2000).loc["x"]
    error = np.sqrt(real["x"].var() / 200 + generated["x"].var() / 150)
    assert row["mean_difference_low"] == pytest.approx(
        row["mean_difference"] - 1.96 * error, abs=0.15 * error
    )
    assert row["mean_difference_high"] == pytest.approx(
        row["mean_difference"] + 1.96 * error, abs=0.15 * error
    )
    rng = np.random.default_rng(2)
    d = [
        scipy.stats.ks_2samp(
            *(rng.choice(t["x"], len(t)) for t in (real, generated)), method="asymp"
        ).statistic
        for _ in range(400)
    ]
    assert row[["ks_d_low", "ks_d_high"]].tolist() == pytest.approx(
        np.quantile(d, (0.025, 0.975)), abs=0.03
    )


@pytest.mark.filterwarnings("error")
def test_a_test_of_five_clips_does_not_warn():
    five = pd.DataFrame({"x": np.arange(5.0)})
    assert compare(five, five + 0.5).loc["x", "ks_p"] == pytest.approx(1)


def test_pairs_are_resampled_together_and_exchanged_within():
    """In pairs, a shift smaller than the spread of the clips is found if it is the same in all."""
    real = normal(100)
    shifted = real + 0.1
    row, apart = compare(real, shifted, paired=True).loc["x"], compare(real, shifted).loc["x"]
    assert row["ks_d"] == apart["ks_d"]
    assert row[["mean_difference_low", "mean_difference_high"]].tolist() == pytest.approx(
        [0.1, 0.1]
    )
    assert apart["mean_difference_low"] < 0 < apart["mean_difference_high"]
    assert apart["ks_p"] > 0.5
    assert row["ks_p"] < 0.05


@pytest.mark.parametrize("size", [2, 7])
def test_the_p_of_pairs_is_that_of_all_exchanges(size):
    real, generated = normal(size)["x"].to_numpy(), normal(size, seed=1)["x"].to_numpy()
    d = []
    for exchange in itertools.product([False, True], repeat=size):
        sides = np.where(exchange, generated, real), np.where(exchange, real, generated)
        d.append(scipy.stats.ks_2samp(*sides, method="asymp").statistic)
    row = compare(
        pd.DataFrame({"x": real}), pd.DataFrame({"x": generated}), paired=True, resamples=20_000
    ).loc["x"]
    assert row["ks_p"] == pytest.approx(np.mean(np.array(d) >= d[0] - 1e-9), abs=0.02)


def test_pairs_that_do_not_differ_are_rarely_told_apart():
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        clip = rng.normal(size=30)
        sides = (pd.DataFrame({"x": clip + 0.5 * rng.normal(size=30)}) for _ in range(2))
        p.append(compare(*sides, paired=True, resamples=200).loc["x", "ks_p"])
    assert np.mean(np.array(p) < 0.05) < 0.1
    assert np.mean(p) == pytest.approx(0.5, abs=0.15)


def test_a_pair_of_which_one_value_is_not_finite_counts_on_neither_side():
    row = compare(
        pd.DataFrame({"x": [1.0, 3.0, np.nan, 5.0]}),
        pd.DataFrame({"x": [np.inf, 4.0, 2.0, 7.0]}),
        paired=True,
    ).loc["x"]
    assert row[["real_n", "real_mean", "generated_n", "generated_mean"]].tolist() == [2, 4, 2, 5.5]
    with pytest.raises(SsenvError, match="2 and 1 clips are no pairs"):
        compare(pd.DataFrame({"x": [1.0, 2.0]}), pd.DataFrame({"x": [1.0]}), paired=True)


def test_values_that_are_not_finite_are_left_out_and_missing_from_n():
    real = pd.DataFrame({"x": [1.0, 3.0, np.nan, np.inf]})
    row = compare(real, pd.DataFrame({"x": [3.0, 3.0]})).loc["x"]
    assert row[["real_n", "real_mean"]].tolist() == [2, 2]
    none = compare(real, pd.DataFrame({"x": [np.nan]})).loc["x"]
    assert none["generated_n"] == 0
    assert (
        none[["generated_mean", "difference_percent", "ks_d", "ks_p", "mean_difference_low"]]
        .isna()
        .all()
    )


def test_a_row_depends_on_the_seed_and_its_own_column_alone():
    real, generated = normal(40), normal(40, seed=1)
    first = compare(real, generated, seed=1)
    pd.testing.assert_frame_equal(first, compare(real, generated, seed=1))
    assert not first.equals(compare(real, generated, seed=2))
    both = compare(
        normal(40, seed=9).rename(columns={"x": "w"}).join(real),
        normal(40, seed=8).rename(columns={"x": "w"}).join(generated),
        seed=1,
    )
    assert both.index.tolist() == ["w", "x"]
    assert both.loc["x", "ks_holm_p"] > first.loc["x", "ks_holm_p"]  # which alone counts the rows
    pd.testing.assert_series_equal(
        both.loc["x"].drop("ks_holm_p"), first.loc["x"].drop("ks_holm_p")
    )


def test_only_shared_float_columns_are_compared_unless_named():
    real = normal(5).assign(silent=False, sample_rate=24_000, other=0.5)
    assert compare(real, real.drop(columns="other")).index.tolist() == ["x"]
    assert compare(real, real, metrics=["other"]).index.tolist() == ["other"]
    with pytest.raises(SsenvError, match="'nothing'"):
        compare(real, real, metrics=["nothing"])
    with pytest.raises(SsenvError, match="no float column"):
        compare(real[["silent"]], real)


def test_holm_of_a_worked_example_keeps_order_ends_at_one_and_does_not_count_what_was_not_tested():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert holm(np.array([0.6, 0.7])).tolist() == [1, 1]
    with_a_gap = holm(np.array([0.03, np.nan, 0.01]))
    assert with_a_gap[[0, 2]].tolist() == pytest.approx([0.03, 0.02])
    assert np.isnan(with_a_gap[1])
    assert holm(np.empty(0)).size == 0


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_holm_lies_between_the_raw_p_and_bonferroni_and_never_reverses_two_tests(p):
    p = np.array(p)
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(p * len(p), 1) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def test_among_many_metrics_that_do_not_differ_holm_finds_one_in_at_most_one_of_twenty_tables():
    rng = np.random.default_rng(0)
    found = {"ks_p": 0, "ks_holm_p": 0}
    for _ in range(200):
        a, b = (pd.DataFrame(rng.normal(size=(30, 6)), columns=list("abcdef")) for _ in range(2))
        table = compare(a, b, resamples=1)
        found = {name: count + (table[name] < 0.05).any() for name, count in found.items()}
    assert found["ks_holm_p"] <= 20 < found["ks_p"]


def test_a_gap_is_the_sum_of_its_parts_in_percent_of_the_first_stage():
    means = {"real": -4.0, "rate": -5.0, "codec": -3.0, "model": -8.0}
    stages = {
        name: pd.DataFrame({"x": [mean - 1, mean + 1, np.nan], "y": [np.nan] * 3})
        for name, mean in means.items()
    }
    parts = gap_parts(stages, metrics=["x", "y"])
    assert parts.columns.tolist() == ["rate", "codec", "model", "total"]
    assert parts.loc["x"].tolist() == pytest.approx([-25, 50, -125, -100])
    assert parts.loc["y"].isna().all()
    zero = gap_parts(
        {"real": pd.DataFrame({"x": [0.0]}), "rate": pd.DataFrame({"x": [1.0]})}, metrics=["x"]
    )
    assert zero.loc["x"].isna().all()


def test_gaps_are_those_of_each_class_and_missing_where_a_side_has_none():
    real = pd.DataFrame({"x": [1.0, 3.0, -10.0, 0.0, 7.0, np.inf], "y": 1.0})
    generated = pd.DataFrame({"x": [3.0, -15.0, np.nan, 1.0, 5.0], "y": 2.0})
    gaps = gaps_by_class(
        real, generated, np.array([0, 0, 2, 3, 4, 0]), np.array([0, 2, 2, 3, 5]), metrics=["x"]
    )
    assert gaps.index.tolist() == [0, 2, 3, 4, 5]
    assert gaps["x"].dropna().to_dict() == {0: 50, 2: -50}


def test_the_noise_floor_of_four_clips_is_what_enumeration_gives():
    values = pd.DataFrame(
        {"distinct": [0.0, 1.0, 2.0, 3.0], "tied": [0.0, 0.0, 1.0, 1.0], "constant": [2.0] * 4}
    )
    floor = noise_floor(values, (2, 2), repeats=4000)
    assert floor["n"].tolist() == [2, 2, 2]
    assert floor["ks_d_mean"].tolist() == pytest.approx(
        [2 / 3, 1 / 3, 0], abs=0.03
    )  # 2 of 6 splits are 1 apart, 4 are 0.5 or, tied, 0
    assert floor["ks_d_95"].tolist() == [1, 1, 0]


def test_the_noise_floor_falls_with_the_square_root_of_n():
    floor = [noise_floor(normal(n), (n // 2, n // 2)).loc["x", "ks_d_95"] for n in (100, 400)]
    assert floor[0] == pytest.approx(
        1.36 * np.sqrt(2 / 50), abs=0.03
    )  # the asymptotic 5 % point of D
    assert floor[1] == pytest.approx(floor[0] / 2, abs=0.03)


def test_the_noise_floor_is_seeded_and_undefined_below_two_clips():
    values = normal(30)
    pd.testing.assert_frame_equal(
        noise_floor(values, (30, 30), seed=3), noise_floor(values, (30, 30), seed=3)
    )
    assert noise_floor(normal(1), (1, 1)).loc["x", "n"] == 0
    assert np.isnan(noise_floor(normal(1), (1, 1)).loc["x", "ks_d_95"])


@pytest.mark.parametrize("sizes", [(400, 50), (80, 80)])
def test_sets_that_do_not_differ_are_beyond_the_noise_floor_of_their_sizes_once_in_twenty(
    sizes: tuple[int, int],
):
    rng, beyond = np.random.default_rng(0), 0
    for _ in range(300):
        real, other = (pd.DataFrame({"x": rng.normal(size=n)}) for n in sizes)
        beyond += (
            scipy.stats.ks_2samp(real["x"], other["x"]).statistic
            > noise_floor(real, sizes, repeats=100).loc["x", "ks_d_95"]
        )
    assert 0.02 < beyond / 300 < 0.09
