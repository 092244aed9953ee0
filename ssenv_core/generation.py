"""Generates codes with a trained SoundStorm, and waveforms from codes: batches, seeds, progress and the checks on what fits together.

How tokens are sampled is `soundstorm.decoding`'s. Clip i of a call follows from (seed, i) alone, whatever is generated with it.
"""

import difflib
import math
from collections.abc import Sequence

import numpy as np
import torch

from ssenv_core.checkpoints import TrainedGenerator
from ssenv_core.codecs.base import Codec
from ssenv_core.devices import resolve_device
from ssenv_core.errors import SsenvError
from ssenv_core.progress import Progress, track
from ssenv_core.soundstorm import decode
from ssenv_core.tokens import require_codec
from ssenv_core.validation import derive_seed

CODES, WAVEFORM = 1, 2  # what a derived seed is for


def generate_codes(
    generator: TrainedGenerator,
    labels: Sequence[int],
    *,
    duration: float,
    steps: Sequence[int],
    temperature: float | Sequence[float],
    choice_temperature: float,
    guidance: float,
    seed: int,
    device: str | torch.device = "auto",
    batch_size: int = 8,
) -> torch.Tensor:
    """One clip for each label; steps to guidance are as in `soundstorm.decode`.

    Args:
        labels: N classes, each in [0, num_classes]; num_classes is "no class".
        duration: seconds; a part of a frame counts as a whole one.
        seed: 0 or more; clip i is decoded with a seed derived from (seed, i).

    Returns:
        Codes (N, Q, T) int64 on `device`, where the model is moved.

    Raises:
        SsenvError: a setting is out of range.
        ValueError: a label is out of range.
    """
    device, config = resolve_device(device), generator.model.config
    if not all(0 <= label <= config.null_label for label in labels):
        raise ValueError(f"labels must lie in [0, {config.null_label}]: {list(labels)}")
    if not duration > 0:
        raise SsenvError(f"duration {duration} must be more than 0 seconds")
    n_frames = math.ceil(duration * generator.metadata["frame_rate"] - 1e-9)
    model, codes = generator.model.to(device), []
    with Progress(len(labels), "generate", "clip") as progress:
        for start in range(0, len(labels), batch_size):
            batch = torch.tensor(labels[start : start + batch_size], device=device)
            blank = torch.zeros(len(batch), config.n_q, n_frames, dtype=torch.int64, device=device)
            decoded = decode(
                model,
                blank,
                torch.zeros_like(blank, dtype=torch.bool),
                batch,
                seeds=[derive_seed(seed, start + i, CODES) for i in range(len(batch))],
                steps=steps,
                temperature=temperature,
                choice_temperature=choice_temperature,
                guidance=guidance,
            )
            codes.append(decoded.codes)
            progress.update(len(batch))
    return torch.cat(codes)


def generate_waveforms(generator: TrainedGenerator, codec: Codec, codes: torch.Tensor, *, seed: int) -> list[np.ndarray]:
    """Codes to sound, one clip at a time; what the codec draws for clip i follows from (seed, i).

    Peaks beyond full scale are left as they are, and counted in the log: writing 16-bit files clips them.

    Args:
        codes: (N, Q, T) int64, where the codec is.

    Returns:
        N waveforms (S,) float32 at the codec's rate.

    Raises:
        SsenvError: the codec is not the one whose tokens the generator was trained on.
    """
    require_codec(generator, codec)
    wavs = []
    for i, clip in enumerate(track(codes, len(codes), "decode", "clip")):
        noise = torch.Generator(codes.device).manual_seed(derive_seed(seed, i, WAVEFORM))
        wavs.append(codec.decode(clip[None], noise)[0, 0].float().cpu().numpy())
    beyond = sum(bool(np.abs(wav).max() > 1) for wav in wavs)
    if beyond:
        print(f"decode: {beyond} of {len(wavs)} clips peak beyond full scale; 16-bit files will clip them", flush=True)
    return wavs


def class_index(class_names: Sequence[str], name: str) -> int:
    """The label of a class.

    Raises:
        SsenvError: there is no such class; the line names the nearest ones.
    """
    if name not in class_names:
        nearest = difflib.get_close_matches(name, class_names, n=3, cutoff=0)
        raise SsenvError(f"no class {name!r} among the {len(class_names)} of this generator: did you mean {' or '.join(nearest)}?")
    return class_names.index(name)
