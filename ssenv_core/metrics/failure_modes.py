"""The paper's four failure modes, each by measures of its own, and a verdict against what real clips show among themselves: a diagnosis of
sets of clips, not a quality score of one. Energy shares see (1) high-frequency attenuation; band envelopes within tenths of a second
(2) temporal smoothing; distances between clips (3) reduced diversity; half-second blocks over seconds (4) no temporal evolution.
The measures of (1), (2) and (4) are `metrics.spectrotemporal`'s; here they are compared, and (3), which only a set has, is measured.

What they cannot separate: a perfectly stationary sound has neither onsets nor evolution and is both (2) and (4), and a set of them loses
(3) what the embedding's deviations over time told apart; a filter that silences bands altogether takes their events, and what tells clips
apart there, along with them, and can show up as (2) or (3) beside (1); a set that collapsed onto one clip has that clip's values in every
other mode too.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.acoustic import check_waveform
from ssenv_core.metrics.diversity import standardised
from ssenv_core.metrics.spectrotemporal import (
    LEAST_FRAMES,
    Sound,
    analyse,
    high_frequency_attenuation,
    is_constant,
    log_mel_embedding,
    no_temporal_evolution,
    temporal_smoothing,
)

MODES: dict[str, str] = {
    "high_frequency_attenuation": "High-frequency attenuation",
    "temporal_smoothing": "Temporal smoothing",
    "reduced_diversity": "Reduced diversity",
    "no_temporal_evolution": "No temporal evolution",
}


class Measure(NamedTuple):
    """What a measure is: its failure mode, `direction` (the sign of a change that means failure), its unit ("%": stored as a share in
    [0, 1]; "": none) and the words for it."""

    mode: str
    direction: int
    unit: str
    words: str


MEASURES: dict[str, Measure] = {
    "energy_above_4khz": Measure(
        "high_frequency_attenuation",
        -1,
        "dB re whole",
        "of the energy above 4 kHz (geometric mean)",
    ),
    "energy_above_8khz": Measure(
        "high_frequency_attenuation",
        -1,
        "dB re whole",
        "of the energy above 8 kHz (geometric mean)",
    ),
    "energy_below_100hz": Measure(
        "high_frequency_attenuation",
        +1,
        "dB re whole",
        "of the energy below 100 Hz (geometric mean)",
    ),
    "onset_rate": Measure("temporal_smoothing", -1, "", "onsets per second"),
    "onset_strength": Measure(
        "temporal_smoothing", -1, "dB", "rise within 30 ms at the strongest onsets"
    ),
    "spectral_flux": Measure(
        "temporal_smoothing", -1, "%", "change of the band envelopes in 10 ms"
    ),
    "crest_factor": Measure(
        "temporal_smoothing", -1, "dB", "from mean to peak of a band within 0.2 s"
    ),
    "modulation_share": Measure(
        "temporal_smoothing", -1, "%", "of the band envelopes' energy at 2 to 20 Hz"
    ),
    "mean_distance": Measure("reduced_diversity", -1, "", "mean distance between two clips"),
    "nearest_distance": Measure("reduced_diversity", -1, "", "mean distance to the nearest clip"),
    "class_distance": Measure(
        "reduced_diversity", -1, "", "mean distance between two clips of a class"
    ),
    "block_similarity": Measure(
        "no_temporal_evolution", +1, "", "mean cosine similarity of half seconds 1 s or more apart"
    ),
    "spectral_change": Measure(
        "no_temporal_evolution", -1, "dB", "spectral change from one half second to the next"
    ),
    "level_spread": Measure(
        "no_temporal_evolution", -1, "dB", "standard deviation of the half-second level"
    ),
}

_REAL_AT_LEAST, _GENERATED_AT_LEAST = 8, 2


@dataclass(frozen=True)
class Examination:
    """What `examine` found. values: a row per clip, `silent` (bool) and the measures of modes 1, 2 and 4 (NaN where not defined);
    embeddings (N, D) of the N clips that are not silent."""

    values: pd.DataFrame
    embeddings: np.ndarray


@dataclass(frozen=True)
class Diagnosis:
    """One measure's verdict. `real`, `generated`: the means over clips. `gap`: how far generated lies from real towards failure (negative:
    away from it). `noise_floor`: what 95 % of random disjoint subsets of the real clips stay within. `present`: gap > noise_floor."""

    mode: str
    measure: str
    real: float
    generated: float
    gap: float
    noise_floor: float
    present: bool
    sentence: str


def examine(
    clips: Iterable[np.ndarray],
    sample_rate: int,
    *,
    embedding: Callable[[Sound], np.ndarray] = log_mel_embedding,
    name: str = "clip",
) -> Examination:
    """Every clip by itself, once: what `judge` compares, and the distributions to plot.

    clips: waveforms (S,) float, all at `sample_rate` Hz, looked at one at a time. Measures of time are NaN for clips shorter than 1.5 s.
    Raises SsenvError, with `name` and the position, for a clip that cannot be measured or embedded, and when none of them has sound.
    """
    rows, embeddings = [], []
    for i, wav in enumerate(clips):
        silent = is_constant(check_waveform(wav, f"{name} {i}"))
        rows.append({"silent": silent})
        if silent:
            continue
        clip = analyse(wav, sample_rate, f"{name} {i}")
        rows[-1] |= high_frequency_attenuation(clip)
        if clip.mel.shape[1] >= LEAST_FRAMES:
            rows[-1] |= temporal_smoothing(clip) | no_temporal_evolution(clip)
        embeddings.append(np.asarray(embedding(clip), dtype=np.float64))
        if not np.isfinite(embeddings[-1]).all():
            raise SsenvError(
                f"{name} {i}: its embedding is not finite; look at the clip, or use another embedding"
            )
    if not embeddings:
        raise SsenvError(
            f"{name}s: {f'all {len(rows)} are silent' if rows else 'the list is empty'}, so there is nothing to examine"
        )
    columns = ["silent", *(key for key, m in MEASURES.items() if m.mode != "reduced_diversity")]
    return Examination(pd.DataFrame(rows, columns=columns), np.stack(embeddings))


def diagnose(
    real: Iterable[np.ndarray],
    generated: Iterable[np.ndarray],
    sample_rate: int,
    *,
    real_labels: Sequence[Hashable] | None = None,
    generated_labels: Sequence[Hashable] | None = None,
    embedding: Callable[[Sound], np.ndarray] = log_mel_embedding,
    repeats: int = 500,
    seed: int = 42,
) -> list[Diagnosis]:
    """`judge` on waveforms (S,) float, all at `sample_rate` Hz, each examined first; raises what `examine` and `judge` raise."""
    return judge(
        examine(real, sample_rate, embedding=embedding, name="real clip"),
        examine(generated, sample_rate, embedding=embedding, name="generated clip"),
        real_labels=real_labels,
        generated_labels=generated_labels,
        repeats=repeats,
        seed=seed,
    )


def judge(
    real: Examination,
    generated: Examination,
    *,
    real_labels: Sequence[Hashable] | None = None,
    generated_labels: Sequence[Hashable] | None = None,
    repeats: int = 500,
    seed: int = 42,
) -> list[Diagnosis]:
    """Every measure of every mode, generated against real, in the order of MEASURES; `class_distance` only with labels for both sides, and
    where subsets of both hold classes of two clips or more.

    Each measure is averaged over clips. Its noise floor is what 95 % of its differences stay within, between `repeats` pairs of random
    disjoint subsets of the real clips, each half of them or as many as there are generated ones, whichever is fewer: subsets differ at
    least 1.4 times as much as the whole sets would. In mode 3 both sides' means are those of such subsets too, since nearest neighbours
    depend on how many clips there are. Clips are taken as drawn independently: of other classes or sources, two real sets do differ.
    Silent clips, and for measures of time clips under 1.5 s, are left out and counted in the sentence.
    Raises SsenvError where fewer than 8 real or 2 generated clips are left for a measure.
    """
    if (real_labels is None) != (generated_labels is None):
        raise ValueError("labels are needed for both sides or for neither")
    rng = np.random.default_rng(seed)
    verdicts = {
        name: _diagnose_mean(name, real.values[name], generated.values[name], repeats, rng)
        for name in MEASURES
        if name in real.values
    }
    sides = (
        _distances(
            side.embeddings,
            real.embeddings,
            None if labels is None else _heard(labels, side.values["silent"]),
        )
        for side, labels in ((real, real_labels), (generated, generated_labels))
    )
    verdicts |= _diagnose_diversity(
        *sides, int(real.values["silent"].sum() + generated.values["silent"].sum()), repeats, rng
    )
    return [verdicts[name] for name in MEASURES if name in verdicts]


class _Distances(NamedTuple):
    """matrix (N, N): rms distances, infinite on the diagonal; mates (N, N): which pairs share a label, None without labels."""

    matrix: np.ndarray
    mates: np.ndarray | None


def _diagnose_mean(
    name: str, real: pd.Series, generated: pd.Series, repeats: int, rng: np.random.Generator
) -> Diagnosis:
    r, g = (side.dropna().to_numpy(np.float64) for side in (real, generated))
    first, second = _disjoint_subsets(name, r.size, g.size, repeats, rng)
    differences = r[first].mean(axis=1) - r[second].mean(axis=1)
    return _verdict(
        name, r.mean(), g.mean(), differences, real.size + generated.size - r.size - g.size
    )


def _diagnose_diversity(
    real: _Distances, generated: _Distances, silent: int, repeats: int, rng: np.random.Generator
) -> dict[str, Diagnosis]:
    first, second = _disjoint_subsets(
        "mean_distance", len(real.matrix), len(generated.matrix), repeats, rng
    )
    drawn = rng.permuted(np.tile(np.arange(len(generated.matrix)), (repeats, 1)), axis=1)[
        :, : first.shape[1]
    ]
    a, b, c = (
        _subset_means(real, first),
        _subset_means(real, second),
        _subset_means(generated, drawn),
    )
    verdicts = {}
    for name in a:
        differences = (a[name] - b[name]).dropna()
        if len(differences) and c[name].notna().any():
            verdicts[name] = _verdict(
                name, pd.concat([a[name], b[name]]).mean(), c[name].mean(), differences, silent
            )
    return verdicts


def _verdict(
    name: str, real: float, generated: float, real_differences: np.ndarray, left_out: int
) -> Diagnosis:
    measure = MEASURES[name]
    gap = float(measure.direction * (generated - real))
    floor = float(np.quantile(np.abs(real_differences), 0.95))
    ratio = (
        f"gap {gap / floor:.1f}x the real-vs-real noise floor"
        if floor > 0
        else "where real clips do not differ at all"
    )
    sentence = (
        f"{MODES[measure.mode]}: {'present' if gap > floor else 'not present'}: {_spell(generated, measure.unit)} {measure.words} "
        f"against {_spell(real, measure.unit)} in real, {ratio}"
        + (f" ({left_out} silent or short clips left out)" if left_out else "")
    )
    return Diagnosis(
        measure.mode, name, float(real), float(generated), gap, floor, gap > floor, sentence
    )


def _spell(value: float, unit: str) -> str:
    match unit:
        case "dB re whole":
            return f"{100 * 10 ** (value / 10):.3g} %"
        case "%":
            return f"{100 * value:.3g} %"
        case _:
            return f"{value:.3g} {unit}".rstrip()


def _disjoint_subsets(
    name: str, real: int, generated: int, repeats: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two (repeats, size) arrays of positions among the real clips: halves of them, or as few as there are generated ones."""
    if real < _REAL_AT_LEAST or generated < _GENERATED_AT_LEAST:
        raise SsenvError(
            f"{name}: {real} real and {generated} generated clips can be used, {_REAL_AT_LEAST} and {_GENERATED_AT_LEAST} are needed; "
            "silent clips, and for measures of time clips under 1.5 s, do not count"
        )
    size = min(real // 2, generated)
    order = rng.permuted(np.tile(np.arange(real), (repeats, 1)), axis=1)
    return order[:, :size], order[:, size : 2 * size]


def _heard(labels: Sequence[Hashable], silent: pd.Series) -> list[Hashable]:
    if len(labels) != len(silent):
        raise ValueError(f"{len(labels)} labels for {len(silent)} clips")
    return [label for label, s in zip(labels, silent, strict=True) if not s]


def _distances(
    embeddings: np.ndarray, reference: np.ndarray, labels: Sequence[Hashable] | None
) -> _Distances:
    """Between embeddings (N, D): rms over D in units of the standard deviations of `reference` (M, D), the real side."""
    matrix = squareform(pdist(standardised(embeddings, reference))) / np.sqrt(embeddings.shape[1])
    np.fill_diagonal(matrix, np.inf)
    if labels is None:
        return _Distances(matrix, None)
    classes = pd.factorize(pd.Series(list(labels), dtype=object))[0]
    return _Distances(matrix, (classes[:, None] == classes) & np.isfinite(matrix))


def _neighbourhood(matrix: np.ndarray, mates: np.ndarray | None) -> dict[str, np.ndarray]:
    """For every clip its `mean_distance` to the others, its `nearest_distance`, and with mates its `class_distance`, the mean to the others
    of its class (NaN where it is alone)."""
    columns = {
        "mean_distance": matrix.mean(axis=1, where=np.isfinite(matrix)),
        "nearest_distance": matrix.min(axis=1),
    }
    if mates is not None:
        counts = mates.sum(axis=1)
        columns["class_distance"] = np.where(
            counts > 0, matrix.sum(axis=1, where=mates) / np.maximum(counts, 1), np.nan
        )
    return columns


def _subset_means(side: _Distances, subsets: np.ndarray) -> pd.DataFrame:
    """The means of `_neighbourhood` among the clips of each subset (repeats, size), one row each; NaN where no clip has a value."""
    pairs = [np.ix_(subset, subset) for subset in subsets]
    among = [
        _neighbourhood(side.matrix[p], None if side.mates is None else side.mates[p]) for p in pairs
    ]
    return pd.DataFrame(
        {name: pd.DataFrame([columns[name] for columns in among]).mean(axis=1) for name in among[0]}
    )
