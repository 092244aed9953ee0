"""What every codec offers the rest of the study: waveforms to codes (B, Q, T) and back, and continuous latents.

A codec is frozen here: no gradient, no training mode. Shapes: B items, S samples, Q quantizer levels (coarse first), T frames.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import nn

from ssenv_core.base.errors import SsenvError

MIN_FRAMES = 8  # of a chunk: more than the seven that EnCodec's last convolution spans


class Codec(Protocol):
    """A neural audio codec at one bandwidth.

    Attributes:
        name: as used in parameters, e.g. "melrvq_24khz".
        sample_rate: Hz.
        frame_rate: frames per second; S samples give ceil(S * frame_rate / sample_rate) frames.
        bandwidth: kbps, as asked for.
        n_q: quantizer levels in use.
        codebook_size: codes per level.
        codebooks: (n_q, codebook_size, D) float32, what each code adds to its frame: codes with close entries sound alike.
        stochastic: `decode` draws noise.
        token_hash: SHA-256 of everything that decides which codes a waveform gets; part of every token file's identity.
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
        """wav (B, 1, S) float in [-1, 1] at `sample_rate` -> codes (B, Q, T) int64 in [0, codebook_size)."""
        ...

    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """The codes of `encode`, from chunks of the waveform one after another: its length takes no more memory than the codes do.

        Each chunk is given all that its frames depend on, so the codes are the same, and exactly so where one chunk is enough. Between
        several, rounding may differ, as shorter tensors may be summed in another order, and a last bit can move a code between two
        entries that lie all but equally far from a latent.

        Raises:
            ValueError: `chunk_seconds` is less than 8 frames.
        """
        ...

    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T) int64, the first q <= n_q levels -> wav (B, 1, S), whose noise is from `generator` or from PyTorch's own."""
        ...

    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> the continuous latents before quantization (B, D, T) float32."""
        ...


def levels_for_bandwidth(
    bandwidth: float, frame_rate: float, codebook_size: int, max_levels: int, name: str
) -> int:
    """The number of quantizer levels that carries `bandwidth` kbps: levels = bandwidth / (frame_rate * log2(codebook_size)).

    Raises:
        SsenvError: the codec has no such bandwidth.
    """
    per_level = frame_rate * (codebook_size.bit_length() - 1) / 1000
    levels = round(bandwidth / per_level)
    if not 1 <= levels <= max_levels or abs(levels * per_level - bandwidth) > 1e-6:
        raise SsenvError(
            f"{name} has no {bandwidth:g} kbps: choose a multiple of {per_level:g} up to {max_levels * per_level:g}"
        )
    return levels


def chunks(
    wav: torch.Tensor, frames: int, hop: int, before: int = 0, after: int = 0
) -> Iterator[tuple[torch.Tensor, slice]]:
    """Cut a waveform into chunks, each with the frames around it that its own depend on.

    Args:
        wav: (..., S) float.
        frames: of a chunk; the last one has the rest.
        hop: samples per frame.
        before: frames that a piece has before those of its chunk, where there are any.
        after: likewise after them.

    Yields:
        Each piece (..., s), and where among its frames those of the chunk lie.

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


def each_alone(function: Callable[[torch.Tensor], torch.Tensor], wav: torch.Tensor) -> torch.Tensor:
    """`function` of each item of wav (B, 1, S), and its results (1, ...) side by side again.

    Kernels round differently for different batch sizes, an LSTM's above all, and a last bit can move a code to its neighbour: a clip gets
    the same codes in every batch only if it never shares one. On a CPU this takes no longer.
    """
    return torch.cat([function(item) for item in wav.split(1)])


def weights_hash(definition: str, *parts: nn.Module) -> str:
    """Hex SHA-256 of a definition and of the tensors, with their names, of the networks that carry it out."""
    digest = hashlib.sha256(definition.encode())
    for part in parts:
        for name, tensor in part.state_dict().items():
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
