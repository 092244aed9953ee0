"""From latents to sound: one network predicts band levels, another turns them into two STFTs.

Both are ConvNeXt networks, the backbones of Vocos (Siuzdak 2023). The band levels start as an
estimate of the features; the training for sound then adapts them to the spectra, after which they
no longer measure the features.

The long STFT holds steady sounds: each bin is an oscillator whose frequency the network sets and
whose phase is the sum of that frequency over time, so that a steady partial stays one tone. The
short STFT holds transients. Each has a stochastic part, a gain times complex Gaussian noise:
environmental sound is mostly noise, which a decoder without noise can only blur.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from vocos.models import VocosBackbone

from ssenv_core.codecs.inverse_stft import InverseSTFT
from ssenv_core.codecs.melrvq.encoder import EncoderConfig
from ssenv_core.codecs.melrvq.features import (
    HOP,
    NUM_FEATURES,
    NUM_MELS,
    SUB_BANDS,
    SUB_FRAMES,
    WINDOW,
    interpolation,
)

LOUDEST = 8.0  # natural log of an STFT magnitude; larger ones are clamped
BINS_AROUND = 2.0  # how far an oscillator's frequency may lie from its bin's


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the two networks: for the features and for the spectra."""

    feature_dim: int = 192
    feature_layers: int = 4
    dim: int = 256
    num_layers: int = 6


class Spectrum(NamedTuple):
    """One STFT (B, bins, frames): a deterministic part (complex) and the gain of noise (real)."""

    deterministic: torch.Tensor
    gain: torch.Tensor


class Resolution(nn.Module):
    """One STFT resolution of the decoder.

    Its three numbers per bin are two corrections of the band levels (natural log) and the phase.
    """

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.bins = n_fft // 2 + 1
        self.istft = InverseSTFT(n_fft, hop)
        self.register_buffer("bands_to_bins", interpolation(NUM_MELS, self.bins), persistent=False)
        # Band levels are mean amplitudes under Hann windows of WINDOW samples. A bin of noise of
        # variance s^2 has the mean amplitude 0.886 s sqrt(6 / WINDOW) there and needs the power
        # 3/8 n_fft^2 / hop s^2 here; each resolution starts with half of that power.
        power = 0.375 * n_fft**2 / hop / 2
        self.log_noise = 0.5 * math.log(power / 2 * WINDOW / 6) - math.log(0.886)
        # Well below the level of a sine: most sound is noise, and tones are learned.
        self.log_sine = math.log(n_fft / 4) - 2.0

    def forward(self, envelope: torch.Tensor, raw: torch.Tensor) -> Spectrum:
        """envelope (B, T, bins) natural log, raw (B, T, 3, bins) -> its Spectrum (B, bins, T)."""
        magnitude, phase, gain = raw.unbind(2)
        magnitude = (envelope + magnitude + self.log_sine).clamp_max(LOUDEST).exp()
        deterministic = torch.polar(magnitude, self.phase(phase))
        gain = (envelope + gain + self.log_noise).clamp_max(LOUDEST).exp()
        return Spectrum(deterministic.transpose(1, 2), gain.transpose(1, 2))

    def phase(self, raw: torch.Tensor) -> torch.Tensor:
        """(B, T, bins) -> the phase in radians; here the network's output itself."""
        return raw

    def draw(self, spectrum: Spectrum, generator: torch.Generator | None) -> torch.Tensor:
        """Draw one waveform (B, S); without a generator, noise is from PyTorch's default one."""
        gain = spectrum.gain
        noise = torch.view_as_complex(
            torch.randn(*gain.shape, 2, generator=generator, device=gain.device)
        )
        return self.istft(spectrum.deterministic + gain * noise)


class Oscillators(Resolution):
    """A resolution whose phase is the running sum of a frequency near that of each bin.

    The frequency lies within two bins of the bin's own.
    """

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__(n_fft, hop)
        self.n_fft = n_fft
        self.hop = hop
        self.cycles_per_bin = hop / n_fft  # per frame
        self.register_buffer("index", torch.arange(self.bins), persistent=False)

    def phase(self, raw: torch.Tensor) -> torch.Tensor:
        frame = torch.arange(raw.shape[1], device=raw.device)[:, None]
        # In integers: the product of a long clip does not fit a float32.
        centre = frame * self.index * self.hop % self.n_fft / self.n_fft
        deviation = BINS_AROUND * torch.tanh(raw) * self.cycles_per_bin
        half_turn = 0.5 * (self.index % 2)  # the frame's middle, not its start, is time 0
        return 2 * math.pi * (centre + deviation.cumsum(1) + half_turn)


