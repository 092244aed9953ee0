"""The Fréchet distance against the usual formula, closed forms and the limits of small sets.

The noise floor is tested on sets whose distances are known.
"""

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.frechet import (
    FLOOR,
    SPLITS,
    distance_sentence,
    frechet_beside_floor,
    frechet_distance,
    verdict,
)


def gaussian(n: int, d: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return mean + scale * rng.normal(size=(n, d)) @ np.random.default_rng(99).normal(size=(d, d))


def usual_formula(real: np.ndarray, generated: np.ndarray) -> float:
    """As pytorch-fid, fadtk and frechet-audio-distance: the root of the product of covariances."""
    covariances = [np.cov(x, rowvar=False) for x in (real, generated)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    return (
        np.square(real.mean(0) - generated.mean(0)).sum()
        + np.trace(covariances[0])
        + np.trace(covariances[1])
        - 2 * np.trace(root)
    )


@pytest.mark.parametrize("d", [2, 16, 96])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_it_is_the_usual_formula(d, scale):
    real, generated = (
        gaussian(400, d, 0, scale=scale),
        gaussian(300, d, 1, mean=0.3 * scale, scale=1.5 * scale),
    )
    assert frechet_distance(real, generated) == pytest.approx(
        usual_formula(real, generated), rel=1e-6
    )


def test_one_dimension_is_the_difference_of_means_and_of_deviations_squared():
    real, generated = gaussian(50, 1, 0), gaussian(60, 1, 1, mean=2)
    expected = (real.mean() - generated.mean()) ** 2 + (
        real.std(ddof=1) - generated.std(ddof=1)
    ) ** 2
    assert frechet_distance(real, generated) == pytest.approx(expected)


@given(
    n=st.integers(2, 12),
    m=st.integers(2, 12),
    d=st.integers(1, 20),
    seed=st.integers(0, 99),
    mean=st.sampled_from([0.0, 1e4]),
)
@settings(deadline=None, max_examples=60)
def test_few_embeddings_are_a_distance_too(n, m, d, seed, mean):
    real, generated = gaussian(n, d, seed, mean), gaussian(m, d, seed + 1, mean)
    distance = frechet_distance(real, generated)
    assert 0 <= distance == pytest.approx(frechet_distance(generated, real))
    spread = np.square(real - real.mean(0)).sum() / (n - 1)
    assert frechet_distance(real, real[::-1]) < 1e-9 * (spread + mean**2)
    assert frechet_distance(real, real + 3) == pytest.approx(9 * d, rel=1e-6)


def test_embeddings_that_are_all_equal_have_no_spread():
    assert frechet_distance(np.ones((3, 4)), np.ones((5, 4))) == pytest.approx(0)
    assert frechet_distance(np.ones((3, 4)), np.zeros((5, 4))) == pytest.approx(4)


@pytest.mark.parametrize(
    ("real", "generated", "line"),
    [
        (
            np.zeros((1, 3)),
            np.zeros((4, 3)),
            r"at least 2 real embeddings \(N, D\), got shape \(1, 3\)",
        ),
        (
            np.zeros((4, 3)),
            np.zeros(4),
            r"at least 2 generated embeddings \(N, D\), got shape \(4,\)",
        ),
        (
            np.zeros((4, 3)),
            np.zeros((4, 2)),
            "real embeddings have 3 numbers each, generated ones 2",
        ),
        (
            np.array([[0.0], [np.nan], [np.inf]]),
            np.zeros((4, 1)),
            "2 of 3 real embeddings are not finite",
        ),
    ],
)
def test_what_has_no_distance_is_refused(real, generated, line):
    with pytest.raises(SsenvError, match=line):
        frechet_distance(real, generated)


def clips(count: int, seed: int, mean: float = 0.0) -> list[np.ndarray]:
    """Frames that differ less within a clip than between clips."""
    rng = np.random.default_rng(seed)
    return [mean + rng.normal(size=4) + 0.3 * rng.normal(size=(20, 4)) for _ in range(count)]


def test_the_extrapolation_removes_what_few_clips_add():
    """Four dimensions half apart: 1.

    The means of 30 clips on either side alone add about 4 (1 + 0.3^2) 2 / 30.
    """
    rows = [
        frechet_beside_floor(clips(60, 2 * seed), clips(30, 2 * seed + 1, mean=0.5))
        for seed in range(10)
    ]
    means = pd.concat(rows).loc["generated"].mean()
    assert means["distance"] > 1.25
    assert abs(means["extrapolated"] - 1) < 0.15


def test_an_extrapolation_of_equal_clips_is_zero():
    same = [np.ones((3, 2))] * 10
    assert frechet_beside_floor(same, same).loc["generated", "extrapolated"] == pytest.approx(0)


def test_clips_may_have_one_embedding():
    real, generated = (np.random.default_rng(seed).normal(size=(20, 1, 3)) for seed in (0, 1))
    table = frechet_beside_floor(real, generated)
    assert (table["extrapolated"].abs() < table["distance"]).all()


def test_all_sets_have_as_many_clips_as_the_smallest_half_or_the_generated_side():
    real = clips(20, 0)
    for count, expected in ((30, 10), (7, 7)):
        table = frechet_beside_floor(real, clips(count, 1), real)
        assert table["clips"].tolist() == [expected] * 3
        assert list(table.index) == [FLOOR, "codec", "generated"]
        assert (table["distance_low"] < table["distance"]).all()
        assert (table["distance"] < table["distance_high"]).all()
        assert (table["extrapolated"] < table["distance"]).all()
    assert list(frechet_beside_floor(real, clips(7, 1)).index) == [FLOOR, "generated"]


def test_no_recording_lies_on_both_sides():
    """Two recordings ten apart in four dimensions: 400, or about 0 if both sides held both."""
    real = [
        mean + clip for i in range(6) for mean, clip in ((0, clips(1, i)[0]), (10, clips(1, i)[0]))
    ]
    recordings = ["a", "b"] * 6
    table = frechet_beside_floor(real, clips(6, 99), real, recordings=recordings)
    assert table.loc[[FLOOR, "codec"], "distance_low"].min() > 300
    assert frechet_beside_floor(real, clips(6, 99), real).loc[FLOOR, "distance"] < 100


def test_clips_of_the_same_kind_are_within_the_floor_and_others_beyond():
    real = clips(40, 0)
    verdicts = [
        verdict(frechet_beside_floor(real, clips(20, seed)), "generated") for seed in range(1, 11)
    ]
    assert verdicts.count("beyond") <= 1
    table = frechet_beside_floor(real, clips(20, 1, mean=1.5), [clip + 2 for clip in real])
    assert [verdict(table, name) for name in ("codec", "generated")] == ["beyond", "beyond"]


def test_generated_clips_nearer_than_other_real_recordings_are_below_the_floor():
    real = [10.0 * (i // 6) + clip for i, clip in enumerate(clips(12, 0))]
    table = frechet_beside_floor(real, real, recordings=["a"] * 6 + ["b"] * 6)
    assert verdict(table, "generated") == "below"


def test_the_splits_repeat_with_their_seed():
    sides = clips(20, 0), clips(10, 1)
    first, again, other = (frechet_beside_floor(*sides, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert (first["distance"] != other["distance"]).all()


def test_the_mean_is_over_the_splits_of_the_distances_of_single_ones():
    """With one dimension and one embedding a side, a set of two clips has the mean's distance."""
    real = [np.array([[0.0], [0.0]]), np.array([[4.0], [4.0]])]
    table = frechet_beside_floor(real, [np.array([[0.0], [0.0]])])
    assert table.loc[FLOOR, ["distance", "distance_low", "distance_high"]].tolist() == [16] * 3
    low, high = table.loc["generated", ["distance_low", "distance_high"]]
    assert (low, high) == (0, 16)
    assert table.loc["generated", "distance"] * SPLITS % 16 == pytest.approx(0)


def test_clips_without_embeddings_are_left_out_with_their_other_version():
    real = clips(12, 0)
    coded = clips(12, 1)
    generated = clips(6, 2)
    nothing = np.zeros((0, 4))
    expected = frechet_beside_floor(real[2:], generated, coded[2:])
    real[0] = nothing
    coded[1] = nothing
    assert frechet_beside_floor(real, [*generated, nothing], coded).equals(expected)


def test_without_clips_on_a_side_there_is_no_distance_and_no_verdict():
    for real, generated in ((clips(6, 0), []), (clips(1, 0), clips(6, 1)), ([], [])):
        table = frechet_beside_floor(real, generated)
        assert table["clips"].tolist() == [0, 0]
        assert table.drop(columns="clips").isna().all(axis=None)
        assert verdict(table, "generated") == "unknown"


def test_fewer_than_five_clips_are_not_extrapolated():
    table = frechet_beside_floor(clips(10, 0), clips(5, 1))
    assert table["extrapolated"].notna().all()
    table = frechet_beside_floor(clips(9, 0), clips(9, 1))
    assert table["distance"].notna().all()
    assert table["extrapolated"].isna().all()


def test_sets_of_one_embedding_are_refused():
    with pytest.raises(SsenvError, match=r"at least 2 .* embeddings in each set"):
        frechet_beside_floor([np.ones((1, 2)), np.zeros((1, 2))], [np.ones((1, 2))] * 2)
    with pytest.raises(SsenvError, match="generated embeddings are not finite"):
        frechet_beside_floor(clips(4, 0), [np.full((3, 4), np.nan)] * 2)


def beside(codec: float, generated: float) -> pd.DataFrame:
    """Distances of which the floor's lie between 100 and 140."""
    rows = {FLOOR: (120.0, 100.0, 140.0), "codec": (codec,) * 3, "generated": (generated,) * 3}
    columns = ["distance", "distance_low", "distance_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).assign(clips=20)


def test_the_sentence_says_which_distances_lie_beyond_the_spread_of_the_floor():
    assert distance_sentence(beside(130, 1484.4), "clap") == (
        "By clap, two sets of 20 real clips are 120 apart (lowest 100, highest 140 of 10 random "
        "splits): the noise floor. Codec: 130, not distinguishable from chance. Generated: 1484, "
        "beyond the noise floor."
    )
    swapped = distance_sentence(beside(140.5, 99.5), "clap")
    assert "Codec: 140, beyond the noise floor." in swapped
    assert "Generated: 99.5, below the noise floor: more similar than real clips" in swapped
    assert "codec" not in distance_sentence(beside(1, 1).drop("codec"), "clap").lower()


def test_the_sentence_has_no_number_where_there_is_none():
    table = frechet_beside_floor(clips(6, 0), [])
    assert distance_sentence(table, "clap") == (
        "By clap no Fréchet distance can be measured: there are too few clips."
    )
