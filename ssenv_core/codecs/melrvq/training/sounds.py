"""The clips a codec is trained on, in memory, and random, varied segments of them.

Variation gives the training more sounds than its 2,000 clips.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ssenv_core.base.augmentation import change_speed, draw_speed, mix, vary
from ssenv_core.base.progress import on_all_cores
from ssenv_core.codecs.melrvq.features import HOP, SAMPLE_RATE, silent_frames

BATCH = 16
AT_ANOTHER_SPEED = 0.5  # share of the batches


@dataclass(frozen=True, eq=False)
class Sounds:
    """N clips of S samples and T frames.

    Attributes:
        wavs: (N, S) int16 at 24 kHz, S = 320 T.
        live: (N, T) bool, true where a frame is not silent.
    """

    wavs: torch.Tensor
    live: torch.Tensor

    def __len__(self) -> int:
        return len(self.wavs)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of every sample."""
        return hashlib.sha256(self.wavs.numpy().tobytes()).hexdigest()

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield all clips in order, BATCH at a time: wavs (B, S) float in [-1, 1], live (B, T)."""
        for wavs, live in zip(self.wavs.split(BATCH), self.live.split(BATCH), strict=True):
            yield from_pcm(wavs), live

    def segments(
        self, count: int, frames: int, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw random segments, each around a frame that is not silent.

        Returns:
            The clips (count, 1) and the frames (count, frames).
        """
        live = self.live.nonzero()
        picks = live[torch.randint(len(live), (count,), generator=rng)]
        starts = picks[:, 1] - torch.randint(frames, (count,), generator=rng)
        starts = starts.clamp(0, max(0, self.live.shape[1] - frames))
        return picks[:, :1], starts[:, None] + torch.arange(frames)

    def waveforms(self, clip: torch.Tensor, frame: torch.Tensor) -> torch.Tensor:
        """Waveforms (count, 320 frames) float in [-1, 1] of `segments`."""
        return from_pcm(self.wavs.unflatten(1, (-1, HOP))[clip, frame].flatten(1))

    def draw(
        self,
        count: int,
        frames: int,
        margin: int,
        rng: torch.Generator,
        device: str | torch.device = "cpu",
    ) -> torch.Tensor:
        """Draw `segments` and vary them (see `augmentation`), in 16-bit steps.

        Args:
            margin: additional frames on either side; zeros beyond the ends of a clip.

        Returns:
            (count, 320 (frames + 2 margin)) float in [-1, 1] on `device`.
        """
        speed = draw_speed(rng) if torch.rand((), generator=rng) < AT_ANOTHER_SPEED else (1, 1)
        samples = HOP * (frames + 2 * margin)
        needed = -(-samples * speed[0] // speed[1])
        clip, frame = self.segments(count, frames, rng)
        start = HOP * (frame[:, 0] - margin) - (needed - samples) // 2
        index = start[:, None] + torch.arange(needed)
        inside = (index >= 0) & (index < self.wavs.shape[1])
        cut = self.wavs[clip, index.clamp(0, self.wavs.shape[1] - 1)] * inside
        wavs = change_speed(from_pcm(cut.to(device)), speed)[:, :samples]
        varied = vary(mix(wavs, rng), rng)
        return varied.mul(32768).round() / 32768


def read_sounds(clips: Sequence, read: Callable[[Any, int], np.ndarray]) -> Sounds:
    """Read every clip, cut to whole frames.

    Args:
        read: from a clip and a sampling rate (Hz) to its waveform (S,), the same S for all.
    """

    def read_pcm(clip: Any) -> torch.Tensor:
        return to_pcm(torch.from_numpy(read(clip, SAMPLE_RATE)))

    pcm = torch.stack(list(on_all_cores(read_pcm, clips, "read")))
    return of_pcm(pcm[:, : pcm.shape[1] // HOP * HOP])


def of_pcm(wavs: torch.Tensor) -> Sounds:
    """Make `Sounds` from wavs (N, S) int16 at 24 kHz."""
    return Sounds(wavs, torch.cat([~silent_frames(from_pcm(batch)) for batch in wavs.split(BATCH)]))


def to_pcm(wav: torch.Tensor) -> torch.Tensor:
    """Convert float in [-1, 1] to int16."""
    return (wav * 32768).round().clamp(-32768, 32767).short()


def from_pcm(wav: torch.Tensor) -> torch.Tensor:
    """Convert int16 to float in [-1, 1]."""
    return wav.float() / 32768
