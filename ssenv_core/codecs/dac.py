"""`dac_44khz`: the Descript Audio Codec (Kumar et al. 2023, "High-Fidelity Audio Compression with Improved RVQGAN") behind the `Codec`
interface, through its `descript-audio-codec` package: the network and quantizer alone, not the loudness normalization of its file format.

The package is the extra `dac` of ssenv and imported only when this codec is loaded. The weights, 307 MB, are not shipped: they come from
the folder SSENV_DAC_DIR if that is set, else from the package's own cache, into which its release 0.0.1 is downloaded (see pretrained.py).
"""

import math
import warnings
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ssenv_core.base.errors import SsenvError, install
from ssenv_core.base.pretrained import Weights, download
from ssenv_core.codecs.protocol import chunks, each_alone, weights_hash

if TYPE_CHECKING:
    from dac import DAC

NAME = "dac_44khz"
SAMPLE_RATE, HOP, CODEBOOK_SIZE, MAX_LEVELS = 44_100, 512, 1024, 9
FRAME_RATE = SAMPLE_RATE / HOP  # 86.1328125, exactly
KBPS_PER_LEVEL = FRAME_RATE * math.log2(CODEBOOK_SIZE) / 1000
PUBLISHED_BANDWIDTH = 8.0  # the release's name for its nine levels
FRAMES_SEEN = 8  # by the encoder on either side of a frame: 3733 samples


def _in_package_cache(weights: Weights) -> Path:
    return download(weights, Path.home() / ".cache" / "descript" / "dac" / weights.file)


WEIGHTS = Weights(
    NAME,
    "weights_44khz_8kbps_0.0.1.pth",  # as the package names it in its cache; the release calls it weights.pth
    "https://github.com/descriptinc/descript-audio-codec/releases/download/0.0.1/weights.pth",
    "SSENV_DAC_DIR",
    _in_package_cache,
    "a88eed82a7024ccc1facdb1e605c4c2f99281c8118c22c9895ffa846d8fb61aa",
)


class DescriptCodec(nn.Module):
    """Mono, 44.1 kHz, 86.13 frames/s, 1 to 9 levels of 1024 codes. See `codecs.base.Codec` for the interface.

    Args:
        model: the package's model, with or without pretrained weights; it is frozen in place.
        bandwidth: kbps, as `dac_levels` reads it.

    Raises:
        SsenvError: no such bandwidth.
    """

    name = NAME
    sample_rate, frame_rate, codebook_size = SAMPLE_RATE, FRAME_RATE, CODEBOOK_SIZE
    stochastic = False

    def __init__(self, model: "DAC", bandwidth: float = PUBLISHED_BANDWIDTH) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        self.n_q = dac_levels(bandwidth)
        self.model = model.eval().requires_grad_(False)

    @cached_property
    def token_hash(self) -> str:
        """Hash of the encoder's and the quantizer's weights: the decoder has no say in which codes a waveform gets."""
        return weights_hash(self.name, self.model.encoder, self.model.quantizer)

    @property
    def codebooks(self) -> torch.Tensor:
        """(n_q, 1024, 1024): what each code adds to the latent, its entry of 8 numbers projected by its level."""
        levels = self.model.quantizer.quantizers[: self.n_q]
        return torch.stack([level.out_proj(level.codebook.weight.T[None])[0].T for level in levels])

    @torch.inference_mode()
    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> codes (B, n_q, T) int64, T = ceil(S / 512)."""
        return each_alone(lambda item: self._quantize(self._latents(item)), wav)

    @torch.inference_mode()
    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """The codes of `encode`, from chunks: the network is convolutions alone, and each chunk is given all that its frames see."""
        return each_alone(
            partial(self._encode_chunks, frames=round(chunk_seconds * self.frame_rate)), wav
        )

    @torch.inference_mode()
    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> the encoder's output before quantization (B, 1024, T) float32."""
        return each_alone(self._latents, wav)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T), the first q levels, 1 <= q <= n_q -> wav (B, 1, 512 T). Nothing is drawn: `generator` is not used."""
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
    """The quantizer levels at a bandwidth (kbps): 0.86 each, so that nine are 7.75, or 8, the release's round name for them.

    Bandwidths are compared to two decimals.

    Raises:
        SsenvError: no such bandwidth.
    """
    choices = {round(levels * KBPS_PER_LEVEL, 2): levels for levels in range(1, MAX_LEVELS + 1)} | {
        PUBLISHED_BANDWIDTH: MAX_LEVELS
    }
    if (levels := choices.get(round(bandwidth, 2))) is None:
        raise SsenvError(
            f"{NAME} has no {bandwidth:g} kbps: choose one of {', '.join(f'{choice:g}' for choice in choices)}"
        )
    return levels


def untrained_dac(**sizes: object) -> "DAC":
    """The package's model with random weights; its default sizes are those of the 44.1 kHz model (conf/final/44khz.yml).

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
        warnings.filterwarnings(
            "ignore", message=".*weight_norm", category=FutureWarning
        )  # the package's use of it, nothing to act on
        return DAC(**sizes)


def load_dac(bandwidth: float = PUBLISHED_BANDWIDTH) -> DescriptCodec:
    """The published 44.1 kHz model with its weights.

    Raises:
        SsenvError: no such bandwidth, the package is not installed, or the weights are not to be had or not the published ones.
    """
    dac_levels(bandwidth)  # refused before a large network is built
    codec = DescriptCodec(untrained_dac(), bandwidth)
    WEIGHTS.load_into(codec.model, entry="state_dict")
    return codec
