"""Trains the decoder by the spectral energy distance, on the tokens of an encoder that no longer changes.

The decoder draws two waveforms y, y' per input; the loss d(x, y) + d(x, y') - d(y, y') is a proper score of the distribution it draws from
(generalized energy distance, Gritsenko et al. 2020, eq. 5), so the noise part has to match, not average, what it cannot know. No
discriminator is involved. What independent noise per bin cannot say is how loud a frame was whose codes leave that open: the decoder would
be too quiet on average, so (a(y) - a(x)) (a(y') - a(x)), whose mean is the squared error of the mean amplitude a, is part of the loss.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ssenv_core.codec_training.encoder import draw_levels
from ssenv_core.codec_training.loop import Training, run
from ssenv_core.codec_training.sounds import Sounds
from ssenv_core.codecs.melrvq import FLOOR, HOP, MelRVQ, audible
from ssenv_core.codecs.melrvq.features import FRAMES_SEEN, silent_frames
from ssenv_core.optimization import one_cycle, warmed_up_average

RESOLUTIONS = (128, 256, 512, 1024, 2048)
LOUDNESS_RESOLUTIONS = RESOLUTIONS[2:]
LOUDNESS_WEIGHT = 5.0
VARIED = 0.5  # share of the segments
EMA_DECAY = 0.999


class SpectralDistance(nn.Module):
    """d(x, y) per item, averaged over STFT resolutions and frames.

    Per frame: the root-mean-square and the mean absolute difference of log magnitudes, plus the mean absolute difference of magnitudes
    relative to the reference's mean, which keeps the energy of loud frames right (the linear term of Gritsenko et al., eq. 6).
    """

    def __init__(self) -> None:
        super().__init__()
        for n_fft in RESOLUTIONS:
            hann = torch.hann_window(n_fft)
            self.register_buffer(f"window_{n_fft}", hann * 2 / hann.sum())

    def spectrograms(self, wav: torch.Tensor) -> list[torch.Tensor]:
        """wav (B, S) -> amplitudes (B, bins, frames) at each resolution."""
        return [
            torch.stft(wav, n, n // 4, n, getattr(self, f"window_{n}"), return_complex=True).abs().clamp_min(FLOOR) for n in RESOLUTIONS
        ]

    def forward(self, x: list[torch.Tensor], y: list[torch.Tensor], scale: list[torch.Tensor]) -> torch.Tensor:
        """Spectrograms of two batches and the scale (B, 1, 1) of the linear term at each resolution -> (B,)."""
        total = 0.0
        for a, b, level in zip(x, y, scale, strict=True):
            log = a.log() - b.log()
            total = total + (log.square().mean(1) + 1e-8).sqrt().mean(1) + log.abs().mean((1, 2)) + ((a - b).abs() / level).mean((1, 2))
        return total / len(x)


def loudness_error(x: list[torch.Tensor], y: list[torch.Tensor], z: list[torch.Tensor]) -> torch.Tensor:
    """Spectrograms of sounds and of two draws -> (B,): an unbiased estimate of the squared error of the frames' mean RMS amplitude.

    Averaged over frames and LOUDNESS_RESOLUTIONS, relative to the mean amplitude of each sound, or of its draws where they are louder: a
    draw far too loud would else outweigh all others.
    """
    total, first = 0.0, len(RESOLUTIONS) - len(LOUDNESS_RESOLUTIONS)
    for spectrograms in zip(x[first:], y[first:], z[first:], strict=True):
        a, b, c = (amplitudes.square().mean(1).sqrt() for amplitudes in spectrograms)
        scale = torch.maximum(a.mean(1).square(), (b.mean(1) * c.mean(1)).detach())
        total = total + ((b - a) * (c - a)).mean(1) / scale
    return total / len(LOUDNESS_RESOLUTIONS)


def train_decoder(
    codec: MelRVQ,
    sounds: Sounds,
    settings: Training,
    state_file: Path,
    device: str | torch.device = "cpu",
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train `codec.decoder` in place on waveforms through the codec's own tokens; it ends with the averaged (EMA) weights.

    Returns:
        Log rows {step, loss, seconds}.

    Raises:
        SsenvError: see `loop.run`.
    """
    device = torch.device(device)
    codec.to(device)
    decoder, distance = codec.decoder.train().requires_grad_(True), SpectralDistance().to(device)
    optimizer = torch.optim.AdamW(decoder.parameters(), settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    scheduler = one_cycle(optimizer, settings.learning_rate, settings.steps, settings.warmup, cycle_momentum=True)
    average = AveragedModel(decoder, multi_avg_fn=warmed_up_average(EMA_DECAY))
    margin = FRAMES_SEEN + codec.config.encoder.frames_seen

    def take_step(rng: torch.Generator) -> float:
        levels = draw_levels(rng)
        wide = sounds.draw(settings.batch_size, settings.segment_frames, margin, rng, device, VARIED)
        codes = _codes(codec, wide, margin, levels)
        x, gate = wide[:, HOP * margin : -HOP * margin], audible(codes)
        with torch.autocast(device.type, torch.bfloat16):
            spectra = decoder.spectra(codec.encoder.dequantize(codes), levels)
        draws = (decoder.synthesize(spectra) for _ in range(2))
        reference, *drawn = (distance.spectrograms(wav * gate) for wav in (x, *draws))
        scale = [a.mean((1, 2), keepdim=True) for a in reference]
        score = distance(reference, drawn[0], scale) + distance(reference, drawn[1], scale) - distance(*drawn, scale)
        loss = (score + LOUDNESS_WEIGHT * loudness_error(reference, *drawn)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        average.update_parameters(decoder)
        return loss.item()

    parts = {"decoder": decoder, "average": average, "optimizer": optimizer, "scheduler": scheduler}
    about = {"clips": len(sounds), "tokens": codec.token_hash, "config": str(codec.config.decoder)}
    rows = run(settings, take_step, parts, state_file, name="decoder", data=about, device=device, report=report)
    decoder.load_state_dict(average.module.state_dict())
    codec.eval().requires_grad_(False)
    return rows


@torch.no_grad()
def _codes(codec: MelRVQ, wavs: torch.Tensor, margin: int, levels: int) -> torch.Tensor:
    """wavs (B, S) with `margin` frames on either side -> the codes (B, levels, T) of the frames between."""
    own = slice(margin, -margin)
    latents, silent = codec.encoder(codec.features(wavs))[:, own], silent_frames(wavs)[:, own]
    return codec.encoder.quantize(latents, silent, levels)
