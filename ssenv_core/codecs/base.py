"""What every codec offers the rest of the study: waveforms to codes (B, Q, T) and back, and continuous latents.

A codec is frozen here: no gradient, no training mode. Shapes: B items, S samples, Q quantizer levels (coarse first), T frames.
"""

from typing import Protocol

import torch

from ssenv_core.errors import SsenvError


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
        token_hash: SHA-256 of everything that decides which codes a waveform gets; part of every token file's identity.
    """

    name: str
    sample_rate: int
    frame_rate: float
    bandwidth: float
    n_q: int
    codebook_size: int
    codebooks: torch.Tensor
    token_hash: str

    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) float in [-1, 1] at `sample_rate` -> codes (B, Q, T) int64 in [0, codebook_size)."""
        ...

    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T) int64, the first q <= n_q levels -> wav (B, 1, S); `generator` (None: seed 0) draws what is random."""
        ...

    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> the continuous latents before quantization (B, D, T) float32."""
        ...


def levels_for_bandwidth(bandwidth: float, frame_rate: float, codebook_size: int, max_levels: int, name: str) -> int:
    """The number of quantizer levels that carries `bandwidth` kbps: levels = bandwidth / (frame_rate * log2(codebook_size)).

    Raises:
        SsenvError: the codec has no such bandwidth.
    """
    per_level = frame_rate * (codebook_size.bit_length() - 1) / 1000
    levels = round(bandwidth / per_level)
    if not 1 <= levels <= max_levels or abs(levels * per_level - bandwidth) > 1e-6:
        raise SsenvError(f"{name} has no {bandwidth:g} kbps: choose a multiple of {per_level:g} up to {max_levels * per_level:g}")
    return levels
