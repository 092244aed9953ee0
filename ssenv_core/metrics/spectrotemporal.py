"""Measures of one clip's spectrum: over the clip, within tenths of a second, and over seconds.

These are the single-clip measures of the paper's failure modes, and a log-mel embedding;
`failure_modes` compares sets of clips by them. None depends on a clip's level. Measures of time
scale every band by its loudest moment and average over bands, so a filter hardly changes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import librosa
import numpy as np
import pandas as pd
import scipy.fft
from scipy.signal import find_peaks

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.acoustic import check_waveform

_BANDS = 40  # mel bands
_WIDE_BANDS = 8  # groups of mel bands, wide enough that the flicker of noise stays small
_RANGE_DB = 60.0  # levels further below a band's loudest moment, or the loudest band, are silence
_EMBEDDING_RANGE_DB = 80.0
_FRAMES_PER_SECOND = 100
_ONSET_FRAMES = 3
_CREST_FRAMES = 20
_BLOCK_FRAMES = 50
_ONSET_DB = 3.0
_EVENT_DB = 5.0  # least rise of an onset that begins an event
_EVENT_RANGE_DB = 30.0  # levels further below a band's loudest moment cannot begin an event
_CHANGE_FRAMES = 10  # before and after a moment
LEAST_FRAMES = 3 * _BLOCK_FRAMES  # 1.5 s: in fewer, no two half seconds are 1 s apart


@dataclass(frozen=True)
class Sound:
    """One clip and what its measures share.

    Attributes:
        wav: (S,) float64 without DC.
        sample_rate: Hz.
        mel: (40, T) mel-band power at 100 frames/s.
    """

    wav: np.ndarray
    sample_rate: int
    mel: np.ndarray


def is_constant(wav: np.ndarray) -> bool:
    """Whether wav (S,) varies by less than a 24-bit file can hold."""
    return bool(np.ptp(wav) < 1e-9)


def analyse(wav: np.ndarray, sample_rate: int, name: str = "clip") -> Sound:
    """Compute the mel bands of wav (S,) float; `name` is for error messages.

    Hann-windowed frames of about 21 ms every 10 ms, 40 Slaney mel bands up to half the rate.

    Raises:
        SsenvError: as `check_waveform`, or the clip is silent or shorter than a frame.
    """
    wav = check_waveform(wav, name)
    n_fft = 2 ** round(np.log2(0.0213 * sample_rate))
    if is_constant(wav) or wav.size < n_fft:
        reason = "silent" if wav.size >= n_fft else f"{wav.size} samples, under {n_fft}"
        raise SsenvError(f"{name}: {reason}, so nothing to analyse; drop it")
    wav = wav - wav.mean()
    hop = sample_rate // _FRAMES_PER_SECOND
    power = np.abs(librosa.stft(wav, n_fft=n_fft, hop_length=hop, center=False)) ** 2
    mel = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=_BANDS, dtype=np.float64) @ power
    # Padding the clip would add an onset. Repeated edge frames make 5 s 500 frames.
    return Sound(wav, sample_rate, np.pad(mel, ((0, 0), (1, 1)), mode="edge"))


def long_term_spectrum(wav: np.ndarray, sample_rate: int) -> pd.Series:
    """Third-octave levels of wav (S,) in dB relative to the clip's energy.

    They are indexed by band centre in Hz, from 25 Hz to the last whole band below half the rate;
    -inf without energy.

    Raises:
        SsenvError: as `check_waveform`, or the clip is silent.
    """
    wav = check_waveform(wav)
    if is_constant(wav):
        raise SsenvError("waveform: silent, so it has no spectrum; drop it")
    energy, frequencies = _energy(wav, sample_rate)
    indices = np.arange(-16, int(np.floor(3 * np.log2(sample_rate / 2000) - 0.5)) + 1)
    centres = 1000 * 2.0 ** (indices / 3)
    edges = 1000 * 2.0 ** ((np.arange(-16, indices[-1] + 2) - 0.5) / 3)
    bands = np.histogram(frequencies, edges, weights=energy)[0]
    with np.errstate(divide="ignore"):
        return pd.Series(10 * np.log10(bands / energy.sum()), index=pd.Index(centres, name="Hz"))


def high_frequency_attenuation(clip: Sound) -> dict[str, float]:
    """Energy above 4 kHz, above 8 kHz and below 100 Hz, in dB relative to the clip's energy.

    Energy is |rfft|^2 without DC; values are at least -60 dB.
    """
    energy, f = _energy(clip.wav, clip.sample_rate)
    regions = {
        "energy_above_4khz": f >= 4000,
        "energy_above_8khz": f >= 8000,
        "energy_below_100hz": f < 100,
    }
    return {
        name: float(_decibels(energy[region].sum() / energy.sum()))
        for name, region in regions.items()
    }


def energy_share_below(wav: np.ndarray, sample_rate: int, hertz: float) -> float:
    """The share in [0, 1] of the energy of wav (S,) below a frequency; NaN for a silent clip.

    Raises:
        SsenvError: see `check_waveform`.
    """
    wav = check_waveform(wav)
    if is_constant(wav):
        return float("nan")
    energy, frequencies = _energy(wav, sample_rate)
    return float(energy[frequencies < hertz].sum() / energy.sum())


def temporal_smoothing(clip: Sound) -> dict[str, float]:
    """Measures of changes within tenths of a second, averaged over 8 wide bands.

    Returns:
        onset_rate: 1/s, peaks of the mean rise over 30 ms, of at least 3 dB.
        onset_strength: dB, the 99th percentile of that rise.
        spectral_flux: sum of the amplitude's changes between frames over the sum of the amplitude.
        crest_factor: dB, peak over mean power within 0.2 s; loud moments weigh most.
        modulation_share: energy of the amplitude envelope at 2 to 20 Hz over all its energy, mean
            included.
    """
    power = _wide_bands(clip)
    rise = _rise(power)
    amplitude = np.sqrt(power)
    flux = np.abs(np.diff(amplitude, axis=1)).sum(axis=1) / amplitude.sum(axis=1)
    blocks = _blocks(power, _CREST_FRAMES)
    crest = blocks.max(axis=2).sum(axis=1) / blocks.mean(axis=2).sum(axis=1)
    rate, modulation = _modulation(amplitude)
    slow = (rate >= 2) & (rate <= 20)
    measures = {
        "onset_rate": len(_onset_frames(rise)) * _FRAMES_PER_SECOND / power.shape[1],
        "onset_strength": np.quantile(rise, 0.99),
        "spectral_flux": np.mean(flux),
        "crest_factor": np.mean(10 * np.log10(crest)),
        "modulation_share": np.mean(modulation[:, slow].sum(axis=1)),
    }
    return {name: float(value) for name, value in measures.items()}


def modulation_spectrum(clip: Sound) -> pd.Series:
    """The share of the envelopes' energy in each third octave of modulation rates, 0.5 to 40 Hz.

    Shares in [0, 1] are averaged over 8 wide bands, of energy with the mean included, and indexed
    by the third octave's centre in Hz; NaN where the clip is too short for such a rate.
    """
    rate, modulation = _modulation(np.sqrt(_wide_bands(clip)))
    centres = 2.0 ** (np.arange(-3, 17) / 3)
    edges = np.append(centres, centres[-1] * 2 ** (1 / 3)) / 2 ** (1 / 6)
    band = np.digitize(rate, edges) - 1
    shares = [
        modulation[:, band == i].sum(axis=1).mean() if (band == i).any() else np.nan
        for i in range(len(centres))
    ]
    return pd.Series(shares, index=pd.Index(centres, name="Hz"))


def onset_times(clip: Sound) -> np.ndarray:
    """(N,) s: when events begin, each in the middle of its rise.

    An event rises by at least 5 dB over 30 ms, averaged over 8 wide bands; levels more than 30 dB
    below a band's loudest moment are raised to that limit. `temporal_smoothing` also counts flicker
    within an event and far below it. A sound that lasts from the first frame has no onset.
    """
    rise = _rise(_wide_bands(clip), _EVENT_RANGE_DB)
    return (_onset_frames(rise, _EVENT_DB) + _ONSET_FRAMES / 2) / _FRAMES_PER_SECOND


def change_ranks(clip: Sound, times: Sequence[float]) -> np.ndarray:
    """Rank in [0, 1] of the spectral change at some moments (s) among all moments of the clip.

    A rank is the share of moments with less change: uniformly distributed for ordinary moments,
    near 1 at a seam. The change is the rms over 8 wide bands of the difference in level between
    the 100 ms before and the 100 ms after.

    Raises:
        SsenvError: a moment has less than 100 ms before or after it.
    """
    sums = np.cumsum(np.pad(_wide_bands(clip), ((0, 0), (1, 0))), axis=1)
    means = np.maximum(sums[:, _CHANGE_FRAMES:] - sums[:, :-_CHANGE_FRAMES], 0) / _CHANGE_FRAMES
    level = _levels(means)
    change = np.sqrt(np.mean((level[:, _CHANGE_FRAMES:] - level[:, :-_CHANGE_FRAMES]) ** 2, axis=0))
    frames = np.round(np.asarray(times) * _FRAMES_PER_SECOND).astype(int) - _CHANGE_FRAMES
    if frames.size and not 0 <= frames.min() <= frames.max() < change.size:
        raise SsenvError(
            f"changes at {times} s cannot be measured: each needs 0.1 s of the clip before and "
            "after it"
        )
    order = np.sort(change)
    ranks = [np.searchsorted(order, change[frames], side) for side in ("left", "right")]
    return sum(ranks) / (2 * change.size)


def no_temporal_evolution(clip: Sound) -> dict[str, float]:
    """Measures of changes over seconds, in the mean levels L of bands in half-second blocks.

    A loop whose period divides half a second has 1, 0 and 0.

    Args:
        clip: of at least LEAST_FRAMES frames.

    Returns:
        block_similarity: mean cosine similarity of L + 60 dB, of blocks 1 s or more apart.
        spectral_change: dB, rms change of L over all bands from a block to the next.
        level_spread: dB, standard deviation of the mean of L over all bands.
    """
    level = _block_levels(clip)
    similarity = self_similarity(clip)
    change = np.sqrt(np.mean(np.diff(level, axis=1) ** 2, axis=0))
    return {
        "block_similarity": float(similarity[similarity.index >= 1].mean()),
        "spectral_change": float(change.mean()),
        "level_spread": float(level.mean(axis=0).std()),
    }


def self_similarity(clip: Sound) -> pd.Series:
    """Mean cosine similarity of the clip's half-second spectra, indexed by their lag in s.

    Spectra are in dB above 60 dB below each band's loudest block.
    """
    level = _block_levels(clip) + _RANGE_DB
    unit = level / np.maximum(np.linalg.norm(level, axis=0), np.finfo(float).tiny)
    similarity = unit.T @ unit
    lags = range(len(similarity))
    return pd.Series(
        [similarity.diagonal(k).mean() for k in lags],
        index=pd.Index([k * _BLOCK_FRAMES / _FRAMES_PER_SECOND for k in lags], name="s"),
    )


def log_mel_embedding(clip: Sound) -> np.ndarray:
    """(80,) mean and standard deviation of the 40 mel-band levels over time.

    Levels are in dB relative to the mean power, over the frames within 60 dB of the loudest one.
    """
    frame_power = clip.mel.sum(axis=0)
    active = clip.mel[:, frame_power > frame_power.max() * 10 ** (-_RANGE_DB / 10)]
    level = _decibels(active / active.mean(), _EMBEDDING_RANGE_DB)
    return np.concatenate([level.mean(axis=1), level.std(axis=1)])


def _energy(wav: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """|rfft|^2 of the whole clip and its frequencies in Hz, without DC."""
    return np.abs(scipy.fft.rfft(wav)[1:]) ** 2, scipy.fft.rfftfreq(wav.size, 1 / sample_rate)[1:]


def _audible(power: np.ndarray) -> np.ndarray:
    """The rows of power (bands, T) whose loudest moment is within 60 dB of the loudest band's."""
    peaks = power.max(axis=1)
    return power[peaks > peaks.max() * 10 ** (-_RANGE_DB / 10)]


