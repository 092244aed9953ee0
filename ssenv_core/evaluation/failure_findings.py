"""Findings of 05_failure_modes: the four failure modes of the codec's and of generated clips.

`metrics.failure_modes` measures and judges; here the results become sentences, figures and tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ssenv_core.evaluation.columns import Columns
from ssenv_core.metrics.failure_measures import MODES
from ssenv_core.metrics.failure_modes import (
    Diagnosis,
    Examination,
    examine,
    floor_factor,
    judge,
    subset_size,
)
from ssenv_core.metrics.spectrotemporal import (
    Sound,
    analyse,
    is_constant,
    long_term_spectrum,
    modulation_spectrum,
    self_similarity,
)
from ssenv_core.plots.failure_modes import curves, diagnosis_chart, spectrum_chart
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.style import measure_label

VERDICTS = {"absent": "absent", "present": "present", "reversed": "present, in the other direction"}


@dataclass(frozen=True)
class DiagnosedColumns:
    """A study's real, codec and generated clips, examined and judged.

    Attributes:
        columns: the clips.
        examined: by side: real, codec, generated.
        sounds: by side, the clips that are not silent.
        diagnoses: by side: codec, generated.
    """

    columns: Columns
    examined: Mapping[str, Examination]
    sounds: Mapping[str, Sequence[Sound]]
    diagnoses: Mapping[str, Sequence[Diagnosis]]

    def sentences(self, mode: str) -> str:
        """The diagnoses of generated clips in one mode, one per line."""
        return "\n".join(f"{d.sentence}." for d in self.diagnoses["generated"] if d.mode == mode)

    def mean_curve(self, curve: Callable[[Sound], pd.Series]) -> dict[str, pd.Series]:
        """By side, the mean of a curve over the clips that are not silent."""
        return {
            side: pd.concat([curve(sound) for sound in sounds], axis=1).mean(axis=1)
            for side, sounds in self.sounds.items()
        }


def diagnose_columns(columns: Columns, seed: int) -> DiagnosedColumns:
    """Examine the three columns; judge the codec's and the generated clips against the real ones.

    Args:
        seed: of the noise floor.

    Raises:
        SsenvError: a clip cannot be measured, or there are too few; see `examine` and `judge`.
    """
    clips = {"real": columns.real, "codec": columns.codec, "generated": columns.generated}
    labels = {"codec": columns.labels, "generated": columns.generated_labels}
    rate = columns.sample_rate
    examined = {side: examine(wavs, rate, name=f"{side} clip") for side, wavs in clips.items()}
    sounds = {
        side: [analyse(wav, rate) for wav in wavs if not is_constant(wav)]
        for side, wavs in clips.items()
    }
    diagnoses = {
        side: judge(
            examined["real"],
            examined[side],
            real_labels=columns.labels,
            generated_labels=labels[side],
            seed=seed,
        )
        for side in labels
    }
    return DiagnosedColumns(columns, examined, sounds, diagnoses)


def overview_finding(diagnosed: DiagnosedColumns) -> Finding:
    """All measures of the generated clips in one chart, and how many differ in each mode."""
    diagnoses = diagnosed.diagnoses["generated"]
    real, generated = (len(diagnosed.examined[side].embeddings) for side in ("real", "generated"))
    modes = [[d for d in diagnoses if d.mode == mode] for mode in MODES]
    counts = [f"{MODES[group[0].mode].lower()} in {_count(group)}" for group in modes if group]
    floor = (
        f"The noise floor compares subsets of {subset_size(real, generated)} real clips. Means "
        f"over these differ {floor_factor(real, generated):.2f} times as much as means over the "
        f"sets compared here ({real} real and {generated} generated clips), so a difference just "
        "below the noise floor can still be real."
    )
    return Finding(
        sentence=f"Beyond the noise floor: {'; '.join(counts)}.\n{floor}",
        figure=diagnosis_chart(diagnoses),
        name="diagnosis",
    )


def plan_finding(recipe: Mapping[str, object]) -> Finding:
    """Whether generation was given the time course of training clips.

    Args:
        recipe: generated/recipe.json.
    """
    if recipe["plan"]:
        return Finding(
            sentence="The generated clips were given the loudness and onsets of training clips "
            "(plan = True). Their time course is not the model's own: onsets, modulation, level "
            "and evolution below show how well the model follows a given time course."
        )
    return Finding(
        sentence="The generator was given no loudness and no onsets (plan = False): the time "
        "course of the generated clips is the model's own."
    )


def spectrum_finding(diagnosed: DiagnosedColumns) -> Finding:
    """High-frequency attenuation: mean third-octave spectra of the three sides."""
    spectra = diagnosed.mean_curve(
        lambda sound: long_term_spectrum(sound.wav, sound.sample_rate).clip(lower=-100)
    )
    return Finding(
        sentence=diagnosed.sentences("high_frequency_attenuation"),
        figure=spectrum_chart(spectra),
        name="long_term_spectrum",
    )


def modulation_finding(diagnosed: DiagnosedColumns) -> Finding:
    """Temporal smoothing: mean modulation spectra of the three sides."""
    spectra = diagnosed.mean_curve(lambda sound: 100 * modulation_spectrum(sound))
    return Finding(
        sentence=diagnosed.sentences("temporal_smoothing"),
        figure=curves(
            spectra, "modulation rate (Hz)", "share of the envelopes' energy (%)", log_x=True
        ),
        name="modulation",
    )


def distances_finding(diagnosed: DiagnosedColumns) -> Finding:
    """Reduced diversity: the distances between clips."""
    return Finding(sentence=diagnosed.sentences("reduced_diversity"))


def evolution_finding(diagnosed: DiagnosedColumns) -> Finding:
    """No temporal evolution: mean similarity of half seconds by their lag."""
    similarity = diagnosed.mean_curve(self_similarity)
    return Finding(
        sentence=diagnosed.sentences("no_temporal_evolution"),
        figure=curves(similarity, "lag (s)", "cosine similarity of half seconds"),
        name="self_similarity",
    )


def codec_or_model_finding(diagnoses: Mapping[str, Sequence[Diagnosis]]) -> Finding:
    """Which measures differ after the codec alone, and which only after generation.

    Args:
        diagnoses: by side: codec, generated.
    """
    ratios, verdicts = (
        pd.DataFrame(
            {side: {(d.mode, d.measure): value(d) for d in of} for side, of in diagnoses.items()}
        )
        for value in (lambda d: d.ratio, lambda d: VERDICTS[d.verdict])
    )
    table = ratios.round(2).join(verdicts.add_suffix(": verdict"))
    table.index = [f"{MODES[mode]}: {measure_label(measure)}" for mode, measure in table.index]
    differing = {
        side: [measure_label(d.measure) for d in of if d.verdict != "absent"]
        for side, of in diagnoses.items()
    }
    added = [name for name in differing["generated"] if name not in differing["codec"]]
    sentence = (
        f"Beyond the noise floor: {_count(diagnoses['codec'])} after the codec alone, "
        f"{_count(diagnoses['generated'])} after generation. The codec alone changes "
        f"{', '.join(differing['codec']) or 'none'}; only generation changes "
        f"{', '.join(added) or 'none'}."
    )
    numbers = {
        f"{title}{suffix} ({side})": Number(
            sum(d.verdict == verdict for d in of if d.mode == mode), "lower"
        )
        for verdict, suffix in (("present", ""), ("reversed", ", other direction"))
        for side, of in diagnoses.items()
        for mode, title in MODES.items()
    }
    return Finding(
        sentence=sentence, table=table, numbers=numbers, tables={"failure_modes": ratios}
    )


def _count(diagnoses: Sequence[Diagnosis]) -> str:
    """ "3 of 5 measures (1 in the other direction)"."""
    verdicts = [d.verdict for d in diagnoses]
    beyond = len(verdicts) - verdicts.count("absent")
    opposite = verdicts.count("reversed")
    note = f" ({opposite} in the other direction)" if opposite else ""
    return f"{beyond} of {len(verdicts)} measures{note}"
