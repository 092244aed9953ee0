"""What a CNN that names sounds hears in a waveform, as a distance between waveforms.

Spectra say where energy is; what tells classes apart is also how it moves, in patterns that the blocks of such a network respond to (deep
features as a loss: Germain et al. 2019). The network was trained on real clips alone and does not change.
"""

import torch
from torch import nn

EPSILON = 1e-8


class Hearing(nn.Module):
    """d(x, y) per item: root-mean-square differences of what each block of the network makes of two sounds, frame by frame, of its last
    block's mean over frequency, of that one's mean and maximum over time, and of the class logits; averaged.

    Each is in units of its deviation among the `sounds` (N, S) at 24 kHz that it is made with.
    """

    def __init__(self, spectrogram: nn.Module, network: nn.Module, sounds: torch.Tensor) -> None:
        super().__init__()
        self.spectrogram, self.network = spectrogram, network.eval().requires_grad_(False)
        with torch.no_grad():
            self.scales = [
                float(part.std((0, 2)).square().mean().sqrt()) for part in self._parts(sounds)
            ]

    def forward(self, wavs: torch.Tensor) -> list[torch.Tensor]:
        """wavs (B, S), S >= 15 * 480 -> what is heard, (B, D, T) each."""
        return [part / scale for part, scale in zip(self._parts(wavs), self.scales, strict=True)]

    def _parts(self, wavs: torch.Tensor) -> list[torch.Tensor]:
        maps = self.network.maps(self.spectrogram(wavs))
        last = maps[-1].mean(2)
        pooled = torch.cat([last.mean(2), last.amax(2)], dim=1)
        return [
            *(part.flatten(1, 2) for part in maps),
            last,
            pooled[..., None],
            self.network.head(pooled)[..., None],
        ]

    def distance(self, x: list[torch.Tensor], y: list[torch.Tensor]) -> torch.Tensor:
        """What is heard of two batches -> (B,)."""
        return sum(
            ((a - b).square().mean(1) + EPSILON).sqrt().mean(1) for a, b in zip(x, y, strict=True)
        ) / len(x)
