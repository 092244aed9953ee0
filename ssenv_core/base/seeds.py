"""Seeds derived from a study's seed, one for each purpose and clip."""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """The purpose of a derived seed: the last number given to `derive_seed`.

    Results depend on these numbers. The purposes of training come with other numbers than those of
    generation, so they may repeat.
    """

    CODES = 1
    WAVEFORM = 2
    VARIATION = 3
    PLAN = 4
    ORDER = 1
    STEP = 2
    VALIDATION = 3


def derive_seed(*entropy: int) -> int:
    """Derive a seed in [0, 2^63) from whole numbers >= 0.

    It is the same on every machine, and unrelated for other numbers.
    """
    sequence = np.random.SeedSequence((*entropy, 1))  # the 1, as trailing zeros would not count
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
