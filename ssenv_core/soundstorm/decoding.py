"""Parallel iterative decoding of residual codes: the masked tokens of one level after another are sampled, and the surest samples kept.

Within a level this is MaskGIT's decoding (Chang et al. 2022, section 3.2), over levels SoundStorm's (Borsos et al. 2023, section 3.3), with
classifier-free guidance (Ho & Salimans 2022, eq. 6; g = 1 + w). Continuation, inpainting and variation are one mechanism: given tokens.
It knows no audio, and of a model only `config`, `training`, the call (codes, labels, padding) -> hidden and `logits(hidden, level)`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ssenv_core.errors import SsenvError
from ssenv_core.soundstorm.masking import lowest, num_masked
from ssenv_core.soundstorm.model import SoundStorm


class Iteration(NamedTuple):
    """The state that one iteration left behind."""

    level: int
    iteration: int  # 1 to steps[level]
    codes: Tensor  # (B, Q, T) int64, the mask token where nothing is decided yet
    masked: Tensor  # (B, T) bool, frames of `level` still masked


class Decoded(NamedTuple):
    """Codes (B, Q, T) int64 without mask tokens, and every iteration if recording was asked for (else an empty list)."""

    codes: Tensor
    trace: list[Iteration]


def decode(
    model: SoundStorm,
    codes: Tensor,
    given: Tensor,
    labels: Tensor,
    *,
    seeds: Sequence[int],
    padding: Tensor | None = None,
    steps: Sequence[int] = (12, 1, 1, 1, 1, 1, 1, 1),
    temperature: float | Sequence[float] = 1.0,
    choice_temperature: float = 4.5,
    guidance: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    record: bool = False,
) -> Decoded:
    """Fill in the tokens that are not given, coarse levels first; `given` all False is plain generation.

    Iteration i of a level's n samples all its masked tokens, then masks again the ceil(total cos(pi i / 2n)) of them with the lowest
    log p + choice_temperature (1 - i / n) Gumbel, where total counts the item's tokens of that level that are not given and p is the guided
    model's probability at temperature 1; the others are kept for good. A level of one step takes the likeliest codes. Levels not yet
    decoded are hidden from the model, given tokens included, as in training; a level that is given whole costs nothing.

    Parameters
    ----------
    model : in eval mode, on the device of all the tensors
    codes : (B, Q, T) int64, read where given
    given : (B or 1, Q, T) bool, True = kept verbatim
    labels : (B,) int64 in [0, num_classes], num_classes being "no class"
    seeds : one per item, for a generator of its own on the device of `codes`: the same seed and device give the same codes, whatever else
        is in the batch and however the item is padded (up to rounding: matrix products of another batch size may round differently)
    padding : (B, T) bool, True = not part of the item; comes back as it is in `codes`, which must be codes there too
    steps : iterations of each level, at least 1
    temperature : of the sampling, >= 0, 0 being greedy; one for all levels or one per level
    choice_temperature : >= 0, weight of the noise in what is kept; 4.5 is MaskGIT's
    guidance : g >= 0 in logits = null + g (conditional - null); 1 is none, and costs one pass where others cost two
    top_k, top_p : sample from the k likeliest codes only, and from the fewest codes that together have the probability p in (0, 1]
    record : keep the state after every iteration

    Raises `SsenvError` for a setting out of range and `ValueError` for tensors that do not fit each other or the model.
    """
    n_q, mask_token = model.config.n_q, model.config.mask_token
    temperatures = [temperature] * n_q if isinstance(temperature, int | float) else list(temperature)
    _check_settings(n_q, steps, temperatures, choice_temperature, guidance, top_k, top_p)
    free = _free_tokens(model, codes, given, labels, padding, seeds)
    generators = [torch.Generator(codes.device).manual_seed(seed) for seed in seeds]
    state, trace = torch.full_like(codes, mask_token), []
    for level, n in enumerate(steps):
        masked = free[:, level]
        state[:, level] = codes[:, level].masked_fill(masked, mask_token)
        left = totals = masked.sum(dim=-1).tolist()
        if not any(totals):
            continue
        for i in range(1, n + 1):
            logits = _guided_logits(model, state, labels, padding, masked, level, guidance)
            tokens = _sample(logits, temperatures[level] if n > 1 else 0.0, top_k, top_p, generators, left)
            noise = choice_temperature * (1 - i / n) * _gumbel(generators, left)
            confidence = torch.full(masked.shape, torch.inf, device=codes.device)
            confidence[masked] = logits.log_softmax(dim=-1).gather(-1, tokens[:, None])[:, 0] + noise
            state[:, level][masked] = tokens
            left = [num_masked(total, i, n) for total in totals]
            masked = lowest(confidence, torch.tensor(left, device=codes.device))
            state[:, level].masked_fill_(masked, mask_token)
            if record:
                trace.append(Iteration(level, i, state.clone(), masked))
    return Decoded(state, trace)


@torch.inference_mode()
def _guided_logits(
    model: SoundStorm, codes: Tensor, labels: Tensor, padding: Tensor | None, masked: Tensor, level: int, guidance: float
) -> Tensor:
    """Logits, float32 (M, K), of the M masked tokens of `level`, item after item."""
    if guidance == 1:
        return model.logits(model(codes, labels, padding)[masked], level).float()
    twice = torch.cat((torch.full_like(labels, model.config.null_label), labels))
    hidden = model(codes.repeat(2, 1, 1), twice, None if padding is None else padding.repeat(2, 1))
    null, conditional = model.logits(hidden.unflatten(0, (2, -1))[:, masked], level).float()
    return torch.lerp(null, conditional, guidance)


def _sample(
    logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, generators: list[torch.Generator], counts: list[int]
) -> Tensor:
    """One code for each row of logits (M, K), by the Gumbel-max trick; the rows are `counts[b]` of item b after those of item b - 1."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / temperature
    if top_k is not None or top_p is not None:
        probability, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
        dropped = probability.cumsum(dim=-1) - probability >= (math.inf if top_p is None else top_p)
        if top_k is not None:
            dropped[:, top_k:] = True
        logits = logits.masked_fill(dropped.scatter(-1, order, dropped), -torch.inf)
    return (logits + _gumbel(generators, counts, logits.shape[-1])).argmax(dim=-1)


