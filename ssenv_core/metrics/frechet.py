"""The Fréchet distance between two sets of embeddings, taken as Gaussians (Dowson & Landau 1982, eq. 4; for audio Kilgour et al. 2019), and
its extrapolation to endlessly many clips (Chong & Forsyth 2020, section 4; for audio Gui et al. 2024). Of any embedding: codec latents,
a classifier's last layer. It knows arrays only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssenv_core.base.errors import SsenvError

SIZES = 8  # subset sizes that an extrapolation is fitted to
REPEATS = 8  # subsets of each size
LEAST_CLIPS = 5
SMALLEST_SHARE = 0.3  # of the clips, in the smallest subset


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)), m, S mean and covariance (n - 1) of real (N, D), m', S' of generated (M, D).

    In squared units of the embedding. With S = R^T R and S' = R'^T R' the trace of the root is the sum of the singular values of R R'^T; R
    is that of a QR decomposition: no root of a matrix is taken, and the result is real and not negative however few embeddings there are.

    Raises:
        SsenvError: fewer than 2 embeddings on a side, one that is not finite, or two kinds of embedding.
    """
    real, generated = _checked(real, "real"), _checked(generated, "generated")
    if real.shape[1] != generated.shape[1]:
        raise SsenvError(
            f"real embeddings have {real.shape[1]} numbers each, generated ones {generated.shape[1]}"
        )
    return _distance(_summary(real), _summary(generated))


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """`frechet_distance` of ever more clips.

    Attributes:
        distance: where the line meets 1 / n = 0; it may be less than 0 by chance where the sets hardly differ.
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
    """The distance without what small sets add to it, which falls as 1 / n: a line over the distances between subsets of n clips each.

    Subsets are of whole clips, as the frames of a clip are alike, drawn without putting back, of both sides alike: the real side's share of
    the bias goes as well. The sides must not be versions of the same clips, which share what the line takes for chance: take every second
    clip of the one and the others of the other.

    Args:
        real: one array (T, D) of embeddings per clip, T at least 1.
        generated: likewise.

    Raises:
        SsenvError: fewer than 5 clips on a side, or as `frechet_distance`.
    """
    fewer = min(len(real), len(generated))
    if fewer < LEAST_CLIPS:
        raise SsenvError(
            f"an extrapolation needs at least {LEAST_CLIPS} clips on either side, got {len(real)} and {len(generated)}"
        )
    frechet_distance(
        np.concatenate(real), np.concatenate(generated)
    )  # raises what is wrong with them
    real, generated = ([_summary(clip) for clip in clips] for clips in (real, generated))
    rng = np.random.default_rng(seed)
    sizes = np.unique(
        np.round(1 / np.linspace(1 / fewer, 1 / (SMALLEST_SHARE * fewer), SIZES)).astype(int)
    )
    rows = []
    for size in np.repeat(sizes, REPEATS):
        chosen = (
            [clips[i] for i in rng.choice(len(clips), size, replace=False)]
            for clips in (real, generated)
        )
        rows.append(
            {
                "clips": int(size),
                "distance": _distance(*(_triangle(np.concatenate(side)) for side in chosen)),
            }
        )
    points = pd.DataFrame(rows)
    x, y = 1 / points["clips"], points["distance"]
    slope, distance = np.polyfit(x, y, 1)
    spread = float(np.square(y - y.mean()).sum())
    r_squared = (
        1 - float(np.square(y - slope * x - distance).sum()) / spread
        if spread > 0
        else float("nan")
    )
    return Extrapolation(float(distance), float(slope), r_squared, points)


def frechet_beside_floor(
    real: Sequence[np.ndarray],
    codec: Sequence[np.ndarray],
    generated: Sequence[np.ndarray],
    *,
    seed: int = 42,
) -> pd.DataFrame:
    """How far real clips are from others of them, from those through the codec, and from generated ones.

    Every second real clip is compared with the others as they are, which shows what no difference at all gives, and with the others through
    the codec; all of them with the generated ones.

    Args:
        real: one array (T, D) of embeddings per clip.
        codec: likewise of the same clips through the codec, in their order.
        generated: likewise of generated clips.

    Returns:
        Rows "halves of the real clips", "codec", "generated"; `clips` on the smaller side, `distance` and `extrapolated`, NaN of fewer than
        5 clips. Raises as `frechet_distance`.
    """
    sides = {
        "halves of the real clips": (real[::2], real[1::2]),
        "codec": (real[::2], codec[1::2]),
        "generated": (real, generated),
    }
    return pd.DataFrame.from_dict(
        {name: frechet_pair(*pair, seed=seed) for name, pair in sides.items()}, orient="index"
    )


def frechet_pair(
    real: Sequence[np.ndarray], generated: Sequence[np.ndarray], *, seed: int = 42
) -> dict[str, float]:
    """`clips` on the smaller side, `distance`, NaN where that has none, and `extrapolated`, NaN of fewer than 5 clips, of two sets as
    `frechet_infinity` takes them. Raises as `frechet_distance`."""
    clips = min(len(real), len(generated))
    if not clips:
        return {"clips": 0, "distance": float("nan"), "extrapolated": float("nan")}
    distance = frechet_distance(np.concatenate(real), np.concatenate(generated))
    extrapolated = (
        frechet_infinity(real, generated, seed=seed).distance
        if clips >= LEAST_CLIPS
        else float("nan")
    )
    return {"clips": clips, "distance": distance, "extrapolated": extrapolated}


def _checked(embeddings: np.ndarray, name: str) -> np.ndarray:
    embeddings = np.asarray(embeddings, np.float64)
    if embeddings.ndim != 2 or len(embeddings) < 2:
        raise SsenvError(
            f"a Fréchet distance needs at least 2 {name} embeddings (N, D), got shape {embeddings.shape}"
        )
    if not np.isfinite(embeddings).all():
        raise SsenvError(
            f"{np.count_nonzero(~np.isfinite(embeddings).all(axis=1))} of {len(embeddings)} {name} embeddings are not finite"
        )
    return embeddings


def _summary(embeddings: np.ndarray) -> np.ndarray:
    """The triangle of [1 X], X (n, D): count, mean and covariance in at most D + 1 rows. That of several is the triangle of all theirs."""
    return _triangle(np.pad(embeddings, ((0, 0), (1, 0)), constant_values=1.0))


def _triangle(rows: np.ndarray) -> np.ndarray:
    return np.linalg.qr(rows, mode="r")


def _distance(real: np.ndarray, generated: np.ndarray) -> float:
    """`frechet_distance` of two summaries."""
    (mean, root), (mean_, root_) = _moments(real), _moments(generated)
    overlap = np.linalg.svd(root @ root_.T, compute_uv=False).sum()
    return max(
        0.0,
        float(
            np.square(mean - mean_).sum()
            + np.square(root).sum()
            + np.square(root_).sum()
            - 2 * overlap
        ),
    )


def _moments(summary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,), and R with R^T R the covariance (D, D)."""
    count = summary[0, 0] ** 2
    return summary[0, 1:] / summary[0, 0], summary[1:, 1:] / np.sqrt(count - 1)
