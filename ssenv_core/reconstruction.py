"""A folder of audio files through a codec, file by file."""

from pathlib import Path

import torch

from ssenv_core.audio import list_audio, read_audio, write_audio
from ssenv_core.codecs import reconstruct
from ssenv_core.codecs.base import Codec
from ssenv_core.errors import SsenvError
from ssenv_core.progress import track


def reconstruct_folder(source: Path, target: Path, codec: Codec, device: str | torch.device) -> list[Path]:
    """Write every audio file below `source` through the codec: the same name below `target`, as .wav at the codec's rate.

    Raises:
        SsenvError: the folder is missing or empty, a file cannot be read, two files would get one name, or a file of the folder would be
            overwritten.
    """
    files = list_audio(source)
    targets = [target / path.relative_to(source).with_suffix(".wav") for path in files]
    seen: dict[Path, Path] = {}
    originals = {path.resolve() for path in files}
    for path, name in zip(files, targets, strict=True):
        if name in seen:
            raise SsenvError(f"{seen[name]} and {path} would both become {name}: rename one")
        if name.resolve() in originals:
            raise SsenvError(f"{name} would be overwritten by the reconstruction of {path}: choose another output folder than {target}")
        seen[name] = path
    written = []
    for path, name in track(zip(files, targets, strict=True), len(files), codec.name, "clip"):
        wav, rate = read_audio(path, codec.sample_rate)
        written.append(write_audio(name, reconstruct(codec, wav, device), rate))
    return written
