"""The embedded codecs: features, a residual vector quantizer, and a decoder with noise.

The features are log band amplitudes; the decoder has a deterministic and a stochastic part. A token
covers one or more frames of features; each level has 1024 codes, as EnCodec's. The codecs are small
enough to be trained on two CPU cores (see `melrvq.training`). The levels are nested: one set of
weights serves every number of levels. Silence, code 0, decodes to zeros.
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.tensors import load_tensors, save_tensors
from ssenv_core.codecs.melrvq.decoder import Decoder, DecoderConfig
from ssenv_core.codecs.melrvq.encoder import BEAM, CODEBOOK_SIZE, Encoder, EncoderConfig
from ssenv_core.codecs.melrvq.features import (
    FLOOR,
    FRAMES_SEEN,
    HOP,
    NUM_FEATURES,
    SAMPLE_RATE,
    Features,
    silent_frames,
)
from ssenv_core.codecs.protocol import chunks, levels_at, map_items, weights_hash

KIND = "melrvq codec"

__all__ = [
    "CODEBOOK_SIZE",
    "FLOOR",
    "HOP",
    "NUM_FEATURES",
    "SAMPLE_RATE",
    "DecoderConfig",
    "EncoderConfig",
    "MelRVQ",
    "MelRVQConfig",
    "audible",
]


@dataclass(frozen=True)
class MelRVQConfig:
    """Sizes of the codec's networks."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    @property
    def hop(self) -> int:
        """Samples per token."""
        return HOP * self.encoder.frames_per_token

    @property
    def bandwidths(self) -> dict[float, int]:
        """The number of levels at each bandwidth (kbps)."""
        kbps = SAMPLE_RATE / self.hop * math.log2(CODEBOOK_SIZE) / 1000
        return {kbps * levels: levels for levels in range(1, self.encoder.levels + 1)}


# What ships; other sizes can be trained.
CONFIGS = {"melrvq_24khz": MelRVQConfig(decoder=DecoderConfig(dim=320, num_layers=8))}


class MelRVQ(nn.Module):
    """The codec; see `codecs.protocol.Codec` for the interface."""

    sample_rate = SAMPLE_RATE
    codebook_size = CODEBOOK_SIZE
    stochastic = True

    def __init__(
        self, config: MelRVQConfig, bandwidth: float | None = None, name: str = "melrvq_24khz"
    ) -> None:
        """Build a codec with random weights.

        Args:
            bandwidth: kbps; None: that of all levels.

        Raises:
            SsenvError: no such bandwidth.
        """
        super().__init__()
        self.name = name
        self.config = config
        self.bandwidth = max(config.bandwidths) if bandwidth is None else bandwidth
        self.n_q = levels_at(self.bandwidth, config.bandwidths, name)
        self.hop = self.config.hop
        self.frame_rate = SAMPLE_RATE / self.hop
        self.card: dict = {}  # the metadata of its file
        self.features = Features()
        self.encoder = Encoder(self.config.encoder)
        self.decoder = Decoder(self.config.decoder, self.config.encoder)

    @property
    def token_hash(self) -> str:
        """Hash of the features, the search and the encoder: a new decoder leaves tokens valid."""
        return weights_hash(
            f"{self.name} {SAMPLE_RATE} {self.hop} {NUM_FEATURES} {FLOOR} {BEAM} "
            f"{self.config.encoder.settled}",
            self.encoder,
        )

    @property
    def codebooks(self) -> torch.Tensor:
        """(n_q, 1024, D): what each code adds to its frame's latent."""
        return self.encoder.codebooks[: self.n_q]

    @torch.inference_mode()
    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) at 24 kHz -> codes (B, n_q, T) int64, T = ceil(S / hop)."""
        return map_items(lambda item: self._encode(item[:, 0]), wav)

    @torch.inference_mode()
    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """Encode like `encode`, chunk by chunk; each chunk includes all that its frames see."""
        frames_seen = FRAMES_SEEN + self.config.encoder.frames_seen
        seen = math.ceil(frames_seen / self.config.encoder.frames_per_token)
        frames = round(chunk_seconds * self.frame_rate)

        def encode_chunks(item: torch.Tensor) -> torch.Tensor:
            pieces = chunks(item[:, 0], frames, self.hop, before=seen, after=seen)
            return torch.cat([self._encode(piece)[..., own] for piece, own in pieces], dim=-1)

        return map_items(encode_chunks, wav)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T) of the first q levels -> wav (B, 1, hop T)."""
        wav = self.decoder.synthesize(
            self.decoder.spectra(self.encoder.dequantize(codes), codes.shape[1]), generator
        )
        return (self.decoder.gain[codes.shape[1]] * wav * audible(codes, self.hop)).unsqueeze(1)

    @torch.inference_mode()
    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> the latents before quantization (B, D, T), 0 where silent."""
        return map_items(lambda item: self._latents(item[:, 0])[0].transpose(1, 2), wav)

    def save(self, path: str | Path, **card: object) -> Path:
        """Write the codec in half precision, with the entries of its model card as metadata."""
        tensors = {name: tensor.half() for name, tensor in self.state_dict().items()}
        about = {"kind": KIND, "name": self.name, "config": asdict(self.config), **card}
        return save_tensors(path, tensors, about)

    @classmethod
    def load(cls, path: str | Path, bandwidth: float | None = None) -> "MelRVQ":
        """Load a file of `save`.

        Raises:
            SsenvError: no such file, not a codec file of this version, or no such bandwidth.
        """
        tensors, metadata = load_tensors(path, KIND)
        try:
            config = MelRVQConfig(
                EncoderConfig(**metadata["config"]["encoder"]),
                DecoderConfig(**metadata["config"]["decoder"]),
            )
            codec = cls(config, bandwidth, metadata.get("name", "melrvq_24khz"))
            codec.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
            codec.card = {
                name: value
                for name, value in metadata.items()
                if name not in ("kind", "name", "config")
            }
        except (KeyError, TypeError, RuntimeError):
            raise SsenvError(
                f"{path} holds another codec than this version of ssenv builds: train it again"
            ) from None
        return codec.eval().requires_grad_(False)

    def _latents(self, wav: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """wav (B, S) -> latents (B, T, D), 0 where silent (B, T) is true."""
        silent = silent_frames(wav, self.hop)
        whole = F.pad(wav, (0, -wav.shape[-1] % self.hop))
        latents = self.encoder(self.features(whole))
        return latents.masked_fill(silent[..., None], 0.0), silent

    def _encode(self, wav: torch.Tensor) -> torch.Tensor:
        return self.encoder.quantize(*self._latents(wav), self.n_q)


def audible(codes: torch.Tensor, hop: int) -> torch.Tensor:
    """codes (B, q, T) -> (B, hop T) float: 0 where the first level codes silence, else 1."""
    return (codes[:, 0] != 0).float().repeat_interleave(hop, dim=1)
