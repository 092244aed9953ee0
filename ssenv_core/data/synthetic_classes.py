"""The sounds of the synthetic classes, built from the parts in `synthesis`.

Each function draws its parameters from a generator and returns n samples at `synthesis.RATE`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import fft, signal

from ssenv_core.data.synthesis import (
    RATE,
    backdrop,
    decibels,
    log_uniform,
    modes,
    noise,
    room,
    scatter,
    wander,
    wavetable,
)


def rain(rng: np.random.Generator, n: int) -> np.ndarray:
    """Hiss, thousands of droplet impacts, and a few heavier drips."""
    corner = log_uniform(rng, 1200, 8000)
    tilt = rng.uniform(0.0, 0.7)

    def surface(f: np.ndarray, t: np.ndarray) -> np.ndarray:
        spectrum = (f + 100) ** -tilt / (1 + (f / corner) ** 2) ** 0.5
        return spectrum * decibels(1.5 * wander(rng, t, 1.0))

    hiss = noise(rng, n, surface)
    count = rng.poisson(log_uniform(rng, 100, 1000) * n / RATE)
    drops = modes(rng, count, 0.003, (700, 9000), (0.0004, 0.0015))
    count = rng.poisson(rng.uniform(0.5, 8) * n / RATE)
    drips = modes(rng, count, 0.03, (400, 2500), (0.003, 0.01))
    drops *= rng.lognormal(0, 0.8, (len(drops), 1))
    patter = scatter(n, rng.uniform(0, n, len(drops)), drops) * log_uniform(rng, 0.3, 2.5)
    return hiss + patter + scatter(n, rng.uniform(0, n, len(drips)), drips) * rng.uniform(0.5, 3.0)


def wind(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rumble and a whistling resonance, both driven by gusts; the gust sets the whistle's pitch."""
    pitch = log_uniform(rng, 180, 800)
    q = rng.uniform(3, 12)
    tilt = rng.uniform(0.9, 1.4)
    depth = rng.uniform(3, 8)
    whistle = decibels(rng.uniform(-2, 14))

    def surface(f: np.ndarray, t: np.ndarray) -> np.ndarray:
        gust = wander(rng, t, 0.6)
        flutter = wander(rng, t, 3.0)
        centre = pitch * 2 ** (0.35 * gust + 0.06 * flutter)
        resonance = 1 / (1 + (q * (f / centre - centre / (f + 1))) ** 2)
        body = (1 + f / 60) ** -tilt / (1 + (f / 2500) ** 2)
        spectrum = body + whistle * (1 + pitch / 60) ** -tilt * resonance
        return spectrum * decibels(depth * gust + 1.5 * flutter)

    return noise(rng, n, surface)


def waves(rng: np.random.Generator, n: int) -> np.ndarray:
    """Swells that rise, break and run out; the higher the swell, the brighter the surf."""
    period = rng.uniform(3, 6)
    rise = rng.uniform(0.5, 1.2)
    ebb = rng.uniform(0.8, 1.8)
    breaks = np.arange(rng.uniform(-0.5, 0.6) * period, n / RATE + period, period)
    breaks += rng.normal(0, 0.1 * period, len(breaks))
    heights = rng.uniform(0.6, 1, len(breaks))
    low = log_uniform(rng, 250, 600)
    bright = log_uniform(rng, 2500, 9000)
    roar = decibels(rng.uniform(-16, -8))

    def surface(f: np.ndarray, t: np.ndarray) -> np.ndarray:
        away = t - breaks
        swells = heights * np.exp(-np.where(away < 0, (away / rise) ** 2, away / ebb))
        swell = swells.max(axis=1, keepdims=True)
        corner = low * (bright / low) ** swell
        surf = (f + 150) ** -0.35 / (1 + (f / corner) ** 2)
        return (roar + swell**1.5) * surf * decibels(0.8 * wander(rng, t, 6.0))

    return noise(rng, n, surface)


