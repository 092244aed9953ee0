"""95 % confidence intervals of proportions and means when clips of one recording are correlated."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import bootstrap, norm

LEVEL = 0.95


def share_interval(correct: np.ndarray, recordings: Sequence[str]) -> tuple[float, float]:
    """The 95 % interval of a proportion, from N clips that are `correct` (N,) bool or not.

    Args:
        recordings: what each clip was cut from, "" where no other was.

    The clips count as N over the design effect independent ones. The design effect is the variance
    of the proportion when recordings are drawn, relative to when clips are drawn (Kish 1965), at
    least 1; where all clips are correct, or none, it is N over the number of recordings. The
    interval is Wilson's (1927) for that number of clips, as Korn and Graubard (1998) do with
    Clopper and Pearson's.
    """
    values = correct.astype(np.float64)
    group = recording_groups(recordings)
    clips = len(values)
    count = group.max() + 1
    share = values.mean()
    if values.min() == values.max():
        effect = clips / count
    elif count == 1:
        effect = clips
    else:
        between = np.square(np.bincount(group, values - share)).sum()
        variance = between * count / (count - 1) / clips**2
        effect = max(1.0, variance * (clips - 1) / (share * (1 - share)))
    independent = clips / effect
    z = norm.ppf((1 + LEVEL) / 2)
    middle = share + z**2 / (2 * independent)
    half = z * np.sqrt(share * (1 - share) / independent + z**2 / (4 * independent**2))
    return tuple(float((middle + side * half) / (1 + z**2 / independent)) for side in (-1, 1))


def mean_interval(values: np.ndarray, recordings: Sequence[str], seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean of values (N,), from a percentile bootstrap over recordings.

    A recording is drawn with all its clips. NaN where all clips are of one recording.
    """
    group = recording_groups(recordings)
    sums = np.bincount(group, values)
    sizes = np.bincount(group)
    if len(sizes) == 1:
        return float("nan"), float("nan")

    def mean(sums: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
        return sums.sum(axis) / sizes.sum(axis)

    result = bootstrap(
        (sums, sizes),
        mean,
        paired=True,
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=seed,
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def recording_groups(recordings: Sequence[str]) -> np.ndarray:
    """(N,) int64 from 0, equal for clips of the same recording; a clip without one ("") is its own.

    Args:
        recordings: what each of N clips was cut from, "" where no other was.
    """
    keys = [(name, -1) if name else ("", position) for position, name in enumerate(recordings)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)
