"""Trains the embedded codec in two parts: its encoder and codebooks by how well the features can be rebuilt, and then, the tokens being
fixed, its decoder by the spectral energy distance.
"""

from ssenv_core.codec_training.codebooks import fit_codebooks
from ssenv_core.codec_training.decoder import SpectralDistance, train_decoder
from ssenv_core.codec_training.encoder import feature_error, train_encoder
from ssenv_core.codec_training.loop import Training
from ssenv_core.codec_training.sounds import Sounds, read_sounds

__all__ = ["Sounds", "SpectralDistance", "Training", "feature_error", "fit_codebooks", "read_sounds", "train_decoder", "train_encoder"]
