"""The clips a codec is trained on, in memory, and random segments of them, varied so that 2,000 clips are not all it ever hears."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from ssenv_core.augmentation import change_speed, draw_speed, vary
from ssenv_core.codecs.melrvq import HOP, SAMPLE_RATE
from ssenv_core.codecs.melrvq.features import silent_frames
from ssenv_core.datasets import Dataset
from ssenv_core.progress import track

BATCH = 16
AT_ANOTHER_SPEED = 0.5  # share of the varied batches


@dataclass(frozen=True, eq=False)
class Sounds:
    """N clips of S samples, T = ceil(S / 320) frames.

    Attributes:
        wavs: (N, S) int16 at 24 kHz.
        live: (N, T) bool, the frame is not silent.
    """

    wavs: torch.Tensor
    live: torch.Tensor

    def __len__(self) -> int:
        return len(self.wavs)

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All clips in order, BATCH at a time: wavs (B, S) float in [-1, 1], live (B, T)."""
        for wavs, live in zip(self.wavs.split(BATCH), self.live.split(BATCH), strict=True):
            yield from_pcm(wavs), live

    def draw(
        self, count: int, frames: int, margin: int, rng: torch.Generator, device: str | torch.device = "cpu", varied: float = 1.0
    ) -> torch.Tensor:
        """Random segments, each around a frame that is not silent, in 16-bit steps.

        Args:
            margin: frames more on either side; zeros beyond the ends of a clip.
            varied: share of the segments that are varied, see `augmentation`.

        Returns:
            (count, 320 (frames + 2 margin)) float in [-1, 1] on `device`.
        """
        speed = draw_speed(rng) if torch.rand((), generator=rng) < varied * AT_ANOTHER_SPEED else (1, 1)
        samples = HOP * (frames + 2 * margin)
        needed = -(-samples * speed[0] // speed[1])
        places = self.live.nonzero()
        clip, place = places[torch.randint(len(places), (count,), generator=rng)].T
        first = (place - torch.randint(frames, (count,), generator=rng)).clamp(0, max(0, self.live.shape[1] - frames))
        index = (HOP * (first - margin) - (needed - samples) // 2)[:, None] + torch.arange(needed)
        inside = (index >= 0) & (index < self.wavs.shape[1])
        cut = self.wavs[clip[:, None], index.clamp(0, self.wavs.shape[1] - 1)] * inside
        plain = change_speed(from_pcm(cut.to(device)), speed)[:, :samples]
        chosen = (torch.rand(count, 1, generator=rng) < varied).to(device)
        return torch.where(chosen, vary(plain, rng), plain).mul(32768).round() / 32768


def read_sounds(dataset: Dataset) -> Sounds:
    """Every clip of a dataset."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wavs = pool.map(lambda clip: dataset.read(clip, SAMPLE_RATE), dataset.clips)
        return of_pcm(torch.stack([to_pcm(torch.from_numpy(wav)) for wav in track(wavs, len(dataset), "read", "clip")]))


def of_pcm(wavs: torch.Tensor) -> Sounds:
    """wavs (N, S) int16 at 24 kHz."""
    return Sounds(wavs, torch.cat([~silent_frames(from_pcm(batch)) for batch in wavs.split(BATCH)]))


def to_pcm(wav: torch.Tensor) -> torch.Tensor:
    """Float in [-1, 1] -> int16."""
    return (wav * 32768).round().clamp(-32768, 32767).short()


def from_pcm(wav: torch.Tensor) -> torch.Tensor:
    """int16 -> float in [-1, 1]."""
    return wav.float() / 32768
