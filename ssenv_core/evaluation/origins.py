"""Where a failure arises: at which level, with which settings, at which iteration, in which class.

Each table repeats the diagnosis of `metrics.failure_modes` on sets of clips that differ in one
thing. The first part decodes and generates these sets; the second part compares given sets.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from ssenv_core.base.files import read_json
from ssenv_core.base.folders import StudyFolder
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.tokens import TokenSet
from ssenv_core.evaluation.failure_findings import DiagnosedColumns
from ssenv_core.generator.canvas import Canvas
from ssenv_core.generator.file import TrainedGenerator, load_generator
from ssenv_core.generator.generation import generate_codes, generate_waveforms, record_decoding
from ssenv_core.metrics.diversity import code_entropy, evenly
from ssenv_core.metrics.failure_measures import MEASURES
from ssenv_core.metrics.failure_modes import Examination, examine, judge
from ssenv_core.soundstorm.decoding import Iteration
from ssenv_core.soundstorm.sampling import Sampling


@dataclass(frozen=True)
class Trials:
    """What a study generated its clips with, and the classes to generate anew.

    Attributes:
        recipe: generated/recipe.json.
        labels: N classes, index into the generator's `class_names`.
        seed: of codes, plans and the noise floor.
    """

    generator: TrainedGenerator
    codec: Codec
    recipe: Mapping[str, object]
    labels: Sequence[int]
    seed: int
    device: torch.device

    @classmethod
    def load(cls, folder: StudyFolder, clips: int, seed: int, device: torch.device) -> "Trials":
        """Read a study's generator and recipe, for `clips` clips over the classes in turn.

        Raises:
            SsenvError: a file is missing or damaged.
        """
        generator = load_generator(folder.generator, device)
        codec = generator.format.load_codec(device)
        recipe = read_json(folder.generated / "recipe.json")
        labels = [i % len(generator.class_names) for i in range(clips)]
        return cls(generator, codec, recipe, labels, seed, device)

    @property
    def sampling(self) -> Sampling:
        """The settings that the study's clips were generated with."""
        return Sampling.of(self.recipe)

    def canvas(self, duration: float) -> Canvas:
        """A canvas of one clip of `duration` s per label, with plans if the recipe has them."""
        blank = Canvas.blank(self.generator, len(self.labels), duration)
        if not self.recipe["plan"]:
            return blank
        return blank.with_plans(self.generator, self.labels, self.seed)

    def sound(self, codes: torch.Tensor) -> list[np.ndarray]:
        """The waveforms (S,) float32 of codes (N, Q, T) int64."""
        return generate_waveforms(self.generator, self.codec, codes, seed=self.seed)


