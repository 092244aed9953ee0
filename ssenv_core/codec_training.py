"""Fits the embedded codec: k-means codebooks level by level, then the decoder by the spectral energy distance.

The quantizer needs no gradient. The decoder sees quantized features and draws two waveforms y, y' per input; the loss
d(x, y) + d(x, y') - d(y, y') is a proper score of the distribution it draws from (generalized energy distance, Gritsenko et al. 2020,
eq. 5), so the noise part has to match, not average, what it cannot know. No discriminator is involved.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ssenv_core.artifacts import resume_state, save_state
from ssenv_core.codecs.melrvq import CODEBOOK_SIZE, FLOOR, HOP, MAX_LEVELS, MelRVQ, ResidualQuantizer, audible
from ssenv_core.datasets import Dataset
from ssenv_core.errors import SsenvError
from ssenv_core.optimization import one_cycle, warmed_up_average
from ssenv_core.progress import Progress, track

RESOLUTIONS = (128, 256, 512, 1024, 2048)
STATE_KIND = "codec training state"


def read_pcm(dataset: Dataset) -> torch.Tensor:
    """Every clip of a dataset as (N, S) int16 at 24 kHz."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wavs = pool.map(lambda clip: dataset.read(clip, MelRVQ.sample_rate), dataset.clips)
        return torch.stack([to_pcm(torch.from_numpy(wav)) for wav in track(wavs, len(dataset), "read", "clip")])


def to_pcm(wav: torch.Tensor) -> torch.Tensor:
    """Float in [-1, 1] -> int16."""
    return (wav * 32767).clamp(-32768, 32767).short()


def fit_codec(codec: MelRVQ, wavs: torch.Tensor, *, frames: int, iterations: int, seed: int) -> None:
    """Fit, in place, the features' statistics and the quantizer of `codec` to `frames` random audible frames of wavs (N, S) int16."""
    audible_frames = audible_features(codec, wavs)
    codec.decoder.mean.copy_(audible_frames.mean(0).half())  # in the precision they are stored in
    codec.decoder.std.copy_(audible_frames.std(0).half())
    chosen = torch.randperm(len(audible_frames), generator=torch.Generator().manual_seed(seed))[:frames]
    codec.quantizer = fit_quantizer(audible_frames[chosen], iterations=iterations, seed=seed)


@torch.inference_mode()
def audible_features(codec: MelRVQ, wavs: torch.Tensor) -> torch.Tensor:
    """The features (M, D) of every frame of wavs (N, S) int16 that has a band above the silence floor."""
    frames = torch.cat([codec.features(batch.float() / 32768).flatten(0, 1) for batch in wavs.split(16)])
    return frames[(frames > np.log(FLOOR) + 1e-3).any(1)]


def fit_quantizer(features: torch.Tensor, *, iterations: int, seed: int, levels: int = MAX_LEVELS) -> ResidualQuantizer:
    """One k-means codebook per level on what the levels before it left.

    Args:
        features: (N, D) frames that are not silent.
        iterations: Lloyd iterations per level.

    Returns:
        A quantizer whose entry 0 is the silent frame at the first level and the zero vector at the others.
    """
    quantizer = ResidualQuantizer(levels)
    residual = features.clone()
    for level in track(range(levels), levels, "fit quantizer", "level"):
        kmeans = KMeans(CODEBOOK_SIZE - 1, init="random", n_init=1, max_iter=iterations, tol=0, random_state=seed + level).fit(
            residual.numpy()
        )
        quantizer.codebooks[level, 1:] = torch.from_numpy(kmeans.cluster_centers_)
        quantizer.codebooks[level, 0] = float(np.log(FLOOR)) if level == 0 else 0.0
        quantizer.codebooks[level] = quantizer.codebooks[level].half().float()  # as stored, so that tokens never depend on a reload
        codes = quantizer.codebooks[level].square().sum(1).addmm(residual, quantizer.codebooks[level].T, alpha=-2).argmin(1)
        residual = residual - quantizer.codebooks[level][codes]
    return quantizer


def quantization_error(quantizer: ResidualQuantizer, features: torch.Tensor) -> list[float]:
    """RMS error in dB over features (M, D) after each level: 20 / ln 10 times that of the natural logs."""
    codes = quantizer.encode(features[None], quantizer.codebooks.shape[0])[0]
    residual, errors = features.clone(), []
    for level in range(len(codes)):
        residual -= F.embedding(codes[level], quantizer.codebooks[level])
        errors.append(20 / np.log(10) * float(residual.square().mean().sqrt()))
    return errors


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


@dataclass(frozen=True)
class CodecTraining:
    """Settings of the decoder's training."""

    steps: int
    batch_size: int = 8
    segment_frames: int = 96
    learning_rate: float = 1e-3
    warmup: float = 0.05
    ema_decay: float = 0.999
    seed: int = 0
    checkpoint_minutes: float = 5.0
    log_every: int = 100


