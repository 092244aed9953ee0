"""Compare sets of clips metric by metric: means, Kolmogorov-Smirnov tests, intervals, noise floor.

The module knows tables of numbers, with a row per clip and a float column per metric.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.stats

from ssenv_core.base.errors import SsenvError

_TESTED = ("ks_d", "ks_p", "ks_d_low", "ks_d_high")
_DIFFERENCE = ("mean_difference", "mean_difference_low", "mean_difference_high")


def compare(
    real: pd.DataFrame,
    generated: pd.DataFrame,
    *,
    metrics: Sequence[str] | None = None,
    paired: bool = False,
    resamples: int = 1000,
    seed: int = 42,
) -> pd.DataFrame:
    """Compare two sets of clips; values that are not finite are left out.

    Args:
        metrics: the columns to compare; by default every float column that both tables have.
        paired: the rows of both are the same clips, as before and after a codec. A clip whose value
            is not finite on one side is left out of both, clips are resampled with both values, and
            `ks_p` is of a permutation test that exchanges the two values of a clip, as the usual
            one would find paired sets too similar.
        resamples: of the bootstrap and the permutation test.

    Returns:
        One row per metric. `real_n`, `real_mean`, `real_std` (the population's) and the same of
        `generated`; `difference_percent` of the means, relative to |real_mean|; `ks_d`, `ks_p`, and
        `ks_holm_p`, corrected by `holm` for the number of rows; `mean_difference` (generated -
        real). `_low` and `_high` bound 95 % of bootstrap resamples; since resampling adds noise to
        D, which is never negative, read its interval beside `noise_floor`. NaN without values.

    Raises:
        SsenvError: a column is missing, or pairs are of unequal number.
    """
    if paired and len(real) != len(generated):
        raise SsenvError(f"{len(real)} and {len(generated)} clips are no pairs")
    rows = {}
    for name in _columns(real, generated, metrics=metrics):
        sides = [table[name].to_numpy(np.float64) for table in (real, generated)]
        finite = [np.isfinite(values) for values in sides]
        if paired:
            finite = [finite[0] & finite[1]] * 2
        sides = [values[kept] for values, kept in zip(sides, finite, strict=True)]
        # a fresh generator per metric: a row does not depend on which others are in the table
        rows[name] = _compare_values(*sides, paired, resamples, np.random.default_rng(seed))
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")
    table.insert(table.columns.get_loc("ks_p") + 1, "ks_holm_p", holm(table["ks_p"].to_numpy()))
    return table


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p (M,) of M tests for their number (Holm 1979); NaN stays and does not count.

    Where nothing differs, the chance that any is under 0.05 is at most 5 %, however the tests
    depend on each other. scipy's false discovery rate promises less and gains little for few tests.
    """
    corrected = np.full(len(p), np.nan)
    tests = np.flatnonzero(np.isfinite(p))
    order = tests[np.argsort(p[tests])]
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def gap_parts(stages: Mapping[str, pd.DataFrame], *, metrics: Sequence[str]) -> pd.DataFrame:
    """Split the gap of the means between the first and last of several sets of clips at the others.

    Args:
        stages: by the name of what led to each set from the one before.

    Returns:
        One row per metric, a column for every stage but the first, and `total`, their sum: in
        percent of the absolute mean of the first stage. NaN without finite values, or if that mean
        is 0.
    """
    names = _columns(*stages.values(), metrics=metrics)
    means = pd.DataFrame(
        {stage: [_finite(table[name]).mean() for name in names] for stage, table in stages.items()},
        index=names,
    )
    first = means.iloc[:, 0].abs().replace(0, np.nan)
    parts = 100 * means.diff(axis=1).iloc[:, 1:].div(first, axis=0)
    return parts.assign(total=parts.sum(axis=1, skipna=False)).rename_axis("metric")


def gaps_by_class(
    real: pd.DataFrame,
    generated: pd.DataFrame,
    labels: np.ndarray,
    generated_labels: np.ndarray,
    *,
    metrics: Sequence[str],
) -> pd.DataFrame:
    """(generated mean - real mean) / |real mean| in percent, by label (row) and metric (column).

    Args:
        labels, generated_labels: (N,) and (M,) int64, the class of every row.

    Returns:
        Rows for the labels (ascending) that either side has; NaN where a side has no finite value
        of the class, or the real mean is 0.
    """
    names = _columns(real, generated, metrics=metrics)
    means, others = (
        table[names].where(np.isfinite).groupby(label).mean()
        for table, label in ((real, labels), (generated, generated_labels))
    )
    return (100 * (others - means) / means.abs().replace(0, np.nan)).rename_axis("label")


def noise_floor(
    real: pd.DataFrame, sizes: tuple[int, int], *, seed: int = 42, repeats: int = 1000
) -> pd.DataFrame:
    """KS D of sets of `sizes` clips that do not differ, from `repeats` random halves of `real`.

    Sets of n and m clips are about sqrt(1/n + 1/m) apart, so the D of the halves is scaled to those
    sizes.

    Returns:
        One row per float column: `n` (clips in each half), `ks_d_mean`, and `ks_d_95`: 95 % of such
        sets stay below it. NaN for a metric with fewer than 2 finite values.
    """
    rows = {}
    for name in _columns(real):
        values = _finite(real[name]).to_numpy()
        half = values.size // 2
        rows[name] = {"n": half, "ks_d_mean": np.nan, "ks_d_95": np.nan}
        if half:
            sides = np.zeros(values.size, dtype=np.int64)
            sides[:half] = 1
            sides[half : 2 * half] = -1
            splits = np.random.default_rng(seed).permuted(np.tile(sides, (repeats, 1)), axis=1)
            scale = np.sqrt((1 / sizes[0] + 1 / sizes[1]) / (2 / half))
            d = _largest_cdf_gap(values, splits, half) * scale
            rows[name] |= {"ks_d_mean": d.mean(), "ks_d_95": np.quantile(d, 0.95)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")


def _columns(*tables: pd.DataFrame, metrics: Sequence[str] | None = None) -> list[str]:
    """The columns to compare: `metrics`, or the float columns that all tables have."""
    if metrics is None:
        shared = (table.select_dtypes("float").columns for table in tables)
        first, *others = shared
        names = [name for name in first if all(name in columns for columns in others)]
        if not names:
            raise SsenvError("the tables share no float column")
        return names
    for name in metrics:
        if any(name not in table for table in tables):
            raise SsenvError(f"nothing to compare: no column {name!r} in both tables")
    return list(metrics)


def _finite(column: pd.Series) -> pd.Series:
    return column[np.isfinite(column)].astype(np.float64)


def _compare_values(
    real: np.ndarray, generated: np.ndarray, paired: bool, resamples: int, rng: np.random.Generator
) -> dict[str, float]:
    row: dict[str, float] = {}
    for side, values in (("real", real), ("generated", generated)):
        row[f"{side}_n"] = values.size
        row[f"{side}_mean"] = values.mean() if values.size else np.nan
        row[f"{side}_std"] = values.std() if values.size else np.nan
    mean = row["real_mean"]
    difference = row["generated_mean"] - mean
    row["difference_percent"] = 100 * difference / abs(mean) if mean != 0 else np.nan
    if not real.size or not generated.size:
        return row | dict.fromkeys(_TESTED + _DIFFERENCE, np.nan)
    counts = _resampled(real.size, resamples, rng)
    generated_counts = counts if paired else _resampled(generated.size, resamples, rng)
    ds = _largest_cdf_gap(
        np.concatenate([real, generated]),
        np.concatenate([counts * generated.size, -generated_counts * real.size], axis=1),
        real.size * generated.size,
    )
    differences = generated_counts @ generated / generated.size - counts @ real / real.size
    test = _paired_ks(real, generated, resamples, rng) if paired else _ks(real, generated)
    limits = (0.025, 0.975)
    row |= zip(_TESTED, [*test, *np.quantile(ds, limits)], strict=True)
    row |= zip(_DIFFERENCE, [difference, *np.quantile(differences, limits)], strict=True)
    return row


def _resampled(size: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(resamples, size) int: how often each clip occurs in each bootstrap resample."""
    return rng.multinomial(size, np.full(size, 1 / size), size=resamples)


def _ks(real: np.ndarray, generated: np.ndarray) -> tuple[float, float]:
    """D and p of two independent samples."""
    with warnings.catch_warnings():
        # Two sets of 5 or 7 clips one step apart: scipy's exact p rounds to just above 1, and it
        # warns that it takes the asymptotic one.
        warnings.filterwarnings(
            "ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning
        )
        return tuple(scipy.stats.ks_2samp(real, generated))


def _paired_ks(
    real: np.ndarray, generated: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """D of N pairs, and p: the share of random exchanges within pairs with at least this D."""
    exchanged = 1 - 2 * rng.integers(0, 2, size=(resamples, real.size))
    exchanged[0] = 1  # the sets as they are
    steps = np.concatenate([exchanged, -exchanged], axis=1)
    ds = _largest_cdf_gap(np.concatenate([real, generated]), steps, real.size)
    return ds[0], (ds >= ds[0]).mean()


def _largest_cdf_gap(values: np.ndarray, steps: np.ndarray, height: int) -> np.ndarray:
    """(R,) KS distances within values (N,) of both sets together.

    steps: (R, N) int, what each value adds to the difference of the distribution functions, in
    units of 1 / height: integers, so that equal sets are exactly 0 apart.
    """
    order = np.argsort(values)
    ends = np.append(np.diff(values[order]) > 0, True)  # equal values step together
    return np.abs(np.cumsum(steps[:, order], axis=1)[:, ends]).max(axis=1) / height
