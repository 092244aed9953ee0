"""The embedded codec `melrvq_24khz`: log-mel features, a residual vector quantizer, and a deterministic + stochastic STFT decoder.

Same interface and token format as EnCodec 24 kHz (75 frames/s, 1024 codes per level, 0.75 kbps each), but its tokens come from k-means, so
two CPU cores can fit it. Environmental sound is mostly noise, and a decoder without noise can only blur it: each STFT bin is a predicted
magnitude and phase plus a predicted gain times complex Gaussian noise, trained with the spectral energy distance (Gritsenko et al. 2020;
see codec_training.py). The backbone is Vocos's ConvNeXt (Siuzdak 2023). Code 0 of every level means silence, which decodes to exact zeros.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torchaudio.functional import melscale_fbanks
from vocos.models import VocosBackbone
from vocos.spectral_ops import ISTFT

from ssenv_core.artifacts import load_tensors, save_tensors
from ssenv_core.codecs.base import chunks, levels_for_bandwidth

SAMPLE_RATE = 24_000
HOP = 320  # samples per frame: 75 frames/s
NUM_MELS = 128
SUB_FRAMES = 4
SUB_BANDS = 8
NUM_FEATURES = NUM_MELS + SUB_FRAMES * SUB_BANDS
FLOOR = 3e-6  # amplitude of a sinusoid below which a band counts as silent
CODEBOOK_SIZE = 1024
MAX_LEVELS = 16
KIND = "melrvq codec"


class LogBands(nn.Module):
    """Natural-log band amplitudes of a Hann STFT whose T = S / hop frames are centred on the middle of their hop.

    Each slaney-scale band is the mean STFT amplitude under its triangle; amplitudes are scaled so that a sinusoid's peak bin has its own.
    """

    def __init__(self, n_fft: int, window: int, hop: int, bands: int) -> None:
        super().__init__()
        self.n_fft, self.window_length, self.hop = n_fft, window, hop
        hann = torch.hann_window(window)
        self.register_buffer("window", hann * 2 / hann.sum(), persistent=False)
        filters = melscale_fbanks(n_fft // 2 + 1, 0.0, SAMPLE_RATE / 2, bands, SAMPLE_RATE, mel_scale="slaney")
        self.register_buffer("filters", filters / filters.sum(dim=0, keepdim=True), persistent=False)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, S), S a multiple of hop -> (B, S / hop, bands)."""
        margin = (self.n_fft - self.hop) // 2
        spectrum = torch.stft(
            F.pad(wav, (margin, margin)), self.n_fft, self.hop, self.window_length, self.window, center=False, return_complex=True
        )
        return torch.log((spectrum.abs().transpose(1, 2) @ self.filters).clamp_min(FLOOR))


