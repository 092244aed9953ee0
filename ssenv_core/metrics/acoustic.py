"""The six acoustic metrics of the paper, and duration, of single clips: as its published values were computed, from one spectrum of the
whole clip, without frames or window. They say nothing about time: "SNR" is signal power over first-difference power, a spectral tilt.
Every one depends on the sampling rate, so `measure` names its convention: `paper` (each clip at its own rate) or `matched` (one rate).

Two details found by recomputing the published values. The entropy there has 1e-10 added to p before it is normalised again (with it they
agree to 15 digits, without it to 5). Its "SNR" divides by the variance of the first difference, here by its power: the same to 8 digits,
and defined for a ramp as well.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import scipy.fft
import scipy.stats

from ssenv_core.base.audio import resample
from ssenv_core.base.errors import SsenvError


class Metric(NamedTuple):
    """How a metric is written on an axis or in a table."""

    label: str
    unit: str


METRICS: dict[str, Metric] = {
    "snr": Metric("SNR", "dB"),
    "zcr": Metric("zero-crossing rate", "per sample"),
    "rms": Metric("RMS energy", "full scale"),
    "spectral_entropy": Metric("spectral entropy", "nat"),
    "spectral_centroid": Metric("spectral centroid", "Hz"),
    "spectral_rolloff": Metric("spectral rolloff", "Hz"),
    "duration": Metric("duration", "s"),
}
COMPARED = tuple(name for name in METRICS if name != "duration")  # between sets of clips

_ENTROPY_FLOOR = 1e-10
_ROLLOFF_SHARE = 0.85
_FULL_SCALE = 1 - 2**-15


def check_waveform(wav: np.ndarray, name: str = "waveform") -> np.ndarray:
    """wav (S,) float -> the same as float64. Raises SsenvError, naming `name`, for what no metric is defined on: more than one channel,
    integer samples, fewer than 2 samples, NaN or infinite values."""
    wav = np.asarray(wav)
    if wav.ndim != 1:
        raise SsenvError(
            f"{name}: expected one channel of shape (samples,), got shape {wav.shape}; mix it to mono first"
        )
    if not np.issubdtype(wav.dtype, np.floating):
        raise SsenvError(
            f"{name}: expected float samples in [-1, 1], got {wav.dtype}; convert it first"
        )
    if wav.size < 2:
        raise SsenvError(
            f"{name}: {wav.size} sample{'s' * (wav.size != 1)}, too few to measure; at least 2 are needed"
        )
    if not np.isfinite(wav).all():
        raise SsenvError(
            f"{name}: {np.count_nonzero(~np.isfinite(wav))} of {wav.size} samples are NaN or infinite; drop or repair the clip"
        )
    return wav.astype(np.float64)


def is_digital_silence(wav: np.ndarray) -> bool:
    """True when every sample of wav (S,) is exactly zero: digital silence, such as padding."""
    return not np.any(wav)


def is_clipped(wav: np.ndarray) -> bool:
    """True when some sample of wav (S,) or (S, channels) reaches the largest value of 16-bit audio: it may have been cut off there."""
    return bool(np.abs(wav).max(initial=0) >= _FULL_SCALE)


def acoustic_metrics(wav: np.ndarray, sample_rate: int) -> dict[str, float]:
    """The metrics of one clip, keyed and ordered as METRICS (units there).

    wav (S,) float in [-1, 1], at `sample_rate` Hz. With X = |rfft(wav)|, f its frequencies and p = X / sum(X):
    SNR = 10 log10(mean(x^2) / mean(diff(x)^2)), ZCR = sum|diff(sign(x))| / 2S, RMS = sqrt(mean(x^2)), entropy = -sum p ln p (with the
    floor the module's docstring names), centroid = sum(f p), rolloff = the first f at which cumsum(X) reaches 0.85 sum(X).

    Where a definition divides by zero: SNR is inf for a constant clip; for a silent clip SNR, entropy and centroid are 0 / 0, here NaN,
    while ZCR, RMS and rolloff are 0. Raises SsenvError as `check_waveform` does.
    """
    x = check_waveform(wav)
    signal, difference = np.mean(x**2), np.mean(np.diff(x) ** 2)
    undefined = np.inf if signal > 0 else np.nan
    snr = 10 * np.log10(signal / difference) if difference > 0 else undefined
    spectrum = np.abs(scipy.fft.rfft(x))
    frequencies = scipy.fft.rfftfreq(x.size, 1 / sample_rate)
    cumulative = np.cumsum(spectrum)
    total = np.sum(spectrum)
    if total > 0:
        p = spectrum / total
        entropy = scipy.stats.entropy(p + _ENTROPY_FLOOR)
        centroid = np.sum(frequencies * spectrum) / total
    else:
        entropy = centroid = np.nan
    rolloff = frequencies[np.searchsorted(cumulative, _ROLLOFF_SHARE * total)]
    zcr = np.sum(np.abs(np.diff(np.sign(x)))) / (2 * x.size)
    values = (snr, zcr, np.sqrt(signal), entropy, centroid, rolloff, x.size / sample_rate)
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def measure(
    clips: Iterable[tuple[np.ndarray, int]],
    *,
    convention: Literal["paper", "matched"],
    sample_rate: int = 24_000,
) -> pd.DataFrame:
    """One row per clip: `sample_rate` (Hz, int, the rate it was measured at), `silent` (bool), then METRICS (float).

    clips: (wav (S,) float, its rate in Hz), taken one at a time. `paper`: each clip at its own rate, and a silent clip has the values its
    definition gives (see `acoustic_metrics`), zeros included. `matched`: each clip is first resampled (soxr HQ) to `sample_rate`; a silent
    clip keeps its row and its duration, but has NaN metrics, so it can be counted and is not averaged in as zeros.
    Raises SsenvError with the clip's position for input that cannot be measured, and for no clips at all.
    """
    if convention not in ("paper", "matched"):
        raise ValueError(f"convention is 'paper' or 'matched', not {convention!r}")
    rows = []
    for i, (wav, own_rate) in enumerate(clips):
        wav, rate = check_waveform(wav, f"clip {i}"), own_rate
        if convention == "matched" and own_rate != sample_rate:
            wav, rate = resample(wav, own_rate, sample_rate), sample_rate
            check_waveform(wav, f"clip {i} at {rate} Hz")
        silent = is_digital_silence(wav)
        values = acoustic_metrics(wav, rate)
        if silent and convention == "matched":
            values = {
                name: value if name == "duration" else np.nan for name, value in values.items()
            }
        rows.append({"sample_rate": int(rate), "silent": silent, **values})
    if not rows:
        raise SsenvError("no clips to measure: the list is empty")
    return pd.DataFrame(rows)
