"""The cosine schedule, the masks of training, and the masks of given tokens.

The schedule is MaskGIT's (Chang et al. 2022, section 3.3). Masking one level of residual codes,
with the coarser levels visible and the finer ones hidden, is SoundStorm's (Borsos et al. 2023,
section 3.2), and so is the prompt: frames in which no level is masked.

Masks of given tokens are True where a token is given; they combine with & and |.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def cosine_schedule(r: float | Tensor) -> float | Tensor:
    """Share of tokens still masked at progress r in [0, 1]: gamma(r) = cos(pi r / 2) in [0, 1]."""
    return torch.cos(r * (math.pi / 2)) if isinstance(r, Tensor) else math.cos(r * math.pi / 2)


def num_masked(total: int, i: int, n: int) -> int:
    """Tokens of `total` that iteration i of n leaves masked: ceil(total gamma(i / n)).

    `total` at i = 0, exactly 0 at i = n.
    """
    # cos(pi / 2) and cos(pi / 3) are a rounding error too large; the ceiling would add a token.
    return math.ceil(total * cosine_schedule(i / n) - 1e-9)


def lowest(score: Tensor, count: Tensor) -> Tensor:
    """The `count` (...) positions of lowest `score` (..., T) along the last axis, bool (..., T).

    Ties go to the earlier position.
    """
    return score.argsort(dim=-1, stable=True).argsort(dim=-1) < count[..., None]


def sample_prompts(
    active: Tensor, share: float, generator: torch.Generator | None = None
) -> Tensor:
    """Draw the frames that training shows at all levels: bool (B, T), False for most items.

    A share of the items has a prompt. Half of the prompts are the first frames, as in SoundStorm
    (section 3.2). The other half are all frames but a random span, which serves inpainting.
    """
    items, n_frames = active.shape
    prompted, open_ended, first, last = torch.rand(
        4, items, 1, generator=generator, device=active.device
    )
    length = active.sum(dim=-1, keepdim=True)
    start = (first * length).long()
    stop = start + 1 + (last * (length - start - 1)).long()
    stop = stop.where(open_ended < 0.5, n_frames)
    frame = torch.arange(n_frames, device=active.device)
    return ((frame < start) | (frame >= stop)) & (prompted < share)


def sample_training_mask(
    active: Tensor, n_q: int, generator: torch.Generator | None = None, coarse_emphasis: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Draw each item's level and mask a share gamma(r) of its active frames, r uniform on [0, 1).

    `active` (B, T) bool, True where a frame may be a target, on the generator's device. Level q of
    1 to Q is drawn with a probability proportional to 1 / q^coarse_emphasis: 0, the default, draws
    all levels equally often (SoundStorm, section 3.2).

    Returns `level` (B,) int64 in [0, n_q) and `mask` (B, T) bool with exactly
    ceil(gamma(r) n_active) random active frames of each item: at least one, if it has any.
    """
    draw = {"generator": generator, "device": active.device}
    weight = torch.arange(1, n_q + 1, device=active.device) ** -coarse_emphasis
    level = torch.multinomial(weight, len(active), replacement=True, generator=generator)
    share = cosine_schedule(torch.rand(active.shape[:1], **draw))
    count = (share * active.sum(dim=-1)).ceil().long()
    return level, lowest(torch.rand(active.shape, **draw).masked_fill(~active, torch.inf), count)


def apply_training_mask(
    codes: Tensor, level: Tensor, mask: Tensor, mask_token: int, prompt: Tensor | None = None
) -> Tensor:
    """Hide `level` where `mask` and all finer levels; coarser levels and prompts stay visible.

    `codes` (B, Q, T) int64, `level` (B,) int64, `mask` and `prompt` (B, T) bool -> (B, Q, T) int64
    with `mask_token` at hidden tokens.
    """
    q = torch.arange(codes.shape[1], device=codes.device)[:, None]
    level = level[:, None, None]
    hidden = (q > level) | ((q == level) & mask[:, None])
    if prompt is not None:
        hidden = hidden & ~prompt[:, None]
    return codes.masked_fill(hidden, mask_token)


def keep_prompt(n_q: int, n_frames: int, stop: int) -> Tensor:
    """Give all levels of frames [0, stop), for continuation. Bool (1, n_q, n_frames)."""
    return (torch.arange(n_frames) < stop).expand(1, n_q, n_frames)


def keep_outside(n_q: int, n_frames: int, start: int, stop: int) -> Tensor:
    """Give all levels of frames outside [start, stop), for inpainting. Bool (1, n_q, n_frames)."""
    frame = torch.arange(n_frames)
    return ((frame < start) | (frame >= stop)).expand(1, n_q, n_frames)


def keep_random(
    n_q: int,
    n_frames: int,
    fraction: float | Sequence[float],
    generator: torch.Generator | None = None,
) -> Tensor:
    """Give exactly round(fraction n_frames) random frames of each level, for variation.

    `fraction` in [0, 1], one for all levels or one per level: (1, 1, 0, ...) keeps the two coarsest
    and generates the others. Each level draws its own frames. Bool (1, n_q, n_frames), on the CPU
    like the other masks of given tokens.
    """
    count = (torch.as_tensor(fraction).expand(n_q) * n_frames).round().long()
    return lowest(torch.rand(1, n_q, n_frames, generator=generator), count)
