"""The Descript Audio Codec (Kumar et al. 2023) at 44.1 kHz, `dac_44khz`.

"High-Fidelity Audio Compression with Improved RVQGAN". The network and the quantizer are those of
the package `descript-audio-codec`; the loudness normalization of its file format is not used.

The package is the extra `dac` of ssenv and is imported only when this codec is loaded. The weights
(307 MB) are not shipped: they are read from the folder SSENV_DAC_DIR if it is set, else from the
package's cache, into which its release 0.0.1 is downloaded (see `base.pretrained`).
"""

import math
import warnings
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ssenv_core.base.errors import SsenvError, install
from ssenv_core.base.pretrained import Weights
from ssenv_core.codecs.protocol import chunks, levels_at, map_items, weights_hash

if TYPE_CHECKING:
    from dac import DAC

NAME = "dac_44khz"
SAMPLE_RATE = 44_100
HOP = 512
CODEBOOK_SIZE = 1024
MAX_LEVELS = 9
FRAME_RATE = SAMPLE_RATE / HOP  # 86.1328125, exactly
KBPS_PER_LEVEL = FRAME_RATE * math.log2(CODEBOOK_SIZE) / 1000
PUBLISHED_BANDWIDTH = 8.0  # the release's name for its nine levels
# Levels by bandwidth in kbps, to two decimals.
LEVELS = {round(levels * KBPS_PER_LEVEL, 2): levels for levels in range(1, MAX_LEVELS + 1)}
LEVELS[PUBLISHED_BANDWIDTH] = MAX_LEVELS
FRAMES_SEEN = 8  # by the encoder on either side of a frame: 3733 samples

WEIGHTS = Weights(
    NAME,
    "SSENV_DAC_DIR",
    "https://github.com/descriptinc/descript-audio-codec/releases/download/0.0.1/weights.pth",
    ("weights_44khz_8kbps_0.0.1.pth",),  # the file's name in the package's cache
    sha256="a88eed82a7024ccc1facdb1e605c4c2f99281c8118c22c9895ffa846d8fb61aa",
    cache="~/.cache/descript/dac",
)


class DescriptCodec(nn.Module):
    """Mono, 44.1 kHz, 86.13 frames/s, 1 to 9 levels of 1024 codes.

    See `codecs.protocol.Codec` for the interface.

    Args:
        model: the package's model, with or without pretrained weights; it is frozen in place.
        bandwidth: kbps, as `dac_levels` reads it.

    Raises:
        SsenvError: no such bandwidth.
    """

    name = NAME
    sample_rate = SAMPLE_RATE
    frame_rate = FRAME_RATE
    codebook_size = CODEBOOK_SIZE
    stochastic = False

    def __init__(self, model: "DAC", bandwidth: float = PUBLISHED_BANDWIDTH) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        self.n_q = dac_levels(bandwidth)
        self.model = model.eval().requires_grad_(False)

    @cached_property
    def token_hash(self) -> str:
        """Hash of the encoder's and the quantizer's weights, which alone decide the codes."""
        return weights_hash(self.name, self.model.encoder, self.model.quantizer)

    @property
    def codebooks(self) -> torch.Tensor:
        """(n_q, 1024, 1024): what each code adds to the latent.

        That is its entry of 8 numbers after the projection of its level.
        """
        levels = self.model.quantizer.quantizers[: self.n_q]
        return torch.stack([level.out_proj(level.codebook.weight.T[None])[0].T for level in levels])

    @torch.inference_mode()
    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> codes (B, n_q, T) int64, T = ceil(S / 512)."""
        return map_items(lambda item: self._quantize(self._latents(item)), wav)

    @torch.inference_mode()
    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """Encode like `encode`, chunk by chunk; each chunk includes all that its frames see."""
        return map_items(
            partial(self._encode_chunks, frames=round(chunk_seconds * self.frame_rate)), wav
        )

    @torch.inference_mode()
    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> the encoder's output before quantization (B, 1024, T) float32."""
        return map_items(self._latents, wav)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T), the first q levels, 1 <= q <= n_q -> wav (B, 1, 512 T).

        DAC draws no noise: `generator` is not used.
        """
        return self.model.decode(self.model.quantizer.from_codes(codes)[0])

    def _encode_chunks(self, wav: torch.Tensor, frames: int) -> torch.Tensor:
        pieces = chunks(wav, frames, HOP, before=FRAMES_SEEN, after=FRAMES_SEEN)
        return torch.cat(
            [self._quantize(self._latents(piece)[..., own]) for piece, own in pieces], dim=-1
        )

    def _latents(self, wav: torch.Tensor) -> torch.Tensor:
        return self.model.encoder(F.pad(wav, (0, -wav.shape[-1] % HOP)))

    def _quantize(self, latents: torch.Tensor) -> torch.Tensor:
        return self.model.quantizer(latents, self.n_q)[1]


def dac_levels(bandwidth: float) -> int:
    """The quantizer levels at a bandwidth (kbps), compared to two decimals.

    Each level is 0.86 kbps, so nine are 7.75; the release calls them 8.

    Raises:
        SsenvError: no such bandwidth.
    """
    return levels_at(round(bandwidth, 2), LEVELS, NAME)


def untrained_dac(**sizes: object) -> "DAC":
    """The package's model with random weights.

    Its default sizes are those of the 44.1 kHz model (conf/final/44khz.yml).

    Raises:
        SsenvError: the package is not installed.
    """
    try:
        from dac import DAC
    except ImportError as error:
        raise SsenvError(
            f"{NAME} needs the package descript-audio-codec ({error}): {install('dac')}"
        ) from error
    with warnings.catch_warnings():
        # The package calls the deprecated weight_norm.
        warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
        return DAC(**sizes)


def load_dac(bandwidth: float = PUBLISHED_BANDWIDTH) -> DescriptCodec:
    """The published 44.1 kHz model with its weights.

    Raises:
        SsenvError: no such bandwidth, the package is not installed, or the weights are unavailable
            or not the published ones.
    """
    dac_levels(bandwidth)  # refuse it before a large network is built
    codec = DescriptCodec(untrained_dac(), bandwidth)
    WEIGHTS.load_into(codec.model, entry="state_dict")
    return codec
