"""Ten environmental sound classes, synthesised: a dataset that needs no download and no licence.

Each clip is a small physical caricature (impacts, resonances, shaped noise, modulated tones, a room) whose parameters are drawn from its
seed, so no two are alike. It exercises the study where no recordings are at hand; results on it say nothing about real recordings.
All clips are made at 44.1 kHz and resampled, so a clip is the same sound at every rate. Levels and silences follow ESC-50.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft, signal

from ssenv_core.base.audio import resample
from ssenv_core.base.errors import SsenvError
from ssenv_core.data.recordings import Clip, Dataset
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

PEAK = 0.95
SHORTEST = 1.0  # seconds; a shorter clip is the start of one this long
NUM_FOLDS = 5
VERSION = 1  # counts changes that make the same seed sound different


@dataclass(frozen=True)
class Recipe:
    """A clip that is synthesised when it is read."""

    class_name: str
    seed: int

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        return render(self.class_name, self.seed, sample_rate, duration)

    def native_rate(self) -> int:
        return RATE

    def identity(self) -> list:
        return [self.class_name, self.seed, VERSION]

    @property
    def modified(self) -> int:
        return 0


def load_synthetic(clips_per_class: int = 40, seed: int = 0, duration: float = 5.0) -> Dataset:
    """Ten classes of `clips_per_class` synthesised clips; the clip at index i of its class is in fold i % 5 + 1.

    A larger `clips_per_class` adds clips and leaves the others as they are; different seeds share no clip.

    Raises:
        SsenvError: clips_per_class is not in 1 to 10,000, or seed is negative.
    """
    if not 1 <= clips_per_class <= 10_000:
        raise SsenvError(f"clips_per_class must be 1 to 10000, got {clips_per_class}")
    if seed < 0:
        raise SsenvError(f"the seed of the synthetic dataset must be 0 or more, got {seed}")
    clips = tuple(
        Clip(
            f"{name}-{index:04d}", label, index % NUM_FOLDS + 1, Recipe(name, seed * 10_000 + index)
        )
        for label, name in enumerate(CLASS_NAMES)
        for index in range(clips_per_class)
    )
    return Dataset("synthetic", CLASS_NAMES, clips, duration)


def render(
    class_name: str, seed: int, sample_rate: int = 24000, duration: float = 5.0
) -> np.ndarray:
    """Synthesise one clip.

    Args:
        class_name: one of CLASS_NAMES.
        seed: 0 or more; the same seed gives the same array.
        sample_rate: Hz.
        duration: seconds, more than 0.

    Returns:
        (S,) float32, S = round(duration * sample_rate), |x| <= 0.95.

    Raises:
        ValueError: there is no such class.
    """
    if class_name not in _CLASSES:
        raise ValueError(f"no synthetic class {class_name!r}: {', '.join(CLASS_NAMES)}")
    synthesise, level, spread = _CLASSES[class_name]
    rng = np.random.default_rng([CLASS_NAMES.index(class_name), seed])
    wav = synthesise(
        rng, round((max(duration, SHORTEST) + 0.01) * RATE)
    )  # a little more than is asked: resampling rounds the length
    if sample_rate != RATE:
        wav = resample(wav.astype(np.float32), RATE, sample_rate)
    wav = wav.astype(np.float64)  # so that the peak is not rounded up
    gain = decibels(rng.normal(level, spread)) / np.sqrt(np.mean(wav**2))
    wav = wav * min(gain, PEAK / np.abs(wav).max())
    return wav[: round(duration * sample_rate)].astype(np.float32)


def _rain(rng: np.random.Generator, n: int) -> np.ndarray:
    """Hiss, thousands of droplet impacts, and a few heavier drips."""
    corner, tilt = log_uniform(rng, 1200, 8000), rng.uniform(0.0, 0.7)
    hiss = noise(
        rng,
        n,
        lambda f, t: (
            (f + 100) ** -tilt
            / (1 + (f / corner) ** 2) ** 0.5
            * decibels(1.5 * wander(rng, t, 1.0))
        ),
    )
    drops = modes(
        rng,
        rng.poisson(log_uniform(rng, 100, 1000) * n / RATE),
        0.003,
        (700, 9000),
        (0.0004, 0.0015),
    )
    drips = modes(
        rng, rng.poisson(rng.uniform(0.5, 8) * n / RATE), 0.03, (400, 2500), (0.003, 0.01)
    )
    drops *= rng.lognormal(0, 0.8, (len(drops), 1))
    patter = scatter(n, rng.uniform(0, n, len(drops)), drops) * log_uniform(rng, 0.3, 2.5)
    return hiss + patter + scatter(n, rng.uniform(0, n, len(drips)), drips) * rng.uniform(0.5, 3.0)


def _wind(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rumble and a whistling resonance, both driven by gusts; the whistle's pitch follows the gust."""
    pitch, q, tilt = log_uniform(rng, 180, 800), rng.uniform(3, 12), rng.uniform(0.9, 1.4)
    depth, whistle = rng.uniform(3, 8), decibels(rng.uniform(-2, 14))

    def surface(f: np.ndarray, t: np.ndarray) -> np.ndarray:
        gust, flutter = wander(rng, t, 0.6), wander(rng, t, 3.0)
        centre = pitch * 2 ** (0.35 * gust + 0.06 * flutter)
        resonance = 1 / (1 + (q * (f / centre - centre / (f + 1))) ** 2)
        body = (1 + f / 60) ** -tilt / (1 + (f / 2500) ** 2)
        return (body + whistle * (1 + pitch / 60) ** -tilt * resonance) * decibels(
            depth * gust + 1.5 * flutter
        )

    return noise(rng, n, surface)


