"""Findings of 05_failure_modes on diversity: variety of codes, coverage, and training clips."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ssenv_core.data.recordings import Dataset
from ssenv_core.data.tokens import TokenSet
from ssenv_core.evaluation.columns import Columns, sounding_frames
from ssenv_core.evaluation.copies import NEAR, Memorisation, embed_recordings, judge_memorisation
from ssenv_core.evaluation.failure_findings import DiagnosedColumns
from ssenv_core.generator.generation import decode_clip
from ssenv_core.metrics.diversity import (
    Nearest,
    entropy_beside_floor,
    evenly,
    nearest,
    reach_beside_floor,
)
from ssenv_core.metrics.failure_modes import examine
from ssenv_core.plots.failure_modes import curves
from ssenv_core.plots.finding import Finding, Number

TRAINING = "training clips through the codec"
_DECODED = 20  # training clips that are decoded, to show where copies would lie


def compare_code_entropy(columns: Columns, tokens: TokenSet, fold: int, seed: int) -> pd.DataFrame:
    """Entropy of held-out and of generated codes by level; see `entropy_beside_floor`."""
    heldout = tokens.where([fold])
    generated = columns.generated_codes
    return entropy_beside_floor(
        heldout.codes.numpy(),
        generated.numpy(),
        tokens.format.codebook_size,
        sounding=(sounding_frames(heldout.codes, tokens), sounding_frames(generated, tokens)),
        seed=seed,
    )


def code_entropy_finding(entropy: pd.DataFrame) -> Finding:
    """At which levels generated codes are less or more varied than real ones.

    Args:
        entropy: of `compare_code_entropy`.
    """
    gap = entropy["generated"] - entropy["real"]
    fewer = entropy.index[-gap > entropy["noise_floor"]]
    more = entropy.index[gap > entropy["noise_floor"]]
    sentence = (
        f"At level 1 the codes of generated clips have {bits(gap.iloc[0])} entropy than those of "
        f"real clips (noise floor {entropy['noise_floor'].iloc[0]:.2f} bits). Beyond the noise "
        f"floor, of {len(entropy)} levels, they are less varied at {_levels(fewer)} and more "
        f"varied at {_levels(more)}."
    )
    return Finding(
        sentence=sentence,
        figure=curves(
            {side: entropy[side] for side in ("real", "generated")},
            "quantizer level",
            "entropy of the codes used (bits)",
        ),
        name="code_entropy",
    )


def coverage_finding(diagnosed: DiagnosedColumns) -> Finding:
    """How many of the real clips have a generated one nearby."""
    examined = diagnosed.examined
    reach = reach_beside_floor(examined["real"].embeddings, examined["generated"].embeddings)
    coverage = reach.loc["coverage"]
    return Finding(
        sentence=f"{coverage['generated']:.0%} of the real clips have a generated clip nearby; "
        f"{coverage['real']:.0%} have one of as many other real clips nearby.",
        table=reach.rename(columns={"real": "another half of the real clips"}).round(2),
        numbers={"coverage": Number(round(float(coverage["generated"]), 3))},
    )


@dataclass(frozen=True)
class NearestTraining:
    """How near clips lie to training clips.

    Attributes:
        near: by side: real (held out), codec, generated, and training clips through the codec;
            clips that are not silent.
        verdict: whether more generated clips lie near a training clip than chance explains.
        closest: indexed by the generated `clip`, nearest first: `training_clip`, `distance`.
    """

    near: Mapping[str, Nearest]
    verdict: Memorisation
    closest: pd.DataFrame


def nearest_training_clips(
    diagnosed: DiagnosedColumns,
    sounds: Dataset,
    tokens: TokenSet,
    fold: int,
    seed: int,
    device: str | torch.device,
) -> NearestTraining:
    """Find the nearest training clip of every clip, by `log_mel_embedding`.

    Raises:
        SsenvError: a training clip cannot be read, or there are too few clips.
    """
    columns = diagnosed.columns
    training = sounds.subset(exclude_folds=[fold])
    recorded = {clip.name for clip in training.clips}  # a variation is no copy
    kept = tokens.without(fold)
    kept = kept.at(torch.tensor([i for i, name in enumerate(kept.names) if name in recorded]))
    known, positions = embed_recordings(training, columns.sample_rate)
    codec = tokens.format.load_codec(device)
    copies = [
        decode_clip(codec, kept.codes[i].to(device), seed=seed, index=i)
        for i in evenly(len(kept), min(_DECODED, len(kept)))
    ]
    decoded = examine(copies, columns.sample_rate, name="training clip")
    reference = diagnosed.examined["real"].embeddings
    near = {
        side: nearest(examination.embeddings, known, reference)
        for side, examination in {**diagnosed.examined, TRAINING: decoded}.items()
    }
    silent = diagnosed.examined["generated"].values["silent"]
    names = [name for name, skip in zip(columns.generated_names, silent, strict=True) if not skip]
    sources = [training.clips[positions[i]].name for i in near["generated"].source]
    closest = pd.DataFrame(
        {"training_clip": sources, "distance": near["generated"].distance},
        index=pd.Index(names, name="clip"),
    )
    verdict = judge_memorisation(near["real"].distance, near["generated"].distance, seed=seed)
    return NearestTraining(near, verdict, closest.sort_values("distance"))


def memorisation_finding(found: NearestTraining) -> Finding:
    """Whether generated clips are copies of training clips: "present" or "absent"."""
    near = found.near
    closest = found.closest.iloc[0]
    verdict = "present" if found.verdict.present else "absent"
    sentence = (
        f"Memorisation: {verdict}: {found.verdict.share:.0%} of the generated clips lie nearer to "
        f"a training clip than all but {NEAR:.0%} of the held-out clips do; the noise floor is "
        f"{found.verdict.noise_floor:.0%}. The closest generated clip, {closest.name}, is "
        f"{closest['distance']:.2f} from {closest['training_clip']}; the closest held-out clip is "
        f"{near['real'].distance.min():.2f} from a training clip, and half of the training clips "
        f"through the codec are within {np.median(near[TRAINING].distance):.2f} of one."
    )
    return Finding(
        sentence=sentence,
        figure=curves(
            {side: _cumulative(nearest.distance) for side, nearest in near.items()},
            "distance to the nearest training clip (deviations of the real clips)",
            "clips up to there (%)",
        ),
        name="nearest_training_clip",
        numbers={"near a training clip": Number(round(found.verdict.share, 3))},
        tables={"nearest_training_clips": found.closest},
    )


def bits(gap: float) -> str:
    """A difference in entropy: "1.35 bits less"."""
    return f"{abs(gap):.2f} bits {'less' if gap < 0 else 'more'}"


def _levels(levels: pd.Index) -> str:
    """A count of levels, and which: "2 (1, 3)"."""
    names = ", ".join(str(level) for level in levels)
    return f"{len(levels)} ({names})" if names else "0"


def _cumulative(distance: np.ndarray) -> pd.Series:
    """The share (%) of clips up to each distance."""
    share = 100 * np.arange(1, len(distance) + 1) / len(distance)
    return pd.Series(share, index=np.sort(distance))