def train_decoder(
    codec: MelRVQ,
    wavs: torch.Tensor,
    settings: CodecTraining,
    state_file: Path,
    device: str | torch.device = "cpu",
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train `codec.decoder` in place on waveforms through the codec's own quantizer; resume from `state_file` when it is there.

    Args:
        wavs: (N, S) int16 at 24 kHz, S a multiple of 320.
        report: called with each log row.

    Returns:
        Log rows {step, loss, seconds}: the mean loss since the row before. The codec ends with the averaged (EMA) weights.

    Raises:
        SsenvError: the loss is not finite, or the state belongs to other settings.
    """
    device = torch.device(device)
    torch.manual_seed(settings.seed)
    codec.to(device)
    decoder, distance = codec.decoder.train().requires_grad_(True), SpectralDistance().to(device)
    codes = _encode_all(codec, wavs, device)
    live = (codes[:, 0] != 0).nonzero()
    optimizer = torch.optim.AdamW(decoder.parameters(), settings.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    scheduler = one_cycle(optimizer, settings.learning_rate, settings.steps, settings.warmup, cycle_momentum=True)
    average = AveragedModel(decoder, multi_avg_fn=warmed_up_average(settings.ema_decay))
    rng = torch.Generator().manual_seed(settings.seed)
    step, rows, spent = 0, [], 0.0
    identity = {**asdict(settings), "clips": len(wavs), "tokens": codec.token_hash}
    del identity["checkpoint_minutes"], identity["log_every"]
    parts = {"decoder": decoder, "average": average, "optimizer": optimizer, "scheduler": scheduler}
    if state := resume_state(state_file, STATE_KIND, identity):
        step, rows, spent = state["step"], state["rows"], state["seconds"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
        rng.set_state(state["rng"])
        torch.set_rng_state(state["noise"]) if device.type == "cpu" else torch.cuda.set_rng_state(state["noise"])

    def checkpoint() -> None:
        state = {name: part.state_dict() for name, part in parts.items()}
        noise = torch.get_rng_state() if device.type == "cpu" else torch.cuda.get_rng_state()
        state |= {"rng": rng.get_state(), "noise": noise, "step": step, "rows": rows, "seconds": spent}
        save_state(state_file, state, {"kind": STATE_KIND, "identity": identity, "finished": step == settings.steps})

    losses, started, saved = [], time.monotonic() - spent, time.monotonic()
    with Progress(settings.steps, "train decoder", "step", initial=step) as progress:
        while step < settings.steps:
            x, quantized, gate = _draw(codec, wavs, codes, live, settings, rng, device)
            with torch.autocast(device.type, torch.bfloat16):
                deterministic, gain = decoder.spectra(quantized)
            reference, *draws = (
                distance.spectrograms(wav * gate)
                for wav in (x, decoder.synthesize(deterministic, gain), decoder.synthesize(deterministic, gain))
            )
            scale = [a.mean((1, 2), keepdim=True) for a in reference]
            score = (distance(reference, draws[0], scale) + distance(reference, draws[1], scale) - distance(*draws, scale)).mean()
            if not torch.isfinite(score):
                raise SsenvError(f"the codec's loss is not finite at step {step}: resume from {state_file} with a lower learning_rate")
            optimizer.zero_grad(set_to_none=True)
            score.backward()
            nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            average.update_parameters(decoder)
            step += 1
            losses.append(score.item())
            progress.update(note=f"loss {losses[-1]:.4f}")
            spent = time.monotonic() - started
            if step % settings.log_every == 0 or step == settings.steps:
                rows.append({"step": step, "loss": float(np.mean(losses)), "seconds": round(spent, 1)})
                losses = []
                if report is not None:
                    report(rows[-1])
            if time.monotonic() - saved > 60 * settings.checkpoint_minutes or step == settings.steps:
                checkpoint()
                saved = time.monotonic()
    decoder.load_state_dict(average.module.state_dict())
    codec.eval().requires_grad_(False)
    return rows


def _encode_all(codec: MelRVQ, wavs: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(N, S) int16 -> codes (N, 16, T) int16 at every level."""
    with torch.inference_mode():
        batches = [codec.quantizer.encode(codec.features(b.to(device).float() / 32768), MAX_LEVELS).short().cpu() for b in wavs.split(16)]
    return torch.cat(batches)


def _draw(
    codec: MelRVQ,
    wavs: torch.Tensor,
    codes: torch.Tensor,
    live: torch.Tensor,
    settings: CodecTraining,
    rng: torch.Generator,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A batch around random audible frames: waveform (B, S), quantized features (B, T, D) and the silence gate (B, S).

    Half of the batches use the eight levels of 6 kbps, the others any number, so that one decoder serves every bandwidth.
    """
    frames = settings.segment_frames
    picks = live[torch.randint(len(live), (settings.batch_size,), generator=rng)]
    offsets = torch.randint(frames, (settings.batch_size,), generator=rng)
    starts = (picks[:, 1] - offsets).clamp(0, codes.shape[2] - frames)
    use_default, any_levels = torch.rand((), generator=rng) < 0.5, int(torch.randint(1, MAX_LEVELS + 1, (), generator=rng))
    levels = 8 if use_default else any_levels
    spans = [(int(clip), int(start)) for clip, start in zip(picks[:, 0], starts, strict=True)]
    chosen = torch.stack([codes[clip, :levels, start : start + frames] for clip, start in spans]).long().to(device)
    wav = torch.stack([wavs[clip, start * HOP : (start + frames) * HOP] for clip, start in spans]).to(device).float() / 32768
    return wav, codec.quantizer.decode(chosen), audible(chosen)
