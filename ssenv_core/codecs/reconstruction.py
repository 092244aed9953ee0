"""Encode and decode sounds: one waveform, several draws of it, or a folder of files."""

from pathlib import Path

import numpy as np
import torch

from ssenv_core.base.audio import fit_length, list_audio, read_audio, write_audio
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import track
from ssenv_core.codecs.protocol import Codec


def reconstruct(codec: Codec, wav: np.ndarray, device: str | torch.device = "cpu") -> np.ndarray:
    """Encode and decode one waveform (S,) float32 at `codec.sample_rate`.

    Returns:
        (S,) float32, cropped or zero-padded to its length; the same at every call, because noise is
        drawn with seed 0.
    """
    return reconstructions(codec, wav, device, 1)[0]


def reconstructions(
    codec: Codec, wav: np.ndarray, device: str | torch.device, draws: int
) -> list[np.ndarray]:
    """`reconstruct` with noise of seeds 0 to draws - 1; once for a codec that draws none."""
    with torch.inference_mode():
        codes = codec.encode(torch.tensor(wav, dtype=torch.float32, device=device)[None, None])
        seeds = range(draws if codec.stochastic else 1)
        decoded = [
            codec.decode(codes, torch.Generator(codes.device).manual_seed(seed))[0, 0].cpu().numpy()
            for seed in seeds
        ]
    return [fit_length(draw, len(wav)) for draw in decoded]


def reconstruct_folder(
    source: Path, target: Path, codec: Codec, device: str | torch.device
) -> list[Path]:
    """Reconstruct every audio file below `source`, under its name with .wav below `target`.

    The files have the codec's rate.

    Raises:
        SsenvError: the folder is missing or empty, a file cannot be read, two files would get the
            same name, or a file of the folder would be overwritten.
    """
    files = list_audio(source)
    targets = [target / path.relative_to(source).with_suffix(".wav") for path in files]
    seen: dict[Path, Path] = {}
    originals = {path.resolve() for path in files}
    for path, name in zip(files, targets, strict=True):
        if name in seen:
            raise SsenvError(f"{seen[name]} and {path} would both become {name}: rename one")
        if name.resolve() in originals:
            raise SsenvError(
                f"{name} would be overwritten by the reconstruction of {path}: "
                f"choose another output folder than {target}"
            )
        seen[name] = path
    written = []
    for path, name in track(zip(files, targets, strict=True), len(files), codec.name, "clip"):
        wav, rate = read_audio(path, codec.sample_rate)
        written.append(write_audio(name, reconstruct(codec, wav, device), rate))
    return written