def _waves(rng: np.random.Generator, n: int) -> np.ndarray:
    """Swells that rise, break and run out; the higher the swell, the brighter the surf."""
    period, rise, ebb = rng.uniform(3, 6), rng.uniform(0.5, 1.2), rng.uniform(0.8, 1.8)
    breaks = np.arange(rng.uniform(-0.5, 0.6) * period, n / RATE + period, period)
    breaks += rng.normal(0, 0.1 * period, len(breaks))
    heights = rng.uniform(0.6, 1, len(breaks))
    low, bright, roar = (
        log_uniform(rng, 250, 600),
        log_uniform(rng, 2500, 9000),
        decibels(rng.uniform(-16, -8)),
    )

    def surface(f: np.ndarray, t: np.ndarray) -> np.ndarray:
        away = t - breaks
        swell = (heights * np.exp(-np.where(away < 0, (away / rise) ** 2, away / ebb))).max(
            axis=1, keepdims=True
        )
        corner = low * (bright / low) ** swell
        surf = (f + 150) ** -0.35 / (1 + (f / corner) ** 2)
        return (roar + swell**1.5) * surf * decibels(0.8 * wander(rng, t, 6.0))

    return noise(rng, n, surface)


def _crackling_fire(rng: np.random.Generator, n: int) -> np.ndarray:
    """Low flickering rumble, a faint hiss, and Poisson crackles of heavy-tailed strength and varied decay."""
    rumble = noise(rng, n, lambda f, t: 1 / (1 + (f / 90) ** 2) * decibels(3 * wander(rng, t, 5.0)))
    hiss = noise(rng, n, lambda f, t: (f + 300) ** -0.3 / (1 + (f / 9000) ** 4)) * decibels(
        rng.uniform(-30, -18)
    )
    count = 3 + rng.poisson(rng.uniform(6, 35) * n / RATE)
    time = np.arange(round(0.02 * RATE)) / RATE
    crackles = rng.standard_normal((count, len(time))) * np.exp(
        -time / log_uniform(rng, 0.0004, 0.004, (count, 1))
    )
    crackles += 2 * modes(rng, count, 0.02, (600, 5000), (0.001, 0.005))
    crackles *= np.minimum(rng.pareto(1.3, (count, 1)) + 0.15, 8)
    return (
        rumble * rng.uniform(0.05, 0.35)
        + hiss
        + room(rng, scatter(n, rng.uniform(0, n, count), crackles), 0.15, 0.2)
    )


def _clock_tick(rng: np.random.Generator, n: int) -> np.ndarray:
    """Alternating tick and tock at 1 to 4 per second: two sets of damped resonances in one case, each with its recoil."""
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


