"""A model's held-out score: cross-entropy and accuracy per level under masks that never change."""

from typing import NamedTuple

import torch

from ssenv_core.base.progress import track
from ssenv_core.base.seeds import Purpose, derive_seed
from ssenv_core.data.batches import Clips
from ssenv_core.data.tokens import TokenSet
from ssenv_core.soundstorm.masking import sample_training_mask
from ssenv_core.soundstorm.model import SoundStorm

BATCH = 16


class Validation(NamedTuple):
    """Per level: the cross-entropy in nat, and the share of masked tokens whose likeliest code is the true one."""

    level_loss: list[float]
    level_accuracy: list[float]


def validation_loss(
    model: SoundStorm, tokens: TokenSet, *, seed: int, device: torch.device | str
) -> Validation:
    """Score a model on every clip at every level, under masks that depend on the clips' order and the seed alone; no controls are asked.

    Args:
        model: in eval mode, on `device`.

    Raises:
        SsenvError: no clip has an active frame.
    """
    clips, n_q = Clips(tokens, device), model.config.n_q
    loss, correct, count = sum(
        _validation_pass(model, clips, seed, offset)
        for offset in track(range(n_q), n_q, "validate", "pass")
    )
    return Validation((loss / count).tolist(), (correct / count).tolist())


def quick_validation(model: SoundStorm, clips: Clips, seed: int) -> float:
    """The first of the Q passes of `validation_loss`, clip i at level i mod Q: the mean over levels of the cross-entropy in nat."""
    loss, _, count = _validation_pass(model, clips, seed, 0)
    return float((loss / count)[count > 0].mean())


@torch.inference_mode()
def _validation_pass(model: SoundStorm, clips: Clips, seed: int, offset: int) -> torch.Tensor:
    """Clip i at level (i + offset) mod Q. (3, Q) float64: each level's summed loss, tokens that are right, and tokens."""
    if model.training:
        raise ValueError("validation needs model.eval(): dropout would make it random")
    n_q, device = model.config.n_q, clips.codes.device
    active = torch.arange(clips.codes.shape[2]) < clips.lengths[:, None]
    _, mask = sample_training_mask(
        active, n_q, torch.Generator().manual_seed(derive_seed(seed, offset, Purpose.VALIDATION))
    )
    sums = torch.zeros(3, n_q, dtype=torch.float64)
    for index in torch.arange(len(clips)).split(BATCH):
        codes, labels, _, padding, _ = clips.batch(index)
        level, masked = (
            ((index + offset) % n_q).to(device),
            mask[index, : codes.shape[2]].to(device),
        )
        scored = model.masked_loss(codes, labels, level, masked, padding)
        values = (
            torch.stack([scored.loss, scored.correct.float(), torch.ones_like(scored.loss)])
            .double()
            .cpu()
        )
        sums.index_add_(1, scored.level.cpu(), values)
    return sums
