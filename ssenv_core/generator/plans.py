"""Loudness and onset tracks of training clips, each from its first sound: templates."""

from typing import NamedTuple

import torch

from ssenv_core.data.controls import LOUDNESS
from ssenv_core.data.tokens import TokenSet

LOUDNESS_STEPS = 255  # of a byte


class Plans(NamedTuple):
    """The plans of P training clips, and the codes of digital silence.

    A file stores loudness in LOUDNESS_STEPS of 0.3 dB each; below half a step is silence.
    """

    labels: torch.Tensor  # (P,) int64
    controls: torch.Tensor  # (P, T, C) float32, see `CONTROLS`; silence after the last sound
    silence: torch.Tensor | None = None  # (Q,) int64; None if silence has no codes of its own

    @classmethod
    def of(cls, tokens: TokenSet) -> "Plans":
        """The plans of recorded clips, without variations and clips that never exceed -80 dB."""
        names = set(tokens.names)
        audible = ~silent_where(tokens.controls)
        recorded = torch.tensor([name.rpartition("~")[0] not in names for name in tokens.names])
        recorded &= audible.any(1)
        controls = tokens.controls[recorded]
        first = audible[recorded].int().argmax(1, keepdim=True)
        frames = torch.arange(controls.shape[1]) + first
        beyond = frames >= controls.shape[1]
        moved = controls.take_along_dim(frames.masked_fill(beyond, 0)[..., None], dim=1)
        moved = moved.masked_fill(beyond[..., None], 0.0)
        silent = tokens.codes.transpose(1, 2)[~tokens.active].unique(dim=0)
        silence = silent[0] if len(silent) == 1 else None
        return cls(tokens.labels[recorded], moved, silence)


def silent_where(controls: torch.Tensor) -> torch.Tensor:
    """Where controls (..., C) say silence, (...) bool: -80 dB to the precision of a file."""
    return (LOUDNESS_STEPS * controls[..., LOUDNESS]).round() == 0
