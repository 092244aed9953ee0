"""From features to codes: a ConvNeXt encoder and a residual vector quantizer.

The quantizer is that of Juang & Gray 1982 and SoundStream (Zeghidour et al. 2021). The features of
neighbouring frames overlap, so codes of single frames would repeat information. The encoder sees
several frames on either side and can leave to each token's codes what the others do not contain. A
token covers one or more frames. Code 0 of every level means silence, by rule and never by distance.
"""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from vocos.models import VocosBackbone

from ssenv_core.codecs.melrvq.features import NUM_FEATURES

CODEBOOK_SIZE = 1024
KERNEL = 7  # of every convolution in Vocos's backbone
BEAM = 8  # paths of the search
SETTLED = 8  # levels after which, and after all, the search keeps only the best path
SEARCHED_AT_ONCE = 512  # frames, which bounds memory


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the encoder, of the latents between it and the decoder, and of the quantizer.

    Attributes:
        levels: of the quantizer.
        frames_per_token: feature frames that one token covers.
    """

    latent_dim: int = 96
    dim: int = 192
    num_layers: int = 3
    levels: int = 16
    frames_per_token: int = 1

    @property
    def settled(self) -> tuple[int, ...]:
        """The numbers of levels after which the search keeps only the best path."""
        return (SETTLED, self.levels) if self.levels > SETTLED else (self.levels,)

    @property
    def frames_seen(self) -> int:
        """Frames that the encoder sees on either side of a frame."""
        return (1 + self.num_layers) * (KERNEL // 2)


class Encoder(nn.Module):
    """Features -> latents -> codes.

    The latents start as a linear projection, to which the network learns a correction.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(NUM_FEATURES))
        codebooks = torch.zeros(config.levels, CODEBOOK_SIZE, config.latent_dim)
        self.register_buffer("codebooks", codebooks)
        frames = config.frames_per_token
        self.projection = nn.Linear(frames * NUM_FEATURES, config.latent_dim, bias=False)
        self.backbone = VocosBackbone(NUM_FEATURES, config.dim, 2 * config.dim, config.num_layers)
        self.correction = nn.Linear(frames * config.dim, config.latent_dim)
        nn.init.zeros_(self.correction.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """features (B, P T, 160), P frames per token -> latents (B, T, D)."""
        centred = features - self.mean
        with torch.autocast(features.device.type, enabled=False):  # the levels' last digits count
            latents = self.projection(self._join(centred))
        return latents + self.correction(self._join(self.backbone(centred.transpose(1, 2))))

    def _join(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, P T, C) -> (B, T, P C): the frames of each token, one after another."""
        return frames.unflatten(1, (-1, self.config.frames_per_token)).flatten(2)

    def quantize(self, latents: torch.Tensor, silent: torch.Tensor, levels: int) -> torch.Tensor:
        """latents (B, T, D), silent (B, T) bool -> codes (B, levels, T) int64, 0 where silent.

        A beam search over the levels (multi-path search, Juang & Gray 1982): each of BEAM paths
        continues with the entries nearest to its residual. The codes of fewer levels are the first
        codes of more levels.
        """
        residual = latents.flatten(0, 1)
        codes = []
        for first, last in itertools.pairwise((0, *self.config.settled)):
            if first < levels:
                parts = residual.split(SEARCHED_AT_ONCE)
                results = [self._search(part, first, last) for part in parts]
                codes.append(torch.cat([part for part, _ in results]))
                residual = torch.cat([rest for _, rest in results])
        stacked = torch.cat(codes, dim=1)[:, :levels].unflatten(0, silent.shape).transpose(1, 2)
        return stacked.masked_fill(silent[:, None], 0)

    def _search(
        self, vectors: torch.Tensor, first: int, last: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, D) -> codes (N, last - first) of levels first to last, and the residual (N, D)."""
        residual = vectors[:, None]
        codes = vectors.new_zeros(len(vectors), 1, 0, dtype=torch.int64)
        for codebook in self.codebooks[first:last, 1:]:
            distance = (
                residual.square().sum(-1, keepdim=True)
                - 2 * residual @ codebook.T
                + codebook.square().sum(1)
            )
            chosen = distance.flatten(1).topk(BEAM, largest=False).indices  # (N, BEAM)
            path = (chosen // len(codebook))[..., None]
            entry = chosen % len(codebook)
            residual = residual.gather(1, path.expand(-1, -1, residual.shape[2])) - codebook[entry]
            codes = codes.gather(1, path.expand(-1, -1, codes.shape[2]))
            codes = torch.cat([codes, 1 + entry[..., None]], dim=2)
        best = residual.square().sum(-1).argmin(1)
        item = torch.arange(len(vectors), device=vectors.device)
        return codes[item, best], residual[item, best]

    def dequantize(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (B, q, T) of the first q levels -> latents (B, T, D), 0 for silence."""
        return sum(
            F.embedding(codes[:, level], self.codebooks[level]) for level in range(codes.shape[1])
        )
