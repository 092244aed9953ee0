"""EnCodec 24 kHz and 48 kHz (Défossez et al. 2022, "High Fidelity Neural Audio Compression") behind the `Codec` interface, through Meta's
`encodec` package: its networks and quantizer, not its entropy coder or its chunk overlap.

The weights are not shipped. They come from the folder SSENV_ENCODEC_DIR if that is set, else from torch.hub's cache, into which they are
downloaded as the package itself does (see pretrained.py).
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

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.pretrained import Weights, in_torch_hub
from ssenv_core.codecs.protocol import chunks, each_alone, weights_hash

FOLDER_VARIABLE = "SSENV_ENCODEC_DIR"
FRAMES_SEEN_BY_CONVOLUTIONS = 2  # before a frame, by those ahead of the encoder's LSTM: 478 samples
FRAMES_SEEN_BY_LAST = 6  # before a frame, by the convolution behind it
LOUDNESS_STEP = 0.1  # dB of RMS per code: an error of at most 0.05 dB, and 1023 steps down from full scale pass below 16-bit silence


class EnCodec(nn.Module):
    """`encodec_24khz`: mono, 75 frames/s, 2 to 32 levels of 1024 codes. See `codecs.base.Codec` for the interface.

    Args:
        model: the package's model, with or without pretrained weights; it is frozen in place.
        bandwidth: kbps, one of the model's own.

    Raises:
        SsenvError: the model has no such bandwidth.
    """

    definition = ""  # what decides the codes besides the weights
    stochastic = False

    def __init__(self, model: EncodecModel, bandwidth: float = 6.0) -> None:
        super().__init__()
        self.name = f"encodec_{model.sample_rate // 1000}khz"
        if bandwidth not in model.target_bandwidths:
            choices = ", ".join(f"{choice:g}" for choice in model.target_bandwidths)
            raise SsenvError(f"{self.name} has no {bandwidth:g} kbps: choose one of {choices}")
        self.bandwidth = bandwidth
        self.model = model.eval().requires_grad_(False)
        self.sample_rate, self.frame_rate, self.codebook_size = (
            model.sample_rate,
            float(model.frame_rate),
            model.quantizer.bins,
        )
        self.n_q = self.quantizers = model.quantizer.get_num_quantizers_for_bandwidth(
            model.frame_rate, bandwidth
        )

    @cached_property
    def token_hash(self) -> str:
        """Hash of the encoder's and the quantizer's weights: the decoder has no say in which codes a waveform gets."""
        return weights_hash(
            f"encodec_{self.sample_rate // 1000}khz {self.definition}",
            self.model.encoder,
            self.model.quantizer,
        )

    @property
    def codebooks(self) -> torch.Tensor:
        """(n_q, 1024, 128): the part of the latent that each code stands for."""
        return torch.stack(
            [layer.codebook for layer in self.model.quantizer.vq.layers[: self.quantizers]]
        )

    @torch.inference_mode()
    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> codes (B, n_q, T) int64, T = ceil(S / 320)."""
        return each_alone(self._encode, wav)

    @torch.inference_mode()
    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """The codes of `encode`, from chunks: the network is causal, its convolutions see little and its LSTM's state is handed on."""
        return each_alone(
            partial(self._encode_chunks, frames=round(chunk_seconds * self.frame_rate)), wav
        )

    @torch.inference_mode()
    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> the encoder's output before quantization (B, 128, T) float32."""
        return each_alone(self._embed, wav)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T), the first q <= n_q levels -> wav (B, 1, 320 T). EnCodec draws nothing: `generator` is not used."""
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
            # What a convolution makes up before the first frame it is given reaches only frames that are dropped here.
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
        return latents.expand(
            len(codes), self.model.quantizer.dimension, codes.shape[-1]
        )  # of no levels the package makes the scalar 0


class EnCodec48(EnCodec):
    """`encodec_48khz`: a stereo model, given the mono signal on both channels and averaged back to one; 150 frames/s.

    The model codes chunks of 1 s, each divided by its RMS, which a decoder has to be told. Here the RMS is the first level: one code per
    chunk, repeated over its frames, 0 for silence and else 0.1 dB per code up to 1023 for full scale. It is the coarsest thing to know
    about a sound, so a generator that goes from coarse to fine begins with it. n_q is therefore one more than the bandwidth's 2 to 16
    quantizers (the bandwidth does not count it). In generated codes, where a chunk's frames may disagree, their median holds. The latents
    of `embed` are the divided chunks' and know nothing of loudness.

    Chunks follow one another without the package's 1 % overlap, whose frames would describe the same 10 ms twice: T = ceil(S / 320) holds
    and every frame has one place in time, but the seams, one a second, are not cross-faded. Within a chunk the codes are the package's own.
    """

    definition = f"first level: RMS in steps of {LOUDNESS_STEP} dB; no overlap"

    def __init__(self, model: EncodecModel, bandwidth: float = 6.0) -> None:
        super().__init__(model, bandwidth)
        self.n_q = self.quantizers + 1

    @property
    def codebooks(self) -> torch.Tensor:
        """(n_q, 1024, 129): the latents' parts, and on an axis of its own the loudness, from -1 to 1."""
        latents = F.pad(super().codebooks, (1, 0))
        loudness = torch.zeros_like(latents[:1])
        loudness[0, :, 0] = torch.linspace(-1, 1, self.codebook_size, device=latents.device)
        return torch.cat([loudness, latents])

    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """The codes of `encode`, which always takes one second at a time: `chunk_seconds` is not used."""
        return self.encode(wav)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T), the loudness level first -> wav (B, 1, 320 T). EnCodec draws nothing: `generator` is not used."""
        chunks = codes.split(round(self.model.segment * self.frame_rate), dim=-1)
        return torch.cat([self._decode_chunk(chunk) for chunk in chunks], dim=-1)

    def _decode_chunk(self, codes: torch.Tensor) -> torch.Tensor:
        loudness = codes[:, :1].median(dim=-1, keepdim=True).values
        return self.model.decoder(self._dequantize(codes[:, 1:])).mean(
            dim=1, keepdim=True
        ) * rms_of(loudness)

    def _encode(self, wav: torch.Tensor) -> torch.Tensor:
        frames = []
        for chunk, rms in self._chunks(wav):
            codes = self._quantize(self.model.encoder(chunk))
            frames.append(
                torch.cat([loudness_code(rms).expand(-1, -1, codes.shape[-1]), codes], dim=1)
            )
        return torch.cat(frames, dim=-1)

    def _embed(self, wav: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.model.encoder(chunk) for chunk, _ in self._chunks(wav)], dim=-1)

    def _chunks(self, wav: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each second on two channels, divided by its RMS, and that RMS (B, 1, 1)."""
        for chunk in wav.split(self.model.segment_length, dim=-1):
            rms = 1e-8 + chunk.square().mean(dim=-1, keepdim=True).sqrt()
            yield chunk.expand(-1, 2, -1) / rms, rms


