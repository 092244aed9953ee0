"""The Fréchet distance between two sets of embeddings, and its noise floor.

Both sets are taken as Gaussians (Dowson & Landau 1982, eq. 4; for audio Kilgour et al. 2019). The
distance is extrapolated to infinitely many clips (Chong & Forsyth 2020, section 4; for audio Gui et
al. 2024). The module knows arrays only: embeddings may be codec latents, a classifier's last layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.intervals import recording_groups

SIZES = 8  # subset sizes that an extrapolation is fitted to
REPEATS = 8  # subsets of each size
LEAST_CLIPS = 5
SMALLEST_SHARE = 0.3  # of the clips, in the smallest subset
SPLITS = 10  # random divisions of the real recordings
SPLIT_REPEATS = 2  # subsets of each size in the extrapolation of one split
FLOOR = "halves of the real clips"
SUFFIXES = {"mean": "", "min": "_low", "max": "_high"}
VERDICTS = {
    "beyond": "beyond the noise floor",
    "within": "not distinguishable from chance",
    "below": "below the noise floor: more similar than real clips are to each other",
}


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) of real (N, D) and generated (M, D) embeddings.

    m, S are the mean and covariance (n - 1) of `real`, m', S' those of `generated`; the result is
    in squared units of the embedding. With S = R^T R and S' = R'^T R' the trace of the root is the
    sum of the singular values of R R'^T, so no root of a product of matrices is taken, and the
    result is real and not negative even for few embeddings.

    Raises:
        SsenvError: fewer than 2 embeddings on a side, one that is not finite, or two dimensions D.
    """
    real, generated = _checked(real, "real"), _checked(generated, "generated")
    if real.shape[1] != generated.shape[1]:
        raise SsenvError(
            f"real embeddings have {real.shape[1]} numbers each, "
            f"generated ones {generated.shape[1]}"
        )
    return _distance(_summary(real), _summary(generated))


class _Summary(NamedTuple):
    """All that a distance needs of embeddings: their count, mean (D,), and scatter root^T root."""

    count: int
    mean: np.ndarray
    root: np.ndarray


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """`frechet_distance` as a line over 1 / n, n the number of clips.

    Attributes:
        distance: where the line meets 1 / n = 0; by chance below 0 where the sets hardly differ.
        slope: of the distance over 1 / n: how much few clips add.
        r_squared: of the fit; NaN where all distances are equal.
        points: one row per subset: `clips` on either side, `distance`.
    """

    distance: float
    slope: float
    r_squared: float
    points: pd.DataFrame


def frechet_infinity(
    real: Sequence[np.ndarray], generated: Sequence[np.ndarray], *, seed: int = 42
) -> Extrapolation:
    """Extrapolate the distance to infinitely many clips.

    Small sets add to the distance, in proportion to 1 / n. A line is fitted to the distances
    between random subsets of n clips of either side, drawn without replacement; whole clips,
    because the frames of a clip are correlated. The sides must not be versions of the same clips,
    which have the same sampling error.

    Args:
        real: one array (T, D) of embeddings per clip, T at least 1.
        generated: likewise.

    Raises:
        SsenvError: fewer than 5 clips on a side, or as `frechet_distance`.
    """
    fewer = min(len(real), len(generated))
    if fewer < LEAST_CLIPS:
        raise SsenvError(
            f"an extrapolation needs at least {LEAST_CLIPS} clips on either side, "
            f"got {len(real)} and {len(generated)}"
        )
    frechet_distance(np.concatenate(real), np.concatenate(generated))  # raises if they are invalid
    summaries = ([_summary(clip) for clip in clips] for clips in (real, generated))
    return _extrapolate(*summaries, REPEATS, np.random.default_rng(seed))


