"""The recipe of a generated sound: all that it takes to make it again, as JSON beside the wav file. The command line and the panel of 03
write the same one, by the same names as the options of `ssenv generate`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssenv_core.base.audio import write_audio
from ssenv_core.base.devices import resolve_precision
from ssenv_core.base.environment import environment
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import read_json, sha256_file, write_json
from ssenv_core.codecs.protocol import Codec
from ssenv_core.generator.file import TrainedGenerator


def makers(
    checkpoint: Path,
    generator: TrainedGenerator,
    codec: Codec,
    device: torch.device,
    precision: str = "auto",
) -> dict[str, Any]:
    """The part of a recipe that says what makes the sounds, the same for all of one session."""
    return {
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256_file(checkpoint),
        "codec": generator.format.codec,
        "bandwidth": generator.format.bandwidth,
        "sample_rate": codec.sample_rate,
        "precision": resolve_precision(precision, device),
        "environment": environment(device),
    }


def recipe(
    made_by: Mapping[str, Any],
    class_name: str,
    duration: float,
    settings: Mapping[str, Any],
    seed: int,
    *,
    start: Mapping[str, Any] | None = None,
    onsets: str | None = None,
    envelope: str | Sequence[float] | None = None,
    plan: bool = False,
    index: int = 0,
    num_samples: int = 1,
) -> dict[str, Any]:
    """A recipe, JSON-able.

    Args:
        made_by: of `makers`.
        duration: seconds.
        settings: of the decoding, as `Sampling.of` reads them.
        start: what the sound began as: "continue", "inpaint" or "vary", and what they were told; None for nothing.
        onsets: seconds, with commas between.
        envelope: the file whose loudness was asked for, or levels in dB, evenly spaced.
        plan: loudness and onsets are those of a training clip, see `Canvas.with_plans`.
        index: of the sound among the `num_samples` that were made with this seed.
    """
    asked = {"onsets": onsets, "envelope": envelope, "plan": plan}
    what = {
        "class": class_name,
        "duration": duration,
        **(start or {}),
        **asked,
        **settings,
        "seed": seed,
    }
    return {**what, **made_by, "index": index, "num_samples": num_samples}


def refuse_other_sounds(recipes: Mapping[Path, Mapping[str, Any]]) -> None:
    """Refuse to replace sounds that were made otherwise; by the same recipe, of however many sounds, a sound may be made again.

    Args:
        recipes: by the wav file that each is to be written to.

    Raises:
        SsenvError: such a file is there; the line names it.
    """
    for path, wanted in recipes.items():
        card = path.with_suffix(".json")
        if path.exists() and (
            not card.exists()
            or _sound_of(read_json(card)) != _sound_of(json.loads(json.dumps(wanted)))
        ):
            raise SsenvError(
                f"{path} holds a sound that was made otherwise: choose another --output, or --seed"
            )


def _sound_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recipe.items() if name != "num_samples"}


def write_sound(path: Path, wav: np.ndarray, sample_rate: int, recipe: Mapping[str, Any]) -> Path:
    """Write a sound (S,) as wav, cut to the duration of its recipe, and the recipe as .json beside it, each atomically.

    Raises:
        SsenvError: the file system refuses the write.
    """
    write_json(path.with_suffix(".json"), recipe)
    return write_audio(path, wav[: round(recipe["duration"] * sample_rate)], sample_rate)
