"""A model's held-out score: cross-entropy and accuracy per level under fixed masks."""

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
    """Per level: cross-entropy in nat, and share of masked tokens predicted correctly."""

    level_loss: list[float]
    level_accuracy: list[float]


def validation_loss(
    model: SoundStorm,
    tokens: TokenSet,
    *,
    seed: int,
    device: torch.device | str,
    with_controls: bool = False,
) -> Validation:
    """Score a model on every clip at every level.

    The masks depend on the clips' order and the seed alone.

    Args:
        model: in eval mode, on `device`.
        with_controls: condition on each clip's own loudness and onsets, beside its class.

    Raises:
        SsenvError: no clip has an active frame.
    """
    clips = Clips(tokens, device)
    n_q = model.config.n_q
    loss, correct, count = sum(
        _validation_pass(model, clips, seed, offset, with_controls)
        for offset in track(range(n_q), n_q, "validate", "pass")
    )
    return Validation((loss / count).tolist(), (correct / count).tolist())


def quick_validation(model: SoundStorm, clips: Clips, seed: int) -> float:
    """Mean cross-entropy (nat) over levels in the first of the Q passes of `validation_loss`.

    It scores clip i at level i mod Q.
    """
    loss, _, count = _validation_pass(model, clips, seed, 0)
    return float((loss / count)[count > 0].mean())


@torch.inference_mode()
def _validation_pass(
    model: SoundStorm, clips: Clips, seed: int, offset: int, with_controls: bool = False
) -> torch.Tensor:
    """Score clip i at level (i + offset) mod Q.

    Returns (3, Q) float64: of each level the summed loss, the correct tokens and all tokens.
    """
    if model.training:
        raise ValueError("validation needs model.eval(): dropout would make it random")
    n_q = model.config.n_q
    device = clips.codes.device
    active = torch.arange(clips.codes.shape[2]) < clips.lengths[:, None]
    draw = torch.Generator().manual_seed(derive_seed(seed, offset, Purpose.VALIDATION))
    _, mask = sample_training_mask(active, n_q, draw)
    sums = torch.zeros(3, n_q, dtype=torch.float64)
    for index in torch.arange(len(clips)).split(BATCH):
        inputs = clips.batch(index)
        if not with_controls:
            inputs = inputs._replace(controls=None)
        level = ((index + offset) % n_q).to(device)
        masked = mask[index, : inputs.codes.shape[2]].to(device)
        scored = model.masked_loss(inputs, level, masked)
        ones = torch.ones_like(scored.loss)
        values = torch.stack([scored.loss, scored.correct.float(), ones])
        sums.index_add_(1, scored.level.cpu(), values.double().cpu())
    return sums
