"""EnCodec 24 kHz and 48 kHz (Défossez et al. 2022, "High Fidelity Neural Audio Compression").

The networks and the quantizer are those of Meta's `encodec` package; its entropy coder and its
chunk overlap are not used. The weights are not shipped: they are read from the folder
SSENV_ENCODEC_DIR if it is set, else from torch.hub's cache, into which they are downloaded, as the
package itself does (see `base.pretrained`).
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from encodec.model import ROOT_URL, EncodecModel
from encodec.modules import SLSTM
from torch import nn

from ssenv_core.base.pretrained import Weights
from ssenv_core.codecs.protocol import chunks, levels_at, map_items, weights_hash

FOLDER_VARIABLE = "SSENV_ENCODEC_DIR"
# Frames before a frame that the convolutions before the encoder's LSTM see (478 samples), and
# that the convolution after it sees.
FRAMES_SEEN_BY_CONVOLUTIONS = 2
FRAMES_SEEN_BY_LAST = 6
# dB of RMS per code: the error is at most 0.05 dB, and 1023 steps below full scale lie below 16-bit
# silence.
LOUDNESS_STEP = 0.1


class EnCodec(nn.Module):
    """`encodec_24khz`: mono, 75 frames/s, 2 to 32 levels of 1024 codes.

    See `codecs.protocol.Codec` for the interface.

    Args:
        model: the package's model, with or without pretrained weights; it is frozen in place.
        bandwidth: kbps, one of the model's own.

    Raises:
        SsenvError: the model has no such bandwidth.
    """

    definition = ""  # what decides the codes besides the weights
    extra_levels = 0  # levels that are not the model's quantizers
    stochastic = False

    def __init__(self, model: EncodecModel, bandwidth: float = 6.0) -> None:
        super().__init__()
        self.name = f"encodec_{model.sample_rate // 1000}khz"
        self.n_q = encodec_levels(self.name, bandwidth)
        self.quantizers = self.n_q - self.extra_levels
        self.bandwidth = bandwidth
        self.model = model.eval().requires_grad_(False)
        self.sample_rate = model.sample_rate
        self.frame_rate = float(model.frame_rate)
        self.codebook_size = model.quantizer.bins

    @cached_property
    def token_hash(self) -> str:
        """Hash of the encoder's and the quantizer's weights, which alone decide the codes."""
        return weights_hash(
            f"encodec_{self.sample_rate // 1000}khz {self.definition}",
            self.model.encoder,
            self.model.quantizer,
        )

    @property
    def codebooks(self) -> torch.Tensor:
        """(n_q, 1024, 128): what each code adds to its frame's latent."""
        return torch.stack(
            [layer.codebook for layer in self.model.quantizer.vq.layers[: self.quantizers]]
        )

    @torch.inference_mode()
    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> codes (B, n_q, T) int64, T = ceil(S / 320)."""
        return map_items(self._encode, wav)

    @torch.inference_mode()
    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """Encode like `encode`, chunk by chunk; the causal network's LSTM state is passed on."""
        return map_items(
            partial(self._encode_chunks, frames=round(chunk_seconds * self.frame_rate)), wav
        )

    @torch.inference_mode()
    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> the encoder's output before quantization (B, 128, T) float32."""
        return map_items(self._embed, wav)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T), the first q <= n_q levels -> wav (B, 1, 320 T).

        EnCodec draws no noise: `generator` is not used.
        """
        return self.model.decoder(self._dequantize(codes))

    def _encode(self, wav: torch.Tensor) -> torch.Tensor:
        return self._quantize(self._embed(wav))

    def _encode_chunks(self, wav: torch.Tensor, frames: int) -> torch.Tensor:
        layers = self.model.encoder.model
        (middle,) = (i for i, layer in enumerate(layers) if isinstance(layer, SLSTM))
        before, recurrent, after = layers[:middle], layers[middle].lstm, layers[middle + 1 :]
        codes, state, seen = [], None, None
        for piece, own in chunks(
            wav, frames, int(self.model.encoder.hop_length), before=FRAMES_SEEN_BY_CONVOLUTIONS
        ):
            # The padding before a piece reaches only the frames that are dropped here.
            hidden = before(piece)[..., own]
            out, state = recurrent(hidden.permute(2, 0, 1), state)
            hidden = out.permute(1, 2, 0) + hidden
            given = hidden if seen is None else torch.cat([seen, hidden], dim=-1)
            codes.append(self._quantize(after(given)[..., -hidden.shape[-1] :]))
            seen = given[..., -FRAMES_SEEN_BY_LAST:]
        return torch.cat(codes, dim=-1)

    def _embed(self, wav: torch.Tensor) -> torch.Tensor:
        return self.model.encoder(wav)

    def _quantize(self, latents: torch.Tensor) -> torch.Tensor:
        return self.model.quantizer.vq.encode(latents, self.quantizers).transpose(0, 1)

    def _dequantize(self, codes: torch.Tensor) -> torch.Tensor:
        latents = self.model.quantizer.vq.decode(codes.transpose(0, 1))
        # For no levels the package returns the scalar 0.
        return latents.expand(len(codes), self.model.quantizer.dimension, codes.shape[-1])


class EnCodec48(EnCodec):
    """`encodec_48khz`: a stereo model at 150 frames/s, used for mono sound.

    It gets the mono signal on both channels; its two output channels are averaged.

    The model codes chunks of 1 s, each divided by its RMS, which the decoder needs. Here the RMS is
    the first level: one code per chunk, repeated over its frames, 0 for silence and else 0.1 dB
    per code up to 1023 for full scale. It is the coarsest property of a sound, so a generator that
    goes from coarse to fine begins with it. n_q is therefore one more than the bandwidth's 2 to 16
    quantizers (the bandwidth does not count it). If the frames of a chunk disagree, as they may in
    generated codes, their median is used. The latents of `embed` come from the divided chunks and
    do not contain the loudness.

    Chunks do not overlap by 1 % as in the package, where the same 10 ms are coded twice: T =
    ceil(S / 320) holds and every frame has one position in time, but the boundaries, one per
    second, are not cross-faded. Within a chunk the codes are those of the package.
    """

    definition = f"first level: RMS in steps of {LOUDNESS_STEP} dB; no overlap"
    extra_levels = 1

    @property
    def codebooks(self) -> torch.Tensor:
        """(n_q, 1024, 129): what each code adds to the latent; axis 0 is loudness, -1 to 1."""
        latents = F.pad(super().codebooks, (1, 0))
        loudness = torch.zeros_like(latents[:1])
        loudness[0, :, 0] = torch.linspace(-1, 1, self.codebook_size, device=latents.device)
        return torch.cat([loudness, latents])

    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """Encode like `encode`, which works second by second; `chunk_seconds` is not used."""
        return self.encode(wav)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T), the loudness level first -> wav (B, 1, 320 T).

        EnCodec draws no noise: `generator` is not used.
        """
        chunks = codes.split(round(self.model.segment * self.frame_rate), dim=-1)
        return torch.cat([self._decode_chunk(chunk) for chunk in chunks], dim=-1)

    def _decode_chunk(self, codes: torch.Tensor) -> torch.Tensor:
        loudness = codes[:, :1].median(dim=-1, keepdim=True).values
        stereo = self.model.decoder(self._dequantize(codes[:, 1:]))
        return stereo.mean(dim=1, keepdim=True) * rms_of(loudness)

    def _encode(self, wav: torch.Tensor) -> torch.Tensor:
        frames = []
        for chunk, rms in self._chunks(wav):
            codes = self._quantize(self.model.encoder(chunk))
            loudness = loudness_code(rms).expand(-1, -1, codes.shape[-1])
            frames.append(torch.cat([loudness, codes], dim=1))
        return torch.cat(frames, dim=-1)

    def _embed(self, wav: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.model.encoder(chunk) for chunk, _ in self._chunks(wav)], dim=-1)

    def _chunks(self, wav: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield each second on two channels, divided by its RMS, and that RMS (B, 1, 1)."""
        for chunk in wav.split(self.model.segment_length, dim=-1):
            rms = 1e-8 + chunk.square().mean(dim=-1, keepdim=True).sqrt()
            yield chunk.expand(-1, 2, -1) / rms, rms


def loudness_code(rms: torch.Tensor) -> torch.Tensor:
    """RMS in [0, 1] -> its code, int64 in [0, 1023]."""
    return (1023 + 20 / LOUDNESS_STEP * rms.log10()).round().clamp(0, 1023).long()


def rms_of(code: torch.Tensor) -> torch.Tensor:
    """The RMS of a loudness code, float32; 0 for code 0."""
    return 10 ** ((code - 1023) * (LOUDNESS_STEP / 20)) * (code > 0)


@dataclass(frozen=True)
class Release:
    """One published model.

    Attributes:
        weights: its file.
        build: builds it, with random weights for `pretrained=False`.
        codec: the class that wraps it.
        bandwidths: kbps, those it was trained for.
        kbps_per_quantizer: the bandwidth of one quantizer.
    """

    weights: Weights
    build: Callable[..., EncodecModel]
    codec: type[EnCodec]
    bandwidths: tuple[float, ...]
    kbps_per_quantizer: float


def _weights(name: str, file: str, sha256: str) -> Weights:
    return Weights(name, FOLDER_VARIABLE, ROOT_URL + file, (file,), sha256=sha256)


RELEASES = {
    "encodec_24khz": Release(
        _weights(
            "encodec_24khz",
            "encodec_24khz-d7cc33bc.th",
            "d7cc33bcf1aad7f2dad9836f36431530744abeace3ca033005e3290ed4fa47bf",
        ),
        EncodecModel.encodec_model_24khz,
        EnCodec,
        (1.5, 3.0, 6.0, 12.0, 24.0),
        0.75,
    ),
    "encodec_48khz": Release(
        _weights("encodec_48khz", "encodec_48khz-7e698e3e.th", "7e698e3e"),
        EncodecModel.encodec_model_48khz,
        EnCodec48,
        (3.0, 6.0, 12.0, 24.0),
        1.5,
    ),
}


def encodec_levels(name: str, bandwidth: float) -> int:
    """The quantizer levels of a key of RELEASES at a bandwidth (kbps).

    Raises:
        SsenvError: no such bandwidth.
    """
    release = RELEASES[name]
    extra = release.codec.extra_levels
    levels = {kbps: int(kbps / release.kbps_per_quantizer) + extra for kbps in release.bandwidths}
    return levels_at(bandwidth, levels, name)


def untrained_encodec(name: str, bandwidth: float = 6.0) -> EnCodec:
    """A published model with random weights: everything that is known without the file.

    Raises:
        SsenvError: no such bandwidth.
    """
    encodec_levels(name, bandwidth)  # refuse it before a large network is built
    release = RELEASES[name]
    with warnings.catch_warnings():
        # The package calls the deprecated weight_norm.
        warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
        return release.codec(release.build(pretrained=False), bandwidth)


def load_encodec(name: str, bandwidth: float = 6.0) -> EnCodec:
    """A published model with its weights.

    Raises:
        SsenvError: no such bandwidth, or the weights are unavailable or not the published ones.
    """
    codec = untrained_encodec(name, bandwidth)
    RELEASES[name].weights.load_into(codec.model)
    return codec
