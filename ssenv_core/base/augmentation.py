"""Variations of waveforms for training: speed and pitch, a smooth filter, level, and mixing.

Pure and batched: tensors in, tensors out, on any device. All draws come from the generator, on the
CPU.
"""

import math

import torch
from torchaudio.functional import resample

SPEEDS = ((5, 6), (6, 5), (8, 9), (9, 8), (14, 15), (15, 14))  # speed factors as fractions
MIXED = 0.25  # share of the items with a neighbour mixed in
LEAST_MIX = -20.0  # dB, the lowest level of the neighbour
RIPPLES = 8  # cosines over log frequency in a filter
DEVIATION = 3.0  # dB, root mean square of a filter
LOWEST = 30.0 / 12_000  # share of the highest frequency below which a filter is flat
TAIL = 4800  # samples in which a filter's ringing before and after a sound has died away
GAINS = (-15.0, 6.0)  # dB


def draw_speed(rng: torch.Generator) -> tuple[int, int]:
    """Draw one of SPEEDS."""
    return SPEEDS[int(torch.randint(len(SPEEDS), (), generator=rng))]


def change_speed(wavs: torch.Tensor, speed: tuple[int, int]) -> torch.Tensor:
    """wavs (B, S), speed a / b -> (B, ceil(S b / a)): sounds played a / b times as fast."""
    return resample(wavs, *speed)


def vary(wavs: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """wavs (B, S) float in [-1, 1] -> the same, filtered and at another level; never clipped."""
    varied = _at_level(_filtered(wavs, rng), rng)
    return varied / varied.abs().amax(1, keepdim=True).clamp_min(1.0)


def mix(wavs: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """wavs (B, S) -> the same; to some, their neighbour in the batch is added, at most as loud."""
    chosen = torch.rand(len(wavs), 1, generator=rng) < MIXED
    gain = _amplitude(LEAST_MIX * torch.rand(len(wavs), 1, generator=rng))
    return wavs + wavs.roll(1, dims=0) * (chosen * gain).to(wavs.device)


def _filtered(wavs: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    n = wavs.shape[1] + TAIL  # else ringing before the first sample would wrap to the end
    spectrum = torch.fft.rfft(wavs, n)
    frequency = torch.linspace(0, 1, spectrum.shape[1]).clamp_min(LOWEST)
    position = 1 - frequency.log() / math.log(LOWEST)  # 0 lowest, 1 highest
    order = torch.arange(1, RIPPLES + 1)
    ripples = torch.cos(math.pi * order[:, None] * position) / order[:, None]
    weights = torch.randn(len(wavs), RIPPLES, generator=rng) * DEVIATION
    weights = weights / (1 / order**2).sum().div(2).sqrt()
    filtered = torch.fft.irfft(spectrum * _amplitude(weights @ ripples).to(wavs.device), n)
    return filtered[:, : wavs.shape[1]]


def _at_level(wavs: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    low, high = GAINS
    gain = _amplitude(low + (high - low) * torch.rand(len(wavs), 1, generator=rng))
    return wavs * gain.to(wavs.device)


def _amplitude(decibels: torch.Tensor) -> torch.Tensor:
    return 10 ** (decibels / 20)
