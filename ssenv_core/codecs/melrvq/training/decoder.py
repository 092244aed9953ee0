"""Trains the decoder by a spectral energy distance, on the tokens of a finished encoder.

The decoder draws two waveforms y, y' per input; the loss is d(x, y) + d(x, y') - d(y, y')
(generalized energy distance, Gritsenko et al. 2020, eq. 5). The last term makes the noise part
match the spread of what the codes leave open, where d(x, y) alone would make it an average. There
is no discriminator. The linear term of d is divided by a level that depends only on the codes that
the decoder gets (see `CodedLevel`): divided by the level of the reference, the score would not be
proper, and its optimum too quiet.

Noise that is independent from bin to bin cannot vary a frame's loudness where the codes leave it
open. At the end, `match_loudness` therefore sets one gain per number of levels. An optional finish
adds the same energy distance of the activations of a CNN (see `hearing`).
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ssenv_core.base.devices import autocast, resolve_precision
from ssenv_core.base.progress import track
from ssenv_core.base.training_loop import (
    Draws,
    Run,
    Training,
    descend,
    one_cycle,
    warmed_up_average,
)
from ssenv_core.codecs.melrvq.codec import MelRVQ, audible
from ssenv_core.codecs.melrvq.features import FLOOR, FRAMES_SEEN, HOP, silent_frames
from ssenv_core.codecs.melrvq.training.encoder import draw_levels, segment_tokens
from ssenv_core.codecs.melrvq.training.hearing import Hearing
from ssenv_core.codecs.melrvq.training.sounds import BATCH, Sounds
from ssenv_core.codecs.protocol import weights_hash

Described = list[torch.Tensor]  # the features of a batch of waveforms that a distance compares
RESOLUTIONS = (128, 256, 512, 1024, 2048)
EMA_DECAY = 0.999
FAVOURED = 0.8  # share of the batches with a favoured number of levels
SEGMENTS, BATCHED = 256, 8  # for levels and gains
RIDGE = 1.0  # penalty of the regression in `CodedLevel`


class SpectralDistance(nn.Module):
    """Distance d(x, y) per item, averaged over STFT resolutions and frames.

    Per frame: the root-mean-square and the mean absolute difference of log magnitudes, plus the
    mean absolute difference of magnitudes divided by an expected level. That linear term (Gritsenko
    et al., eq. 6) gives loud frames their energy.
    """

    def __init__(self) -> None:
        super().__init__()
        for n_fft in RESOLUTIONS:
            hann = torch.hann_window(n_fft)
            self.register_buffer(f"window_{n_fft}", hann * 2 / hann.sum())

    def spectrograms(self, wav: torch.Tensor) -> list[torch.Tensor]:
        """wav (B, S) -> amplitudes (B, bins, frames) at each resolution."""
        return [
            torch.stft(wav, n, n // 4, n, getattr(self, f"window_{n}"), return_complex=True)
            .abs()
            .clamp_min(FLOOR)
            for n in RESOLUTIONS
        ]

    def forward(
        self, x: list[torch.Tensor], y: list[torch.Tensor], scale: list[torch.Tensor]
    ) -> torch.Tensor:
        """Compare the spectrograms of two batches: (B,).

        Args:
            scale: divisor (B, 1, 1) of the linear term at each resolution.
        """
        total = 0.0
        for a, b, level in zip(x, y, scale, strict=True):
            log = a.log() - b.log()
            total = total + (log.square().mean(1) + 1e-8).sqrt().mean(1)
            total = total + log.abs().mean((1, 2))
            total = total + ((a - b).abs() / level).mean((1, 2))
        return total / len(x)


class CodedLevel(nn.Module):
    """Estimates the mean amplitude of a token's spectrogram, at each resolution, from its latent.

    A ridge regression of the amplitude's logarithm.

    Args:
        latents: (M, D) of M tokens that are not silent.
        amplitudes: (M, R) mean amplitudes of their spectrograms.
    """

    def __init__(self, latents: torch.Tensor, amplitudes: torch.Tensor) -> None:
        super().__init__()
        inputs = _with_constant(latents).double()
        squares = inputs.mT @ inputs + RIDGE * torch.eye(inputs.shape[1], dtype=torch.float64)
        weights = torch.linalg.solve(squares, inputs.mT @ amplitudes.double().log())
        self.register_buffer("weights", weights.float())

    def forward(self, latents: torch.Tensor, audible: torch.Tensor) -> list[torch.Tensor]:
        """latents (B, T, D), audible (B, T) -> the level (B, 1, 1) at each resolution."""
        amplitudes = (_with_constant(latents) @ self.weights).exp() * audible[..., None]
        return list((amplitudes.mean(1) + FLOOR)[..., None, None].unbind(1))


def _with_constant(latents: torch.Tensor) -> torch.Tensor:
    return torch.cat([latents, torch.ones_like(latents[..., :1])], dim=-1)


@torch.no_grad()
def coded_level(
    codec: MelRVQ,
    sounds: Sounds,
    codes: torch.Tensor,
    distance: SpectralDistance,
    settings: Training,
) -> CodedLevel:
    """Fit a `CodedLevel` to random segments of the training sounds."""
    rng, tokens = torch.Generator().manual_seed(settings.seed), segment_tokens(codec, settings)
    latents, amplitudes = [], []
    for _ in range(SEGMENTS // BATCHED):
        clip, token = sounds.segments(BATCHED, tokens, rng)
        chosen = codes[clip, token].mT.long()
        live = chosen[:, 0] != 0
        spectrograms = distance.spectrograms(sounds.waveforms(clip, token))
        means = [F.adaptive_avg_pool1d(a.mean(1), tokens)[live] for a in spectrograms]
        amplitudes.append(torch.stack(means, dim=-1))
        latents.append(codec.encoder.dequantize(chosen)[live])
    return CodedLevel(torch.cat(latents), torch.cat(amplitudes))


def energy(
    distance: Callable[[Described, Described], torch.Tensor],
    x: Described,
    y: Described,
    other: Described,
) -> torch.Tensor:
    """Generalized energy distance (B,) of two draws y and other from x.

    d(x, y) + d(x, other) - d(y, other).
    """
    return distance(x, y) + distance(x, other) - distance(y, other)


def train_decoder(
    codec: MelRVQ,
    sounds: Sounds,
    codes: torch.Tensor,
    settings: Training,
    state_file: Path,
    device: str | torch.device = "cpu",
    report: Callable[[dict], None] | None = None,
    hearing: Hearing | None = None,
) -> list[dict]:
    """Train `codec.decoder` in place on the codec's own tokens.

    It starts from its present weights and ends with averaged (EMA) ones.

    Args:
        codes: of the sounds, see `encode_all`.
        hearing: a distance added, with equal weight, to that of the spectra; None: spectra alone.

    Returns:
        Log rows {step, loss, seconds}.

    Raises:
        SsenvError: see `Run`.
    """
    device, precision = torch.device(device), resolve_precision("auto", torch.device(device))
    distance = SpectralDistance()
    level = coded_level(codec.cpu(), sounds, codes, distance, settings).to(device)
    codec.to(device)
    distance.to(device)
    decoder, config = codec.decoder.train().requires_grad_(True), codec.config.encoder
    tokens = segment_tokens(codec, settings)
    if hearing is not None:
        hearing.to(device)
    optimizer = torch.optim.AdamW(
        decoder.parameters(), settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    scheduler = one_cycle(
        optimizer, settings.learning_rate, settings.steps, settings.warmup, cycle_momentum=True
    )
    average = AveragedModel(decoder, multi_avg_fn=warmed_up_average(EMA_DECAY))

    draws = Draws(settings.seed, device)

    def step(_: int) -> float:
        clip, token = sounds.segments(settings.batch_size, tokens, draws.own)
        levels = draw_levels(draws.own, config.levels, config.settled, FAVOURED)
        x = sounds.waveforms(clip, token).to(device)
        chosen = codes[clip, token, :levels].mT.to(device, torch.int64)
        latents, gate = codec.encoder.dequantize(chosen), audible(chosen, codec.hop)
        scale = level(latents, chosen[:, 0] != 0)
        with autocast(precision, device):
            spectra = decoder.spectra(latents, levels)
        wavs = [wav * gate for wav in (x, *(decoder.synthesize(spectra) for _ in range(2)))]
        spectrograms = (distance.spectrograms(wav) for wav in wavs)
        score = energy(lambda a, b: distance(a, b, scale), *spectrograms).mean()
        if hearing is not None:
            score = score + energy(hearing.distance, *map(hearing, wavs)).mean()
        descend(score, scheduler, max_norm=1.0)
        average.update_parameters(decoder)
        return score.item()

    run = Run(
        name="decoder",
        module=__name__,
        steps=settings.steps,
        state_file=state_file,
        settings=settings,
        identity={
            "clips": sounds.fingerprint,
            "precision": precision,
            "tokens": codec.token_hash,
            "config": str(codec.config.decoder),
            "start": weights_hash("decoder", decoder),
            "hearing": hearing and weights_hash("hearing", hearing),
        },
        parts={
            "decoder": decoder,
            "average": average,
            "optimizer": optimizer,
            "scheduler": scheduler,
            "draws": draws,
        },
        logged=settings.logged,
    )
    rows = run(step, report)
    decoder.load_state_dict(average.module.state_dict())
    codec.eval().requires_grad_(False)
    return rows


@torch.inference_mode()
def match_loudness(codec: MelRVQ, sounds: Sounds, settings: Training) -> None:
    """Set the gain of each number of levels, in place, to match the loudness of the sounds.

    The mean RMS amplitude of all frames is then that of the sounds. It is measured on varied
    segments: the training's own segments come back less quiet than other sounds.
    """
    rng, device = torch.Generator().manual_seed(settings.seed), codec.decoder.gain.device
    config = codec.config.encoder
    margin = math.ceil((FRAMES_SEEN + config.frames_seen) / config.frames_per_token)
    own = slice(margin, -margin)
    real = torch.zeros((), dtype=torch.float64)
    drawn = torch.zeros(config.levels + 1, dtype=torch.float64)
    codec.decoder.gain.fill_(1.0)
    noise = torch.Generator(device).manual_seed(settings.seed)
    batches, tokens = SEGMENTS // BATCHED, segment_tokens(codec, settings)
    for _ in track(range(batches), batches, "match loudness", "batch"):
        wide = sounds.draw(BATCHED, tokens, margin, rng, device)
        latents = codec.encoder(codec.features(wide))[:, own]
        codes = codec.encoder.quantize(
            latents, silent_frames(wide, codec.hop)[:, own], config.levels
        )
        real += _loudness(wide[:, codec.hop * margin : -codec.hop * margin])
        for levels in range(1, config.levels + 1):
            drawn[levels] += _loudness(codec.decode(codes[:, :levels], noise)[:, 0])
    codec.decoder.gain[1:] = (real / drawn[1:]).float()


def _loudness(wavs: torch.Tensor) -> torch.Tensor:
    """Sum the RMS amplitudes of all frames of wavs (B, S); float64."""
    return wavs.unflatten(1, (-1, HOP)).square().mean(2).sqrt().double().sum().cpu()


@torch.inference_mode()
def encode_all(codec: MelRVQ, sounds: Sounds) -> torch.Tensor:
    """Encode all sounds at every level: (N, T, Q) int16; `codec` is on the CPU."""
    levels = codec.config.encoder.levels
    encoded = [
        codec.encoder.quantize(codec.encoder(codec.features(wavs)), ~live, levels).short()
        for wavs, live in track(sounds.batches(), -(-len(sounds) // BATCH), "encode", "batch")
    ]
    return torch.cat(encoded).transpose(1, 2).contiguous()
