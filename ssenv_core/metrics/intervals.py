"""Shares and means over clips of which several may be cut from one recording, and so go together: what 95 % of them is worth."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import bootstrap, norm

LEVEL = 0.95


def share_interval(right: np.ndarray, recordings: Sequence[str]) -> tuple[float, float]:
    """The 95 % interval of the share of N clips that are right (N,) bool, as if they had been N over the design effect independent ones.

    recordings: what each clip was cut from, "" where no other was. The design effect is the variance of the share where recordings are
    drawn by that where clips are (Kish 1965), at least 1; where all clips are right, or none, it is N over the number of recordings. The
    interval is Wilson's (1927) of that many clips, as Korn and Graubard (1998) do with Clopper and Pearson's.
    """
    right, group = right.astype(np.float64), _groups(recordings)
    clips, count, share = len(right), group.max() + 1, right.mean()
    if right.min() == right.max():
        effect = clips / count
    elif count == 1:
        effect = clips
    else:
        drawn = np.square(np.bincount(group, right - share)).sum() * count / (count - 1) / clips**2
        effect = max(1.0, drawn * (clips - 1) / (share * (1 - share)))
    independent, z = clips / effect, norm.ppf((1 + LEVEL) / 2)
    middle = share + z**2 / (2 * independent)
    half = z * np.sqrt(share * (1 - share) / independent + z**2 / (4 * independent**2))
    return tuple(float((middle + side * half) / (1 + z**2 / independent)) for side in (-1, 1))


def mean_interval(values: np.ndarray, recordings: Sequence[str], seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean of values (N,): percentiles of a bootstrap over recordings, each with all its clips.

    NaN where all clips are of one recording.
    """
    group = _groups(recordings)
    sums, sizes = np.bincount(group, values), np.bincount(group)
    if len(sizes) == 1:
        return float("nan"), float("nan")

    def mean(sums: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
        return sums.sum(axis) / sizes.sum(axis)

    found = bootstrap(
        (sums, sizes),
        mean,
        paired=True,
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=seed,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _groups(recordings: Sequence[str]) -> np.ndarray:
    """(N,) int64, the same for clips of the same recording; a clip without one is its own."""
    names = [
        (recording, -1) if recording else ("", place) for place, recording in enumerate(recordings)
    ]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])
