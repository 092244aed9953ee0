"""The recipe of a generated sound: the settings that make it again, as JSON beside the wav file.

The command line and the audition panel write the same recipes; their names are the options of
`ssenv generate`.
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


def provenance(
    checkpoint: Path,
    generator: TrainedGenerator,
    codec: Codec,
    device: torch.device,
    precision: str = "auto",
) -> dict[str, Any]:
    """Describe the generator, codec and machine, the same for all recipes of a session."""
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
    """Build a recipe, JSON-able.

    Args:
        made_by: of `provenance`.
        duration: seconds.
        settings: of the sampling, as `Sampling.of` reads them.
        start: "continue", "inpaint" or "vary" with its values; None: nothing was given.
        onsets: seconds, separated by commas.
        envelope: the file whose loudness the sound follows, or levels in dB, evenly spaced.
        plan: whether it follows a training clip, see `Canvas.with_plans`.
        index: of the sound among the `num_samples` made with this seed.
    """
    return {
        "class": class_name,
        "duration": duration,
        **(start or {}),
        "onsets": onsets,
        "envelope": envelope,
        "plan": plan,
        **settings,
        "seed": seed,
        **made_by,
        "index": index,
        "num_samples": num_samples,
    }


def refuse_other_sounds(recipes: Mapping[Path, Mapping[str, Any]]) -> None:
    """Refuse to replace sounds that were made with another recipe, `num_samples` aside.

    Args:
        recipes: by the wav file that each belongs to.

    Raises:
        SsenvError: there is such a file; the line names it.
    """
    for path, wanted in recipes.items():
        card = path.with_suffix(".json")
        if path.exists() and (
            not card.exists()
            or _sound_of(read_json(card)) != _sound_of(json.loads(json.dumps(wanted)))
        ):
            raise SsenvError(
                f"{path} holds a sound with another recipe: choose another --output or --seed"
            )


def _sound_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recipe.items() if name != "num_samples"}


def write_sound(path: Path, wav: np.ndarray, sample_rate: int, recipe: Mapping[str, Any]) -> Path:
    """Write a sound (S,) as wav, cut to its recipe's duration, and the recipe as .json beside it.

    Raises:
        SsenvError: the file system refuses the write.
    """
    write_json(path.with_suffix(".json"), recipe)
    return write_audio(path, wav[: round(recipe["duration"] * sample_rate)], sample_rate)
