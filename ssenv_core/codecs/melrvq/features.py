"""Features of the embedded codec: 160 natural-log band amplitudes per 320 samples.

Tonal bands are narrow and slow, transient bands wide and fast. Both are fixed: nothing here is
trained.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torchaudio.functional import melscale_fbanks

from ssenv_core.base.audio import active_frames

SAMPLE_RATE = 24_000
HOP = 320  # samples per frame: 75 frames/s
NUM_MELS = 128
SUB_FRAMES = 4
SUB_BANDS = 8
NUM_FEATURES = NUM_MELS + SUB_FRAMES * SUB_BANDS
FLOOR = 3e-6  # amplitude of a sinusoid; lower band amplitudes are clamped to it
WINDOW = 2048
FRAMES_SEEN = -(-(WINDOW - HOP) // 2 // HOP)  # on either side of a frame


class LogBands(nn.Module):
    """Natural-log band amplitudes of a Hann STFT of T = S / hop frames.

    Each frame is centred on the middle of its hop. Each slaney-scale band is the mean STFT
    amplitude under its triangle; amplitudes are scaled so that the peak bin of a sinusoid has the
    amplitude of the sinusoid.
    """

    def __init__(self, n_fft: int, window: int, hop: int, bands: int) -> None:
        super().__init__()
        self.n_fft, self.window_length, self.hop = n_fft, window, hop
        hann = torch.hann_window(window)
        self.register_buffer("window", hann * 2 / hann.sum(), persistent=False)
        filters = melscale_fbanks(
            n_fft // 2 + 1, 0.0, SAMPLE_RATE / 2, bands, SAMPLE_RATE, mel_scale="slaney"
        )
        self.register_buffer(
            "filters", filters / filters.sum(dim=0, keepdim=True), persistent=False
        )

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, S), S a multiple of hop -> (B, S / hop, bands)."""
        margin = (self.n_fft - self.hop) // 2
        spectrum = torch.stft(
            F.pad(wav, (margin, margin)),
            self.n_fft,
            self.hop,
            self.window_length,
            self.window,
            center=False,
            return_complex=True,
        )
        return torch.log((spectrum.abs().transpose(1, 2) @ self.filters).clamp_min(FLOOR))


class Features(nn.Module):
    """160 numbers per frame: 128 tonal bands, then four sub-frames of 8 transient bands.

    The windows have 2048 and 160 samples.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tonal = LogBands(WINDOW, WINDOW, HOP, NUM_MELS)
        self.transient = LogBands(256, 160, HOP // SUB_FRAMES, SUB_BANDS)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (B, S) -> (B, T, 160) with T = ceil(S / 320)."""
        wav = F.pad(wav, (0, -wav.shape[-1] % HOP))
        tonal = self.tonal(wav)
        return torch.cat([tonal, self.transient(wav).reshape(*tonal.shape[:2], -1)], dim=-1)


def silent_frames(wav: torch.Tensor, hop: int = HOP) -> torch.Tensor:
    """wav (B, S) -> (B, ceil(S / hop)) bool: no sample of the frame exceeds one 16-bit step."""
    return ~active_frames(wav, hop, -(-wav.shape[-1] // hop))


def band_centres(bands: int) -> torch.Tensor:
    """(bands,) Hz: the peaks of the triangles of `bands` slaney mel bands up to 12 kHz."""
    filters = melscale_fbanks(
        16_384 + 1, 0.0, SAMPLE_RATE / 2, bands, SAMPLE_RATE, mel_scale="slaney"
    )
    return filters.argmax(0) * (SAMPLE_RATE / 2 / 16_384)


def interpolation(bands: int, bins: int) -> torch.Tensor:
    """(bands, bins): weights that interpolate linearly from the band centres to STFT bins."""
    centres = band_centres(bands)
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, bins)
    upper = torch.searchsorted(centres, frequencies).clamp(1, bands - 1)
    weight = (frequencies - centres[upper - 1]) / (centres[upper] - centres[upper - 1])
    weight = weight.clamp(0, 1)
    return F.one_hot(upper - 1, bands).T * (1 - weight) + F.one_hot(upper, bands).T * weight
