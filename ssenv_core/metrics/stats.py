"""Two sets of clips against each other, metric by metric: means, the two-sample Kolmogorov-Smirnov test of the paper (D and p), bootstrap
intervals, and the D that real clips show against themselves. It knows tables of numbers only, not what the numbers mean.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.stats

from ssenv_core.base.errors import SsenvError


def compare(
    real: pd.DataFrame,
    generated: pd.DataFrame,
    *,
    metrics: Sequence[str] | None = None,
    paired: bool = False,
    resamples: int = 1000,
    seed: int = 42,
) -> pd.DataFrame:
    """One row per metric, indexed by its name. real, generated: one row per clip, one float column per metric.

    metrics: the columns to compare; by default every float column that both tables have, in the order of `real`.
    paired: the rows of both are the same clips in the same order, as before and after a codec. A clip whose value is not finite on one side
    is then left out of both, clips are resampled with both their values, and `ks_p` is of a permutation test that exchanges the two values
    of a clip, at least 1 / `resamples`: taken for independent samples, two sets that go together seem to differ too little.
    Columns: `real_n`, `real_mean`, `real_std` and the same for `generated` (std is the population's; clips whose value is not finite are
    left out and missing from n); `difference_percent` of the means, relative to |real_mean|; `ks_d`, `ks_p`; `ks_d_low`, `ks_d_high`;
    `mean_difference` (generated - real) and its `_low`, `_high`; `ks_holm_p`, which is `ks_p` corrected by `holm` for the number of rows.

    `_low` and `_high` bound 95 % of `resamples` bootstrap resamples of the clips of both sides. D is never negative and resampling adds
    noise to it, so its interval lies high when the two sets hardly differ: read it beside `noise_floor`.
    A metric without a finite value on one side has n = 0 there and NaN in all that needs it. Raises SsenvError for a missing column, or
    pairs of unequal number.
    """
    if paired and len(real) != len(generated):
        raise SsenvError(f"{len(real)} and {len(generated)} clips are no pairs")
    rows = {}
    for name in _columns(real, generated, metrics=metrics):
        sides = [table[name].to_numpy(np.float64) for table in (real, generated)]
        finite = [np.isfinite(values) for values in sides]
        if paired:
            finite = [finite[0] & finite[1]] * 2
        # a fresh generator per metric: a row does not depend on which others are in the table
        rng = np.random.default_rng(seed)
        rows[name] = _compare_values(
            *(values[kept] for values, kept in zip(sides, finite, strict=True)),
            paired,
            resamples,
            rng,
        )
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")
    table.insert(table.columns.get_loc("ks_p") + 1, "ks_holm_p", holm(table["ks_p"].to_numpy()))
    return table


def holm(p: np.ndarray) -> np.ndarray:
    """p (M,) of M tests -> (M,), corrected for there being M of them (Holm 1979): where nothing differs, the chance that any is under 0.05
    is at most 5 %, however the tests depend on each other, and metrics of one spectrum do.

    scipy's false discovery rate (Benjamini-Hochberg) promises less, a share of false ones among those found, and with this few tests gains
    little. NaN, a test that was not made, stays and does not count.
    """
    corrected, made = np.full(len(p), np.nan), np.flatnonzero(np.isfinite(p))
    order = made[np.argsort(p[made])]
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def gap_parts(stages: Mapping[str, pd.DataFrame], *, metrics: Sequence[str]) -> pd.DataFrame:
    """The gap of the means between the first and the last of several sets of clips, split at those between them.

    Args:
        stages: one row per clip and a float column per metric, under the name of what led to it from the stage before.

    Returns:
        One row per metric, a column for every stage but the first, and `total`, their sum: the difference of the means in percent of the
        absolute mean of the first stage. Values that are not finite are left out; NaN where nothing is left, or that mean is 0.
    """
    names = _columns(*stages.values(), metrics=metrics)
    means = pd.DataFrame(
        {stage: [_mean(_finite(table[name])) for name in names] for stage, table in stages.items()},
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
    """(generated mean - real mean) / |real mean| in percent within each class: a row for each label (int, ascending) that either side has.

    Args:
        real, generated: one row per clip and a float column per metric.
        labels, generated_labels: (N,) and (M,) int64, the class of every row.

    Returns:
        A column for each metric; NaN where a side has no finite value of the class, or the real mean is 0.
    """
    sides = ((real, labels), (generated, generated_labels))
    tables = [
        table[_columns(real, generated, metrics=metrics)].where(np.isfinite).groupby(label).mean()
        for table, label in sides
    ]
    means, others = tables[0].align(tables[1], join="outer", axis=0)
    return (100 * (others - means) / means.abs().replace(0, np.nan)).rename_axis("label")


def noise_floor(
    real: pd.DataFrame,
    sizes: tuple[int, int],
    *,
    metrics: Sequence[str] | None = None,
    seed: int = 42,
    repeats: int = 1000,
) -> pd.DataFrame:
    """What KS D is between sets of so many clips that do not differ, from random halves of `real`, `repeats` times. One row per metric:
    `n` (clips in each half), `ks_d_mean`, and `ks_d_95`, which 95 % of such sets stay below: D below it is no evidence of a difference.

    Sets of n and m clips are about sqrt(1/n + 1/m) apart, and so the D of the halves is brought to those sizes. NaN for a metric with
    fewer than 2 finite values.
    """
    rows = {}
    for name in _columns(real, metrics=metrics):
        values = _finite(real[name])
        half = values.size // 2
        if half == 0:
            rows[name] = {"n": 0, "ks_d_mean": np.nan, "ks_d_95": np.nan}
            continue
        sides = np.zeros(values.size, dtype=np.int64)
        sides[:half], sides[half : 2 * half] = 1, -1
        splits = np.random.default_rng(seed).permuted(np.tile(sides, (repeats, 1)), axis=1)
        d = _largest_cdf_gap(values, splits, half) * np.sqrt(
            (1 / sizes[0] + 1 / sizes[1]) / (2 / half)
        )
        rows[name] = {"n": half, "ks_d_mean": d.mean(), "ks_d_95": np.quantile(d, 0.95)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")


def _columns(*tables: pd.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    if metrics is None:
        names = [
            c
            for c in tables[0]
            if all(c in t and pd.api.types.is_float_dtype(t[c]) for t in tables)
        ]
    else:
        names = list(metrics)
    missing = [name for name in names if any(name not in t for t in tables)]
    if missing or not names:
        raise SsenvError(
            f"nothing to compare: no column {missing[0]!r} in both tables"
            if missing
            else "the tables share no float column"
        )
    return names


def _mean(values: np.ndarray) -> float:
    return values.mean() if values.size else np.nan


def _finite(column: pd.Series) -> np.ndarray:
    values = column.to_numpy(np.float64)
    return values[np.isfinite(values)]


def _compare_values(
    real: np.ndarray, generated: np.ndarray, paired: bool, resamples: int, rng: np.random.Generator
) -> dict[str, float]:
    row: dict[str, float] = {}
    for side, values in (("real", real), ("generated", generated)):
        row[f"{side}_n"] = values.size
        row[f"{side}_mean"] = _mean(values)
        row[f"{side}_std"] = values.std() if values.size else np.nan
    difference = row["generated_mean"] - row["real_mean"]
    row["difference_percent"] = (
        100 * difference / abs(row["real_mean"]) if row["real_mean"] != 0 else np.nan
    )
    later = (
        "ks_d",
        "ks_p",
        "ks_d_low",
        "ks_d_high",
        "mean_difference",
        "mean_difference_low",
        "mean_difference_high",
    )
    if not real.size or not generated.size:
        return row | dict.fromkeys(later, np.nan)
    real_counts = rng.multinomial(real.size, np.full(real.size, 1 / real.size), size=resamples)
    generated_counts = (
        real_counts
        if paired
        else rng.multinomial(
            generated.size, np.full(generated.size, 1 / generated.size), size=resamples
        )
    )
    values, height = np.concatenate([real, generated]), real.size * generated.size
    ds = _largest_cdf_gap(
        values,
        np.concatenate([real_counts * generated.size, -generated_counts * real.size], axis=1),
        height,
    )
    differences = generated_counts @ generated / generated.size - real_counts @ real / real.size
    test = _paired_ks(real, generated, resamples, rng) if paired else _ks(real, generated)
    numbers = (
        *test,
        *np.quantile(ds, (0.025, 0.975)),
        difference,
        *np.quantile(differences, (0.025, 0.975)),
    )
    return row | dict(zip(later, numbers, strict=True))


def _ks(real: np.ndarray, generated: np.ndarray) -> tuple[float, float]:
    """D and p of two independent samples."""
    with warnings.catch_warnings():
        # two sets of 5 or 7 clips one step apart: scipy's exact p rounds to just above 1, and it says that it takes the asymptotic one
        warnings.filterwarnings(
            "ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning
        )
        return tuple(scipy.stats.ks_2samp(real, generated))


def _paired_ks(
    real: np.ndarray, generated: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """D and p of N pairs (N,) and (N,): how many random exchanges within pairs leave D at least as large."""
    exchanged = 1 - 2 * rng.integers(0, 2, size=(resamples, real.size))
    exchanged[0] = 1  # the sets as they are
    ds = _largest_cdf_gap(
        np.concatenate([real, generated]),
        np.concatenate([exchanged, -exchanged], axis=1),
        real.size,
    )
    return ds[0], (ds >= ds[0]).mean()


def _largest_cdf_gap(values: np.ndarray, steps: np.ndarray, height: int) -> np.ndarray:
    """(R,) KS distances within values (N,), both sets together; steps (R, N) int: what each value adds to the difference of the two
    distribution functions, in units of 1 / height (integers, so that equal sets are exactly 0 apart)."""
    order = np.argsort(values)
    ends = np.append(np.diff(values[order]) > 0, True)  # equal values step together
    return np.abs(np.cumsum(steps[:, order], axis=1)[:, ends]).max(axis=1) / height