def ratios_by_level(diagnosed: DiagnosedColumns, trials: Trials, heldout: TokenSet) -> pd.DataFrame:
    """`excess` of real and generated clips decoded from their first levels alone.

    Args:
        heldout: the tokens of the real clips.
    """
    columns = diagnosed.columns
    n_q = trials.codec.n_q
    levels = [last for last in sorted({1, 2, n_q // 2, n_q}) if 1 <= last <= n_q]
    sides = {
        "codec": (heldout.codes, columns.labels),
        "generated": (columns.generated_codes, columns.generated_labels),
    }
    tables = []
    for side, (codes, labels) in sides.items():
        picked = evenly(len(codes), min(len(trials.labels), len(codes)))
        codes = codes[picked].to(trials.device)
        examined = {
            f"{side}, level 1 to {last}" if last > 1 else f"{side}, level 1": examine(
                trials.sound(codes[:, :last]), columns.sample_rate
            )
            for last in levels
        }
        tables.append(_excess(diagnosed, examined, labels[picked], trials.seed))
    return pd.concat(tables)


def generate_variants(trials: Trials) -> dict[str, list[np.ndarray]]:
    """Waveforms of the same classes for each of `variants`, with the same seeds and plans."""
    canvas = trials.canvas(trials.recipe["duration"])
    return {
        name: trials.sound(
            generate_codes(
                trials.generator,
                trials.labels,
                sampling,
                canvas,
                seed=trials.seed,
                device=trials.device,
            )
        )
        for name, sampling in variants(trials.sampling).items()
    }


def ratios_by_setting(
    diagnosed: DiagnosedColumns, trials: Trials, clips: Mapping[str, Sequence[np.ndarray]]
) -> pd.DataFrame:
    """`excess` of the clips of `generate_variants`."""
    rate = diagnosed.columns.sample_rate
    examined = {name: examine(wavs, rate) for name, wavs in clips.items()}
    return _excess(diagnosed, examined, trials.labels, trials.seed)


def relative_levels(
    clips: Mapping[str, Sequence[np.ndarray]], real: Sequence[np.ndarray]
) -> pd.Series:
    """By name, the root mean square over all clips, divided by that of the real clips."""
    return pd.Series({name: _rms(wavs) / _rms(real) for name, wavs in clips.items()})


def entropy_of_iterations(trials: Trials, heldout: TokenSet) -> pd.DataFrame:
    """`entropy_by_iteration` of level 1 while the classes of `trials` are generated anew."""
    trace = record_decoding(
        trials.generator,
        trials.labels,
        trials.sampling,
        trials.canvas(heldout.format.duration),
        seeds=[trials.seed + i for i in range(len(trials.labels))],
        device=trials.device,
    )
    return entropy_by_iteration(
        trace, heldout.codes, heldout.active, trials.codec.codebook_size, seed=trials.seed
    )


def gaps_by_class(diagnosed: DiagnosedColumns, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """`failures_by_class` of the generated clips by class name, and `class_noise_floor`."""
    columns = diagnosed.columns
    real = diagnosed.examined["real"]
    labels = {"real_labels": columns.labels, "generated_labels": columns.generated_labels}
    gaps = failures_by_class(real, diagnosed.examined["generated"], **labels)
    gaps.index = [columns.class_names[label] for label in gaps.index]
    return gaps, class_noise_floor(real, **labels, seed=seed)


def variants(sampling: Sampling) -> dict[str, Sampling]:
    """A study's settings, and each variant that changes one of them, by name."""
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
    """How far each side lies from `real` towards each failure, in noise floors.

    Above 1 the failure is present, below -1 the side differs in the other direction.

    Args:
        sides: sets of clips of the classes `labels`, by name.

    Returns:
        One row per side, one column per measure of MEASURES; NaN where real clips do not differ.

    Raises:
        SsenvError: as `metrics.failure_modes.judge`.
    """
    rows = {
        name: {
            d.measure: d.ratio
            for d in judge(real, side, real_labels=real_labels, generated_labels=labels, seed=seed)
        }
        for name, side in sides.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def failures_by_class(
    real: Examination,
    generated: Examination,
    *,
    real_labels: Sequence[Hashable],
    generated_labels: Sequence[Hashable],
) -> pd.DataFrame:
    """Gaps towards failure class by class, in standard deviations of all real clips.

    Returns:
        (generated mean - real mean) times the direction of failure: one row per class that both
        sides have, one column per measure of single clips.
    """
    names = [name for name in MEASURES if name in real.values]
    own, other = (
        side.values[names].groupby(np.asarray(labels)).mean()
        for side, labels in ((real, real_labels), (generated, generated_labels))
    )
    direction = pd.Series({name: MEASURES[name].direction for name in names})
    return ((other - own) * direction / real.values[names].std(ddof=0)).dropna(how="all")


def class_noise_floor(
    real: Examination,
    *,
    real_labels: Sequence[Hashable],
    generated_labels: Sequence[Hashable],
    repeats: int = 100,
    seed: int = 42,
) -> pd.Series:
    """The noise floor of `failures_by_class`, by measure, for either direction.

    95 % of the gaps would be at most this large if a class's generated clips were like its real
    ones. It comes from random halves of each class, rescaled to the numbers of clips compared:
    means of n and m clips differ by about sqrt(1/n + 1/m). NaN where no generated class has a value
    in both halves.
    """
    names = [name for name in MEASURES if name in real.values]
    values = real.values[names] / real.values[names].std(ddof=0)
    rng = np.random.default_rng(seed)
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
    """Entropy (bits) of the codes of one level decided after each of its iterations.

    Real codes at the same positions stand beside them. Positions that were given, or where real
    clips are silent, count on neither side: fewer codes have a lower entropy.

    Args:
        trace: of N items, as `decode(..., record=True)` returns it.
        real: codes (K, Q, T) int64 of real clips.
        active: (K, T) bool, where these are not digital silence.

    Returns:
        A row per iteration, NaN where no position is left. `generated` and `real`: means over
        `repeats` random draws of N real clips; `noise_floor`: 95 % of the differences between two
        disjoint draws are at most this large, NaN where K < 2 N.
    """
    rng = np.random.default_rng(seed)
    items = len(trace[0].codes)
    known = real[:, level].cpu().numpy()
    sounding = active.cpu().numpy()
    enough = len(known) >= 2 * items
    pool = np.resize(np.arange(len(known)), max(len(known), items))
    other = slice(items, 2 * items) if enough else slice(items)
    draws = [
        (order[:items], order[other]) for order in (rng.permutation(pool) for _ in range(repeats))
    ]
    rows = {}
    for step in trace:
        if step.level != level:
            continue
        decided = (step.free & ~step.masked).cpu().numpy()
        generated = step.codes[:, level].cpu().numpy()
        entropies = []
        for first, second in draws:
            compared = decided & sounding[first] & sounding[second]
            if compared.any():
                sets = (generated, known[first], known[second])
                entropies.append([code_entropy(codes[compared], codebook_size) for codes in sets])
        means, a, b = np.array(entropies).T if entropies else np.full((3, 1), np.nan)
        rows[step.iteration] = {
            "generated": means.mean(),
            "real": np.mean([a, b]),
            "noise_floor": np.quantile(np.abs(a - b), 0.95) if enough else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("iteration")


def _excess(
    diagnosed: DiagnosedColumns,
    sides: Mapping[str, Examination],
    labels: Sequence[Hashable],
    seed: int,
) -> pd.DataFrame:
    return excess(
        diagnosed.examined["real"],
        sides,
        real_labels=diagnosed.columns.labels,
        labels=labels,
        seed=seed,
    )


def _rms(wavs: Sequence[np.ndarray]) -> float:
    """The root mean square over clips of the root mean squares of waveforms (S,)."""
    return float(np.sqrt(np.mean([np.mean(np.square(wav)) for wav in wavs])))
