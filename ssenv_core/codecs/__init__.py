"""The codecs by name, and a whole recording through one.

`melrvq_24khz` is shipped with the package; the EnCodec models need weights from outside. No codec ever stands in for another.
"""

import difflib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ssenv_core.artifacts import read_json, sha256_file
from ssenv_core.audio import fit_length
from ssenv_core.codecs.base import Codec
from ssenv_core.codecs.encodec import load_encodec, untrained_encodec
from ssenv_core.codecs.melrvq import MelRVQ
from ssenv_core.errors import SsenvError

WEIGHTS = Path(__file__).parent / "weights"


def load_codec(name: str, bandwidth: float = 6.0, device: str | torch.device = "cpu") -> Codec:
    """Make a frozen codec.

    Args:
        name: one of CODEC_NAMES.
        bandwidth: kbps; 0.75 per level for the 24 kHz codecs, 1.5 for encodec_48khz.
        device: where its weights go.

    Raises:
        SsenvError: no codec of this name, no such bandwidth, or its weights are missing or damaged.
    """
    if name not in _LOADERS:
        nearest = difflib.get_close_matches(str(name), CODEC_NAMES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else "there are"
        raise SsenvError(f"unknown codec {name!r}: {hint} ({', '.join(CODEC_NAMES)})")
    return _LOADERS[name](bandwidth).to(device)


def codec_levels(name: str, bandwidth: float) -> int:
    """The quantizer levels `n_q` of one of CODEC_NAMES at a bandwidth (kbps); needs no weights.

    Raises:
        SsenvError: no such bandwidth.
    """
    return (MelRVQ(bandwidth=bandwidth) if name == MelRVQ.name else untrained_encodec(name, bandwidth)).n_q


def reconstruct(codec: Codec, wav: np.ndarray, device: str | torch.device = "cpu") -> np.ndarray:
    """One waveform (S,) float32 at `codec.sample_rate` through the codec and back: (S,) float32, cropped or zero-padded to its length."""
    with torch.inference_mode():
        decoded = codec.decode(codec.encode(torch.tensor(wav, dtype=torch.float32, device=device)[None, None]))
    return fit_length(decoded[0, 0].cpu().numpy(), len(wav))


def _load_melrvq(bandwidth: float) -> MelRVQ:
    path = WEIGHTS / f"{MelRVQ.name}.safetensors"
    sidecar = path.with_suffix(".json")
    for file in (path, sidecar):
        if not file.is_file():
            raise SsenvError(f"the embedded codec's {file} is missing: reinstall ssenv")
    if sha256_file(path) != read_json(sidecar).get("sha256"):
        raise SsenvError(f"{path} is damaged (its sha256 is not the one in {sidecar.name}): reinstall ssenv")
    return MelRVQ.load(path, bandwidth)


_LOADERS: dict[str, Callable[[float], MelRVQ]] = {
    MelRVQ.name: _load_melrvq,
    "encodec_24khz": partial(load_encodec, "encodec_24khz"),
    "encodec_48khz": partial(load_encodec, "encodec_48khz"),
}
CODEC_NAMES: tuple[str, ...] = tuple(_LOADERS)