def crackling_fire(rng: np.random.Generator, n: int) -> np.ndarray:
    """A flickering rumble, a faint hiss, and Poisson crackles of heavy-tailed strength."""
    rumble = noise(rng, n, lambda f, t: 1 / (1 + (f / 90) ** 2) * decibels(3 * wander(rng, t, 5.0)))
    hiss = noise(rng, n, lambda f, t: (f + 300) ** -0.3 / (1 + (f / 9000) ** 4))
    hiss = hiss * decibels(rng.uniform(-30, -18))
    count = 3 + rng.poisson(rng.uniform(6, 35) * n / RATE)
    time = np.arange(round(0.02 * RATE)) / RATE
    crackles = rng.standard_normal((count, len(time)))
    crackles *= np.exp(-time / log_uniform(rng, 0.0004, 0.004, (count, 1)))
    crackles += 2 * modes(rng, count, 0.02, (600, 5000), (0.001, 0.005))
    crackles *= np.minimum(rng.pareto(1.3, (count, 1)) + 0.15, 8)
    fire = rumble * rng.uniform(0.05, 0.35) + hiss
    return fire + room(rng, scatter(n, rng.uniform(0, n, count), crackles), 0.15, 0.2)


def clock_tick(rng: np.random.Generator, n: int) -> np.ndarray:
    """Alternating tick and tock at 1 to 4 per second: resonances in one case, with a recoil."""
    period = 1 / rng.choice([1, 2, 2.5, 3, 4]) * rng.uniform(0.96, 1.04)
    onsets = np.arange(rng.uniform(0.05, 0.9) * min(period, 0.5), n / RATE, period) * RATE
    onsets += rng.normal(0, 0.002 * period * RATE, len(onsets))
    case = modes(rng, 3, 0.12, (180, 900), (0.01, 0.03)).sum(axis=0) * rng.uniform(0.1, 0.5)
    kinds = []
    for _ in range(2):
        tick = case + modes(rng, 8, 0.12, (1200, 9000), (0.001, 0.012)).sum(axis=0)
        recoil = round(rng.uniform(0.006, 0.025) * RATE)
        tick[recoil:] += rng.uniform(0.2, 0.6) * tick[:-recoil]
        kinds.append(tick)
    kinds[1] = kinds[1] * rng.uniform(0.5, 1)
    ticks = np.stack(kinds)[np.arange(len(onsets)) % 2] * rng.normal(1, 0.05, (len(onsets), 1))
    wav = room(rng, scatter(n, onsets, ticks), rng.uniform(0.1, 0.4), rng.uniform(0.05, 0.3))
    return wav + backdrop(rng, n) * np.abs(wav).max() * decibels(rng.uniform(-52, -34))


def dog(rng: np.random.Generator, n: int) -> np.ndarray:
    """One to five barks: a rough tone that jumps up and falls, through two formants, in a room."""
    pitch = log_uniform(rng, 220, 800)
    formants = (pitch * rng.uniform(1.5, 2.6), pitch * rng.uniform(3.5, 6))
    length = rng.uniform(0.12, 0.32)
    gap = rng.uniform(0.2, 0.8)
    breath = rng.uniform(0.1, 0.35)
    start = rng.uniform(0.02, 0.4)
    wav = np.zeros(n)
    for _ in range(rng.integers(1, 6)):
        bark_pitch = pitch * rng.normal(1, 0.05)
        bark = _bark(rng, bark_pitch, formants, length * rng.uniform(0.8, 1.2), breath)
        bark = bark * rng.uniform(0.6, 1)
        at = round(start * RATE)
        end = min(at + len(bark), n)
        wav[at:end] += bark[: max(end - at, 0)]
        start += length + gap * rng.uniform(0.7, 1.5)
    wav = room(rng, wav, log_uniform(rng, 0.15, 0.8), rng.uniform(0.05, 0.35))
    wav += backdrop(rng, n) * np.abs(wav).max() * decibels(rng.uniform(-65, -45))
    if rng.random() < 0.4:  # a short recording padded with digital silence, as in ESC-50
        wav[round((start + 0.3) * RATE) :] = 0
    return wav


