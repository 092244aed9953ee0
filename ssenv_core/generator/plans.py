"""Loudness and onset tracks of P training clips, each from its first sound; templates for generation."""

from typing import NamedTuple

import torch

from ssenv_core.data.controls import LOUDNESS
from ssenv_core.data.tokens import TokenSet

LOUDNESS_STEPS = 255  # of a byte


class Plans(NamedTuple):
    """What happens when in P of the clips that a generator was trained on, from their first sound on: what to ask of it in turn.

    A file holds loudness in LOUDNESS_STEPS, of 0.3 dB each; what is below one is silent.
    """

    labels: torch.Tensor  # (P,) int64
    controls: torch.Tensor  # (P, T, 2) float32, as of `controls`; silence behind the last sound
    silence: torch.Tensor | None = (
        None  # (Q,) int64, the codes of digital silence; None where it has none of its own
    )

    @classmethod
    def of(cls, tokens: TokenSet) -> "Plans":
        """Those of the recorded clips, but of variations and of clips that are nowhere louder than -80 dB."""
        names = set(tokens.names)
        heard = ~silent_where(tokens.controls)
        recorded = torch.tensor(
            [name.rpartition("~")[0] not in names for name in tokens.names]
        ) & heard.any(1)
        controls, first = tokens.controls[recorded], heard[recorded].int().argmax(1, keepdim=True)
        frames = torch.arange(controls.shape[1]) + first
        beyond = frames >= controls.shape[1]
        moved = controls.gather(
            1, frames.masked_fill(beyond, 0)[..., None].expand_as(controls)
        ).masked_fill(beyond[..., None], 0.0)
        silent = tokens.codes.transpose(1, 2)[~tokens.active].unique(dim=0)
        silence = silent[0] if len(silent) == 1 else None
        return cls(tokens.labels[recorded], moved, silence)


def silent_where(controls: torch.Tensor) -> torch.Tensor:
    """controls (..., 2) -> (...) bool: what is asked for is silence, -80 dB as far as a file can tell."""
    return (LOUDNESS_STEPS * controls[..., LOUDNESS]).round() == 0
