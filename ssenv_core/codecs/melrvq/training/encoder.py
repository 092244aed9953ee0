"""Trains the encoder, and with it the part of the decoder that rebuilds the features.

The loss is the squared error of the features through the quantizer. The gradient passes the
quantizer straight through (van den Oord et al. 2017). Its codebooks follow the latents as moving
averages (`encodec`'s, after SoundStream). Half of the batches use the 8 levels of 6 kbps, the
others any number, so that each level refines those before it. Every segment is varied: codebooks
fitted to unvaried clips fit those far better than any others. At the end, entries that only
variations use are given to the unvaried clips (see `codebooks.spread_use`).
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from encodec.quantization.core_vq import EuclideanCodebook
from torch import nn

from ssenv_core.base.devices import autocast, resolve_precision
from ssenv_core.base.training_loop import Draws, Run, Training, descend, one_cycle
from ssenv_core.codecs.melrvq.codec import MelRVQ
from ssenv_core.codecs.melrvq.encoder import MAX_LEVELS
from ssenv_core.codecs.melrvq.features import FRAMES_SEEN, silent_frames
from ssenv_core.codecs.melrvq.training.codebooks import fit_codebooks, spread_use
from ssenv_core.codecs.melrvq.training.sounds import Sounds

COMMITMENT = 0.05
DECAY = 0.98  # of the codebooks' moving averages
FIRST_FRAMES, FIRST_ITERATIONS = 30_000, 5
DEAD = 0.03  # an entry used less than this share of the mean use moves to a random latent
FAVOURED = (8,)  # numbers of levels drawn more often: that of 6 kbps
DECIBEL = 20 / math.log(10)  # per unit of the natural logarithm of amplitude


def train_encoder(
    codec: MelRVQ,
    sounds: Sounds,
    settings: Training,
    state_file: Path,
    device: str | torch.device = "cpu",
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train the encoder and the codebooks of `codec` in place; its tokens are final then.

    Returns:
        Log rows {step, loss, seconds}; the loss is the mean squared error of the features in nat^2.

    Raises:
        SsenvError: see `Run`.
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

    draws = Draws(settings.seed, device)
    own = slice(FRAMES_SEEN, -FRAMES_SEEN)

    def step(_: int) -> float:
        count, frames = settings.batch_size, settings.segment_frames
        wav = sounds.draw(count, frames, FRAMES_SEEN, draws.own, device)
        features, live = codec.features(wav)[:, own], ~silent_frames(wav)[:, own]
        levels = draw_levels(draws.own, FAVOURED)
        with autocast(precision, device):
            latents = encoder(features)
        live_latents = latents[live]
        quantized = quantize_and_learn(books[:levels], live_latents)
        straight_through = torch.zeros_like(latents)
        straight_through[live] = live_latents + (quantized - live_latents).detach()
        with autocast(precision, device):
            rebuilt = decoder.features(straight_through)
        error = (rebuilt - features)[live].square().mean()
        commitment = (live_latents - quantized).square().mean()
        descend(error + COMMITMENT * commitment, scheduler, max_norm=1.0)
        return error.item()

    run = Run(
        name="encoder",
        module=__name__,
        steps=settings.steps,
        state_file=state_file,
        settings=settings,
        identity={"clips": sounds.fingerprint, "precision": precision, "config": str(codec.config)},
        parts={
            "learning": learning,
            "books": books,
            "optimizer": optimizer,
            "scheduler": scheduler,
            "draws": draws,
        },
        logged=settings.logged,
    )
    rows = run(step, report)
    codec.eval().requires_grad_(False).cpu()
    encoder.codebooks[:, 1:] = torch.stack([book.embed for book in books]).cpu()
    spread_use(codec, sounds)
    for tensor in encoder.state_dict().values():
        tensor.copy_(tensor.half())  # as stored: the same tokens before and after a reload
    return rows


@torch.no_grad()
def _start(codec: MelRVQ, sounds: Sounds, settings: Training) -> nn.ModuleList:
    """Make `codec` quantize the principal components of the features.

    Sets both projections and the features' statistics, in place.

    Returns:
        Codebooks (without silence) of those components, as moving averages.
    """
    frames = torch.cat([codec.features(wavs)[live].half() for wavs, live in sounds.batches()])
    order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(settings.seed))
    frames = frames[order[:FIRST_FRAMES]].float()
    mean = frames.mean(0).half().float()
    codec.encoder.mean.copy_(mean)
    codec.decoder.mean.copy_(mean)
    codec.decoder.std.copy_(frames.std(0))
    axes = torch.linalg.svd(frames - mean, full_matrices=False)[2]
    components = axes[: codec.config.encoder.latent_dim]
    codec.encoder.projection.weight.copy_(components)
    codec.decoder.projection.weight.copy_(components.T)
    entries = fit_codebooks(
        (frames - mean) @ components.T,
        levels=MAX_LEVELS,
        iterations=FIRST_ITERATIONS,
        seed=settings.seed,
    )
    # Mean number of latents per entry in a batch.
    use = settings.batch_size * settings.segment_frames / entries.shape[1]
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
    """Quantize latents (M, D), and move each codebook towards the values it quantized."""
    residual, quantized = latents.detach(), 0.0
    for book in books:
        entries, _ = book(residual)
        _revive(book, residual)
        residual = residual - entries
        quantized = quantized + entries
    return quantized


def _revive(book: EuclideanCodebook, vectors: torch.Tensor) -> None:
    """Move entries that are hardly used to random vectors (M, D).

    The package's own way leaves their moving averages unchanged.
    """
    use = book.cluster_size.mean()
    dead = book.cluster_size < DEAD * use
    if dead.any():
        chosen = vectors[torch.randint(len(vectors), (int(dead.sum()),), device=vectors.device)]
        book.embed[dead] = chosen
        book.embed_avg[dead] = chosen * use
        book.cluster_size[dead] = use


def draw_levels(rng: torch.Generator, favoured: tuple[int, ...]) -> int:
    """Draw a number of levels, so that one codec serves every bandwidth.

    Each favoured number is as probable as the whole range from 1 to 16.
    """
    pick = torch.rand((), generator=rng) * (len(favoured) + 1)
    any_levels = int(torch.randint(1, MAX_LEVELS + 1, (), generator=rng))
    return (*favoured, any_levels)[int(pick)]


@torch.inference_mode()
def feature_error(codec: MelRVQ, sounds: Sounds) -> list[float]:
    """RMS error in dB of the features rebuilt from the codes of the first 1 to 16 levels.

    Silent frames do not count. Measure before `train_decoder`, which changes the layers that
    rebuild the features to serve the sound.
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
