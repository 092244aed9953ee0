"""SoundStorm: masks, model and decoding of residual codec tokens. Tensors in, tensors out: no files, no device chosen, nothing printed."""

from ssenv_core.soundstorm.conformer import Conformer
from ssenv_core.soundstorm.decoding import Decoded, Iteration, decode, fill_in
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
from ssenv_core.soundstorm.sampling import Confidence, HaltonOrder, RandomOrder, Sampler, Sampling, sampler_named

__all__ = [
    "Confidence",
    "Conformer",
    "Decoded",
    "HaltonOrder",
    "Iteration",
    "MaskedTokens",
    "RandomOrder",
    "Sampler",
    "Sampling",
    "SoundStorm",
    "SoundStormConfig",
    "apply_training_mask",
    "cosine_schedule",
    "decode",
    "fill_in",
    "keep_outside",
    "keep_prompt",
    "keep_random",
    "num_masked",
    "sample_training_mask",
    "sampler_named",
]