def loudness_code(rms: torch.Tensor) -> torch.Tensor:
    """RMS in [0, 1] -> its code, int64 in [0, 1023]."""
    return (1023 + 20 / LOUDNESS_STEP * rms.log10()).round().clamp(0, 1023).long()


def rms_of(code: torch.Tensor) -> torch.Tensor:
    """The RMS a loudness code stands for, float32; 0 for code 0."""
    return 10 ** ((code - 1023) * (LOUDNESS_STEP / 20)) * (code > 0)


@dataclass(frozen=True)
class Release:
    """One published model: its file of weights, and how to build it."""

    weights: Weights
    build: Callable[..., EncodecModel]
    codec: type[EnCodec]


def _weights(name: str, file: str, sha256: str) -> Weights:
    return Weights(name, file, ROOT_URL + file, FOLDER_VARIABLE, in_torch_hub, sha256)


RELEASES = {
    "encodec_24khz": Release(
        _weights(
            "encodec_24khz",
            "encodec_24khz-d7cc33bc.th",
            "d7cc33bcf1aad7f2dad9836f36431530744abeace3ca033005e3290ed4fa47bf",
        ),
        EncodecModel.encodec_model_24khz,
        EnCodec,
    ),
    "encodec_48khz": Release(
        _weights("encodec_48khz", "encodec_48khz-7e698e3e.th", "7e698e3e"),
        EncodecModel.encodec_model_48khz,
        EnCodec48,
    ),
}


def untrained_encodec(name: str, bandwidth: float = 6.0) -> EnCodec:
    """A published model with random weights: all of it that is known without the file.

    Raises:
        SsenvError: no such bandwidth.
    """
    release = RELEASES[name]
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*weight_norm", category=FutureWarning
        )  # the package's use of it, nothing to act on
        return release.codec(release.build(pretrained=False), bandwidth)


def load_encodec(name: str, bandwidth: float = 6.0) -> EnCodec:
    """A published model with its weights.

    Raises:
        SsenvError: no such bandwidth, or the weights are not to be had or not the published ones.
    """
    codec = untrained_encodec(name, bandwidth)
    RELEASES[name].weights.load_into(codec.model)
    return codec
