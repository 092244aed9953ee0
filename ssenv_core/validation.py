"""Token clips on a device, and a model's score on them: cross-entropy per level under masks that never change.

Training, validation and classification all read clips through here, so that outer silence is cropped the same way everywhere. No weights
are changed and no files are read.
"""

from typing import NamedTuple

import numpy as np
import torch

from ssenv_core.errors import SsenvError
from ssenv_core.progress import track
from ssenv_core.soundstorm import SoundStorm, sample_training_mask
from ssenv_core.tokens import TokenSet

BATCH = 16
VALIDATION = 3


class Validation(NamedTuple):
    """Per level: the cross-entropy in nat, and the share of masked tokens whose likeliest code is the true one."""

    level_loss: list[float]
    level_accuracy: list[float]


class Batch(NamedTuple):
    """B clips, cropped to the longest of them."""

    codes: torch.Tensor  # (B, Q, T) int64
    labels: torch.Tensor  # (B,) int64
    active: torch.Tensor  # (B, T) bool
    padding: torch.Tensor | None  # the inverse of active; None where all is active, which the model computes faster
    controls: torch.Tensor  # (B, T, 2) float32


class Clips:
    """Tokens resident on a device, each clip moved so that it begins at its first active frame; clips without one are left out."""

    def __init__(self, tokens: TokenSet, device: torch.device | str) -> None:
        inside = ~tokens.padding
        keep = inside.any(1)
        if not keep.any():
            raise SsenvError(f"all {len(tokens)} clips given to training or validation are silent throughout: choose other clips")
        n_frames = inside.shape[1]
        frames = tokens.frames_from_first_sound[keep].clamp_max(n_frames - 1)
        codes = tokens.codes[keep]
        self.codes = codes.gather(2, frames[:, None].expand_as(codes)).to(device)
        self.controls = tokens.controls[keep].gather(1, frames[..., None].expand(-1, -1, 2)).to(device)
        self.labels = tokens.labels[keep].to(device)
        self.lengths = inside[keep].sum(1)
        kept = keep.nonzero()[:, 0].tolist()
        self.names, self.recordings = (tuple(texts[i] for i in kept) for texts in (tokens.names, tokens.recordings))
        self.left_out = [name for name, kept in zip(tokens.names, keep.tolist(), strict=True) if not kept]

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
        frames = (first[:, None] + torch.arange(longest)).clamp_max(self.codes.shape[2] - 1).to(device)
        active = (torch.arange(longest) < lengths[:, None]).to(device)
        padding = None if (lengths == longest).all() else ~active
        codes = self.codes[index].gather(2, frames[:, None].expand(-1, self.codes.shape[1], -1))
        controls = self.controls[index].gather(1, frames[..., None].expand(-1, -1, 2))
        return Batch(codes, self.labels[index], active, padding, controls)


def validation_loss(model: SoundStorm, tokens: TokenSet, *, seed: int, device: torch.device | str) -> Validation:
    """Score a model on every clip at every level, under masks that depend on the clips' order and the seed alone; no controls are asked.

    Args:
        model: in eval mode, on `device`.

    Raises:
        SsenvError: no clip has an active frame.
    """
    clips, n_q = Clips(tokens, device), model.config.n_q
    loss, correct, count = sum(_validation_pass(model, clips, seed, offset) for offset in track(range(n_q), n_q, "validate", "pass"))
    return Validation((loss / count).tolist(), (correct / count).tolist())


def quick_validation(model: SoundStorm, clips: Clips, seed: int) -> float:
    """The first of the Q passes of `validation_loss`, clip i at level i mod Q: the mean over levels of the cross-entropy in nat."""
    loss, _, count = _validation_pass(model, clips, seed, 0)
    return float((loss / count)[count > 0].mean())


def derive_seed(*entropy: int) -> int:
    """A seed in [0, 2^63) from whole numbers >= 0: the same on every machine, unrelated for any other numbers."""
    return int(np.random.SeedSequence((*entropy, 1)).generate_state(1, np.uint64)[0] >> 1)  # the 1, as trailing zeros would not count


@torch.inference_mode()
def _validation_pass(model: SoundStorm, clips: Clips, seed: int, offset: int) -> torch.Tensor:
    """Clip i at level (i + offset) mod Q. (3, Q) float64: each level's summed loss, tokens that are right, and tokens."""
    if model.training:
        raise ValueError("validation needs model.eval(): dropout would make it random")
    n_q, device = model.config.n_q, clips.codes.device
    active = torch.arange(clips.codes.shape[2]) < clips.lengths[:, None]
    _, mask = sample_training_mask(active, n_q, torch.Generator().manual_seed(derive_seed(seed, offset, VALIDATION)))
    sums = torch.zeros(3, n_q, dtype=torch.float64)
    for index in torch.arange(len(clips)).split(BATCH):
        codes, labels, _, padding, _ = clips.batch(index)
        level, masked = ((index + offset) % n_q).to(device), mask[index, : codes.shape[2]].to(device)
        scored = model.masked_loss(codes, labels, level, masked, padding)
        values = torch.stack([scored.loss, scored.correct.float(), torch.ones_like(scored.loss)]).double().cpu()
        sums.index_add_(1, scored.level.cpu(), values)
    return sums
