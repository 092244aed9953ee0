"""Where a failure arises: at which quantizer level, with which settings of the decoding, at which iteration, in which class.

Each is the diagnosis of `failure_modes` once more, of sets of clips that differ in one thing; what is generated, is generated above.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from ssenv_core.metrics.diversity import code_entropy
from ssenv_core.metrics.failure_modes import MEASURES, Examination, judge
from ssenv_core.soundstorm.decoding import Iteration
from ssenv_core.soundstorm.sampling import Sampling


def variants(sampling: Sampling) -> dict[str, Sampling]:
    """The settings of a study, and each with one of them changed, by name."""
    first, *fine = sampling.temperatures
    others = {
        "level 1 in 1 iteration": {"steps": (1, *sampling.steps[1:])},
        "level 1 in 4 iterations": {"steps": (4, *sampling.steps[1:])},
        "temperature x 0.7": {"temperature": tuple(0.7 * value for value in sampling.temperatures)},
        "likeliest fine codes": {"temperature": (first, *(0.0 for _ in fine))},
        "no guidance": {"guidance": 1.0},
        "guidance x 2": {"guidance": 2 * sampling.guidance},
    }
    return {"as generated": sampling} | {
        name: replace(sampling, **change) for name, change in others.items()
    }


def excess(
    real: Examination,
    sides: Mapping[str, Examination],
    *,
    real_labels: Sequence[Hashable],
    labels: Sequence[Hashable],
    seed: int = 42,
) -> pd.DataFrame:
    """How far each side, clips of the classes `labels`, lies from `real` towards each failure, in noise floors: above 1 it is present.

    One row per side, one column per measure of MEASURES; NaN where real clips do not differ at all. Raises as `failure_modes.judge`.
    """
    found = {
        name: judge(real, side, real_labels=real_labels, generated_labels=labels, seed=seed)
        for name, side in sides.items()
    }
    rows = {
        name: {d.measure: d.gap / d.noise_floor if d.noise_floor > 0 else np.nan for d in verdicts}
        for name, verdicts in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def failures_by_class(
    real: Examination,
    generated: Examination,
    *,
    real_labels: Sequence[Hashable],
    generated_labels: Sequence[Hashable],
) -> pd.DataFrame:
    """The same class by class, without a verdict, as a class has few clips: (generated mean - real mean) towards failure, in standard
    deviations of all real clips. One row per class that both sides have, one column per measure of single clips."""
    names = [name for name in MEASURES if name in real.values]
    sides = [
        side.values[names].groupby(np.asarray(labels)).mean()
        for side, labels in ((real, real_labels), (generated, generated_labels))
    ]
    direction = pd.Series({name: MEASURES[name].direction for name in names})
    return ((sides[1] - sides[0]) * direction / real.values[names].std(ddof=0)).dropna(how="all")


def class_noise_floor(
    real: Examination,
    *,
    real_labels: Sequence[Hashable],
    generated_labels: Sequence[Hashable],
    repeats: int = 100,
    seed: int = 42,
) -> pd.Series:
    """By measure, what 95 % of the gaps of `failures_by_class` would stay within, towards failure or away from it, if a class's generated
    clips were like its real ones: from random halves of these, whose means of n and m clips are about sqrt(1/n + 1/m) apart, brought to the
    numbers of clips compared. NaN where no class that was generated has a value in both halves."""
    names = [name for name in MEASURES if name in real.values]
    values, rng = real.values[names] / real.values[names].std(ddof=0), np.random.default_rng(seed)
    compared = (1 / values.groupby(np.asarray(real_labels)).count()).add(
        1 / pd.Series(generated_labels).value_counts(), axis=0
    )
    gaps = []
    for _ in range(repeats):
        order = rng.permutation(len(values))
        labels = np.asarray(real_labels)[order]
        half = pd.Series(labels).groupby(labels).cumcount().to_numpy() % 2
        sides = [values.iloc[order[half == side]].groupby(labels[half == side]) for side in (0, 1)]
        apart = sum(1 / side.count() for side in sides)
        gaps.append((sides[0].mean() - sides[1].mean()).abs() * np.sqrt(compared / apart))
    return pd.concat(gaps).quantile(0.95)


def entropy_by_iteration(
    trace: Sequence[Iteration],
    real: torch.Tensor,
    active: torch.Tensor,
    codebook_size: int,
    level: int = 0,
    *,
    repeats: int = 100,
    seed: int = 42,
) -> pd.DataFrame:
    """Entropy (bits) of the codes of one level that are decided after each of its iterations, beside real ones at the same places. What
    was given, and silence of the real ones, has no part, on either side: of fewer codes entropy comes out lower.

    Args:
        trace: of N items, as `decode(..., record=True)` returns it.
        real: codes (K, Q, T) int64 of real clips.
        active: (K, T) bool, where these are not digital silence.

    Returns:
        A row per iteration, NaN where nothing is left to compare. `generated` and `real`, the means over `repeats` random draws of N real
        clips; `noise_floor`, what 95 % of the differences between two draws without a clip in common stay within, NaN where K < 2 N.
    """
    rng, items = np.random.default_rng(seed), len(trace[0].codes)
    known, sounding, rows = real[:, level].cpu().numpy(), active.cpu().numpy(), {}
    enough, pool = len(known) >= 2 * items, np.resize(np.arange(len(known)), max(len(known), items))
    draws, places = (
        [rng.permutation(pool) for _ in range(repeats)],
        (slice(items), slice(items, 2 * items) if enough else slice(items)),
    )
    for step in trace:
        if step.level == level:
            decided, made, found = (
                (step.free & ~step.masked).cpu().numpy(),
                step.codes[:, level].cpu().numpy(),
                [],
            )
            for draw in draws:
                chosen = [draw[place] for place in places]
                compared = decided & sounding[chosen[0]] & sounding[chosen[1]]
                if compared.any():
                    found.append(
                        [
                            code_entropy(codes[compared], codebook_size)
                            for codes in (made, *(known[one] for one in chosen))
                        ]
                    )
            made, one, other = np.array(found).T if found else np.full((3, 1), np.nan)
            floor = np.quantile(np.abs(one - other), 0.95) if enough else np.nan
            rows[step.iteration] = {
                "generated": made.mean(),
                "real": np.mean([one, other]),
                "noise_floor": floor,
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("iteration")
