"""Trains the encoder, and with it the part of the decoder that rebuilds the features, to the least squared error through the quantizer.

The gradient passes the quantizer straight through (van den Oord et al. 2017); its codebooks follow the latents as moving averages
(`encodec`'s, after SoundStream), every other batch at the 8 levels of 6 kbps and else at any number: each level refines those before.
Every segment is varied: codebooks that know only the clips as they are fit those far better than any others. At the end, entries that only
variations need are given to the clips as they are (see `codebooks.spread_use`).
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from encodec.quantization.core_vq import EuclideanCodebook
from torch import nn

from ssenv_core.base.code import code_of
from ssenv_core.base.devices import autocast, resolve_precision
from ssenv_core.base.training_loop import Training, one_cycle, run
from ssenv_core.codecs.melrvq.codec import MelRVQ
from ssenv_core.codecs.melrvq.encoder import MAX_LEVELS
from ssenv_core.codecs.melrvq.features import FRAMES_SEEN, silent_frames
from ssenv_core.codecs.melrvq.training.codebooks import fit_codebooks, spread_use
from ssenv_core.codecs.melrvq.training.sounds import Sounds

COMMITMENT = 0.05
DECAY = 0.98  # of the codebooks' moving averages
FIRST_FRAMES, FIRST_ITERATIONS = 30_000, 5
DEAD = 0.03  # of the mean use; a code used less is moved to where latents are
FAVOURED = (8,)  # numbers of levels: those of 6 kbps
DECIBEL = 20 / math.log(10)  # of a natural logarithm of amplitude


def train_encoder(
    codec: MelRVQ,
    sounds: Sounds,
    settings: Training,
    state_file: Path,
    device: str | torch.device = "cpu",
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train the encoder and the codebooks of `codec` in place: its tokens are final.

    Returns:
        Log rows {step, loss, seconds}; the loss is the mean squared error of the features, in nat^2.

    Raises:
        SsenvError: see `loop.run`.
    """
    device, precision = torch.device(device), resolve_precision("auto", torch.device(device))
    torch.manual_seed(settings.seed)
    books = _start(codec, sounds, settings)
    codec.to(device)
    books.to(device).train()
    encoder, decoder = codec.encoder.train().requires_grad_(True), codec.decoder
    learning = nn.ModuleList(
        [encoder, decoder.projection, decoder.feature_backbone.train(), decoder.correction]
    ).requires_grad_(True)
    optimizer = torch.optim.AdamW(
        learning.parameters(), settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    scheduler = one_cycle(optimizer, settings.learning_rate, settings.steps, settings.warmup)

    def take_step(rng: torch.Generator) -> float:
        wav = sounds.draw(settings.batch_size, settings.segment_frames, FRAMES_SEEN, rng, device)
        features, live = (
            part[:, FRAMES_SEEN:-FRAMES_SEEN] for part in (codec.features(wav), ~silent_frames(wav))
        )
        levels = draw_levels(rng, FAVOURED)
        with autocast(precision, device):
            latents = encoder(features)
        heard = latents[live]
        quantized = quantize_and_learn(books[:levels], heard)
        given = torch.zeros_like(latents)
        given[live] = heard + (quantized - heard).detach()
        with autocast(precision, device):
            rebuilt = decoder.features(given)
        error = (rebuilt - features)[live].square().mean()
        optimizer.zero_grad(set_to_none=True)
        (error + COMMITMENT * (heard - quantized).square().mean()).backward()
        nn.utils.clip_grad_norm_(learning.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        return error.item()

    parts = {"learning": learning, "books": books, "optimizer": optimizer, "scheduler": scheduler}
    about = {"clips": sounds.fingerprint, "precision": precision, "config": str(codec.config)}
    rows = run(
        settings,
        take_step,
        parts,
        state_file,
        name="encoder",
        data={"code": code_of(__name__), **about},
        device=device,
        report=report,
    )
    codec.eval().requires_grad_(False).cpu()
    encoder.codebooks[:, 1:] = torch.stack([book.embed for book in books]).cpu()
    spread_use(codec, sounds)
    for tensor in encoder.state_dict().values():
        tensor.copy_(tensor.half())  # as they are stored: tokens never depend on a reload
    return rows


@torch.no_grad()
def _start(codec: MelRVQ, sounds: Sounds, settings: Training) -> nn.ModuleList:
    """Make `codec` quantize the principal components of the features: sets both projections and the features' statistics, in place.

    Returns:
        Codebooks (without silence) of those components, ready to move with the latents.
    """
    frames = torch.cat([codec.features(wavs)[live].half() for wavs, live in sounds.batches()])
    frames = frames[
        torch.randperm(len(frames), generator=torch.Generator().manual_seed(settings.seed))[
            :FIRST_FRAMES
        ]
    ].float()
    mean = frames.mean(0).half().float()
    codec.encoder.mean.copy_(mean)
    codec.decoder.mean.copy_(mean)
    codec.decoder.std.copy_(frames.std(0))
    components = torch.linalg.svd(frames - mean, full_matrices=False)[2][
        : codec.config.encoder.latent_dim
    ]
    codec.encoder.projection.weight.copy_(components)
    codec.decoder.projection.weight.copy_(components.T)
    entries = fit_codebooks(
        (frames - mean) @ components.T,
        levels=MAX_LEVELS,
        iterations=FIRST_ITERATIONS,
        seed=settings.seed,
    )
    use = settings.batch_size * settings.segment_frames / entries.shape[1]  # of a code, in a batch
    books = nn.ModuleList(
        EuclideanCodebook(
            entries.shape[2], entries.shape[1], decay=DECAY, threshold_ema_dead_code=0
        )
        for _ in range(MAX_LEVELS)
    )
    for book, first in zip(books, entries, strict=True):
        book.embed.copy_(first)
        book.cluster_size.fill_(use)
        book.embed_avg.copy_(first * use)
    return books


def quantize_and_learn(books: nn.ModuleList, latents: torch.Tensor) -> torch.Tensor:
    """latents (M, D) -> their quantized values, moving each codebook towards what it quantized."""
    residual, quantized = latents.detach(), 0.0
    for book in books:
        entries, _ = book(residual)
        _revive(book, residual)
        residual = residual - entries
        quantized = quantized + entries
    return quantized


def _revive(book: EuclideanCodebook, vectors: torch.Tensor) -> None:
    """Move entries that are hardly used to random vectors (M, D); the package's own way leaves their averages where they were."""
    use = book.cluster_size.mean()
    dead = book.cluster_size < DEAD * use
    if dead.any():
        chosen = vectors[torch.randint(len(vectors), (int(dead.sum()),), device=vectors.device)]
        book.embed[dead], book.embed_avg[dead], book.cluster_size[dead] = chosen, chosen * use, use


def draw_levels(rng: torch.Generator, favoured: tuple[int, ...]) -> int:
    """One of the favoured numbers or, as often as each of them, any number, so that one codec serves every bandwidth."""
    pick, any_levels = (
        torch.rand((), generator=rng) * (len(favoured) + 1),
        int(torch.randint(1, MAX_LEVELS + 1, (), generator=rng)),
    )
    return (*favoured, any_levels)[int(pick)]


@torch.inference_mode()
def feature_error(codec: MelRVQ, sounds: Sounds) -> list[float]:
    """RMS error in dB of the features of every frame that is not silent, rebuilt from the codes of the first 1 to 16 levels.

    To be measured before `train_decoder`, which moves what rebuilds them to what serves the sound.
    """
    total, frames = torch.zeros(MAX_LEVELS, dtype=torch.float64), 0
    for wavs, live in sounds.batches():
        features = codec.features(wavs)
        codes = codec.encoder.quantize(codec.encoder(features), ~live, MAX_LEVELS)
        for levels in range(1, MAX_LEVELS + 1):
            rebuilt = codec.decoder.features(codec.encoder.dequantize(codes[:, :levels]))
            total[levels - 1] += (rebuilt - features)[live].double().square().mean(1).sum()
        frames += int(live.sum())
    return (DECIBEL * (total / frames).sqrt()).tolist()
