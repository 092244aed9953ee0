"""A perceptual loss: the distance between the activations of a sound classifier on two sounds.

Spectra say where energy is; classes also differ in how energy moves, in patterns that the blocks of
such a CNN respond to (deep features as a loss: Germain et al. 2019). The CNN was trained on real
clips alone, and its weights stay fixed.
"""

import torch
from torch import nn

EPSILON = 1e-8


class Hearing(nn.Module):
    """Distance d(x, y) per item between a classifier's activations on two waveforms.

    The mean, over activations, of the root-mean-square difference per frame. The activations are
    the output of each block, the last block's mean over frequency, the mean and maximum over time
    of that, and the class logits. Each is divided by its standard deviation over the `sounds`
    (N, S) at 24 kHz.
    """

    def __init__(self, spectrogram: nn.Module, network: nn.Module, sounds: torch.Tensor) -> None:
        super().__init__()
        self.spectrogram = spectrogram
        self.network = network.eval().requires_grad_(False)
        with torch.no_grad():
            self.scales = [
                float(part.std((0, 2)).square().mean().sqrt()) for part in self._parts(sounds)
            ]

    def forward(self, wavs: torch.Tensor) -> list[torch.Tensor]:
        """wavs (B, S), S >= 15 * 480 -> scaled activations, (B, D, T) each."""
        return [part / scale for part, scale in zip(self._parts(wavs), self.scales, strict=True)]

    def _parts(self, wavs: torch.Tensor) -> list[torch.Tensor]:
        maps = self.network.maps(self.spectrogram(wavs))
        last = maps[-1].mean(2)
        pooled = torch.cat([last.mean(2), last.amax(2)], dim=1)
        logits = self.network.head(pooled)
        return [*(part.flatten(1, 2) for part in maps), last, pooled[..., None], logits[..., None]]

    def distance(self, x: list[torch.Tensor], y: list[torch.Tensor]) -> torch.Tensor:
        """Scaled activations of two batches -> (B,)."""
        differences = [(a - b).square().mean(1) for a, b in zip(x, y, strict=True)]
        return sum((square + EPSILON).sqrt().mean(1) for square in differences) / len(x)
