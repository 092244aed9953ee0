"""Whether generated clips show the paper's four failure modes: a diagnosis of sets of clips.

The measures of (1) high-frequency attenuation, (2) temporal smoothing and (4) no temporal evolution
come from `metrics.spectrotemporal`; those of (3) reduced diversity are distances between clips. A
difference counts if it exceeds the noise floor, the differences among real clips, in either
direction.

Modes can occur together. A stationary sound has neither onsets nor evolution: (2) and (4), and a
set of such sounds loses the part of (3) that the embedding's deviations over time carry. A filter
that removes whole bands removes their events and can show up as (2) or (3) beside (1).
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.acoustic import check_waveform
from ssenv_core.metrics.diversity import standardised
from ssenv_core.metrics.failure_measures import MEASURES, MODES
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

Verdict = Literal["absent", "present", "reversed"]

_LEAST_REAL = 8
_LEAST_GENERATED = 2


@dataclass(frozen=True)
class Examination:
    """The measures and embeddings of a set of clips.

    Attributes:
        values: a row per clip: `silent` (bool) and the measures of modes 1, 2 and 4, NaN where a
            measure is not defined.
        embeddings: (N, D) of the N clips that are not silent.
    """

    values: pd.DataFrame
    embeddings: np.ndarray


@dataclass(frozen=True)
class Diagnosis:
    """How generated clips compare with real clips in one measure.

    Attributes:
        measure: a key of MEASURES.
        real, generated: means over clips.
        noise_floor: 95 % of the absolute differences between random disjoint subsets of the real
            clips are at most this large.
        left_out: how many clips of both sides have no value, as they are silent or too short.
    """

    measure: str
    real: float
    generated: float
    noise_floor: float
    left_out: int = 0

    @property
    def mode(self) -> str:
        """The failure mode, a key of MODES."""
        return MEASURES[self.measure].mode

    @property
    def gap(self) -> float:
        """How far generated lies from real towards failure; negative: away from it."""
        return MEASURES[self.measure].direction * (self.generated - self.real)

    @property
    def ratio(self) -> float:
        """The gap in noise floors; NaN if real clips do not differ at all."""
        return self.gap / self.noise_floor if self.noise_floor > 0 else np.nan

    @property
    def verdict(self) -> Verdict:
        """Beyond the noise floor: "present" towards failure, "reversed" away from it."""
        if abs(self.gap) <= self.noise_floor:
            return "absent"
        return "present" if self.gap > 0 else "reversed"

    @property
    def sentence(self) -> str:
        """Mode, verdict, both means, and the gap."""
        measure = MEASURES[self.measure]
        verdict = self.verdict
        if verdict == "reversed":
            verdict = f"present, in the other direction ({measure.opposite} than real clips)"
        side = "towards" if self.gap >= 0 else "away from"
        gap = f"a gap of {abs(self.ratio):.1f} noise floors {side} failure"
        if self.noise_floor == 0:
            gap = "and real clips do not differ at all"
        left_out = f" ({self.left_out} silent or short clips left out)" if self.left_out else ""
        return (
            f"{MODES[self.mode]}: {verdict}: {measure.spell(self.generated)} {measure.words} "
            f"against {measure.spell(self.real)} in real clips, {gap}{left_out}"
        )


def examine(
    clips: Iterable[np.ndarray],
    sample_rate: int,
    *,
    embedding: Callable[[Sound], np.ndarray] = log_mel_embedding,
    name: str = "clip",
) -> Examination:
    """Measure and embed each clip of a set, for `judge`.

    Args:
        clips: waveforms (S,) float, read one at a time. Measures of time are NaN for clips shorter
            than 1.5 s.
        sample_rate: of all clips, Hz.
        name: precedes a clip's position in error messages.

    Raises:
        SsenvError: a clip cannot be measured or embedded, or none has sound.
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
                f"{name} {i}: its embedding is not finite; look at the clip, or use another "
                "embedding"
            )
    if not embeddings:
        reason = f"all {len(rows)} are silent" if rows else "the list is empty"
        raise SsenvError(f"{name}s: {reason}, so there is nothing to examine")
    columns = ["silent", *(key for key, m in MEASURES.items() if m.mode != "reduced_diversity")]
    return Examination(pd.DataFrame(rows, columns=columns), np.stack(embeddings))


def judge(
    real: Examination,
    generated: Examination,
    *,
    real_labels: Sequence[Hashable] | None = None,
    generated_labels: Sequence[Hashable] | None = None,
    repeats: int = 500,
    seed: int = 42,
) -> list[Diagnosis]:
    """Compare generated clips with real ones in every measure, in the order of MEASURES.

    Each measure is averaged over clips. The noise floor comes from `repeats` pairs of random
    disjoint subsets of the real clips (see `subset_size` and `floor_factor`). In mode 3 both sides'
    means are of such subsets too, since nearest neighbours depend on the number of clips. Clips
    count as independent draws: two real sets of different classes or sources do differ. Silent
    clips, and for measures of time clips under 1.5 s, are left out and counted.

    Returns:
        One diagnosis per measure; `class_distance` only with labels for both sides, and where
        subsets of both sides have classes of two clips or more.

    Raises:
        SsenvError: fewer than 8 real or 2 generated clips are left for a measure.
    """
    if (real_labels is None) != (generated_labels is None):
        raise ValueError("labels are needed for both sides or for neither")
    rng = np.random.default_rng(seed)
    diagnoses = {
        name: _compare_means(name, real.values[name], generated.values[name], repeats, rng)
        for name in MEASURES
        if name in real.values
    }
    sides = (
        _distances(side, real.embeddings, labels)
        for side, labels in ((real, real_labels), (generated, generated_labels))
    )
    silent = int(real.values["silent"].sum() + generated.values["silent"].sum())
    diagnoses |= _compare_distances(*sides, silent, repeats, rng)
    return [diagnoses[name] for name in MEASURES if name in diagnoses]


