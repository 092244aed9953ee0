"""Variety of sets of clips: entropy of codes, reach and nearest neighbours of embeddings."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from ssenv_core.base.errors import SsenvError


def density_and_coverage(
    real: np.ndarray, generated: np.ndarray, neighbours: int = 5
) -> tuple[float, float]:
    """Density and coverage of generated (M, D) among real embeddings (N, D), in sets of one size.

    Density is 1 on average for equal distributions, above 1 where generated embeddings crowd where
    real ones are dense. Coverage is the share in [0, 1] of real embeddings with a generated one
    nearer than their k-th neighbour. Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics",
    eqs. 5 and 6.

    Raises:
        SsenvError: fewer than neighbours + 1 real embeddings, or no generated one.
    """
    if len(real) <= neighbours or len(generated) == 0:
        raise SsenvError(
            f"density and coverage need more than {neighbours} real clips and a generated one, "
            f"not {len(real)} and {len(generated)}"
        )
    # every embedding is its own nearest neighbour
    reach = np.partition(cdist(real, real), neighbours, axis=1)[:, neighbours]
    inside = cdist(real, generated) <= reach[:, None]
    density = inside.sum() / (neighbours * len(generated))
    return float(density), float(inside.any(axis=1).mean())


def reach_beside_floor(real: np.ndarray, generated: np.ndarray) -> pd.DataFrame:
    """Density and coverage of generated embeddings, beside those of other real ones.

    Both are compared with one half of the real embeddings; all sets are evenly thinned to one size
    and scaled by the deviations of the real ones. The fifth neighbour counts where there are six.

    Args:
        real: (N, D), N at least 4.
        generated: (M, D), M at least 2.

    Returns:
        Rows density and coverage, columns `real` (the other half) and `generated`.

    Raises:
        SsenvError: too few embeddings.
    """
    sides = {"reference": real[::2], "real": real[1::2], "generated": generated}
    size = min(len(sides["real"]), len(generated))
    if size < 2:
        raise SsenvError(
            "reach takes at least 4 real clips and 2 generated ones, "
            f"not {len(real)} and {len(generated)}"
        )
    scaled = {
        name: standardised(side[evenly(len(side), size)], real) for name, side in sides.items()
    }
    reference = scaled.pop("reference")
    return pd.DataFrame(
        {
            name: density_and_coverage(reference, side, min(5, size - 1))
            for name, side in scaled.items()
        },
        index=["density", "coverage"],
    )


class Nearest(NamedTuple):
    """distance (N,) float64 to the nearest of other embeddings; source (N,) int64, its index."""

    distance: np.ndarray
    source: np.ndarray


def nearest(embeddings: np.ndarray, others: np.ndarray, reference: np.ndarray) -> Nearest:
    """The nearest of `others` (M, D) to each of `embeddings` (N, D).

    Distances are rms over D, in standard deviations of `reference` (K, D).
    """
    distances = cdist(standardised(embeddings, reference), standardised(others, reference))
    distances /= np.sqrt(embeddings.shape[1])
    return Nearest(distances.min(axis=1), distances.argmin(axis=1))


def standardised(embeddings: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """embeddings (N, D) over the standard deviations of `reference` (M, D) that are not 0."""
    spread = reference.std(axis=0)
    return embeddings / np.where(spread > 0, spread, 1.0)


def evenly(total: int, size: int) -> np.ndarray:
    """`size` evenly spaced indices below `total`, (size,) int64, with the first and the last."""
    return np.linspace(0, total - 1, size).astype(np.int64)


def entropy_beside_floor(
    real: np.ndarray,
    generated: np.ndarray,
    codebook_size: int,
    *,
    sounding: tuple[np.ndarray, np.ndarray],
    repeats: int = 100,
    seed: int = 42,
) -> pd.DataFrame:
    """Entropy of the codes of each level, in equally many frames of equally many clips.

    Args:
        real: (N, Q, T) int, N at least 2.
        generated: (M, Q, U) int, M at least 1; only the first min(T, U) frames of clips count.
        codebook_size: codes per level.
        sounding: (N, T) and (M, U) bool, the frames that are not silent; clips without any are
            left out.

    Returns:
        A row per level, from 1. `real`, `generated`: mean `code_entropy` of `repeats` random
        subsets of N / 2 clips, or of M if that is fewer. `noise_floor`: 95 % of the differences
        between two disjoint such subsets of the real clips are at most this large.

    Raises:
        SsenvError: too few clips.
    """
    frames = min(real.shape[2], generated.shape[2])
    sides = []
    for codes, audible in zip((real, generated), sounding, strict=True):
        clips = zip(np.moveaxis(codes[..., :frames], 1, 2), audible[:, :frames], strict=True)
        sides.append([clip[kept] for clip, kept in clips if kept.any()])  # (frames, Q) each
    size = min(len(sides[0]) // 2, len(sides[1]))
    if size < 1:
        raise SsenvError(
            "entropies of codes take at least 2 real clips with sound and a generated one, "
            f"not {len(sides[0])} and {len(sides[1])}"
        )
    rng = np.random.default_rng(seed)
    entropies = []
    for _ in range(repeats):
        order, drawn = (rng.permutation(len(side)) for side in sides)
        chosen = ((0, order[:size]), (0, order[size : 2 * size]), (1, drawn[:size]))
        sets = [np.concatenate([sides[side][i] for i in clips]) for side, clips in chosen]
        least = min(map(len, sets))
        thinned = [codes[rng.permutation(len(codes))[:least]] for codes in sets]
        entropies.append(
            [[code_entropy(level, codebook_size) for level in codes.T] for codes in thinned]
        )
    first, second, made = np.moveaxis(np.array(entropies), 1, 0)
    columns = {
        "real": (first + second).mean(axis=0) / 2,
        "generated": made.mean(axis=0),
        "noise_floor": np.quantile(np.abs(first - second), 0.95, axis=0),
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(1, real.shape[1] + 1, name="level"))


def code_entropy(codes: np.ndarray, codebook_size: int) -> float:
    """Entropy (bit) of codes (...) int; lower with few codes, so compare equal numbers of them."""
    return float(entropy(np.bincount(np.asarray(codes).ravel(), minlength=codebook_size), base=2))
