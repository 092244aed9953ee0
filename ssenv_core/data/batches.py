"""Token clips on a device, without their outer silence, in batches."""

import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.data.tokens import TokenSet
from ssenv_core.soundstorm.inputs import Inputs


class Clips:
    """Tokens on a device, each clip from its first active frame on; silent clips are left out."""

    def __init__(self, tokens: TokenSet, device: torch.device | str) -> None:
        inside = ~tokens.padding
        keep = inside.any(1)
        if not keep.any():
            raise SsenvError(
                f"all {len(tokens)} clips given to training or validation are silent throughout: "
                "choose other clips"
            )
        frames = tokens.frames_from_first_sound[keep].clamp_max(inside.shape[1] - 1)
        self.codes = tokens.codes[keep].take_along_dim(frames[:, None], dim=2).to(device)
        self.controls = tokens.controls[keep].take_along_dim(frames[..., None], dim=1).to(device)
        self.labels = tokens.labels[keep].to(device)
        self.lengths = inside[keep].sum(1)
        kept = keep.nonzero()[:, 0].tolist()
        self.names = tuple(tokens.names[i] for i in kept)
        self.recordings = tuple(tokens.recordings[i] for i in kept)
        self.left_out = [tokens.names[i] for i in (~keep).nonzero()[:, 0].tolist()]

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, index: torch.Tensor, crop: int | None = None) -> Inputs:
        """The clips at `index` (B,), int64 on the CPU, as long as the longest of them.

        Of a clip longer than `crop` frames, that many from a random start.
        """
        lengths = self.lengths[index]
        device = self.codes.device
        first = torch.zeros_like(lengths)
        if crop is not None:
            first = (torch.rand(len(index)) * (lengths - crop + 1)).long().clamp_min(0)
            lengths = lengths.clamp_max(crop)
        longest = int(lengths.max())
        index = index.to(device)
        frames = (first[:, None] + torch.arange(longest)).clamp_max(self.codes.shape[2] - 1)
        frames = frames.to(device)
        padding = (torch.arange(longest) >= lengths[:, None]).to(device)
        return Inputs(
            self.codes[index].take_along_dim(frames[:, None], dim=2),
            self.labels[index],
            None if (lengths == longest).all() else padding,
            self.controls[index].take_along_dim(frames[..., None], dim=1),
        )
