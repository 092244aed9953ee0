"""Trains the embedded codec in two parts: its encoder and codebooks by how well the features can be rebuilt, and then, the tokens being
fixed, its decoder by the spectral energy distance, to which a finish adds what a CNN hears.
"""

from ssenv_core.codec_training.codebooks import fit_codebooks
from ssenv_core.codec_training.decoder import SpectralDistance, encode_all, match_loudness, train_decoder
from ssenv_core.codec_training.encoder import feature_error, train_encoder
from ssenv_core.codec_training.hearing import Hearing
from ssenv_core.codec_training.loop import Training
from ssenv_core.codec_training.sounds import Sounds, read_sounds

__all__ = [
    "Hearing",
    "Sounds",
    "SpectralDistance",
    "Training",
    "encode_all",
    "feature_error",
    "fit_codebooks",
    "match_loudness",
    "read_sounds",
    "train_decoder",
    "train_encoder",
]
