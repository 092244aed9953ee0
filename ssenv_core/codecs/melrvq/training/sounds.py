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
import torch.nn.functional as F

from ssenv_core.base.augmentation import change_speed, draw_speed, mix, vary
from ssenv_core.base.progress import on_all_cores
from ssenv_core.codecs.melrvq.features import SAMPLE_RATE, silent_frames

BATCH = 16
AT_ANOTHER_SPEED = 0.5  # share of the batches


@dataclass(frozen=True, eq=False)
class Sounds:
    """N clips of S samples and T tokens.

    Attributes:
        wavs: (N, S) int16 at 24 kHz, S = hop T.
        live: (N, T) bool, true where a token is not silent.
        hop: samples per token.
    """

    wavs: torch.Tensor
    live: torch.Tensor
    hop: int

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
        self, count: int, tokens: int, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw random segments, each around a token that is not silent.

        Returns:
            The clips (count, 1) and the tokens (count, tokens).
        """
        live = self.live.nonzero()
        picks = live[torch.randint(len(live), (count,), generator=rng)]
        starts = picks[:, 1] - torch.randint(tokens, (count,), generator=rng)
        starts = starts.clamp(0, max(0, self.live.shape[1] - tokens))
        return picks[:, :1], starts[:, None] + torch.arange(tokens)

    def waveforms(self, clip: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        """Waveforms (count, hop tokens) float in [-1, 1] of `segments`."""
        return from_pcm(self.wavs.unflatten(1, (-1, self.hop))[clip, token].flatten(1))

    def draw(
        self,
        count: int,
        tokens: int,
        margin: int,
        rng: torch.Generator,
        device: str | torch.device = "cpu",
    ) -> torch.Tensor:
        """Draw `segments` and vary them (see `augmentation`), in 16-bit steps.

        Args:
            margin: additional tokens on either side; zeros beyond the ends of a clip.

        Returns:
            (count, hop (tokens + 2 margin)) float in [-1, 1] on `device`.
        """
        speed = draw_speed(rng) if torch.rand((), generator=rng) < AT_ANOTHER_SPEED else (1, 1)
        samples = self.hop * (tokens + 2 * margin)
        needed = -(-samples * speed[0] // speed[1])
        clip, token = self.segments(count, tokens, rng)
        start = self.hop * (token[:, 0] - margin) - (needed - samples) // 2
        index = start[:, None] + torch.arange(needed)
        inside = (index >= 0) & (index < self.wavs.shape[1])
        cut = self.wavs[clip, index.clamp(0, self.wavs.shape[1] - 1)] * inside
        wavs = change_speed(from_pcm(cut.to(device)), speed)[:, :samples]
        varied = vary(mix(wavs, rng), rng)
        return varied.mul(32768).round() / 32768


def read_sounds(clips: Sequence, read: Callable[[Any, int], np.ndarray], hop: int) -> Sounds:
    """Read every clip, zero-padded to whole tokens of `hop` samples.

    Args:
        read: from a clip and a sampling rate (Hz) to its waveform (S,), the same S for all.
    """

    def read_pcm(clip: Any) -> torch.Tensor:
        return to_pcm(torch.from_numpy(read(clip, SAMPLE_RATE)))

    pcm = torch.stack(list(on_all_cores(read_pcm, clips, "read")))
    return of_pcm(F.pad(pcm, (0, -pcm.shape[1] % hop)), hop)


def of_pcm(wavs: torch.Tensor, hop: int) -> Sounds:
    """Make `Sounds` from wavs (N, S) int16 at 24 kHz, S a multiple of `hop`."""
    live = torch.cat([~silent_frames(from_pcm(batch), hop) for batch in wavs.split(BATCH)])
    return Sounds(wavs, live, hop)


def to_pcm(wav: torch.Tensor) -> torch.Tensor:
    """Convert float in [-1, 1] to int16."""
    return (wav * 32768).round().clamp(-32768, 32767).short()


def from_pcm(wav: torch.Tensor) -> torch.Tensor:
    """Convert int16 to float in [-1, 1]."""
    return wav.float() / 32768
