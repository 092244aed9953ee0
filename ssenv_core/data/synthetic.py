"""Ten environmental sound classes, synthesised: a dataset that needs no download and no licence.

Each clip is a small physical caricature whose parameters are drawn from its seed, so no two are the
same (see `synthetic_classes`). The study runs on it where there are no recordings; its results say
nothing about real recordings. All clips are synthesised at 44.1 kHz and resampled, so a clip is the
same sound at every rate. Levels and silences follow ESC-50.
"""

from dataclasses import dataclass

import numpy as np

from ssenv_core.base.audio import resample
from ssenv_core.base.errors import SsenvError
from ssenv_core.data.recordings import Clip, Dataset
from ssenv_core.data.synthesis import RATE, decibels
from ssenv_core.data.synthetic_classes import CLASSES

CLASS_NAMES = tuple(CLASSES)
PEAK = 0.95
SHORTEST = 1.0  # seconds; a shorter clip is the start of one of this length
NUM_FOLDS = 5
VERSION = 1  # of the sounds: raise it when the same seed sounds different


@dataclass(frozen=True)
class Recipe:
    """A clip that is synthesised when it is read."""

    class_name: str
    seed: int

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        return render(self.class_name, self.seed, sample_rate, duration)

    def native_rate(self) -> int:
        return RATE

    def identity(self) -> list:
        return [self.class_name, self.seed, VERSION]

    @property
    def modified(self) -> int:
        return 0


def load_synthetic(clips_per_class: int = 40, seed: int = 0, duration: float = 5.0) -> Dataset:
    """Ten classes of `clips_per_class` synthesised clips; clip i of a class is in fold i % 5 + 1.

    A larger `clips_per_class` adds clips and keeps the others; different seeds share no clip.

    Raises:
        SsenvError: clips_per_class is not in 1 to 10,000, or seed is negative.
    """
    if not 1 <= clips_per_class <= 10_000:
        raise SsenvError(f"clips_per_class must be 1 to 10000, got {clips_per_class}")
    if seed < 0:
        raise SsenvError(f"the seed of the synthetic dataset must be 0 or more, got {seed}")
    clips = tuple(
        Clip(
            f"{name}-{index:04d}", label, index % NUM_FOLDS + 1, Recipe(name, seed * 10_000 + index)
        )
        for label, name in enumerate(CLASS_NAMES)
        for index in range(clips_per_class)
    )
    return Dataset("synthetic", CLASS_NAMES, clips, duration)


def render(
    class_name: str, seed: int, sample_rate: int = 24000, duration: float = 5.0
) -> np.ndarray:
    """Synthesise one clip.

    Args:
        class_name: one of CLASS_NAMES.
        seed: 0 or more; the same seed gives the same array.
        sample_rate: Hz.
        duration: seconds, more than 0.

    Returns:
        (S,) float32, S = round(duration * sample_rate), |x| <= 0.95.

    Raises:
        ValueError: there is no such class.
    """
    if class_name not in CLASSES:
        raise ValueError(f"no synthetic class {class_name!r}: {', '.join(CLASS_NAMES)}")
    synthesise, level, spread = CLASSES[class_name]
    rng = np.random.default_rng([CLASS_NAMES.index(class_name), seed])
    # A little longer than needed: resampling rounds the length.
    wav = synthesise(rng, round((max(duration, SHORTEST) + 0.01) * RATE))
    if sample_rate != RATE:
        wav = resample(wav.astype(np.float32), RATE, sample_rate)
    wav = wav.astype(np.float64)  # so that the peak is not rounded up
    gain = decibels(rng.normal(level, spread)) / np.sqrt(np.mean(wav**2))
    wav = wav * min(gain, PEAK / np.abs(wav).max())
    return wav[: round(duration * sample_rate)].astype(np.float32)
