"""A/B/X: two sounds at one level, and a third that is one of the two; who names it rightly more often than by chance hears a difference."""

import random
from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from ssenv_core.audio import fit_length
from ssenv_core.errors import SsenvError


def level_matched(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Waveforms (S,) float of equal RMS, that of the quietest: they are only ever turned down, so that none clips. The shorter ones are
    padded with silence to the length of the longest, which does not count in their RMS.

    Raises:
        SsenvError: one of them is silent.
    """
    loudness = [float(np.sqrt(np.mean(np.square(wav, dtype=np.float64)))) for wav in wavs]
    if not min(loudness) > 0:
        raise SsenvError("a silent sound cannot be compared at the level of another")
    longest = max(map(len, wavs))
    return [fit_length(wav * np.float32(min(loudness) / rms), longest) for wav, rms in zip(wavs, loudness, strict=True)]


class Trials:
    """Blind trials: which of the two X is, and how often it was named rightly.

    Attributes:
        x: 0 or 1, what X is now.
        right, answered: counts of the trials so far.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.random = random.Random(seed)
        self.right = self.answered = 0
        self.x = self.random.randrange(2)

    def answer(self, choice: int) -> bool:
        """Whether X was this one, 0 or 1; the next trial draws X anew."""
        right = choice == self.x
        self.right, self.answered = self.right + right, self.answered + 1
        self.x = self.random.randrange(2)
        return right

    @property
    def p(self) -> float:
        """The probability of as many right answers, or more, by guessing; 1 before the first answer."""
        return float(binomtest(self.right, self.answered, alternative="greater").pvalue) if self.answered else 1.0
