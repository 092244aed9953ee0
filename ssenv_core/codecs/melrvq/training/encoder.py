"""Trains the encoder, and with it the part of the decoder that rebuilds the features.

The loss is the squared error of the features through the quantizer. The gradient passes the
quantizer straight through (van den Oord et al. 2017). Its codebooks follow the latents as moving
averages (`encodec`'s, after SoundStream). Half of the batches use the favoured number of levels,
the others any number, so that each level refines those before it. Every segment is varied:
codebooks fitted to unvaried clips fit those far better than any others. At the end, entries that
only variations use are given to the unvaried clips (see `codebooks.spread_use`).
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
from ssenv_core.codecs.melrvq.features import FRAMES_SEEN, silent_frames
from ssenv_core.codecs.melrvq.training.codebooks import fit_codebooks, spread_use
from ssenv_core.codecs.melrvq.training.sounds import Sounds

COMMITMENT = 0.05
DECAY = 0.98  # of the codebooks' moving averages
FIRST_TOKENS, FIRST_ITERATIONS = 30_000, 5
DEAD = 0.03  # an entry used less than this share of the mean use moves to a random latent
FAVOURED = 0.5  # share of the batches with the favoured number of levels
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
    rebuilding = (
        decoder.projection,
        decoder.expansion,
        decoder.feature_backbone.train(),
        decoder.correction,
    )
    learning = nn.ModuleList([encoder, *rebuilding]).requires_grad_(True)
    optimizer = torch.optim.AdamW(
        learning.parameters(), settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    scheduler = one_cycle(optimizer, settings.learning_rate, settings.steps, settings.warmup)

    draws = Draws(settings.seed, device)
    frames_per_token = codec.config.encoder.frames_per_token
    tokens, favoured = segment_tokens(codec, settings), codec.config.encoder.settled[:1]
    margin = math.ceil(FRAMES_SEEN / frames_per_token)
    own = slice(margin, -margin)
    own_frames = slice(margin * frames_per_token, -margin * frames_per_token)

    def step(_: int) -> float:
        wav = sounds.draw(settings.batch_size, tokens, margin, draws.own, device)
        features = codec.features(wav)[:, own_frames]
        audible = ~silent_frames(wav)[:, own_frames]
        live = ~silent_frames(wav, codec.hop)[:, own]
        levels = draw_levels(draws.own, codec.config.encoder.levels, favoured, FAVOURED)
        with autocast(precision, device):
            latents = encoder(features)
        live_latents = latents[live]
        quantized = quantize_and_learn(books[:levels], live_latents)
        straight_through = torch.zeros_like(latents)
        straight_through[live] = live_latents + (quantized - live_latents).detach()
        with autocast(precision, device):
            rebuilt = decoder.features(straight_through)
        error = (rebuilt - features)[audible].square().mean()
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
    config = codec.config.encoder
    tokens = torch.cat(
        [
            codec.features(wavs).unflatten(1, (-1, config.frames_per_token))[live].half()
            for wavs, live in sounds.batches()
        ]
    )  # (M, P, 160)
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(settings.seed))
    tokens = tokens[order[:FIRST_TOKENS]].float()
    mean = tokens.mean((0, 1)).half().float()
    codec.encoder.mean.copy_(mean)
    codec.decoder.mean.copy_(mean)
    codec.decoder.std.copy_(tokens.flatten(0, 1).std(0))
    centred = (tokens - mean).flatten(1)
    axes = torch.linalg.svd(centred, full_matrices=False)[2]
    components = axes[: config.latent_dim]
    codec.encoder.projection.weight.copy_(components)
    codec.decoder.projection.weight.copy_(components.T)
    entries = fit_codebooks(
        centred @ components.T,
        levels=config.levels,
        iterations=FIRST_ITERATIONS,
        seed=settings.seed,
    )
    # Mean number of latents per entry in a batch.
    use = settings.batch_size * segment_tokens(codec, settings) / entries.shape[1]
    books = nn.ModuleList(
        EuclideanCodebook(
            entries.shape[2], entries.shape[1], decay=DECAY, threshold_ema_dead_code=0
        )
        for _ in range(config.levels)
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


def segment_tokens(codec: MelRVQ, settings: Training) -> int:
    """The tokens of a training segment."""
    return round(settings.segment_seconds * codec.frame_rate)


def draw_levels(rng: torch.Generator, levels: int, favoured: tuple[int, ...], share: float) -> int:
    """Draw a number of levels, so that one codec serves every bandwidth.

    A share of the draws is of the favoured numbers, the others of all from 1 to `levels`.
    """
    numbers = favoured if torch.rand((), generator=rng) < share else range(1, levels + 1)
    return numbers[int(torch.randint(len(numbers), (), generator=rng))]


@torch.inference_mode()
def feature_error(codec: MelRVQ, sounds: Sounds) -> list[float]:
    """RMS error in dB of the features rebuilt from the codes of the first 1, 2, ... levels.

    Silent tokens do not count. Measure before `train_decoder`, which changes the layers that
    rebuild the features to serve the sound.
    """
    all_levels = codec.config.encoder.levels
    total, count = torch.zeros(all_levels, dtype=torch.float64), 0
    for wavs, live in sounds.batches():
        features = codec.features(wavs)
        audible = live.repeat_interleave(codec.config.encoder.frames_per_token, dim=1)
        codes = codec.encoder.quantize(codec.encoder(features), ~live, all_levels)
        for levels in range(1, all_levels + 1):
            rebuilt = codec.decoder.features(codec.encoder.dequantize(codes[:, :levels]))
            total[levels - 1] += (rebuilt - features)[audible].double().square().mean(1).sum()
        count += int(audible.sum())
    return (DECIBEL * (total / count).sqrt()).tolist()
