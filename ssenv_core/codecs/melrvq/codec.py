"""The embedded codec `melrvq_24khz`: features, a residual vector quantizer, a decoder with noise.

The features are log band amplitudes; the decoder has a deterministic and a stochastic part. The
interface and the token format are those of EnCodec 24 kHz (75 frames/s, 1024 codes per level, 0.75
kbps each). The codec is small enough to be trained on two CPU cores (see `melrvq.training`). The
levels are nested: one set of weights serves 0.75 to 12 kbps. Silence, code 0, decodes to zeros.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.tensors import load_tensors, save_tensors
from ssenv_core.codecs.melrvq.decoder import Decoder, DecoderConfig
from ssenv_core.codecs.melrvq.encoder import (
    BEAM,
    CODEBOOK_SIZE,
    MAX_LEVELS,
    SETTLED,
    Encoder,
    EncoderConfig,
)
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
LEVELS = {0.75 * levels: levels for levels in range(1, MAX_LEVELS + 1)}  # by bandwidth in kbps

__all__ = [
    "CODEBOOK_SIZE",
    "FLOOR",
    "HOP",
    "MAX_LEVELS",
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


class MelRVQ(nn.Module):
    """The codec; see `codecs.protocol.Codec` for the interface."""

    name = "melrvq_24khz"
    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / HOP
    codebook_size = CODEBOOK_SIZE
    stochastic = True

    def __init__(self, config: MelRVQConfig | None = None, bandwidth: float = 6.0) -> None:
        super().__init__()
        self.config = config or MelRVQConfig()
        self.bandwidth = bandwidth
        self.n_q = melrvq_levels(bandwidth)
        self.card: dict = {}  # the metadata of its file
        self.features = Features()
        self.encoder = Encoder(self.config.encoder)
        self.decoder = Decoder(self.config.decoder, self.config.encoder.latent_dim)

    @property
    def token_hash(self) -> str:
        """Hash of the features, the search and the encoder: a new decoder leaves tokens valid."""
        return weights_hash(
            f"{self.name} {SAMPLE_RATE} {HOP} {NUM_FEATURES} {FLOOR} {BEAM} {SETTLED}", self.encoder
        )

    @property
    def codebooks(self) -> torch.Tensor:
        """(n_q, 1024, D): what each code adds to its frame's latent."""
        return self.encoder.codebooks[: self.n_q]

    @torch.inference_mode()
    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) at 24 kHz -> codes (B, n_q, T) int64, T = ceil(S / 320)."""
        return map_items(lambda item: self._encode(item[:, 0]), wav)

    @torch.inference_mode()
    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """Encode like `encode`, chunk by chunk; each chunk includes all that its frames see."""
        seen = FRAMES_SEEN + self.config.encoder.frames_seen
        frames = round(chunk_seconds * self.frame_rate)

        def encode_chunks(item: torch.Tensor) -> torch.Tensor:
            pieces = chunks(item[:, 0], frames, HOP, before=seen, after=seen)
            return torch.cat([self._encode(piece)[..., own] for piece, own in pieces], dim=-1)

        return map_items(encode_chunks, wav)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T) of the first q levels -> wav (B, 1, 320 T)."""
        wav = self.decoder.synthesize(
            self.decoder.spectra(self.encoder.dequantize(codes), codes.shape[1]), generator
        )
        return (self.decoder.gain[codes.shape[1]] * wav * audible(codes)).unsqueeze(1)

    @torch.inference_mode()
    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> the latents before quantization (B, D, T), 0 where silent."""
        return map_items(lambda item: self._latents(item[:, 0])[0].transpose(1, 2), wav)

    def save(self, path: str | Path, **card: object) -> Path:
        """Write the codec in half precision, with the entries of its model card as metadata."""
        tensors = {name: tensor.half() for name, tensor in self.state_dict().items()}
        return save_tensors(path, tensors, {"kind": KIND, "config": asdict(self.config), **card})

    @classmethod
    def load(cls, path: str | Path, bandwidth: float = 6.0) -> "MelRVQ":
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
            codec = cls(config, bandwidth)
            codec.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
            codec.card = {
                name: value for name, value in metadata.items() if name not in ("kind", "config")
            }
        except (KeyError, TypeError, RuntimeError):
            raise SsenvError(
                f"{path} holds another codec than this version of ssenv builds: train it again"
            ) from None
        return codec.eval().requires_grad_(False)

    def _latents(self, wav: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """wav (B, S) -> latents (B, T, D), 0 where silent (B, T) is true."""
        silent = silent_frames(wav)
        latents = self.encoder(self.features(wav))
        return latents.masked_fill(silent[..., None], 0.0), silent

    def _encode(self, wav: torch.Tensor) -> torch.Tensor:
        return self.encoder.quantize(*self._latents(wav), self.n_q)


def melrvq_levels(bandwidth: float) -> int:
    """The quantizer levels at a bandwidth (kbps), 0.75 each.

    Raises:
        SsenvError: no such bandwidth.
    """
    return levels_at(bandwidth, LEVELS, MelRVQ.name)


def audible(codes: torch.Tensor) -> torch.Tensor:
    """codes (B, q, T) -> (B, 320 T) float: 0 where the first level codes silence, else 1."""
    return (codes[:, 0] != 0).float().repeat_interleave(HOP, dim=1)
