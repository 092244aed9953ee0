"""The clips that a study generates: some of each class, and longer ones made in windows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssenv_core.base.files import sha256_file, write_json
from ssenv_core.base.tensors import save_tensors
from ssenv_core.codecs.protocol import Codec
from ssenv_core.generator.canvas import Canvas
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.generator.generation import generate_codes, generate_waveforms, record_decoding
from ssenv_core.soundstorm.decoding import Iteration
from ssenv_core.soundstorm.sampling import Sampling

CODES_KIND = "generated codes"


@dataclass(frozen=True, eq=False)
class ClipSet:
    """N generated clips.

    Attributes:
        names: of the clips, and of their files without suffix.
        classes: the class name of each clip.
        wavs: (S,) float32 each, at the codec's rate; peaks may lie beyond full scale.
        codes: (N, Q, T) int64, on the CPU.
    """

    names: list[str]
    classes: list[str]
    wavs: list[np.ndarray]
    codes: torch.Tensor

    @property
    def rows(self) -> list[tuple[str, str, np.ndarray]]:
        """Class, name and waveform of each clip."""
        return list(zip(self.classes, self.names, self.wavs, strict=True))


def generate_set(
    generator: TrainedGenerator, codec: Codec, settings: Mapping[str, Any], device: torch.device
) -> ClipSet:
    """Generate `samples_per_class` clips of each class, with plans if `plan` is set.

    Args:
        settings: the parameters of 03_generate.

    Raises:
        SsenvError: as `Canvas.with_plans`, `generate_codes` and `generate_waveforms`.
    """
    per_class = settings["samples_per_class"]
    labels = [label for label in range(len(generator.class_names)) for _ in range(per_class)]
    canvas = blank_canvas(generator, labels, settings)
    names = [
        f"{generator.class_names[label]}_{i % per_class + 1}" for i, label in enumerate(labels)
    ]
    return _generate(generator, codec, settings, canvas, labels, names, device)


def generate_long_set(
    generator: TrainedGenerator, codec: Codec, settings: Mapping[str, Any], device: torch.device
) -> ClipSet:
    """Generate `long_clips` clips three times as long as those of the training, without plans.

    Args:
        settings: the parameters of 03_generate.

    Raises:
        SsenvError: as `generate_codes` and `generate_waveforms`.
    """
    labels = [i % len(generator.class_names) for i in range(settings["long_clips"])]
    canvas = Canvas.blank(generator, len(labels), long_duration(generator))
    names = [f"{generator.class_names[label]}_long_{i + 1}" for i, label in enumerate(labels)]
    return _generate(generator, codec, settings, canvas, labels, names, device)


def long_duration(generator: TrainedGenerator) -> float:
    """Seconds of a long clip: three training clips."""
    return 3 * generator.format.duration


def blank_canvas(
    generator: TrainedGenerator, labels: list[int], settings: Mapping[str, Any]
) -> Canvas:
    """An empty canvas for clips of these classes, with plans if `plan` is set in `settings`.

    Raises:
        SsenvError: as `Canvas.with_plans`.
    """
    canvas = Canvas.blank(generator, len(labels), settings["duration"])
    return canvas.with_plans(generator, labels, settings["seed"]) if settings["plan"] else canvas


def record_clip(
    generator: TrainedGenerator, label: int, settings: Mapping[str, Any], device: torch.device
) -> list[Iteration]:
    """Every iteration in which one clip of a class is decoded, with a plan if `plan` is set.

    Args:
        settings: the parameters of 03_generate.
    """
    canvas = blank_canvas(generator, [label], settings)
    seeds, sampling = [settings["seed"]], Sampling.of(settings)
    return record_decoding(generator, [label], sampling, canvas, seeds=seeds, device=device)


def save_set(
    folder: Path, clips: ClipSet, settings: Mapping[str, Any], checkpoint: Path
) -> list[Path]:
    """Write the codes of a set and the recipe that makes it again; remove clips of an earlier set.

    Args:
        settings: the parameters of 03_generate.
        checkpoint: the generator's file.

    Returns:
        The files written.
    """
    for stale in folder.glob("*.wav"):
        stale.unlink()
    recipe = {"checkpoint_sha256": sha256_file(checkpoint), **settings}
    recipe["clips"] = [
        {"name": name, "class": class_name, "index": i}
        for i, (class_name, name, _) in enumerate(clips.rows)
    ]
    codes = {"codes": clips.codes.to(torch.uint16)}
    stored = save_tensors(folder / "codes.safetensors", codes, {"kind": CODES_KIND})
    return [stored, write_json(folder / "recipe.json", recipe)]


def _generate(
    generator: TrainedGenerator,
    codec: Codec,
    settings: Mapping[str, Any],
    canvas: Canvas,
    labels: list[int],
    names: list[str],
    device: torch.device,
) -> ClipSet:
    seed = settings["seed"]
    codes = generate_codes(
        generator,
        labels,
        Sampling.of(settings),
        canvas,
        seed=seed,
        device=device,
        precision=settings["precision"],
    )
    wavs = generate_waveforms(generator, codec, codes, seed=seed)
    return ClipSet(names, [generator.class_names[label] for label in labels], wavs, codes.cpu())
