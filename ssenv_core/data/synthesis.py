"""Building blocks of synthesised sound: noise, resonances, scattered events, waves, a room.

Pure functions of a random generator and parameters, all at `RATE`; `synthetic_classes` combines
them.
"""

from collections.abc import Callable

import numpy as np
from scipy import fft, signal
from scipy.interpolate import CubicSpline

RATE = 44100  # Hz


def decibels(value: float | np.ndarray) -> float | np.ndarray:
    """Amplitude ratio of a level in dB."""
    return 10 ** (value / 20)


def log_uniform(
    rng: np.random.Generator, low: float, high: float, size: tuple[int, ...] | None = None
) -> float | np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def wander(rng: np.random.Generator, t: np.ndarray, rate: float) -> np.ndarray:
    """A smooth random curve of about unit variance at times t.

    Args:
        t: seconds, any shape.
        rate: independent values per second.
    """
    knots = np.arange(0, t.max() + 4 / rate, 1 / rate)
    fine = np.linspace(0, knots[-1], 8 * len(knots))
    return np.interp(t, fine, CubicSpline(knots, rng.standard_normal(len(knots)))(fine))


def noise(
    rng: np.random.Generator, n: int, surface: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Gaussian noise (n,) of unit RMS with a given magnitude over frequency and time.

    Independent frames are overlap-added under a sine window, whose squares add up to one at half
    overlap: no ripple at the frame rate.

    Args:
        surface: frequency f (1, F) in Hz and time t (T, 1) in s -> magnitude (T, F).
    """
    size = 2048
    hop = size // 2
    count = n // hop + 2
    f = fft.rfftfreq(size, 1 / RATE)[None]
    t = np.arange(count)[:, None] * hop / RATE
    spectrum = rng.standard_normal((count, 2 * f.shape[1]), dtype=np.float32).view(np.complex64)
    spectrum = spectrum * surface(f, t).astype(np.float32)
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32)
    frames = fft.irfft(spectrum, size) * window
    wav = (frames[1:, :hop] + frames[:-1, hop:]).ravel()[:n]
    return wav / wav.std()


def modes(
    rng: np.random.Generator,
    count: int,
    length: float,
    hertz: tuple[float, float],
    decay: tuple[float, float],
) -> np.ndarray:
    """Struck resonances (count, length * RATE): damped sinusoids.

    Args:
        length: seconds.
        hertz, decay: ranges of the log-uniform frequency (Hz) and decay time (s).
    """
    time = np.arange(round(length * RATE), dtype=np.float32) / RATE
    frequency = log_uniform(rng, *hertz, (count, 1)).astype(np.float32)
    tau = log_uniform(rng, *decay, (count, 1)).astype(np.float32)
    return np.sin(2 * np.pi * frequency * time) * np.exp(-time / tau)


def scatter(n: int, onsets: np.ndarray, grains: np.ndarray) -> np.ndarray:
    """Add grains (G, L) to silence (n,) at sample positions onsets (G,); the ends are cut."""
    index = np.round(onsets).astype(int)[:, None] + np.arange(grains.shape[1])
    inside = (index >= 0) & (index < n)
    return np.bincount(index[inside], weights=grains[inside], minlength=n)


def room(rng: np.random.Generator, wav: np.ndarray, decay: float, wet: float) -> np.ndarray:
    """Add a diffuse tail: 60 dB decay in `decay` s, `wet` times the amplitude of the sound."""
    time = np.arange(round(decay * RATE), dtype=np.float32) / RATE
    tail = rng.standard_normal(len(time), dtype=np.float32) * np.exp(-6.9 * time / decay)
    echo = signal.oaconvolve(wav.astype(np.float32), tail)[: len(wav)]
    return wav + wet / np.linalg.norm(tail) * echo


def wavetable(
    phase: np.ndarray, harmonics: np.ndarray, random_phase: np.random.Generator | None = None
) -> np.ndarray:
    """A periodic wave with the given harmonic amplitudes (H,) at phases in cycles (n,)."""
    size = 4096
    spectrum = np.zeros(size // 2 + 1, dtype=complex)
    angle = 0 if random_phase is None else random_phase.uniform(0, 2 * np.pi, len(harmonics))
    spectrum[1 : len(harmonics) + 1] = harmonics * np.exp(1j * (angle - np.pi / 2)) * size / 2
    table = fft.irfft(spectrum, size)
    return np.interp(
        phase - np.floor(phase), np.arange(size + 1) / size, np.append(table, table[0])
    )


def backdrop(rng: np.random.Generator, n: int) -> np.ndarray:
    """The background of a quiet recording: noise of unit RMS, mostly at low frequencies."""
    tilt = rng.uniform(0.4, 0.9)
    return noise(rng, n, lambda f, t: (f + 40) ** -tilt)
