"""Findings about the clips that 03 generates: the set, its conditioning, and long clips."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import kstest

from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.tokens import TokenSet
from ssenv_core.evaluation.controls import control_scores
from ssenv_core.generator.clip_set import ClipSet, long_duration
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.generator.generation import joints
from ssenv_core.generator.plans import silent_where
from ssenv_core.metrics.spectrotemporal import analyse, change_ranks, is_constant
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.masks import mask_stages, mask_trace, stages
from ssenv_core.plots.spectrograms import spectrogram_grid
from ssenv_core.soundstorm.decoding import Iteration
from ssenv_core.soundstorm.sampling import Sampling


def clip_set_finding(clips: ClipSet) -> Finding:
    """How many different clips there are, how loud they are, and how many exceed full scale."""
    loudness = [float(np.sqrt(np.mean(np.square(wav)))) for wav in clips.wavs]
    different = len({codes.numpy().tobytes() for codes in clips.codes})
    beyond = sum(bool(np.abs(wav).max() > 1) for wav in clips.wavs)
    return Finding(
        sentence=f"{len(clips.wavs)} clips, {different} of them different. Their RMS lies between "
        f"{min(loudness):.4f} and {max(loudness):.4f}. {beyond} peak beyond full scale and are "
        "clipped in their 16-bit files.",
        numbers={
            "clips": Number(len(clips.wavs)),
            "different": Number(different),
            "median RMS": Number.rounded(float(np.median(loudness))),
        },
    )


def first_heldout_of_classes(tokens: TokenSet, training_folds: Sequence[int]) -> TokenSet:
    """The first held-out clip of each class that is not silent throughout."""
    unseen = ~torch.isin(tokens.folds, torch.tensor(training_folds)) & tokens.active.any(1)
    candidates = unseen.nonzero()[:, 0]
    _, first = np.unique(tokens.labels[candidates], return_index=True)
    return tokens.at(candidates[first])


def adherence_finding(
    generator: TrainedGenerator,
    codec: Codec,
    tokens: TokenSet,
    settings: Mapping[str, Any],
    device: torch.device,
) -> Finding:
    """How closely generated clips follow the loudness and onsets of the clips of `tokens`.

    Args:
        settings: the parameters of 03_generate.
    """
    if not generator.model.config.controls:
        return Finding(sentence="This generator was trained without loudness and onsets.")
    scores = control_scores(
        generator,
        codec,
        tokens,
        Sampling.of(settings),
        seed=settings["seed"],
        device=device,
        precision=settings["precision"],
    )
    return describe_adherence(scores)


def describe_adherence(scores: pd.DataFrame) -> Finding:
    """Put the scores of `control_scores` into words."""
    loudness, onsets = scores.loc["loudness_correlation"], scores.loc["onset_f1"]
    return Finding(
        sentence="Conditioned on the loudness and onsets of held-out clips, generated clips follow "
        f"the loudness with a correlation of {loudness['both']:.2f} (class alone "
        f"{loudness['class alone']:.2f}, recordings through the codec {loudness['recording']:.2f}) "
        f"and match the onsets with an F1 of {onsets['both']:.2f} ({onsets['class alone']:.2f}, "
        f"{onsets['recording']:.2f}); given the onsets alone, {onsets['onsets alone']:.2f}.",
        table=scores.round(3),
        numbers={
            "loudness correlation": Number.rounded(float(loudness["both"]), "higher"),
            "onset F1": Number.rounded(float(onsets["both"]), "higher"),
            "onset F1 of onsets alone": Number.rounded(float(onsets["onsets alone"]), "higher"),
        },
    )


def joints_finding(generator: TrainedGenerator, clips: ClipSet, codec: Codec) -> Finding:
    """Whether the spectrum changes more where a window of a long clip begins than elsewhere."""
    moments = joints(generator, long_duration(generator))
    sounding = [wav for wav in clips.wavs if not is_constant(wav)]
    ranks = [change_ranks(analyse(wav, codec.sample_rate), moments) for wav in sounding]
    ranks = np.concatenate([np.empty(0), *ranks])
    if not ranks.size:
        return Finding(sentence="All long clips are silent: there is nothing to measure at joints.")
    return Finding(
        sentence=f"At the {ranks.size} joints the spectrum changes more than at {ranks.mean():.0%} "
        "of the other moments (50 % where joints are like any other moment; Kolmogorov-Smirnov "
        f"p {kstest(ranks, 'uniform').pvalue:.2g}).",
        numbers={"change at joints (rank)": Number.rounded(float(ranks.mean()), "near half")},
    )


def spectrogram_finding(clips: ClipSet, sample_rate: int) -> Finding:
    """The spectrogram of the first clip of up to six classes."""
    first = {name: wav for name, _, wav in reversed(clips.rows)}
    rows = {name: {"generated": first[name]} for name in list(dict.fromkeys(clips.classes))[:6]}
    return Finding(figure=spectrogram_grid(rows, sample_rate), name="generated")


def trace_findings(trace: Sequence[Iteration], frame_rate: float) -> list[Finding]:
    """When each token of a recorded decoding was decided, and the mask at some iterations."""
    return [
        Finding(figure=mask_trace(trace, frame_rate), name="mask_trace"),
        Finding(figure=mask_stages(trace, frame_rate, stages(trace)), name="mask_stages"),
    ]


def eventful_class(generator: TrainedGenerator) -> int:
    """The class whose training clips pause most, so that events can be told apart.

    Class 0 of a generator without plans.
    """
    if generator.plans is None:
        return 0
    silent = silent_where(generator.plans.controls).float().mean(1)
    labels = generator.plans.labels
    shares = [
        silent[labels == label].mean().nan_to_num(0) for label in range(int(labels.max()) + 1)
    ]
    return int(torch.stack(shares).argmax())