def frechet_beside_floor(
    real: Sequence[np.ndarray],
    generated: Sequence[np.ndarray],
    codec: Sequence[np.ndarray] | None = None,
    *,
    recordings: Sequence[str] | None = None,
    seed: int = 42,
) -> pd.DataFrame:
    """Distances of generated clips, and of the codec's, from real ones, beside the noise floor.

    SPLITS times, the recordings are divided at random into two halves. Real clips of the first half
    are compared with as many real clips of the second (the noise floor), with the latter through
    the codec, and with as many generated clips. All sets have the same number of clips, as the
    distance grows when sets shrink; no recording is on both sides, as clips of one recording are
    more similar than chance.

    Args:
        real: one array (T, D) of embeddings per clip.
        generated: likewise of generated clips.
        codec: likewise of the real clips through the codec, in their order.
        recordings: what each real clip was cut from, "" where no other was; None: all "".

    Clips without embeddings (T = 0, on either side of the codec) are left out.

    Returns:
        Rows FLOOR, "codec" (if given) and "generated". Columns: `clips` in each set; `distance`,
        `distance_low`, `distance_high`: mean, minimum and maximum over the splits; the same of
        `extrapolated` (`frechet_infinity`). NaN for sets without clips, and for extrapolations from
        fewer than 5 clips.

    Raises:
        SsenvError: as `frechet_distance`.
    """
    versions = [real, real if codec is None else codec]
    kept = [i for i, clips in enumerate(zip(*versions, strict=True)) if all(map(len, clips))]
    groups = recording_groups([recordings[i] if recordings else "" for i in kept])
    rng = np.random.default_rng(seed)
    splits = [_halves(groups, rng) for _ in range(SPLITS)]
    sources = {FLOOR: [real[i] for i in kept]}
    if codec is not None:
        sources["codec"] = [codec[i] for i in kept]
    sources["generated"] = [clip for clip in generated if len(clip)]
    size = min(len(sources["generated"]), *(len(half) for split in splits for half in split))
    rows = []
    if size:
        for source, clips in sources.items():
            _checked(np.concatenate(clips), source)
            if size == 1 and min(map(len, clips)) == 1:
                raise SsenvError(
                    f"a Fréchet distance needs at least 2 {source} embeddings in each set, "
                    "and a set of 1 clip may have 1: give more clips"
                )
        summaries = {name: [_summary(clip) for clip in clips] for name, clips in sources.items()}
        for halves in splits:
            first, second = (rng.permutation(half)[:size] for half in halves)
            chosen = dict.fromkeys(sources, second)
            chosen["generated"] = rng.permutation(len(sources["generated"]))[:size]
            reference = [summaries[FLOOR][i] for i in first]
            for name, indices in chosen.items():
                other = [summaries[name][i] for i in indices]
                rows.append({"name": name} | _distances(reference, other, rng))
    table = pd.DataFrame(rows, columns=["name", "distance", "extrapolated"]).astype(
        {"distance": float, "extrapolated": float}
    )
    spread = table.groupby("name").agg(["mean", "min", "max"]).reindex(list(sources))
    spread.columns = [
        column + SUFFIXES[statistic] for column, statistic in spread.columns.to_flat_index()
    ]
    spread.insert(0, "clips", size)
    return spread.rename_axis(None)


def verdict(table: pd.DataFrame, name: str) -> Literal["beyond", "within", "below", "unknown"]:
    """Where a mean distance of `frechet_beside_floor` lies relative to the range of the floor."""
    distance = table.loc[name, "distance"]
    low, high = table.loc[FLOOR, ["distance_low", "distance_high"]]
    if not np.isfinite([distance, low, high]).all():
        return "unknown"
    if distance > high:
        return "beyond"
    return "below" if distance < low else "within"


def distance_sentence(table: pd.DataFrame, embedding: str) -> str:
    """The noise floor in words, and how the other rows of `frechet_beside_floor` compare with it."""
    floor = table.loc[FLOOR]
    others = table.index.drop(FLOOR)
    if any(verdict(table, name) == "unknown" for name in others):
        return f"By {embedding} no Fréchet distance can be measured: there are too few clips."
    low, mean, high = (
        _written(floor[column]) for column in ("distance_low", "distance", "distance_high")
    )
    compared = (
        f"{name.capitalize()}: {_written(table.loc[name, 'distance'])}, "
        f"{VERDICTS[verdict(table, name)]}."
        for name in others
    )
    return (
        f"By {embedding}, two sets of {floor['clips']:.0f} real clips are {mean} apart (lowest "
        f"{low}, highest {high} of {SPLITS} random splits): the noise floor. {' '.join(compared)}"
    )


