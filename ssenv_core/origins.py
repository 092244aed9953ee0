"""Where a failure arises: at which quantizer level, with which settings of the decoding, at which iteration, in which class.

Each is the diagnosis of `failure_modes` once more, of sets of clips that differ in one thing; what is generated, is generated above.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from ssenv_core.failure_modes import MEASURES, Examination, judge
from ssenv_core.metrics.diversity import code_entropy
from ssenv_core.soundstorm import Sampling
from ssenv_core.soundstorm.decoding import Iteration


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
    return {"as generated": sampling} | {name: replace(sampling, **change) for name, change in others.items()}


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
    found = {name: judge(real, side, real_labels=real_labels, generated_labels=labels, seed=seed) for name, side in sides.items()}
    rows = {name: {d.measure: d.gap / d.noise_floor if d.noise_floor > 0 else np.nan for d in verdicts} for name, verdicts in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def failures_by_class(
    real: Examination, generated: Examination, *, real_labels: Sequence[Hashable], generated_labels: Sequence[Hashable]
) -> pd.DataFrame:
    """The same class by class, without a verdict, as a class has few clips: (generated mean - real mean) towards failure, in standard
    deviations of all real clips. One row per class that both sides have, one column per measure of single clips."""
    names = [name for name in MEASURES if name in real.values]
    sides = [side.values[names].groupby(np.asarray(labels)).mean() for side, labels in ((real, real_labels), (generated, generated_labels))]
    direction = pd.Series({name: MEASURES[name].direction for name in names})
    return ((sides[1] - sides[0]) * direction / real.values[names].std(ddof=0)).dropna(how="all")


def entropy_by_iteration(trace: Sequence[Iteration], real: torch.Tensor, codebook_size: int, level: int = 0) -> pd.DataFrame:
    """Entropy (bits) of the codes of one level that are decided after each of its iterations, beside real ones at the same places.

    Args:
        trace: of N items, as `decode(..., record=True)` returns it.
        real: codes (N, Q, T) int64 of as many real clips.
    """
    rows = {}
    for step in trace:
        if step.level == level:
            decided = ~step.masked.cpu()
            pair = (code_entropy(codes[:, level].cpu()[decided].numpy(), codebook_size) for codes in (step.codes, real))
            rows[step.iteration] = dict(zip(("generated", "real"), pair, strict=True))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("iteration")
