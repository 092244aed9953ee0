"""The paper's six acoustic metrics, and the duration, of single clips.

As in the paper, they come from one spectrum of the whole clip, without frames or window, so they
say nothing about time; "SNR" is signal power over first-difference power, a spectral tilt. All
depend on the sampling rate, so `measure` names its convention.

Two details were found by recomputing the published values: the entropy adds 1e-10 to p and
normalises it again (values then agree to 15 digits, else to 5); "SNR" divides by the variance of
the first difference. Here it is its power: the same to 8 digits, and defined for a ramp as well.
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
    """A metric's name and unit in figures and tables."""

    label: str
    unit: str

    @property
    def title(self) -> str:
        """Label and unit: "SNR (dB)"."""
        return f"{self.label} ({self.unit})"


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
_FULL_SCALE = 1 - 2**-15  # the largest value of 16-bit audio


def check_waveform(wav: np.ndarray, name: str = "waveform") -> np.ndarray:
    """Check a waveform (S,) float and return it as float64.

    Raises:
        SsenvError: there are several channels, integers, fewer than 2 samples, or samples that are
            not finite.
    """
    wav = np.asarray(wav)
    problem = ""
    if wav.ndim != 1:
        problem = (
            f"expected one channel of shape (samples,), got shape {wav.shape}; mix it to mono first"
        )
    elif not np.issubdtype(wav.dtype, np.floating):
        problem = f"expected float samples in [-1, 1], got {wav.dtype}; convert it first"
    elif wav.size < 2:
        problem = (
            f"{wav.size} sample{'s' * (wav.size != 1)}, too few to measure; at least 2 are needed"
        )
    elif invalid := np.count_nonzero(~np.isfinite(wav)):
        problem = f"{invalid} of {wav.size} samples are NaN or infinite; drop or repair the clip"
    if problem:
        raise SsenvError(f"{name}: {problem}")
    return wav.astype(np.float64)


def is_clipped(wav: np.ndarray) -> bool:
    """Whether wav (S,) or (S, channels) reaches full scale, and so may have been cut off."""
    return bool(np.abs(wav).max(initial=0) >= _FULL_SCALE)


def acoustic_metrics(wav: np.ndarray, sample_rate: int) -> dict[str, float]:
    """The metrics of wav (S,) float in [-1, 1], at `sample_rate` Hz, keyed and ordered as METRICS.

    With X = |rfft(x)|, f its frequencies and p = X / sum(X): SNR = 10 log10(mean(x^2) /
    mean(diff(x)^2)), ZCR = sum|diff(sign(x))| / 2S, RMS = sqrt(mean(x^2)), entropy = -sum p ln p,
    centroid = sum(f p), rolloff = the first f at which cumsum(X) reaches 0.85 sum(X).

    The SNR of a constant clip is inf. In a silent clip SNR, entropy and centroid are NaN; ZCR, RMS
    and rolloff are 0.

    Raises:
        SsenvError: see `check_waveform`.
    """
    x = check_waveform(wav)
    signal, difference = np.mean(x**2), np.mean(np.diff(x) ** 2)
    undefined = np.inf if signal > 0 else np.nan
    spectrum = np.abs(scipy.fft.rfft(x))
    frequencies = scipy.fft.rfftfreq(x.size, 1 / sample_rate)
    total = np.sum(spectrum)
    entropy = centroid = np.nan
    if total > 0:
        entropy = scipy.stats.entropy(spectrum / total + _ENTROPY_FLOOR)
        centroid = np.sum(frequencies * spectrum) / total
    rolloff = np.searchsorted(np.cumsum(spectrum), _ROLLOFF_SHARE * total)
    values = {
        "snr": 10 * np.log10(signal / difference) if difference > 0 else undefined,
        "zcr": np.sum(np.abs(np.diff(np.sign(x)))) / (2 * x.size),
        "rms": np.sqrt(signal),
        "spectral_entropy": entropy,
        "spectral_centroid": centroid,
        "spectral_rolloff": frequencies[rolloff],
        "duration": x.size / sample_rate,
    }
    return {name: float(value) for name, value in values.items()}


def measure(
    clips: Iterable[tuple[np.ndarray, int]],
    *,
    convention: Literal["paper", "matched"],
    sample_rate: int = 24_000,
) -> pd.DataFrame:
    """One row per clip: `sample_rate` (Hz, int), `silent` (bool), then METRICS (float).

    Args:
        clips: waveforms (S,) float with their rates in Hz, read one at a time.
        convention: "paper": each clip at its own rate. "matched": each clip resampled (soxr HQ) to
            `sample_rate`; a silent clip has NaN metrics, so that means leave it out.

    Raises:
        SsenvError: a clip cannot be measured, named by its position, or there is none.
    """
    if convention not in ("paper", "matched"):
        raise ValueError(f"convention is 'paper' or 'matched', not {convention!r}")
    matched = convention == "matched"
    rows = []
    for i, (wav, rate) in enumerate(clips):
        wav = check_waveform(wav, f"clip {i}")
        if matched and rate != sample_rate:
            wav = resample(wav, rate, sample_rate)
            rate = sample_rate
            check_waveform(wav, f"clip {i} at {rate} Hz")
        silent = not wav.any()
        values = acoustic_metrics(wav, rate)
        if matched and silent:
            values |= dict.fromkeys(COMPARED, np.nan)
        rows.append({"sample_rate": int(rate), "silent": silent, **values})
    if not rows:
        raise SsenvError("no clips to measure: the list is empty")
    return pd.DataFrame(rows)
