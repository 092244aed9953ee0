"""Parallel iterative decoding of residual codes: the masked tokens of one level after another are sampled, and some of the samples kept.

Within a level this is MaskGIT's decoding (Chang et al. 2022, section 3.2), over levels SoundStorm's (Borsos et al. 2023, section 3.3), with
classifier-free guidance by all that is told, class and controls (Ho & Salimans 2022, eq. 6; g = 1 + w). Continuation, inpainting and
variation are one mechanism: given tokens.
It knows no audio, and of a model only `config`, `training`, the call (codes, labels, padding, controls) -> hidden and `logits`.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ssenv_core.base.errors import SsenvError
from ssenv_core.soundstorm.masking import lowest, num_masked
from ssenv_core.soundstorm.model import SoundStorm
from ssenv_core.soundstorm.sampling import Noise, Sampling, SeededNoise


class Iteration(NamedTuple):
    """The state that one iteration left behind."""

    level: int
    iteration: int  # 1 to steps[level]
    codes: Tensor  # (B, Q, T) int64, the mask token where nothing is decided yet
    masked: Tensor  # (B, T) bool, frames of `level` still masked
    free: Tensor  # (B, T) bool, frames of `level` that were to be decided: the others are given, or padding


class Decoded(NamedTuple):
    """Codes (B, Q, T) int64 without mask tokens, and every iteration if recording was asked for (else an empty list)."""

    codes: Tensor
    trace: list[Iteration]


def decode(
    model: SoundStorm,
    codes: Tensor,
    given: Tensor,
    labels: Tensor,
    sampling: Sampling,
    *,
    seeds: Sequence[int],
    padding: Tensor | None = None,
    controls: Tensor | None = None,
    record: bool = False,
    watch: Callable[[float], None] | None = None,
) -> Decoded:
    """Fill in the tokens that are not given, coarse levels first; `given` all False is plain generation.

    Iteration i of a level's n samples all its masked tokens, then masks again the ceil(total cos(pi i / 2n)) of them that the sampler ranks
    lowest, where total counts the item's tokens of that level that are not given; the others are kept for good. The sampler is shown the
    guided model's probability at temperature 1. Levels not yet decoded are hidden from the model, given tokens included, as in training; a
    level that is given whole costs nothing.

    Parameters
    ----------
    model : in eval mode, on the device of all the tensors
    codes : (B, Q, T) int64, read where given
    given : (B or 1, Q, T) bool, True = kept verbatim
    labels : (B,) int64 in [0, num_classes], num_classes being "no class"
    sampling : with as many steps as the model has levels
    seeds : one per item, for a generator of its own on the device of `codes`: the same seed and device give the same codes, whatever else
        is in the batch and however the item is padded (up to rounding: matrix products of another batch size may round differently)
    padding : (B, T) bool, True = not part of the item; comes back as it is in `codes`, which must be codes there too
    controls : (B, T, 2) float as of `SoundStorm`, the unguided model is asked nothing; None asks nothing at all
    record : keep the state after every iteration
    watch : told after every iteration which share of them all is done, in (0, 1]; what it raises ends the decoding

    Raises `SsenvError` for steps of another number of levels and `ValueError` for tensors that do not fit each other or the model.
    """
    if len(sampling.steps) != model.config.n_q:
        raise SsenvError(
            f"decoding: steps {sampling.steps} must name the iterations of each of the model's {model.config.n_q} levels"
        )
    free = _free_tokens(model, codes, given, labels, padding, controls, seeds)
    noise, totals = SeededNoise(seeds, codes.device), free.sum(dim=-1).T.tolist()
    return fill_in(
        model,
        codes,
        free,
        totals,
        labels,
        sampling,
        noise,
        padding=padding,
        controls=controls,
        record=record,
        watch=watch,
    )


@torch.no_grad()
def fill_in(
    model: SoundStorm,
    codes: Tensor,
    free: Tensor,
    totals: Sequence[Sequence[int]],
    labels: Tensor,
    sampling: Sampling,
    noise: Noise,
    *,
    padding: Tensor | None = None,
    controls: Tensor | None = None,
    record: bool = False,
    watch: Callable[[float], None] | None = None,
) -> Decoded:
    """`decode` without its checks, of tokens that are not `free` (B, Q, T), wherever the noise is from.

    `totals`[q][b] says how many free tokens level q of item b has: with that known beforehand no step depends on what a tensor holds, and
    the whole can be exported as one program.
    """
    state, trace = torch.full_like(codes, model.config.mask_token), []
    done, iterations = (
        0,
        sum(n for n, total in zip(sampling.steps, totals, strict=True) if any(total)),
    )
    for level, (n, temperature, total) in enumerate(
        zip(sampling.steps, sampling.temperatures, totals, strict=True)
    ):
        masked = free[:, level]
        state[:, level] = codes[:, level].masked_fill(masked, model.config.mask_token)
        if not any(total):
            continue
        rank, place, counts = (
            sampling.sampler.begin(total, noise),
            masked.flatten().cumsum(0).view_as(masked) - 1,
            total,
        )
        for i in range(1, n + 1):
            where = torch.nonzero_static(masked, size=sum(counts)).unbind(1)
            logits = _guided_logits(
                model, state, labels, padding, controls, where, level, sampling.guidance_at(i, n)
            )
            tokens = _sample(logits, temperature, sampling.top_k, sampling.top_p, noise, counts)
            log_p = logits.log_softmax(dim=-1).gather(-1, tokens[:, None])[:, 0]
            ranks = torch.full(masked.shape, torch.inf, device=codes.device)
            ranks[where] = rank(log_p, place[where], counts, i / n)
            state[:, level][where] = tokens
            counts = [num_masked(of, i, n) for of in total]
            masked = lowest(ranks, torch.tensor(counts, device=codes.device))
            state[:, level].masked_fill_(masked, model.config.mask_token)
            if record:
                trace.append(Iteration(level, i, state.clone(), masked, free[:, level]))
            done += 1
            if watch is not None:
                watch(done / iterations)
    return Decoded(state, trace)


def _guided_logits(
    model: SoundStorm,
    codes: Tensor,
    labels: Tensor,
    padding: Tensor | None,
    controls: Tensor | None,
    where: tuple[Tensor, ...],
    level: int,
    guidance: float,
) -> Tensor:
    """Logits, float32 (M, K), of the M tokens of `level` at `where`: items and frames, each (M,) int64."""
    if guidance == 1:
        return model.logits(model(codes, labels, padding, controls)[where], level).float()
    twice = torch.cat((torch.full_like(labels, model.config.null_label), labels))
    padding = None if padding is None else torch.cat((padding, padding))
    controls = (
        None if controls is None else torch.cat((torch.full_like(controls, torch.nan), controls))
    )
    hidden = model(codes.repeat(2, 1, 1), twice, padding, controls)
    null, conditional = model.logits(
        hidden.unflatten(0, (2, -1))[:, where[0], where[1]], level
    ).float()
    return torch.lerp(null, conditional, guidance)


def _sample(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    noise: Noise,
    counts: Sequence[int],
) -> Tensor:
    """One code for each row of logits (M, K): that into whose share of the cumulated probabilities a uniform draw falls, one draw a row
    where the Gumbel-max trick takes K. The rows are `counts[b]` of item b after those of item b - 1."""
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
    draw = (1 - noise.uniform(counts)[:, None]) * upto[
        :, -1:
    ]  # more than 0 and at most the sum: a code of no probability is never drawn
    return torch.searchsorted(upto, draw)[:, 0]


def _free_tokens(
    model: SoundStorm,
    codes: Tensor,
    given: Tensor,
    labels: Tensor,
    padding: Tensor | None,
    controls: Tensor | None,
    seeds: Sequence[int],
) -> Tensor:
    """The tokens to fill in, bool (B, Q, T), once all tensors are found to fit."""
    items, n_q, n_frames = codes.shape
    if n_q != model.config.n_q:
        raise ValueError(
            f"codes {tuple(codes.shape)} have {n_q} levels, the model {model.config.n_q}"
        )
    if given.shape not in {(items, n_q, n_frames), (1, n_q, n_frames)}:
        raise ValueError(f"given {tuple(given.shape)} does not fit codes {tuple(codes.shape)}")
    if padding is not None and padding.shape != (items, n_frames):
        raise ValueError(f"padding {tuple(padding.shape)} does not fit codes {tuple(codes.shape)}")
    if controls is not None and controls.shape != (items, n_frames, 2):
        raise ValueError(f"controls {tuple(controls.shape)} do not fit codes {tuple(codes.shape)}")
    if labels.shape != (items,) or len(seeds) != items:
        raise ValueError(
            f"{items} items need as many labels and seeds, not {tuple(labels.shape)} and {len(seeds)}"
        )
    if model.training:
        raise ValueError(
            "decoding needs model.eval(): dropout would make codes depend on more than their seed"
        )
    free = (~given if padding is None else ~(given | padding[:, None])).expand_as(codes)
    if not torch.all(free | ((codes >= 0) & (codes < model.config.codebook_size))):
        raise ValueError(
            f"codes that are given or padding must lie in [0, {model.config.codebook_size}); the mask token is no code"
        )
    return free