def _dog(rng: np.random.Generator, n: int) -> np.ndarray:
    """One to five barks: a rough harmonic source whose pitch jumps up and falls, through two formants, in a room."""
    pitch = log_uniform(rng, 220, 800)
    formants = pitch * rng.uniform(1.5, 2.6), pitch * rng.uniform(3.5, 6)
    length, gap, breath = rng.uniform(0.12, 0.32), rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.35)
    wav, start = np.zeros(n), rng.uniform(0.02, 0.4)
    for _ in range(rng.integers(1, 6)):
        bark = _bark(
            rng, pitch * rng.normal(1, 0.05), formants, length * rng.uniform(0.8, 1.2), breath
        ) * rng.uniform(0.6, 1)
        at = round(start * RATE)
        end = min(at + len(bark), n)
        wav[at:end] += bark[: max(end - at, 0)]
        start += length + gap * rng.uniform(0.7, 1.5)
    wav = room(rng, wav, log_uniform(rng, 0.15, 0.8), rng.uniform(0.05, 0.35))
    wav += backdrop(rng, n) * np.abs(wav).max() * decibels(rng.uniform(-65, -45))
    if (
        rng.random() < 0.4
    ):  # a short recording, padded with digital silence as the clips of ESC-50 are
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
    source = wavetable(
        np.cumsum(contour) / RATE, np.arange(1, 20) ** -0.7
    ) + breath * rng.standard_normal(len(x))
    f = fft.rfftfreq(len(x), 1 / RATE)
    vocal_tract = 0.04 / (1 + (f / 6000) ** 2)
    for formant, gain in zip(formants, (1, 0.5), strict=True):
        vocal_tract += gain / (1 + ((f - formant) / (0.22 * formant)) ** 2)
    envelope = np.minimum(x / 0.06, 1) * np.exp(-2.5 * x) * np.minimum((1 - x) / 0.15, 1)
    return fft.irfft(fft.rfft(source) * vocal_tract, len(x)) * envelope


def _crickets(rng: np.random.Generator, n: int) -> np.ndarray:
    """One to three crickets between 3 and 5.5 kHz, each a tone pulsed in chirps or in one long trill, in a quiet night."""
    t = np.arange(n) / RATE
    wav = np.zeros(n)
    for index in range(rng.integers(1, 4)):
        pulse_rate, chirp_rate, pulses = (
            rng.uniform(25, 60),
            rng.uniform(1.2, 4.0),
            rng.integers(3, 7),
        )
        if rng.random() < 0.35:  # a trill: pulses without a rest between them
            chirp_rate, pulses = pulse_rate, 1
        chirp = (
            (t * chirp_rate + rng.random() + 0.1 * wander(rng, t, 1.0))
            % 1
            / chirp_rate
            * pulse_rate
        )
        pulse = np.where(chirp < pulses, np.sin(np.pi * chirp) ** 2, 0)
        phase = 2 * np.pi * rng.uniform(3000, 5500) * (t + 0.00002 * wander(rng, t, 2.0))
        loudness = rng.uniform(0.1, 0.6) if index else 1
        wav += loudness * pulse * (np.sin(phase) + 0.04 * np.sin(2 * phase))
    return wav + backdrop(rng, n) * decibels(rng.uniform(-40, -22))


def _engine(rng: np.random.Generator, n: int) -> np.ndarray:
    """A harmonic comb of unequal cylinders with drifting speed, through an exhaust resonance, and noise that pulses with the firing."""
    t = np.arange(n) / RATE
    firing, drift, cylinders = (
        log_uniform(rng, 22, 110),
        rng.uniform(0.01, 0.12),
        rng.choice([1, 2, 4]),
    )
    harmonic = np.arange(1, round(8000 * cylinders / firing))
    f = harmonic * firing / cylinders
    comb = np.where(harmonic % cylinders == 0, 1, rng.uniform(0.02, 0.25)) * rng.lognormal(
        0, 0.5, len(f)
    )
    exhaust = log_uniform(rng, 70, 350)
    comb *= (1 / (1 + ((f - exhaust) / exhaust) ** 2) + 0.1) / (1 + (f / 1500) ** 3)
    speed = firing / cylinders * 2 ** (drift * wander(rng, t, 0.5) + 0.004 * wander(rng, t, 12.0))
    phase = np.cumsum(speed) / RATE
    tone = wavetable(phase, comb, random_phase=rng)
    tilt = rng.uniform(0.5, 0.9)
    rattle = noise(rng, n, lambda f, t: (f + 80) ** -tilt / (1 + (f / 5000) ** 2))
    chuff = 1 + rng.uniform(0.3, 0.9) * np.cos(2 * np.pi * cylinders * phase)
    return tone / tone.std() + rattle * chuff * decibels(rng.uniform(-18, -6))