def _bark(
    rng: np.random.Generator,
    pitch: float,
    formants: tuple[float, float],
    length: float,
    breath: float,
) -> np.ndarray:
    x = np.linspace(0, 1, round(length * RATE))
    roughness = 0.015 * signal.lfilter([0.05], [1, -0.95], rng.standard_normal(len(x)))
    contour = pitch * np.interp(x, [0, 0.15, 0.5, 1], [0.75, 1.15, 1.0, 0.6]) * (1 + roughness)
    source = wavetable(np.cumsum(contour) / RATE, np.arange(1, 20) ** -0.7)
    source = source + breath * rng.standard_normal(len(x))
    f = fft.rfftfreq(len(x), 1 / RATE)
    vocal_tract = 0.04 / (1 + (f / 6000) ** 2)
    for formant, gain in zip(formants, (1, 0.5), strict=True):
        vocal_tract += gain / (1 + ((f - formant) / (0.22 * formant)) ** 2)
    envelope = np.minimum(x / 0.06, 1) * np.exp(-2.5 * x) * np.minimum((1 - x) / 0.15, 1)
    return fft.irfft(fft.rfft(source) * vocal_tract, len(x)) * envelope


def crickets(rng: np.random.Generator, n: int) -> np.ndarray:
    """One to three crickets, 3 to 5.5 kHz: tones pulsed in chirps or one long trill, at night."""
    t = np.arange(n) / RATE
    wav = np.zeros(n)
    for index in range(rng.integers(1, 4)):
        pulse_rate = rng.uniform(25, 60)
        chirp_rate = rng.uniform(1.2, 4.0)
        pulses = rng.integers(3, 7)
        if rng.random() < 0.35:  # a trill: pulses without a rest between them
            chirp_rate = pulse_rate
            pulses = 1
        position = t * chirp_rate + rng.random() + 0.1 * wander(rng, t, 1.0)
        chirp = position % 1 / chirp_rate * pulse_rate
        pulse = np.where(chirp < pulses, np.sin(np.pi * chirp) ** 2, 0)
        phase = 2 * np.pi * rng.uniform(3000, 5500) * (t + 0.00002 * wander(rng, t, 2.0))
        loudness = rng.uniform(0.1, 0.6) if index else 1
        wav += loudness * pulse * (np.sin(phase) + 0.04 * np.sin(2 * phase))
    return wav + backdrop(rng, n) * decibels(rng.uniform(-40, -22))


def engine(rng: np.random.Generator, n: int) -> np.ndarray:
    """A harmonic comb of unequal cylinders through an exhaust, and noise that pulses with it."""
    t = np.arange(n) / RATE
    firing = log_uniform(rng, 22, 110)
    drift = rng.uniform(0.01, 0.12)
    cylinders = rng.choice([1, 2, 4])
    harmonic = np.arange(1, round(8000 * cylinders / firing))
    f = harmonic * firing / cylinders
    comb = np.where(harmonic % cylinders == 0, 1, rng.uniform(0.02, 0.25))
    comb = comb * rng.lognormal(0, 0.5, len(f))
    exhaust = log_uniform(rng, 70, 350)
    comb *= (1 / (1 + ((f - exhaust) / exhaust) ** 2) + 0.1) / (1 + (f / 1500) ** 3)
    speed = firing / cylinders * 2 ** (drift * wander(rng, t, 0.5) + 0.004 * wander(rng, t, 12.0))
    phase = np.cumsum(speed) / RATE
    tone = wavetable(phase, comb, random_phase=rng)
    tilt = rng.uniform(0.5, 0.9)
    rattle = noise(rng, n, lambda f, t: (f + 80) ** -tilt / (1 + (f / 5000) ** 2))
    chuff = 1 + rng.uniform(0.3, 0.9) * np.cos(2 * np.pi * cylinders * phase)
    return tone / tone.std() + rattle * chuff * decibels(rng.uniform(-18, -6))


