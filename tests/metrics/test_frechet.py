"""The Fréchet distance against the usual formula with scipy's matrix root, closed forms and the limits that small sets have."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.frechet import frechet_distance, frechet_infinity, frechet_pair


def gaussian(n: int, d: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return mean + scale * rng.normal(size=(n, d)) @ np.random.default_rng(99).normal(size=(d, d))


def usual_formula(real: np.ndarray, generated: np.ndarray) -> float:
    """As pytorch-fid, fadtk and frechet-audio-distance have it: the root of the product of the covariances."""
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


def test_a_side_without_sound_has_no_distance():
    found = frechet_pair([gaussian(9, 3, seed) for seed in range(6)], [])
    assert found["clips"] == 0
    assert np.isnan([found["distance"], found["extrapolated"]]).all()


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
    """Four dimensions half apart: 1, to which 30 clips on either side add about 4 (1 + 0.3^2) 2 / 30 from the means alone."""
    plain, infinite = [], []
    for seed in range(20):
        real, generated = clips(30, 2 * seed), clips(30, 2 * seed + 1, mean=0.5)
        plain.append(frechet_distance(np.concatenate(real), np.concatenate(generated)))
        infinite.append(frechet_infinity(real, generated, seed=seed).distance)
    assert np.mean(plain) > 1.25
    assert abs(np.mean(infinite) - 1) < 0.15


def test_the_extrapolation_uses_subsets_of_the_smaller_side_and_repeats_with_its_seed():
    real, generated = clips(12, 0), clips(25, 1)
    first, again, other = (frechet_infinity(real, generated, seed=seed) for seed in (1, 1, 2))
    assert first.distance == again.distance != other.distance
    assert first.points["clips"].min() == 4
    assert first.points["clips"].max() == 12
    assert first.slope > 0
    assert 0 < first.r_squared < 1


def test_an_extrapolation_of_equal_clips_is_zero():
    same = [np.ones((3, 2))] * 10
    result = frechet_infinity(same, same)
    assert result.distance == pytest.approx(0)
    assert np.isnan(result.r_squared)


def test_a_clip_may_have_one_embedding():
    result = frechet_infinity(
        np.random.default_rng(0).normal(size=(20, 1, 3)),
        np.random.default_rng(1).normal(size=(20, 1, 3)),
    )
    assert abs(result.distance) < result.points["distance"].max()


def test_five_clips_are_extrapolated_from():
    assert frechet_infinity(clips(5, 0), clips(6, 1)).points["clips"].unique().tolist() == [
        2,
        3,
        4,
        5,
    ]


def test_an_extrapolation_needs_clips():
    with pytest.raises(SsenvError, match="at least 5 clips on either side, got 4 and 10"):
        frechet_infinity(clips(4, 0), clips(10, 1))
