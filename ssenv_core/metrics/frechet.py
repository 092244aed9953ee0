"""The Fréchet distance between two sets of embeddings, and its noise floor.

Both sets are taken as Gaussians (Dowson & Landau 1982, eq. 4; for audio Kilgour et al. 2019). The
distance is extrapolated to infinitely many clips (Chong & Forsyth 2020, section 4; for audio Gui et
al. 2024). The module knows arrays only: embeddings may be codec latents, a classifier's last layer.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.intervals import recording_groups

SPLITS = 10  # random divisions of the real recordings
LEAST_CLIPS = 5  # of a set, for an extrapolation
SIZES = 8  # subset sizes that an extrapolation is fitted to
SUBSETS = 2  # of each size
SMALLEST_SHARE = 0.3  # of the clips, in the smallest subset
FLOOR = "halves of the real clips"
SUFFIXES = {"mean": "", "min": "_low", "max": "_high"}
VERDICTS = {
    "beyond": "beyond the noise floor",
    "within": "not distinguishable from chance",
    "below": "below the noise floor: more similar than real clips are to each other",
}


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) of real (N, D) and generated (M, D) embeddings.

    m, S are the mean and covariance (n - 1) of `real`, m', S' those of `generated`. With S = R^T R
    and S' = R'^T R' the trace of the root is the sum of the singular values of R R'^T, so the
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
    """Count and mean (D,) of embeddings; root^T root is their scatter matrix."""

    count: int
    mean: np.ndarray
    root: np.ndarray


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
    the codec, and with as many generated clips. All sets have the same size, as the distance grows
    when sets shrink; no recording is on both sides, as its clips are similar.

    Args:
        real: one array (T, D) of embeddings per clip.
        generated: likewise of generated clips.
        codec: likewise of the real clips through the codec, in their order.
        recordings: what each real clip was cut from, "" where no other was; None: all "".

    Clips without embeddings (T = 0, on either side of the codec) are left out.

    Returns:
        Rows FLOOR, "codec" (if given) and "generated". Columns: `clips` in each set; `distance`,
        `distance_low`, `distance_high`: mean, minimum and maximum over the splits; the same of
        `extrapolated`, to infinitely many clips. NaN for sets without clips, and for extrapolations
        from fewer than 5 clips.

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
                rows.append(
                    {
                        "name": name,
                        "distance": _distance(_merged(reference), _merged(other)),
                        "extrapolated": _extrapolated(reference, other, rng),
                    }
                )
    table = pd.DataFrame(rows, columns=["name", "distance", "extrapolated"])
    spread = table.set_index("name").astype(float).groupby(level=0).agg(["mean", "min", "max"])
    spread = spread.reindex(list(sources))
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
    """Compare the other rows of `frechet_beside_floor` with the noise floor, in a sentence."""
    floor = table.loc[FLOOR]
    others = table.index.drop(FLOOR)
    verdicts = {name: verdict(table, name) for name in others}
    if "unknown" in verdicts.values():
        return f"By {embedding} no Fréchet distance can be measured: there are too few clips."
    compared = (
        f" {name.capitalize()}: {_written(table.loc[name, 'distance'])}, {VERDICTS[found]}."
        for name, found in verdicts.items()
    )
    return (
        f"By {embedding}, two sets of {floor['clips']:.0f} real clips are "
        f"{_written(floor['distance'])} apart (lowest {_written(floor['distance_low'])}, highest "
        f"{_written(floor['distance_high'])} of {SPLITS} random splits): the noise floor."
        + "".join(compared)
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


def _extrapolated(
    real: Sequence[_Summary], other: Sequence[_Summary], rng: np.random.Generator
) -> float:
    """The distance of two sets of n clips, extrapolated to infinitely many clips.

    Small sets add to it in proportion to 1 / n: where a line over 1 / n, fitted to random subsets
    of whole clips, meets 0. By chance below 0 where the sets hardly differ.
    """
    clips = len(real)
    if clips < LEAST_CLIPS:
        return float("nan")
    inverse_sizes = np.linspace(1 / clips, 1 / (SMALLEST_SHARE * clips), SIZES)
    sizes = np.repeat(np.unique(np.round(1 / inverse_sizes).astype(int)), SUBSETS)
    distances = []
    for size in sizes:
        subsets = (
            [side[i] for i in rng.choice(clips, size, replace=False)] for side in (real, other)
        )
        distances.append(_distance(*map(_merged, subsets)))
    return float(np.polyfit(1 / sizes, distances, 1)[1])


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
    roots = [side.root / np.sqrt(side.count - 1) for side in (real, generated)]
    overlap = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spreads = sum(np.square(root).sum() for root in roots)
    means = np.square(real.mean - generated.mean).sum()
    return max(0.0, float(means + spreads - 2 * overlap))
