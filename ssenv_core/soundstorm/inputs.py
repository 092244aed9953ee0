"""What a SoundStorm sees of a batch of clips: codes, class, padding and controls."""

from typing import NamedTuple

import torch
from torch import Tensor

CONTROLS = ("loudness", "onset")
"""The channels of the controls: loudness in [0, 1]; onset, 1 where an event starts, else 0."""


class Inputs(NamedTuple):
    """The inputs of B clips of Q levels and T frames, with C = len(CONTROLS)."""

    codes: Tensor  # (B, Q, T) int64 in [0, codebook_size]; codebook_size is the mask token
    labels: Tensor | None = None  # (B,) int64 in [0, num_classes]; num_classes and None: no class
    padding: Tensor | None = None  # (B, T) bool, True = padding; None: there is none (faster)
    controls: Tensor | None = None  # (B, T, C) float, NaN = unspecified; None: all unspecified

    @property
    def active(self) -> Tensor:
        """The frames that are not padding, (B, T) bool."""
        if self.padding is None:
            return torch.ones_like(self.codes[:, 0], dtype=torch.bool)
        return ~self.padding

    def unconditioned(self, null_label: int) -> "Inputs":
        """The same codes and padding, without class and controls."""
        labels = self.codes.new_full(self.codes.shape[:1], null_label)
        controls = None if self.controls is None else torch.full_like(self.controls, torch.nan)
        return self._replace(labels=labels, controls=controls)

    def joined(self, other: "Inputs") -> "Inputs":
        """The clips of both, as one batch; a field must be None in both or in neither."""
        pairs = zip(self, other, strict=True)
        return Inputs(*(None if pair[0] is None else torch.cat(pair) for pair in pairs))

    def to(self, device: str | torch.device) -> "Inputs":
        """The same inputs on a device."""
        return Inputs(*(None if field is None else field.to(device) for field in self))

    def split(self, count: int) -> list["Inputs"]:
        """`count` parts, in order, whose sizes differ by one clip at most."""
        fields = ([None] * count if x is None else x.tensor_split(count) for x in self)
        return [Inputs(*part) for part in zip(*fields, strict=True)]


def drop_conditioning(
    inputs: Inputs, null_label: int, *, everything: float, controls: float, one_control: float
) -> Inputs:
    """Hide the conditioning of random items, so that the model learns to do without it.

    Args:
        everything: share of the items that lose class and controls, for guidance.
        controls: share of the others that lose all controls.
        one_control: for each control, share of the others that lose it alone.
    """
    labels = inputs.labels
    unconditional, draw = torch.rand(2, len(labels), device=labels.device)
    unconditional = unconditional < everything
    inputs = inputs._replace(labels=labels.masked_fill(unconditional, null_label))
    if inputs.controls is None:
        return inputs
    channel = torch.arange(len(CONTROLS), device=labels.device)
    first = controls + one_control * channel
    alone = (draw[:, None] >= first) & (draw[:, None] < first + one_control)
    hidden = alone | ((draw < controls) | unconditional)[:, None]
    return inputs._replace(controls=inputs.controls.masked_fill(hidden[:, None], torch.nan))
