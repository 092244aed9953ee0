"""Token clips on a device, cropped to what sounds, in batches."""

from typing import NamedTuple

import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.data.tokens import TokenSet


class Batch(NamedTuple):
    """B clips, cropped to the longest of them."""

    codes: torch.Tensor  # (B, Q, T) int64
    labels: torch.Tensor  # (B,) int64
    active: torch.Tensor  # (B, T) bool
    padding: (
        torch.Tensor | None
    )  # the inverse of active; None where all is active, which the model computes faster
    controls: torch.Tensor  # (B, T, 2) float32


class Clips:
    """Tokens resident on a device, each clip moved so that it begins at its first active frame; clips without one are left out."""

    def __init__(self, tokens: TokenSet, device: torch.device | str) -> None:
        inside = ~tokens.padding
        keep = inside.any(1)
        if not keep.any():
            raise SsenvError(
                f"all {len(tokens)} clips given to training or validation are silent throughout: choose other clips"
            )
        n_frames = inside.shape[1]
        frames = tokens.frames_from_first_sound[keep].clamp_max(n_frames - 1)
        codes = tokens.codes[keep]
        self.codes = codes.gather(2, frames[:, None].expand_as(codes)).to(device)
        self.controls = (
            tokens.controls[keep].gather(1, frames[..., None].expand(-1, -1, 2)).to(device)
        )
        self.labels = tokens.labels[keep].to(device)
        self.lengths = inside[keep].sum(1)
        kept = keep.nonzero()[:, 0].tolist()
        self.names, self.recordings = (
            tuple(texts[i] for i in kept) for texts in (tokens.names, tokens.recordings)
        )
        self.left_out = [
            name for name, kept in zip(tokens.names, keep.tolist(), strict=True) if not kept
        ]

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, index: torch.Tensor, crop: int | None = None) -> Batch:
        """The clips at `index` (B,), int64 on the CPU; of those longer than `crop` frames, that many from a random start."""
        lengths, device = self.lengths[index], self.codes.device
        first = torch.zeros_like(lengths)
        if crop is not None:
            first = (torch.rand(len(index)) * (lengths - crop + 1)).long().clamp_min(0)
            lengths = lengths.clamp_max(crop)
        longest, index = int(lengths.max()), index.to(device)
        frames = (
            (first[:, None] + torch.arange(longest)).clamp_max(self.codes.shape[2] - 1).to(device)
        )
        active = (torch.arange(longest) < lengths[:, None]).to(device)
        padding = None if (lengths == longest).all() else ~active
        codes = self.codes[index].gather(2, frames[:, None].expand(-1, self.codes.shape[1], -1))
        controls = self.controls[index].gather(1, frames[..., None].expand(-1, -1, 2))
        return Batch(codes, self.labels[index], active, padding, controls)