def _written(distance: float) -> str:
    """Three digits, without an exponent for large distances."""
    return f"{distance:.0f}" if distance >= 100 else f"{distance:.3g}"


def _halves(groups: np.ndarray, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Indices of groups (N,) int in two random halves about equal in size; no group is in both."""
    halves = ([], [])
    for group in rng.permutation(groups.max(initial=-1) + 1):
        min(halves, key=len).extend(np.flatnonzero(groups == group).tolist())
    return halves


def _distances(
    real: Sequence[_Summary], other: Sequence[_Summary], rng: np.random.Generator
) -> dict[str, float]:
    """`distance` and `extrapolated` of two sets of summaries."""
    extrapolated = float("nan")
    if len(real) >= LEAST_CLIPS:
        extrapolated = _extrapolate(real, other, SPLIT_REPEATS, rng).distance
    return {"distance": _distance(_merged(real), _merged(other)), "extrapolated": extrapolated}


def _extrapolate(
    real: Sequence[_Summary], generated: Sequence[_Summary], repeats: int, rng: np.random.Generator
) -> Extrapolation:
    """`frechet_infinity` of the summaries of clips, from `repeats` subsets of each size."""
    fewer = min(len(real), len(generated))
    inverse_sizes = np.linspace(1 / fewer, 1 / (SMALLEST_SHARE * fewer), SIZES)
    rows = []
    for size in np.repeat(np.unique(np.round(1 / inverse_sizes).astype(int)), repeats):
        subsets = (
            [clips[i] for i in rng.choice(len(clips), size, replace=False)]
            for clips in (real, generated)
        )
        distance = _distance(*map(_merged, subsets))
        rows.append({"clips": int(size), "distance": distance})
    points = pd.DataFrame(rows)
    x = 1 / points["clips"]
    y = points["distance"]
    slope, distance = np.polyfit(x, y, 1)
    spread = float(np.square(y - y.mean()).sum())
    rest = float(np.square(y - slope * x - distance).sum())
    r_squared = 1 - rest / spread if spread > 0 else float("nan")
    return Extrapolation(float(distance), float(slope), r_squared, points)


def _checked(embeddings: np.ndarray, name: str) -> np.ndarray:
    embeddings = np.asarray(embeddings, np.float64)
    if embeddings.ndim != 2 or len(embeddings) < 2:
        raise SsenvError(
            f"a Fréchet distance needs at least 2 {name} embeddings (N, D), "
            f"got shape {embeddings.shape}"
        )
    invalid = np.count_nonzero(~np.isfinite(embeddings).all(axis=1))
    if invalid:
        raise SsenvError(f"{invalid} of {len(embeddings)} {name} embeddings are not finite")
    return embeddings


def _summary(embeddings: np.ndarray) -> _Summary:
    """The summary of embeddings (T, D), in float64."""
    embeddings = np.asarray(embeddings, np.float64)
    mean = embeddings.mean(axis=0)
    return _Summary(len(embeddings), mean, _root(embeddings - mean))


def _merged(summaries: Sequence[_Summary]) -> _Summary:
    """The summary of the embeddings of several summaries."""
    counts = np.array([summary.count for summary in summaries])
    means = np.stack([summary.mean for summary in summaries])
    mean = counts @ means / counts.sum()
    between = np.sqrt(counts)[:, None] * (means - mean)
    roots = [summary.root for summary in summaries]
    return _Summary(int(counts.sum()), mean, _root(np.concatenate([between, *roots])))


def _root(rows: np.ndarray) -> np.ndarray:
    """At most D rows R with R^T R = rows^T rows, rows (n, D)."""
    if len(rows) <= rows.shape[1]:
        return rows
    values, vectors = np.linalg.eigh(rows.T @ rows)
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def _distance(real: _Summary, generated: _Summary) -> float:
    """`frechet_distance` of two summaries."""
    roots = [side.root / np.sqrt(side.count - 1) for side in (real, generated)]
    overlap = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spreads = sum(np.square(root).sum() for root in roots)
    means = np.square(real.mean - generated.mean).sum()
    return max(0.0, float(means + spreads - 2 * overlap))