def subset_size(real: int, generated: int) -> int:
    """Clips in each subset of the noise floor: half the real ones, or as many as generated ones."""
    return min(real // 2, generated)


def floor_factor(real: int, generated: int) -> float:
    """How much wider the noise floor is than for two sets as large as those compared.

    Means of n and m independent clips differ by sqrt(1/n + 1/m) standard deviations of a clip. The
    subsets are smaller than the sets, so the factor lies between about 1.15 and 2.
    """
    size = subset_size(real, generated)
    return float(np.sqrt((2 / size) / (1 / real + 1 / generated)))


class _Distances(NamedTuple):
    """Distances between the clips of a set.

    matrix: (N, N) rms distances, infinite on the diagonal.
    mates: (N, N) bool, which pairs share a label; None without labels.
    """

    matrix: np.ndarray
    mates: np.ndarray | None


def _compare_means(
    name: str, real: pd.Series, generated: pd.Series, repeats: int, rng: np.random.Generator
) -> Diagnosis:
    r, g = (side.dropna().to_numpy(np.float64) for side in (real, generated))
    first, second = _disjoint_subsets(name, r.size, g.size, repeats, rng)
    floor = _floor(r[first].mean(axis=1) - r[second].mean(axis=1))
    left_out = real.size + generated.size - r.size - g.size
    return Diagnosis(name, float(r.mean()), float(g.mean()), floor, left_out)


def _compare_distances(
    real: _Distances, generated: _Distances, silent: int, repeats: int, rng: np.random.Generator
) -> dict[str, Diagnosis]:
    first, second = _disjoint_subsets(
        "mean_distance", len(real.matrix), len(generated.matrix), repeats, rng
    )
    order = _orders(len(generated.matrix), repeats, rng)
    a = _subset_means(real, first)
    b = _subset_means(real, second)
    c = _subset_means(generated, order[:, : first.shape[1]])
    diagnoses = {}
    for name in a:
        differences = (a[name] - b[name]).dropna()
        if len(differences) and c[name].notna().any():
            means = float(pd.concat([a[name], b[name]]).mean()), float(c[name].mean())
            diagnoses[name] = Diagnosis(name, *means, _floor(differences), silent)
    return diagnoses


def _floor(differences: np.ndarray | pd.Series) -> float:
    return float(np.quantile(np.abs(differences), 0.95))


def _disjoint_subsets(
    name: str, real: int, generated: int, repeats: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two (repeats, size) arrays of positions among the real clips; see `subset_size`."""
    if real < _LEAST_REAL or generated < _LEAST_GENERATED:
        raise SsenvError(
            f"{name}: {real} real and {generated} generated clips can be used, {_LEAST_REAL} and "
            f"{_LEAST_GENERATED} are needed; silent clips, and for measures of time clips under "
            "1.5 s, do not count"
        )
    size = subset_size(real, generated)
    order = _orders(real, repeats, rng)
    return order[:, :size], order[:, size : 2 * size]


def _orders(count: int, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """(repeats, count) random permutations of positions."""
    return rng.permuted(np.tile(np.arange(count), (repeats, 1)), axis=1)


def _distances(
    side: Examination, reference: np.ndarray, labels: Sequence[Hashable] | None
) -> _Distances:
    """Rms distances of embeddings (N, D), in standard deviations of `reference` (M, D)."""
    matrix = squareform(pdist(standardised(side.embeddings, reference)))
    matrix /= np.sqrt(side.embeddings.shape[1])
    np.fill_diagonal(matrix, np.inf)
    if labels is None:
        return _Distances(matrix, None)
    silent = side.values["silent"]
    if len(labels) != len(silent):
        raise ValueError(f"{len(labels)} labels for {len(silent)} clips")
    sounding = [label for label, skip in zip(labels, silent, strict=True) if not skip]
    classes = pd.factorize(pd.Series(sounding, dtype=object))[0]
    return _Distances(matrix, (classes[:, None] == classes) & np.isfinite(matrix))


def _neighbourhood(matrix: np.ndarray, mates: np.ndarray | None) -> dict[str, np.ndarray]:
    """Each clip's mean and nearest distance to the others, and with mates the mean to its class."""
    columns = {
        "mean_distance": matrix.mean(axis=1, where=np.isfinite(matrix)),
        "nearest_distance": matrix.min(axis=1),
    }
    if mates is not None:
        counts = mates.sum(axis=1)
        total = matrix.sum(axis=1, where=mates)
        columns["class_distance"] = np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
    return columns


def _subset_means(side: _Distances, subsets: np.ndarray) -> pd.DataFrame:
    """Means of `_neighbourhood` within each subset (repeats, size); NaN without a value."""
    pairs = [np.ix_(subset, subset) for subset in subsets]
    among = [
        _neighbourhood(side.matrix[p], None if side.mates is None else side.mates[p]) for p in pairs
    ]
    return pd.DataFrame(
        {name: pd.DataFrame([columns[name] for columns in among]).mean(axis=1) for name in among[0]}
    )