class Features(nn.Module):
    """160 numbers per frame: 128 tonal bands (window 2048), then four sub-frames of 8 transient bands (window 160)."""

    def __init__(self) -> None:
        super().__init__()
        self.tonal = LogBands(2048, 2048, HOP, NUM_MELS)
        self.transient = LogBands(256, 160, HOP // SUB_FRAMES, SUB_BANDS)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, S) -> (B, T, 160) with T = ceil(S / 320)."""
        wav = F.pad(wav, (0, -wav.shape[-1] % HOP))
        tonal = self.tonal(wav)
        return torch.cat([tonal, self.transient(wav).reshape(*tonal.shape[:2], -1)], dim=-1)


class ResidualQuantizer(nn.Module):
    """One codebook per level, each quantizing what the levels before it left (Juang & Gray 1982; SoundStream, Zeghidour et al. 2021)."""

    def __init__(self, levels: int = MAX_LEVELS) -> None:
        super().__init__()
        self.register_buffer("codebooks", torch.zeros(levels, CODEBOOK_SIZE, NUM_FEATURES))

    def encode(self, features: torch.Tensor, levels: int) -> torch.Tensor:
        """features (B, T, D) -> codes (B, levels, T) int64, the nearest entry at each level; all 0 where the first level's says silence."""
        residual, codes = features.flatten(0, 1), []
        for codebook in self.codebooks[:levels]:
            scores = torch.addmm(codebook.square().sum(1), residual, codebook.T, alpha=-2)  # squared distance less the residual's own norm
            codes.append(scores.argmin(1))
            residual = residual - codebook[codes[-1]]
        stacked = torch.stack([c.view(features.shape[:2]) for c in codes], dim=1)
        return stacked.masked_fill(stacked[:, :1] == 0, 0)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (B, q, T) -> features (B, T, D): the sum of the chosen entries."""
        return sum(F.embedding(codes[:, level], self.codebooks[level]) for level in range(codes.shape[1]))


@dataclass(frozen=True)
class DecoderConfig:
    """Size of the decoder's ConvNeXt backbone."""

    dim: int = 256
    intermediate_dim: int = 768
    num_layers: int = 6


class Decoder(nn.Module):
    """Quantized features -> ConvNeXt at frame rate -> two STFT frames per feature frame, each deterministic + stochastic -> waveform."""

    n_fft, hop, sub_frames = 640, 160, 2

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("std", torch.ones(NUM_FEATURES))
        self.backbone = VocosBackbone(NUM_FEATURES, config.dim, config.intermediate_dim, config.num_layers)
        self.head = nn.Linear(config.dim, self.sub_frames * 3 * (self.n_fft // 2 + 1))
        self.istft = ISTFT(self.n_fft, self.hop, self.n_fft, padding="same")
        self.istft.register_buffer("window", self.istft.window, persistent=False)
        self.register_buffer("envelope", self._band_interpolation(), persistent=False)

    def _band_interpolation(self) -> torch.Tensor:
        """(128, bins) weights that read the tonal bands off at each STFT bin: the head then only learns a correction to that envelope."""
        filters = melscale_fbanks(2049, 0.0, SAMPLE_RATE / 2, NUM_MELS, SAMPLE_RATE, mel_scale="slaney")
        centres = filters.argmax(0) * (SAMPLE_RATE / 2 / 2048)
        bins = torch.linspace(0, SAMPLE_RATE / 2, self.n_fft // 2 + 1)
        upper = torch.searchsorted(centres, bins).clamp(1, NUM_MELS - 1)
        weight = ((bins - centres[upper - 1]) / (centres[upper] - centres[upper - 1])).clamp(0, 1)
        return F.one_hot(upper - 1, NUM_MELS).T * (1 - weight) + F.one_hot(upper, NUM_MELS).T * weight

    def spectra(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """features (B, T, 160) -> the deterministic STFT (complex) and the noise gain (real), both (B, bins, 2 T)."""
        hidden = self.backbone(((features - self.mean) / self.std).transpose(1, 2))
        out = self.head(hidden).float().unflatten(-1, (self.sub_frames, 3, -1)).flatten(1, 2)  # (B, 2T, 3, bins)
        envelope = (features[..., :NUM_MELS] @ self.envelope).repeat_interleave(self.sub_frames, dim=1) + 0.5 * torch.tensor(
            self.n_fft
        ).log()
        magnitude = (envelope + out[:, :, 0]).clamp_max(8.0).exp()
        gain = (envelope + out[:, :, 1] + 3.0).clamp_max(8.0).exp()
        return torch.polar(magnitude, out[:, :, 2]).transpose(1, 2), gain.transpose(1, 2)

    def synthesize(self, deterministic: torch.Tensor, gain: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """One draw of the waveform (B, S) from `spectra`."""
        noise = torch.randn(*gain.shape, 2, generator=generator, device=gain.device)
        return self.istft(deterministic + gain * torch.view_as_complex(noise))


class MelRVQ(nn.Module):
    """The codec: see `codecs.base.Codec` for the interface and the module text for how it works."""

    name = "melrvq_24khz"
    sample_rate, frame_rate, codebook_size = SAMPLE_RATE, SAMPLE_RATE / HOP, CODEBOOK_SIZE

    def __init__(self, config: DecoderConfig | None = None, bandwidth: float = 6.0) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        self.n_q = levels_for_bandwidth(bandwidth, self.frame_rate, CODEBOOK_SIZE, MAX_LEVELS, self.name)
        self.features, self.quantizer, self.decoder = Features(), ResidualQuantizer(), Decoder(config or DecoderConfig())

    @property
    def token_hash(self) -> str:
        """Hash of the features' definition and the codebooks: a new decoder leaves tokens valid."""
        definition = str([SAMPLE_RATE, HOP, NUM_MELS, SUB_FRAMES, SUB_BANDS, FLOOR])
        return hashlib.sha256(definition.encode() + self.quantizer.codebooks.half().cpu().numpy().tobytes()).hexdigest()

    @property
    def codebooks(self) -> torch.Tensor:
        """(n_q, 1024, 160): the standardized features that each code adds."""
        return self.quantizer.codebooks[: self.n_q] / self.decoder.std

    @torch.inference_mode()
    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) at 24 kHz -> codes (B, n_q, T) int64, T = ceil(S / 320)."""
        return self.quantizer.encode(self.features(wav[:, 0]), self.n_q)

    @torch.inference_mode()
    def encode_long(self, wav: torch.Tensor, chunk_seconds: float = 30.0) -> torch.Tensor:
        """The codes of `encode`, from chunks: a frame's windows reach no further than 864 samples, so 3 frames, beyond it."""
        pieces = chunks(wav[:, 0], round(chunk_seconds * self.frame_rate), HOP, before=3, after=3)
        return torch.cat([self.quantizer.encode(self.features(piece)[:, own], self.n_q) for piece, own in pieces], dim=-1)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T) of the first q levels -> wav (B, 1, 320 T)."""
        if generator is None:
            generator = torch.Generator(codes.device).manual_seed(0)
        wav = self.decoder.synthesize(*self.decoder.spectra(self.quantizer.decode(codes)), generator)
        return (wav * audible(codes)).unsqueeze(1)

    @torch.inference_mode()
    def embed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, 1, S) -> standardized features (B, 160, T)."""
        return ((self.features(wav[:, 0]) - self.decoder.mean) / self.decoder.std).transpose(1, 2)

    def save(self, path: str | Path, **card: object) -> Path:
        """Write the codec in half precision, with what its model card says as metadata."""
        return save_tensors(
            path, {k: v.half() for k, v in self.state_dict().items()}, {"kind": KIND, "decoder": asdict(self.decoder.config), **card}
        )

    @classmethod
    def load(cls, path: str | Path, bandwidth: float = 6.0) -> "MelRVQ":
        """Read a file of `save`.

        Raises:
            SsenvError: no such file, not a codec file, or no such bandwidth.
        """
        tensors, metadata = load_tensors(path, KIND)
        codec = cls(DecoderConfig(**metadata["decoder"]), bandwidth)
        codec.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=True)
        return codec.eval().requires_grad_(False)


def audible(codes: torch.Tensor) -> torch.Tensor:
    """(B, 320 T) float: 0 where the first level says silence, 1 elsewhere."""
    return (codes[:, 0] != 0).float().repeat_interleave(HOP, dim=1)
