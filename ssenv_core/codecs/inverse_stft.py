"""The inverse STFT of vocoders with one frame per `hop` samples ("same" padding)."""

import torch
import torch.nn.functional as F
from torch import nn


class InverseSTFT(nn.Module):
    """`vocos.spectral_ops.ISTFT` with "same" padding, without its check of the window coverage.

    Hann windows with a hop of at most half a window always cover every sample, and a program that
    depends on values cannot be exported.
    """

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        if 2 * hop > n_fft:
            raise ValueError(f"a hop of {hop} leaves samples that no window of {n_fft} covers")
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """spectrum (B, n_fft / 2 + 1, T) complex -> waveforms (B, hop T)."""
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1) * self.window[:, None]
        cover = self.window.square()[None, :, None].expand(1, -1, spectrum.shape[2])
        return self._overlap_add(frames) / self._overlap_add(cover)

    def _overlap_add(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, n_fft, T) -> (B, hop T)."""
        samples = (frames.shape[2] - 1) * self.hop + self.n_fft
        edge = (self.n_fft - self.hop) // 2
        added = F.fold(frames, (1, samples), (1, self.n_fft), stride=(1, self.hop))
        return added[:, 0, 0, edge : samples - edge]
