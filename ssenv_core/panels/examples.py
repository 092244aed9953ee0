"""Sounds that a panel begins with: recordings with their coded versions, and takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssenv_core.base.audio import write_folder
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.recordings import Dataset
from ssenv_core.evaluation.ceiling import reconstruct_clip
from ssenv_core.generator.canvas import Canvas
from ssenv_core.generator.file import class_index
from ssenv_core.generator.generation import generate_codes, generate_waveforms
from ssenv_core.panels.clips import AuditionClip
from ssenv_core.panels.session import DURATION, AuditionSession, Take
from ssenv_core.soundstorm.sampling import Sampling

AUDIBLE = 0.001  # peak of the quietest recording whose loudness a take can follow


def reference_clips(
    recordings: Dataset, codec: Codec, folder: Path, device: str | torch.device = "cpu"
) -> list[AuditionClip]:
    """Write the first recording of each class, and the same through the codec, into a folder.

    Raises:
        SsenvError: a recording cannot be read, or a file cannot be written.
    """
    rate = codec.sample_rate
    first = {clip.label: clip for clip in reversed(recordings.clips)}
    rows = []
    for label, clip in sorted(first.items()):
        name = recordings.class_names[label]
        rows.append((name, f"{name}_real", recordings.read(clip, rate)))
        rows.append(
            (name, f"{name}_codec", reconstruct_clip(codec, recordings, clip, rate, device))
        )
    paths = write_folder(folder, ((name, wav) for _, name, wav in rows), rate)
    return [AuditionClip(*row, path) for row, path in zip(rows, paths, strict=True)]


def example_takes(
    session: AuditionSession,
    class_name: str,
    settings: Mapping[str, Any],
    references: list[AuditionClip],
) -> list[Take]:
    """Make a take, a variation, the same with its second quarter generated anew, and a longer one.

    With a generator that takes conditioning, one more take has the loudness of the first audible
    reference.

    Args:
        settings: the parameters of 03_generate.
        references: of `reference_clips`.
    """
    seed, duration = settings["seed"], settings["duration"]
    first = session.generate(
        class_name, seed=seed, duration=duration, settings=settings, plan=settings["plan"]
    )
    takes = [
        first,
        session.vary(first, 0.3, seed=seed + 1),
        session.inpaint(first, duration / 4, duration / 2, seed=seed + 2),
        session.extend(first, 2.0, seed=seed + 3),
    ]
    audible = [clip.path for clip in references if np.abs(clip.wav).max() > AUDIBLE]
    if session.takes_controls and audible:
        follow = {"duration": duration, "settings": settings, "envelope": audible[0]}
        takes.append(session.generate(class_name, seed=seed, **follow))
    return takes


def generate_classes(
    session: AuditionSession, class_names: Sequence[str], seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """Generate one clip of each class with a plan: waveforms by class, as version "generated"."""
    generator = session.generator
    labels = [class_index(generator.class_names, name) for name in class_names]
    canvas = Canvas.blank(generator, len(labels), DURATION).with_plans(generator, labels, seed)
    sampling = Sampling.of(session.default_settings)
    codes = generate_codes(generator, labels, sampling, canvas, seed=seed, device=session.device)
    wavs = generate_waveforms(generator, session.codec, codes, seed=seed)
    return {name: {"generated": wav} for name, wav in zip(class_names, wavs, strict=True)}
