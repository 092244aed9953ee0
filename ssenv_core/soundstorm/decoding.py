"""Parallel iterative decoding of residual codes, one level after another.

Within a level this is MaskGIT's decoding (Chang et al. 2022, section 3.2): all masked tokens are
sampled, and some of the samples are kept. Over levels it is SoundStorm's (Borsos et al. 2023,
section 3.3). Classifier-free guidance drops class and controls together (Ho & Salimans 2022, eq. 6;
g = 1 + w). Continuation, inpainting and variation are one mechanism: given tokens.

Of a model this uses `config`, `training`, the call (`Inputs` -> hidden frames) and `logits`.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ssenv_core.base.errors import SsenvError
from ssenv_core.soundstorm.inputs import CONTROLS, Inputs
from ssenv_core.soundstorm.masking import lowest, num_masked
from ssenv_core.soundstorm.model import SoundStorm
from ssenv_core.soundstorm.sampling import Noise, Sampling, SeededNoise


class Iteration(NamedTuple):
    """The state after one iteration."""

    level: int
    iteration: int  # 1 to steps[level]
    codes: Tensor  # (B, Q, T) int64, the mask token where a token is not decided yet
    masked: Tensor  # (B, T) bool, frames of `level` that are still masked
    free: Tensor  # (B, T) bool, frames of `level` that are generated; others are given or padding


class Decoded(NamedTuple):
    """Codes (B, Q, T) int64 without mask tokens, and every iteration if recorded (else [])."""

    codes: Tensor
    trace: list[Iteration]


def decode(
    model: SoundStorm,
    inputs: Inputs,
    given: Tensor,
    sampling: Sampling,
    *,
    seeds: Sequence[int],
    record: bool = False,
    watch: Callable[[float], None] | None = None,
) -> Decoded:
    """Generate the tokens that are not given, coarse levels first.

    Iteration i of a level's n samples all masked tokens of the level and masks again the
    ceil(total cos(pi i / 2n)) of them that the sampler ranks lowest; total is the number of tokens
    of that level and item that are not given. The other samples are final. The sampler ranks by the
    guided model's probability at temperature 1. As in training, the model does not see the levels
    that are not yet decoded, given tokens included; a model that was trained with prompts sees the
    frames that are given at all levels. A level that is given whole costs no pass.

    Parameters
    ----------
    model : in eval mode, on the device of all the tensors
    inputs : with labels. Codes are read where given or padding and must not be mask tokens there;
        padding keeps its codes. The unguided pass sees no class and no controls
    given : (B or 1, Q, T) bool, True = kept verbatim; all False generates the whole clip
    sampling : with as many steps as the model has levels
    seeds : one per item, each for its own generator on the device of the codes. The same seed and
        device give the same codes, whatever the batch and the padding (up to rounding: matrix
        products of another batch size may round differently)
    record : keep the state after every iteration
    watch : called after every iteration with the share of iterations done, in (0, 1]; an exception
        that it raises ends the decoding

    Raises `SsenvError` if the number of steps is not the number of levels and `ValueError` for
    tensors that fit neither each other nor the model.
    """
    if len(sampling.steps) != model.config.n_q:
        raise SsenvError(
            f"decoding: steps {sampling.steps} must name the iterations of each of the model's "
            f"{model.config.n_q} levels"
        )
    free = _free_tokens(model, inputs, given, seeds)
    totals = free.sum(dim=-1).T.tolist()
    noise = SeededNoise(seeds, inputs.codes.device)
    return fill_in(model, inputs, free, totals, sampling, noise, record=record, watch=watch)


@torch.no_grad()
def fill_in(
    model: SoundStorm,
    inputs: Inputs,
    free: Tensor,
    totals: Sequence[Sequence[int]],
    sampling: Sampling,
    noise: Noise,
    *,
    record: bool = False,
    watch: Callable[[float], None] | None = None,
) -> Decoded:
    """Generate the tokens that are `free` (B, Q, T), as `decode`, unchecked and with any noise.

    `totals`[q][b] is the number of free tokens of level q in item b. With these known beforehand no
    step depends on a tensor's values, so that all of it can be exported as one program.
    """
    codes = inputs.codes
    hidden = free.any(1, keepdim=True) if model.config.prompts else torch.ones_like(free[:, :1])
    state = codes.masked_fill(hidden, model.config.mask_token)
    trace = []
    levels = list(zip(sampling.steps, sampling.temperatures, totals, strict=True))
    iterations = sum(n for n, _, total in levels if any(total))
    done = 0
    for level, (n, temperature, total) in enumerate(levels):
        masked = free[:, level]
        state[:, level] = codes[:, level].masked_fill(masked, model.config.mask_token)
        if not any(total):
            continue
        rank = sampling.sampler.begin(total, noise)
        index = masked.flatten().cumsum(0).view_as(masked) - 1
        counts = total
        for i in range(1, n + 1):
            where = torch.nonzero_static(masked, size=sum(counts)).unbind(1)
            guidance = sampling.guidance_at(i, n)
            logits = _guided_logits(model, inputs._replace(codes=state), where, level, guidance)
            tokens = _sample(logits, temperature, sampling.top_k, sampling.top_p, noise, counts)
            log_p = logits.log_softmax(dim=-1).gather(-1, tokens[:, None])[:, 0]
            ranks = torch.full(masked.shape, torch.inf, device=codes.device)
            ranks[where] = rank(log_p, index[where], counts, i / n)
            state[:, level][where] = tokens
            counts = [num_masked(tokens_of_item, i, n) for tokens_of_item in total]
            masked = lowest(ranks, torch.tensor(counts, device=codes.device))
            state[:, level].masked_fill_(masked, model.config.mask_token)
            if record:
                trace.append(Iteration(level, i, state.clone(), masked, free[:, level]))
            done += 1
            if watch is not None:
                watch(done / iterations)
    return Decoded(state, trace)


def _guided_logits(
    model: SoundStorm, inputs: Inputs, where: tuple[Tensor, ...], level: int, guidance: float
) -> Tensor:
    """Logits float32 (M, K) of the M tokens of `level` at `where`: items and frames, (M,) each."""
    if guidance == 1:
        return model.logits(model(inputs)[where], level).float()
    hidden = model(inputs.unconditioned(model.config.null_label).joined(inputs))
    both = hidden.unflatten(0, (2, -1))[:, where[0], where[1]]
    null, conditional = model.logits(both, level).float()
    return torch.lerp(null, conditional, guidance)


def _sample(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    noise: Noise,
    counts: Sequence[int],
) -> Tensor:
    """Sample by inverse CDF: one uniform draw per row; the Gumbel-max trick would need K.

    `logits` (M, K), counts[b] rows of item b after those of item b - 1 -> codes (M,) int64.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    probability = (logits / temperature).softmax(dim=-1)
    if top_k is not None or top_p is not None:
        falling, order = probability.sort(dim=-1, descending=True)
        dropped = falling.cumsum(dim=-1) - falling >= (math.inf if top_p is None else top_p)
        if top_k is not None:
            dropped[:, top_k:] = True
        probability = probability.masked_fill(dropped.scatter(-1, order, dropped), 0.0)
    upto = probability.cumsum(dim=-1)
    # Above 0 and at most the sum: a code of probability 0 is never drawn.
    draw = (1 - noise.uniform(counts)[:, None]) * upto[:, -1:]
    return torch.searchsorted(upto, draw)[:, 0]


