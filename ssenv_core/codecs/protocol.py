"""What every codec offers: waveforms to codes (B, Q, T) and back, and continuous latents.

A codec is frozen here: no gradient, no training mode. Shapes: B items, S samples, Q quantizer
levels (coarse first), T frames.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import torch
from torch import nn

from ssenv_core.base.errors import SsenvError

MIN_FRAMES = 8  # per chunk: more than the seven that EnCodec's last convolution spans


class Codec(Protocol):
    """A neural audio codec at one bandwidth.

    Attributes:
        name: as used in parameters, e.g. "melrvq_24khz".
        sample_rate: Hz.
        frame_rate: frames per second; S samples give ceil(S * frame_rate / sample_rate) frames.
        bandwidth: kbps, as requested.
        n_q: quantizer levels in use.
        codebook_size: codes per level.
        codebooks: (n_q, codebook_size, D) float32, what each code adds to its frame: codes with
            close entries sound similar.
        stochastic: whether `decode` draws noise.
        token_hash: SHA-256 of everything that decides which codes a waveform gets; part of every
            token file's identity.
    """

    name: str
    sample_rate: int
    frame_rate: float
    bandwidth: float
    n_q: int
    codebook_size: int
    codebooks: torch.Tensor
    stochastic: bool
    token_hash: str

    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """Encode wav (B, 1, S) float in [-1, 1] at `sample_rate`.

        Returns:
            Codes (B, Q, T) int64 in [0, codebook_size).
        """
        ...

    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """Encode like `encode`, chunk by chunk: memory grows with the codes only.

        Each chunk includes all samples that its frames depend on, so the codes are the same, and
        bit-equal where one chunk is enough. With several chunks, rounding may differ, because
        shorter tensors may be summed in another order; a last bit can move a code between two
        entries that are almost equally far from a latent.

        Raises:
            ValueError: `chunk_seconds` is less than 8 frames.
        """
        ...

    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Decode codes (B, q, T) int64, the first q <= n_q levels, to wav (B, 1, S).

        Noise is drawn from `generator`, or from PyTorch's default generator.
        """
        ...

    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> the continuous latents before quantization (B, D, T) float32."""
        ...


def levels_at(bandwidth: float, levels: Mapping[float, int], name: str) -> int:
    """Look up the quantizer levels of a bandwidth.

    Args:
        bandwidth: kbps.
        levels: the levels of every bandwidth of the codec.
        name: of the codec, for the message.

    Raises:
        SsenvError: the codec has no such bandwidth.
    """
    if bandwidth not in levels:
        choices = ", ".join(f"{choice:g}" for choice in levels)
        raise SsenvError(f"{name} has no {bandwidth:g} kbps: choose one of {choices}")
    return levels[bandwidth]


def chunks(
    wav: torch.Tensor, frames: int, hop: int, before: int = 0, after: int = 0
) -> Iterator[tuple[torch.Tensor, slice]]:
    """Cut a waveform into chunks, each with the neighbouring frames that its own depend on.

    Args:
        wav: (..., S) float.
        frames: per chunk; the last chunk has the rest.
        hop: samples per frame.
        before: extra frames before those of the chunk, where they exist.
        after: extra frames after those of the chunk, where they exist.

    Yields:
        Each piece (..., s), and the slice of its frames that belong to the chunk.

    Raises:
        ValueError: fewer than 8 frames.
    """
    if frames < MIN_FRAMES:
        raise ValueError(f"a chunk of {frames} frames is too short: {MIN_FRAMES} is the least")
    for start in range(0, math.ceil(wav.shape[-1] / hop), frames):
        first = max(0, start - before)
        yield (
            wav[..., first * hop : (start + frames + after) * hop],
            slice(start - first, start - first + frames),
        )


def map_items(function: Callable[[torch.Tensor], torch.Tensor], wav: torch.Tensor) -> torch.Tensor:
    """Apply a function to each item of wav (B, 1, S) alone and concatenate its results (1, ...).

    Kernels, an LSTM's above all, round differently for different batch sizes, and a last bit can
    change a code. Alone, a clip gets the same codes in every batch. On a CPU this takes no longer.
    """
    return torch.cat([function(item) for item in wav.split(1)])


def weights_hash(definition: str, *parts: nn.Module) -> str:
    """Hex SHA-256 of a definition and of the named tensors of the networks that implement it."""
    digest = hashlib.sha256(definition.encode())
    for part in parts:
        for name, tensor in part.state_dict().items():
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
