"""Recordings with labels and folds: clips, datasets, and variations of training clips."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ssenv_core.base.audio import file_rate, fit_length, read_audio
from ssenv_core.base.augmentation import change_speed, draw_speed, vary
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_json

LATEST = 0.05  # s, latest start of a varied sound: longer than any codec's frame


class Source(Protocol):
    """Where the sound of one clip comes from."""

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        """The sound (S,) float32 in [-1, 1], S = round(duration * sample_rate)."""

    def native_rate(self) -> int:
        """Hz: the rate at which it was recorded or synthesised."""

    def identity(self) -> list:
        """JSON-able values that are equal for the same sound and differ for most other sounds."""

    @property
    def modified(self) -> int:
        """A number that changes with the content on this machine: ns since 1970, or 0."""


@dataclass(frozen=True)
class AudioFile:
    """A clip in a file: its first `duration` seconds, zero-padded at the end if it is shorter."""

    path: Path
    size: int  # bytes

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        return read_audio(self.path, sample_rate, duration)[0]

    def native_rate(self) -> int:
        return file_rate(self.path)

    def identity(self) -> list:
        return [self.size]

    @property
    def modified(self) -> int:
        return self.path.stat().st_mtime_ns if self.path.exists() else 0


@dataclass(frozen=True)
class Varied:
    """Another source's sound at another speed, start and level, and filtered.

    See `base.augmentation`.
    """

    source: Source
    seed: int

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        rng = torch.Generator().manual_seed(self.seed)
        start = int(torch.randint(round(LATEST * sample_rate), (), generator=rng))
        wav = torch.from_numpy(self.source.read(sample_rate, duration)[start:])[None]
        varied = vary(change_speed(wav, draw_speed(rng)), rng)[0].numpy()
        return fit_length(varied, round(duration * sample_rate))

    def native_rate(self) -> int:
        return self.source.native_rate()

    def identity(self) -> list:
        return [*self.source.identity(), "varied", self.seed]

    @property
    def modified(self) -> int:
        return self.source.modified


@dataclass(frozen=True)
class Clip:
    """One labelled clip.

    Attributes:
        label: index into the dataset's `class_names`.
        fold: counts from 1.
        recording: the recording that it was cut from, if other clips were too.
    """

    name: str
    label: int
    fold: int
    source: Source
    recording: str = ""


@dataclass(frozen=True)
class Dataset:
    """Labelled clips of one nominal duration (seconds).

    `missing_folds` are official folds that this copy lacks: folds are never renumbered or
    reshuffled to hide them.
    """

    name: str
    class_names: tuple[str, ...]
    clips: tuple[Clip, ...]
    duration: float
    missing_folds: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds that hold at least one clip, ascending."""
        return tuple(sorted({clip.fold for clip in self.clips}))

    @property
    def files(self) -> list[Path]:
        """The audio files of its clips; synthesised sounds and variations have none."""
        return [clip.source.path for clip in self.clips if isinstance(clip.source, AudioFile)]

    @cached_property
    def native_rate(self) -> int:
        """The most frequent rate of its clips in Hz, the highest one of a tie.

        Raises:
            SsenvError: a file has no readable rate.
        """
        rates = Counter(clip.source.native_rate() for clip in self.clips)
        return max(rates, key=lambda rate: (rates[rate], rate))

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 that identifies the dataset.

        It covers the duration, the classes, and every clip's name, label, fold and file size (or
        recipe), not its samples. Variations follow from the clips and are left out.
        """
        recorded = [clip for clip in self.clips if not isinstance(clip.source, Varied)]
        clips = [[clip.name, clip.label, clip.fold, *clip.source.identity()] for clip in recorded]
        return sha256_json([self.name, self.duration, self.class_names, clips])

    def read(self, clip: Clip, sample_rate: int) -> np.ndarray:
        """The sound of a clip, (S,) float32 mono in [-1, 1], S = round(duration * sample_rate).

        Raises:
            SsenvError: its file is missing, truncated or not audio.
        """
        return clip.source.read(sample_rate, self.duration)

    def subset(
        self, folds: Collection[int] | None = None, exclude_folds: Collection[int] = ()
    ) -> "Dataset":
        """The clips of some folds only, in the same order and with the same labels.

        Args:
            folds: folds to keep; None keeps all.
            exclude_folds: folds to leave out, with every clip of a recording that is also in one
                of them.

        Raises:
            SsenvError: a named fold holds no clip, or nothing is left.
        """
        for fold in (*(folds or ()), *exclude_folds):
            if fold not in self.folds:
                present = ", ".join(map(str, self.folds))
                raise SsenvError(f"{self.name} has no fold {fold} here: it has {present}")
        held_out = {clip.recording for clip in self.clips if clip.fold in exclude_folds} - {""}
        wanted = (
            clip
            for clip in self.clips
            if (folds is None or clip.fold in folds) and clip.fold not in exclude_folds
        )
        kept = tuple(clip for clip in wanted if clip.recording not in held_out)
        if not kept:
            raise SsenvError(
                f"no clip of {self.name} is left when keeping folds {folds} without {exclude_folds}"
            )
        return replace(self, clips=kept)


def with_variations(
    dataset: Dataset, count: int, exclude_folds: Collection[int], seed: int
) -> Dataset:
    """Append `count` variations of each clip that is not in one of `exclude_folds`.

    They are clips NAME~1, NAME~2, ...
    """

    def vary_clip(clip: Clip, number: int) -> Clip:
        name = f"{clip.name}~{number}"
        clip_seed = int(sha256_json([seed, name])[:12], 16)
        return replace(clip, name=name, source=Varied(clip.source, clip_seed))

    training = [clip for clip in dataset.clips if clip.fold not in exclude_folds]
    variations = [vary_clip(clip, number + 1) for number in range(count) for clip in training]
    return replace(dataset, clips=(*dataset.clips, *variations))