class Decoder(nn.Module):
    """Latents -> features -> two spectra -> waveform."""

    def __init__(self, config: DecoderConfig, encoder: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.frames_per_token = encoder.frames_per_token
        latent_dim, frames = encoder.latent_dim, encoder.frames_per_token
        self.register_buffer("mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("std", torch.ones(NUM_FEATURES))
        # Of the waveform, by number of levels.
        self.register_buffer("gain", torch.ones(encoder.levels + 1))
        self.projection = nn.Linear(latent_dim, frames * NUM_FEATURES, bias=False)
        self.expansion = nn.Linear(latent_dim, frames * latent_dim) if frames > 1 else nn.Identity()
        self.feature_backbone = VocosBackbone(
            latent_dim, config.feature_dim, 2 * config.feature_dim, config.feature_layers
        )
        self.correction = nn.Linear(config.feature_dim, NUM_FEATURES)
        self.backbone = VocosBackbone(
            NUM_FEATURES,
            config.dim,
            3 * config.dim,
            config.num_layers,
            adanorm_num_embeddings=encoder.levels + 1,
        )
        self.long = Oscillators(WINDOW, HOP)
        self.short = Resolution(256, HOP // SUB_FRAMES)
        self.head = nn.Linear(config.dim, 3 * (self.long.bins + SUB_FRAMES * self.short.bins))
        self.register_buffer(
            "sub_bands_to_bins", interpolation(SUB_BANDS, self.short.bins), persistent=False
        )
        nn.init.zeros_(self.correction.weight)
        nn.init.normal_(self.head.weight, std=0.2 / math.sqrt(config.dim))
        nn.init.zeros_(self.head.bias)

    def features(self, latents: torch.Tensor) -> torch.Tensor:
        """latents (B, T, D) -> band levels (B, P T, 160), the features before `train_decoder`."""
        with torch.autocast(latents.device.type, enabled=False):  # the levels' last digits count
            features = self.mean + self._split(self.projection(latents))
        expanded = self._split(self.expansion(latents))
        return features + self.correction(self.feature_backbone(expanded.transpose(1, 2)))

    def _split(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, P C) -> (B, P T, C): each token's part for each of its frames."""
        return tokens.unflatten(2, (self.frames_per_token, -1)).flatten(1, 2)

    def spectra(self, latents: torch.Tensor, levels: int) -> tuple[Spectrum, Spectrum]:
        """The long Spectrum (B, 1025, P T) and the short one (B, 129, 4 P T).

        Args:
            latents: (B, T, D).
            levels: how many quantizer levels they come from; 0 if they are not quantized.
        """
        features = self.features(latents)
        condition = torch.full((len(features), 1), levels, device=features.device)
        normalized = (features - self.mean) / self.std
        hidden = self.backbone(normalized.transpose(1, 2), bandwidth_id=condition)
        sizes = [3 * self.long.bins, 3 * SUB_FRAMES * self.short.bins]
        long, short = self.head(hidden).float().split(sizes, dim=-1)
        long = long.unflatten(-1, (3, self.long.bins))
        short = short.unflatten(-1, (SUB_FRAMES, 3, self.short.bins)).flatten(1, 2)
        bands = features[..., :NUM_MELS]
        sub_frames = features[..., NUM_MELS:].unflatten(-1, (SUB_FRAMES, SUB_BANDS))
        # The course of the energy within each frame.
        course = sub_frames - 0.5 * sub_frames.mul(2).exp().mean(2, keepdim=True).log()
        steady = (bands @ self.short.bands_to_bins).repeat_interleave(SUB_FRAMES, dim=1)
        envelope = steady + course.flatten(1, 2) @ self.sub_bands_to_bins
        return self.long(bands @ self.long.bands_to_bins, long), self.short(envelope, short)

    def synthesize(
        self, spectra: tuple[Spectrum, Spectrum], generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Draw the waveform (B, 320 P T) of `spectra`; `generator` as for `torch.randn`."""
        long, short = spectra
        return self.long.draw(long, generator) + self.short.draw(short, generator)