def _free_tokens(model: SoundStorm, inputs: Inputs, given: Tensor, seeds: Sequence[int]) -> Tensor:
    """The tokens to generate, bool (B, Q, T); refuses tensors that do not fit."""
    codes, labels, padding, controls = inputs
    items, n_q, n_frames = codes.shape
    if n_q != model.config.n_q:
        raise ValueError(
            f"codes {tuple(codes.shape)} have {n_q} levels, the model {model.config.n_q}"
        )
    if given.shape not in {(items, n_q, n_frames), (1, n_q, n_frames)}:
        raise ValueError(f"given {tuple(given.shape)} does not fit codes {tuple(codes.shape)}")
    if padding is not None and padding.shape != (items, n_frames):
        raise ValueError(f"padding {tuple(padding.shape)} does not fit codes {tuple(codes.shape)}")
    if controls is not None and controls.shape != (items, n_frames, len(CONTROLS)):
        raise ValueError(f"controls {tuple(controls.shape)} do not fit codes {tuple(codes.shape)}")
    if labels.shape != (items,) or len(seeds) != items:
        raise ValueError(
            f"{items} items need as many labels and seeds, not {tuple(labels.shape)} "
            f"and {len(seeds)}"
        )
    if model.training:
        raise ValueError(
            "decoding needs model.eval(): dropout would make codes depend on more than their seed"
        )
    free = (~given if padding is None else ~(given | padding[:, None])).expand_as(codes)
    if not torch.all(free | ((codes >= 0) & (codes < model.config.codebook_size))):
        raise ValueError(
            f"codes that are given or padding must lie in [0, {model.config.codebook_size}); "
            "the mask token is no code"
        )
    return free
