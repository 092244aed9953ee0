"""Variety of a set: how the codes of a level are used, how far generated embeddings reach where the real ones lie, and which of those that
training heard is nearest to each.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from ssenv_core.base.errors import SsenvError


class Reach(NamedTuple):
    """density: of the real sets around the generated embeddings, 1 on average for equal distributions, above 1 where generated ones crowd
    where real ones are dense. coverage: the share in [0, 1] of real embeddings with a generated one nearby."""

    density: float
    coverage: float


def density_and_coverage(real: np.ndarray, generated: np.ndarray, neighbours: int = 5) -> Reach:
    """Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics", eqs. 5 and 6: nearby is within a real embedding's k-th neighbour.

    real (N, D), generated (M, D). Both depend on N and on M: compare sets of equal sizes.

    Raises:
        SsenvError: fewer than neighbours + 1 real embeddings, or no generated one.
    """
    if len(real) <= neighbours or len(generated) == 0:
        raise SsenvError(
            f"density and coverage need more than {neighbours} real clips and a generated one, not {len(real)} and {len(generated)}"
        )
    reach = np.partition(cdist(real, real), neighbours, axis=1)[
        :, neighbours
    ]  # each is the nearest to itself
    inside = cdist(real, generated) <= reach[:, None]
    return Reach(
        float(inside.sum() / (neighbours * len(generated))), float(inside.any(axis=1).mean())
    )


def reach_beside_floor(real: np.ndarray, generated: np.ndarray) -> pd.DataFrame:
    """How far generated embeddings reach, beside how far as many other real ones do.

    One half of the real embeddings is asked about the other half and about the generated ones, all sets evenly thinned to one size and
    scaled by the deviations of the real ones; nearby is within the fifth neighbour where there are six.

    Args:
        real: (N, D), N at least 4.
        generated: (M, D), M at least 2.

    Returns:
        Rows density and coverage, columns `real` (the other half) and `generated`.

    Raises:
        SsenvError: too few of them.
    """
    asked, others = real[::2], real[1::2]
    size = min(len(others), len(generated))
    if size < 2:
        raise SsenvError(
            f"reach takes at least 4 real clips and 2 generated ones, not {len(real)} and {len(generated)}"
        )
    scaled = [
        standardised(side[evenly(len(side), size)], real) for side in (asked, others, generated)
    ]
    found = [density_and_coverage(scaled[0], side, min(5, size - 1)) for side in scaled[1:]]
    return pd.DataFrame({"real": found[0], "generated": found[1]}, index=list(Reach._fields))


class Nearest(NamedTuple):
    """distance (N,) float64: of each embedding to the nearest of some others; source (N,) int64: which of them that is."""

    distance: np.ndarray
    source: np.ndarray


def nearest(embeddings: np.ndarray, others: np.ndarray, reference: np.ndarray) -> Nearest:
    """The nearest of `others` (M, D) to each of `embeddings` (N, D): rms over D in units of the deviations of `reference` (K, D)."""
    distances = cdist(*(standardised(side, reference) for side in (embeddings, others))) / np.sqrt(
        embeddings.shape[1]
    )
    return Nearest(distances.min(axis=1), distances.argmin(axis=1))


def standardised(embeddings: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """embeddings (N, D) in units of the standard deviations of `reference` (M, D), those left as they are that do not vary there."""
    spread = reference.std(axis=0)
    return embeddings / np.where(spread > 0, spread, 1.0)


def evenly(total: int, size: int) -> np.ndarray:
    """`size` of the indices of `total` things, (size,) int64, the first and the last among them and the rest evenly between."""
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
    """How varied the codes of each level are, in equally many frames that sound of equally many real and generated clips.

    Args:
        real: (N, Q, T) int, N at least 2.
        generated: (M, Q, U) int, M at least 1; of the longer side's clips the first min(T, U) frames count.
        codebook_size: codes per level.
        sounding: (N, T) and (M, U) bool, the frames that are not silent; a clip without any has no part.

    Returns:
        A row per level, from 1. `real`, `generated`: `code_entropy`, the means over `repeats` random subsets of half of the N clips, or of
        M if these are fewer; `noise_floor`: what 95 % of the differences between two disjoint such subsets of the real clips stay within.

    Raises:
        SsenvError: too few clips.
    """
    frames = min(real.shape[2], generated.shape[2])
    sides = []
    for codes, heard in zip((real, generated), sounding, strict=True):
        pairs = zip(np.moveaxis(codes[..., :frames], 1, 2), heard[:, :frames], strict=True)
        sides.append(
            [clip[places] for clip, places in pairs if places.any()]
        )  # (frames, Q) of each clip
    size = min(len(sides[0]) // 2, len(sides[1]))
    if size < 1:
        found = " and ".join(str(len(side)) for side in sides)
        raise SsenvError(
            f"entropies of codes take at least 2 real clips with sound and a generated one, not {found}"
        )
    rng, found = np.random.default_rng(seed), []
    for _ in range(repeats):
        order, drawn = rng.permutation(len(sides[0])), rng.permutation(len(sides[1]))[:size]
        chosen = ((0, order[:size]), (0, order[size : 2 * size]), (1, drawn))
        sets = [np.concatenate([sides[side][i] for i in clips]) for side, clips in chosen]
        least = min(map(len, sets))
        thinned = [codes[rng.permutation(len(codes))[:least]] for codes in sets]
        found.append(
            [
                [code_entropy(codes[:, level], codebook_size) for level in range(real.shape[1])]
                for codes in thinned
            ]
        )
    one, other, made = np.moveaxis(np.array(found), 1, 0)
    columns = {"real": (one + other).mean(axis=0) / 2, "generated": made.mean(axis=0)}
    columns["noise_floor"] = np.quantile(np.abs(one - other), 0.95, axis=0)
    return pd.DataFrame(columns, index=pd.RangeIndex(1, real.shape[1] + 1, name="level"))


def code_entropy(codes: np.ndarray, codebook_size: int) -> float:
    """Entropy in bits of how often each code occurs in codes (...) int; with few of them it comes out low: compare equal numbers."""
    return float(entropy(np.bincount(np.asarray(codes).ravel(), minlength=codebook_size), base=2))
