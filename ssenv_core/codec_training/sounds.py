"""The clips a codec is trained on, in memory: as 16-bit sound, as features, and as what is silent."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from ssenv_core.codecs.melrvq import HOP, SAMPLE_RATE, Features
from ssenv_core.codecs.melrvq.features import silent_frames
from ssenv_core.datasets import Dataset
from ssenv_core.progress import track

BATCH = 16


@dataclass(frozen=True, eq=False)
class Sounds:
    """N clips of T frames, S = 320 T samples.

    Attributes:
        wavs: (N, S) int16 at 24 kHz.
        features: (N, T, 160) float16.
        live: (N, T) bool, the frame is not silent.
    """

    wavs: torch.Tensor
    features: torch.Tensor
    live: torch.Tensor

    def __len__(self) -> int:
        return len(self.wavs)

    def segments(self, count: int, frames: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The clips (count, 1) and frames (count, frames) of random segments, each around a frame that is not silent."""
        places = self.live.nonzero()
        picks = places[torch.randint(len(places), (count,), generator=rng)]
        starts = picks[:, 1] - torch.randint(frames, (count,), generator=rng)
        return picks[:, :1], starts.clamp(0, self.live.shape[1] - frames)[:, None] + torch.arange(frames)

    def waveforms(self, clip: torch.Tensor, frame: torch.Tensor) -> torch.Tensor:
        """The sound (count, 320 frames) float in [-1, 1] of `segments`."""
        return self.wavs.unflatten(1, (-1, HOP))[clip, frame].flatten(1).float() / 32768


def read_sounds(dataset: Dataset) -> Sounds:
    """Every clip of a dataset."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wavs = pool.map(lambda clip: dataset.read(clip, SAMPLE_RATE), dataset.clips)
        pcm = torch.stack([to_pcm(torch.from_numpy(wav)) for wav in track(wavs, len(dataset), "read", "clip")])
    return describe(pcm)


def to_pcm(wav: torch.Tensor) -> torch.Tensor:
    """Float in [-1, 1] -> int16."""
    return (wav * 32767).clamp(-32768, 32767).short()


@torch.inference_mode()
def describe(wavs: torch.Tensor) -> Sounds:
    """wavs (N, S) int16 at 24 kHz, S a multiple of 320."""
    features, live = Features(), []
    described = []
    for batch in wavs.split(BATCH):
        sound = batch.float() / 32768
        described.append(features(sound).half())
        live.append(~silent_frames(sound))
    return Sounds(wavs, torch.cat(described), torch.cat(live))