def _decibels(ratio: np.ndarray, range_db: float = _RANGE_DB) -> np.ndarray:
    return 10 * np.log10(np.maximum(ratio, 10 ** (-range_db / 10)))


def _levels(power: np.ndarray, range_db: float = _RANGE_DB) -> np.ndarray:
    """power (bands, T) in dB below each band's loudest moment, in [-range_db, 0]."""
    return _decibels(power / power.max(axis=1, keepdims=True), range_db)


def _block_levels(clip: Sound) -> np.ndarray:
    """(bands, blocks) levels of half-second blocks."""
    return _levels(_audible(_blocks(clip.mel, _BLOCK_FRAMES).mean(axis=2)))


def _blocks(power: np.ndarray, frames: int) -> np.ndarray:
    """power (bands, T) as (bands, T // frames, frames), without the rest."""
    whole = power.shape[1] // frames
    return power[:, : whole * frames].reshape(len(power), whole, frames)


def _modulation(amplitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Modulation rates (R,) in Hz of amplitude (bands, T), and shares (bands, R) of the energy."""
    energy = np.abs(scipy.fft.rfft(amplitude, axis=1)) ** 2
    energy[:, 0] /= 2  # the mean has no mirror image at a negative frequency
    rates = scipy.fft.rfftfreq(amplitude.shape[1], 1 / _FRAMES_PER_SECOND)
    return rates, energy / energy.sum(axis=1, keepdims=True)


def _wide_bands(clip: Sound) -> np.ndarray:
    """(8, T) power."""
    return _audible(clip.mel.reshape(_WIDE_BANDS, -1, clip.mel.shape[1]).sum(axis=1))


def _rise(power: np.ndarray, range_db: float = _RANGE_DB) -> np.ndarray:
    """(T - 3,) dB: mean rise over 30 ms of the bands of power (8, T); a fall counts as 0."""
    level = _levels(power, range_db)
    return np.mean(np.maximum(level[:, _ONSET_FRAMES:] - level[:, :-_ONSET_FRAMES], 0), axis=0)


def _onset_frames(rise: np.ndarray, least: float = _ONSET_DB) -> np.ndarray:
    return find_peaks(rise, height=least, distance=5)[0]