def _siren(rng: np.random.Generator, n: int) -> np.ndarray:
    """A wail, a yelp or a two-tone horn with harmonics, coming and going, echoing over traffic."""
    t = np.arange(n) / RATE
    low, kind = rng.uniform(400, 800), rng.choice(["wail", "yelp", "hi-lo"])
    if kind == "hi-lo":
        ratio, period = rng.uniform(1.25, 1.5), rng.uniform(0.9, 1.4)
        shape = [0, 0.02, 0.5, 0.52, 1], [0, 1, 1, 0, 0]
    else:
        ratio, period = (
            rng.uniform(1.8, 2.6),
            rng.uniform(2.5, 6) if kind == "wail" else rng.uniform(0.25, 0.5),
        )
        shape = [0, rng.uniform(0.3, 0.6), 1], [0, 1, 0]
    sweep = np.interp((t / period + rng.random()) % 1, *shape)
    phase = np.cumsum(low * ratio**sweep) / RATE
    harmonics = np.arange(1, 11) ** -rng.uniform(0.8, 1.6) * rng.lognormal(0, 0.4, 10)
    wav = wavetable(phase, harmonics) * decibels(3 * wander(rng, t, 0.5))
    wav = room(rng, wav, rng.uniform(0.3, 1.8), rng.uniform(0.1, 0.4))
    return wav / wav.std() + backdrop(rng, n) * decibels(rng.uniform(-30, -14))


def _footsteps(rng: np.random.Generator, n: int) -> np.ndarray:
    """Heel and toe of alternating feet at a walking pace, with slight irregularity, on a ground between hard floor and gravel."""
    pace, gravel = rng.uniform(1.4, 2.4), rng.beta(0.6, 0.8)
    heel = np.arange(rng.uniform(0.05, 0.4), n / RATE, 1 / pace)
    heel += rng.normal(0, 0.03 / pace, len(heel))
    toe = heel + rng.uniform(0.09, 0.16)
    thud = modes(rng, 4, 0.15, (60, 260), (0.01, 0.03)).sum(axis=0)
    thud += modes(rng, 8, 0.15, (500, 5000), (0.001, 0.006)).sum(axis=0) * rng.uniform(0.2, 0.9)
    strength = (
        rng.uniform(0.6, 1.0, (len(heel), 1))
        * np.where(np.arange(len(heel)) % 2, rng.uniform(0.6, 1), 1)[:, None]
    )
    wav = scatter(n, heel * RATE, strength * thud) * (1 - 0.7 * gravel)
    time = np.arange(round(0.2 * RATE)) / RATE
    corner, grain = log_uniform(rng, 1500, 6000), rng.uniform(0.01, 0.2)
    for onsets, level, attack, decay in (
        (heel, 1.0, 0.002, 0.03),
        (toe, rng.uniform(0.4, 0.9), 0.02, 0.05),
    ):
        envelope = (1 - np.exp(-time / attack)) * np.exp(-time / decay)
        scrape = noise(
            rng, n, lambda f, t: 1 / (1 + (200 / (f + 1)) ** 2) / (1 + (f / corner) ** 2)
        )
        scrape *= (rng.random(n) < grain) * 4 * gravel + (1 - gravel)
        wav += level * (0.15 + gravel) * scrape * scatter(n, onsets * RATE, strength * envelope)
    wav = room(rng, wav, rng.uniform(0.1, 0.7), rng.uniform(0.05, 0.3) * (1 - gravel))
    return wav + backdrop(rng, n) * np.abs(wav).max() * decibels(rng.uniform(-55, -36))


# class: how it is synthesised, and mean and standard deviation of its level (dB RMS relative to full scale), like those of ESC-50
_CLASSES: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float, float]] = {
    "rain": (_rain, -22, 4),
    "wind": (_wind, -20, 5),
    "waves": (_waves, -20, 3),
    "crackling_fire": (_crackling_fire, -28, 5),
    "clock_tick": (_clock_tick, -36, 4),
    "dog": (_dog, -20, 4),
    "crickets": (_crickets, -30, 6),
    "engine": (_engine, -20, 5),
    "siren": (_siren, -15, 4),
    "footsteps": (_footsteps, -28, 5),
}
CLASS_NAMES = tuple(_CLASSES)