def siren(rng: np.random.Generator, n: int) -> np.ndarray:
    """A wail, a yelp or a two-tone horn with harmonics, coming and going, echoing over traffic."""
    t = np.arange(n) / RATE
    low = rng.uniform(400, 800)
    kind = rng.choice(["wail", "yelp", "hi-lo"])
    if kind == "hi-lo":
        ratio = rng.uniform(1.25, 1.5)
        period = rng.uniform(0.9, 1.4)
        shape = ([0, 0.02, 0.5, 0.52, 1], [0, 1, 1, 0, 0])
    else:
        ratio = rng.uniform(1.8, 2.6)
        period = rng.uniform(2.5, 6) if kind == "wail" else rng.uniform(0.25, 0.5)
        shape = ([0, rng.uniform(0.3, 0.6), 1], [0, 1, 0])
    sweep = np.interp((t / period + rng.random()) % 1, *shape)
    phase = np.cumsum(low * ratio**sweep) / RATE
    harmonics = np.arange(1, 11) ** -rng.uniform(0.8, 1.6) * rng.lognormal(0, 0.4, 10)
    wav = wavetable(phase, harmonics) * decibels(3 * wander(rng, t, 0.5))
    wav = room(rng, wav, rng.uniform(0.3, 1.8), rng.uniform(0.1, 0.4))
    return wav / wav.std() + backdrop(rng, n) * decibels(rng.uniform(-30, -14))


def footsteps(rng: np.random.Generator, n: int) -> np.ndarray:
    """Heel and toe of alternating feet at a walking pace, on hard floor, gravel or between."""
    pace = rng.uniform(1.4, 2.4)
    gravel = rng.beta(0.6, 0.8)
    heel = np.arange(rng.uniform(0.05, 0.4), n / RATE, 1 / pace)
    heel += rng.normal(0, 0.03 / pace, len(heel))
    toe = heel + rng.uniform(0.09, 0.16)
    thud = modes(rng, 4, 0.15, (60, 260), (0.01, 0.03)).sum(axis=0)
    thud += modes(rng, 8, 0.15, (500, 5000), (0.001, 0.006)).sum(axis=0) * rng.uniform(0.2, 0.9)
    strength = rng.uniform(0.6, 1.0, (len(heel), 1))
    strength = strength * np.where(np.arange(len(heel)) % 2, rng.uniform(0.6, 1), 1)[:, None]
    wav = scatter(n, heel * RATE, strength * thud) * (1 - 0.7 * gravel)
    time = np.arange(round(0.2 * RATE)) / RATE
    corner = log_uniform(rng, 1500, 6000)
    grain = rng.uniform(0.01, 0.2)

    def surface(f: np.ndarray, t: np.ndarray) -> np.ndarray:
        return 1 / (1 + (200 / (f + 1)) ** 2) / (1 + (f / corner) ** 2)

    steps = ((heel, 1.0, 0.002, 0.03), (toe, rng.uniform(0.4, 0.9), 0.02, 0.05))
    for onsets, level, attack, decay in steps:
        envelope = (1 - np.exp(-time / attack)) * np.exp(-time / decay)
        scrape = noise(rng, n, surface)
        scrape *= (rng.random(n) < grain) * 4 * gravel + (1 - gravel)
        wav += level * (0.15 + gravel) * scrape * scatter(n, onsets * RATE, strength * envelope)
    wav = room(rng, wav, rng.uniform(0.1, 0.7), rng.uniform(0.05, 0.3) * (1 - gravel))
    return wav + backdrop(rng, n) * np.abs(wav).max() * decibels(rng.uniform(-55, -36))


class SoundClass(NamedTuple):
    """How a class is synthesised, and its levels, which are like those of ESC-50.

    Attributes:
        synthesise: (generator, n) -> (n,) float at `synthesis.RATE`, at any level.
        level: mean over clips of the level, dB RMS relative to full scale.
        spread: standard deviation of the level over clips, dB.
    """

    synthesise: Callable[[np.random.Generator, int], np.ndarray]
    level: float
    spread: float


CLASSES = {
    "rain": SoundClass(rain, -22, 4),
    "wind": SoundClass(wind, -20, 5),
    "waves": SoundClass(waves, -20, 3),
    "crackling_fire": SoundClass(crackling_fire, -28, 5),
    "clock_tick": SoundClass(clock_tick, -36, 4),
    "dog": SoundClass(dog, -20, 4),
    "crickets": SoundClass(crickets, -30, 6),
    "engine": SoundClass(engine, -20, 5),
    "siren": SoundClass(siren, -15, 4),
    "footsteps": SoundClass(footsteps, -28, 5),
}
