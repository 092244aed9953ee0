"""SoundStorm: masks, model and decoding of residual codec tokens. Tensors in, tensors out: no files, no device chosen, nothing printed."""

from ssenv_core.soundstorm.conformer import Conformer
from ssenv_core.soundstorm.decoding import Decoded, Iteration, decode
from ssenv_core.soundstorm.masking import (
    apply_training_mask,
    cosine_schedule,
    keep_outside,
    keep_prompt,
    keep_random,
    num_masked,
    sample_training_mask,
)
from ssenv_core.soundstorm.model import MaskedTokens, SoundStorm, SoundStormConfig

__all__ = [
    "Conformer",
    "Decoded",
    "Iteration",
    "MaskedTokens",
    "SoundStorm",
    "SoundStormConfig",
    "apply_training_mask",
    "cosine_schedule",
    "decode",
    "keep_outside",
    "keep_prompt",
    "keep_random",
    "num_masked",
    "sample_training_mask",
]