def _gumbel(generators: list[torch.Generator], counts: list[int], *width: int) -> Tensor:
    """Standard Gumbel noise, float32 (sum(counts), *width), of which generator b draws counts[b] rows."""
    draws = [torch.empty((n, *width), device=g.device).exponential_(generator=g) for g, n in zip(generators, counts, strict=True)]
    return -torch.cat(draws).log()


def _check_settings(
    n_q: int,
    steps: Sequence[int],
    temperatures: list[float],
    choice_temperature: float,
    guidance: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    if len(steps) != n_q or min(steps) < 1:
        raise SsenvError(f"decoding: steps {tuple(steps)} must name at least 1 iteration for each of the model's {n_q} levels")
    if len(temperatures) != n_q or not min(temperatures) >= 0:
        raise SsenvError(f"decoding: temperature {tuple(temperatures)} must be one number, or one for each of {n_q} levels, none below 0")
    for name, value in (("choice_temperature", choice_temperature), ("guidance", guidance)):
        if not value >= 0:
            raise SsenvError(f"decoding: {name} {value} must not be below 0")
    if top_k is not None and top_k < 1:
        raise SsenvError(f"decoding: top_k {top_k} must be at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise SsenvError(f"decoding: top_p {top_p} must lie in (0, 1]")


def _free_tokens(model: SoundStorm, codes: Tensor, given: Tensor, labels: Tensor, padding: Tensor | None, seeds: Sequence[int]) -> Tensor:
    """The tokens to fill in, bool (B, Q, T), once all tensors are found to fit."""
    items, n_q, n_frames = codes.shape
    if n_q != model.config.n_q:
        raise ValueError(f"codes {tuple(codes.shape)} have {n_q} levels, the model {model.config.n_q}")
    if given.shape not in {(items, n_q, n_frames), (1, n_q, n_frames)}:
        raise ValueError(f"given {tuple(given.shape)} does not fit codes {tuple(codes.shape)}")
    if padding is not None and padding.shape != (items, n_frames):
        raise ValueError(f"padding {tuple(padding.shape)} does not fit codes {tuple(codes.shape)}")
    if labels.shape != (items,) or len(seeds) != items:
        raise ValueError(f"{items} items need as many labels and seeds, not {tuple(labels.shape)} and {len(seeds)}")
    if model.training:
        raise ValueError("decoding needs model.eval(): dropout would make codes depend on more than their seed")
    free = (~given if padding is None else ~(given | padding[:, None])).expand_as(codes)
    if not torch.all(free | ((codes >= 0) & (codes < model.config.codebook_size))):
        raise ValueError(f"codes that are given or padding must lie in [0, {model.config.codebook_size}); the mask token is no code")
    return free
