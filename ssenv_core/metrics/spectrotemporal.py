"""What one clip's spectrum is over all of it, within tenths of a second and over seconds: the measures of the paper's failure modes that a
single clip has, and its log-mel embedding. They say what a clip is, not whether that is a failure: `failure_modes` compares sets of clips.

No measure depends on a clip's level. Those of time normalise every frequency band by its own loudest moment and average over bands, so a
filter alone hardly moves them.
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

_BANDS, _WIDE_BANDS = (
    40,
    8,
)  # mel bands; groups of them, wide enough that noise's own flicker stays small
_RANGE_DB = 60.0  # what lies further below the loudest moment of a band, or a band below the loudest one, counts as silence
_EMBEDDING_RANGE_DB = 80.0
_FRAMES_PER_SECOND = 100
_ONSET_FRAMES, _CREST_FRAMES, _BLOCK_FRAMES = 3, 20, 50
_ONSET_DB = 3.0
_EVENT_DB, _EVENT_RANGE_DB = (
    5.0,
    30.0,
)  # an onset that stands out: by how much it rises, and how far below the loudest moment it ends
_CHANGE_FRAMES = 10  # on either side of a moment
LEAST_FRAMES = 3 * _BLOCK_FRAMES  # 1.5 s: in fewer, no two half seconds are 1 s apart


@dataclass(frozen=True)
class Sound:
    """One clip and what its measures share: wav (S,) float64 without DC, sample_rate in Hz, mel (40, T): mel-band power at 100 frames/s."""

    wav: np.ndarray
    sample_rate: int
    mel: np.ndarray


def is_constant(wav: np.ndarray) -> bool:
    """True where wav (S,) is constant but for what no 24-bit file could hold; `acoustic.is_digital_silence` asks for exact zeros."""
    return bool(np.ptp(wav) < 1e-9)


def analyse(wav: np.ndarray, sample_rate: int, name: str = "clip") -> Sound:
    """wav (S,) float -> its Sound: Hann-windowed frames of about 21 ms every 10 ms, 40 slaney mel bands up to half the rate.

    Raises SsenvError, naming `name`, for a clip that cannot be measured: see `check_waveform`; also a silent one and one below a frame.
    """
    wav = check_waveform(wav, name)
    n_fft = 2 ** round(np.log2(0.0213 * sample_rate))
    if is_constant(wav) or wav.size < n_fft:
        raise SsenvError(
            f"{name}: {'silent' if wav.size >= n_fft else f'{wav.size} samples, under {n_fft}'}, so nothing to analyse; drop it"
        )
    wav = wav - wav.mean()
    power = (
        np.abs(
            librosa.stft(
                wav, n_fft=n_fft, hop_length=sample_rate // _FRAMES_PER_SECOND, center=False
            )
        )
        ** 2
    )
    mel = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=_BANDS, dtype=np.float64) @ power
    # whole frames only, since padded ones would hold an onset that the clip does not have; repeated at the ends, 5 s are 500 frames
    return Sound(wav, sample_rate, np.pad(mel, ((0, 0), (1, 1)), mode="edge"))


def long_term_spectrum(wav: np.ndarray, sample_rate: int) -> pd.Series:
    """Third-octave levels of wav (S,) in dB relative to the whole clip's energy, indexed by band centre in Hz, from 25 Hz to the last whole
    band below half the rate; -inf for a band without energy. Raises SsenvError for a clip that cannot be measured or is silent."""
    wav = check_waveform(wav)
    if is_constant(wav):
        raise SsenvError("waveform: silent, so it has no spectrum; drop it")
    energy, frequencies = _energy(wav, sample_rate)
    indices = np.arange(-16, int(np.floor(3 * np.log2(sample_rate / 2000) - 0.5)) + 1)
    centres = 1000 * 2.0 ** (indices / 3)
    edges = 1000 * 2.0 ** ((np.append(indices, indices[-1] + 1) - 0.5) / 3)
    bands = np.histogram(frequencies, edges, weights=energy)[0]
    with np.errstate(divide="ignore"):
        return pd.Series(10 * np.log10(bands / energy.sum()), index=pd.Index(centres, name="Hz"))


def high_frequency_attenuation(clip: Sound) -> dict[str, float]:
    """The energy above 4 and 8 kHz and below 100 Hz, in dB relative to the clip's whole energy (|rfft|^2, DC left out), at least -60."""
    energy, f = _energy(clip.wav, clip.sample_rate)
    regions = {
        "energy_above_4khz": f >= 4000,
        "energy_above_8khz": f >= 8000,
        "energy_below_100hz": f < 100,
    }
    least = 10 ** (-_RANGE_DB / 10)
    return {
        name: float(10 * np.log10(max(energy[region].sum() / energy.sum(), least)))
        for name, region in regions.items()
    }


def energy_share_below(wav: np.ndarray, sample_rate: int, hertz: float) -> float:
    """The share in [0, 1] of a clip's energy (|rfft|^2 of wav (S,), DC left out) below a frequency; NaN for a silent clip.

    Raises SsenvError as `check_waveform` does.
    """
    wav = check_waveform(wav)
    if is_constant(wav):
        return float("nan")
    energy, frequencies = _energy(wav, sample_rate)
    return float(energy[frequencies < hertz].sum() / energy.sum())


def temporal_smoothing(clip: Sound) -> dict[str, float]:
    """What happens within tenths of a second, averaged over 8 wide bands: `onset_rate` (1/s; peaks of the mean rise over 30 ms, at least
    3 dB), `onset_strength` (dB, that rise's 99th percentile), `spectral_flux` (sum of the amplitude's changes from frame to frame over the
    sum of the amplitude), `crest_factor` (dB, peak over mean power within 0.2 s, loud moments weighing most), `modulation_share`
    (energy of the amplitude envelope at 2 to 20 Hz over all of it, mean included)."""
    power = _wide_bands(clip)
    rise = _rise(power)
    amplitude = np.sqrt(power)
    blocks = _blocks(power, _CREST_FRAMES)
    rate, modulation = _modulation(amplitude)
    slow = (rate >= 2) & (rate <= 20)
    return {
        "onset_rate": float(len(_onset_frames(rise)) * _FRAMES_PER_SECOND / power.shape[1]),
        "onset_strength": float(np.quantile(rise, 0.99)),
        "spectral_flux": float(
            np.mean(np.abs(np.diff(amplitude, axis=1)).sum(axis=1) / amplitude.sum(axis=1))
        ),
        "crest_factor": float(
            np.mean(10 * np.log10(blocks.max(axis=2).sum(axis=1) / blocks.mean(axis=2).sum(axis=1)))
        ),
        "modulation_share": float(np.mean(modulation[:, slow].sum(axis=1))),
    }


def modulation_spectrum(clip: Sound) -> pd.Series:
    """The share in [0, 1] of the envelopes' energy, mean included, in each third octave of modulation rates from 0.5 to 40 Hz, averaged
    over 8 wide bands and indexed by the third octave's centre in Hz. NaN where the clip is too short to have a rate there."""
    rate, modulation = _modulation(np.sqrt(_wide_bands(clip)))
    centres = 2.0 ** (np.arange(-3, 17) / 3)
    edges = np.append(centres, centres[-1] * 2 ** (1 / 3)) / 2 ** (1 / 6)
    place = np.digitize(rate, edges) - 1
    shares = [
        modulation[:, place == i].sum(axis=1).mean() if (place == i).any() else np.nan
        for i in range(len(centres))
    ]
    return pd.Series(shares, index=pd.Index(centres, name="Hz"))


def onset_times(clip: Sound) -> np.ndarray:
    """(N,) s: where events begin, each in the middle of its rise: 5 dB over 30 ms, averaged over 8 wide bands of which what lies more than
    30 dB below a band's loudest moment is left out, where `temporal_smoothing` counts what flickers within an event and far below it too.
    What sounds from the first frame on has none."""
    rise = _rise(_wide_bands(clip), _EVENT_RANGE_DB)
    return (_onset_frames(rise, _EVENT_DB) + _ONSET_FRAMES / 2) / _FRAMES_PER_SECOND


def change_ranks(clip: Sound, times: Sequence[float]) -> np.ndarray:
    """How much the spectrum changes at some moments (s), each as the share in [0, 1] of all moments of the clip at which it changes less:
    evenly spread over that range where nothing is special about them, near 1 where there is a seam.

    The change is the root mean square, over 8 wide bands, of the difference in level between the 100 ms before and the 100 ms after.

    Raises SsenvError for a moment with less than 100 ms before or after it.
    """
    sums = np.cumsum(np.pad(_wide_bands(clip), ((0, 0), (1, 0))), axis=1)
    means = np.maximum(sums[:, _CHANGE_FRAMES:] - sums[:, :-_CHANGE_FRAMES], 0) / _CHANGE_FRAMES
    level = 10 * np.log10(
        np.maximum(means / means.max(axis=1, keepdims=True), 10 ** (-_RANGE_DB / 10))
    )
    change = np.sqrt(np.mean((level[:, _CHANGE_FRAMES:] - level[:, :-_CHANGE_FRAMES]) ** 2, axis=0))
    frames = np.round(np.asarray(times) * _FRAMES_PER_SECOND).astype(int) - _CHANGE_FRAMES
    if frames.size and not 0 <= frames.min() <= frames.max() < change.size:
        raise SsenvError(
            f"changes at {times} s cannot be measured: each needs 0.1 s of the clip before and after it"
        )
    order = np.sort(change)
    return (
        np.searchsorted(order, change[frames], "left")
        + np.searchsorted(order, change[frames], "right")
    ) / (2 * change.size)


def no_temporal_evolution(clip: Sound) -> dict[str, float]:
    """What happens over seconds, in the mean band levels L of half-second blocks: `block_similarity` (mean cosine similarity of L + 60 dB
    1 s or more apart), `spectral_change` (dB, rms change of L over all bands from a block to the next), `level_spread` (dB, standard
    deviation of the mean of L over all bands). A loop whose period divides half a second is 1, 0 and 0. The clip
    has at least LEAST_FRAMES frames."""
    level = _levels(_audible(_blocks(clip.mel, _BLOCK_FRAMES).mean(axis=2)))
    similarity = self_similarity(clip)
    return {
        "block_similarity": float(similarity[similarity.index >= 1].mean()),
        "spectral_change": float(np.sqrt(np.mean(np.diff(level, axis=1) ** 2, axis=0)).mean()),
        "level_spread": float(level.mean(axis=0).std()),
    }


def self_similarity(clip: Sound) -> pd.Series:
    """Mean cosine similarity of the clip's half-second spectra (dB above 60 dB below each band's loudest), indexed by their lag in s."""
    level = _levels(_audible(_blocks(clip.mel, _BLOCK_FRAMES).mean(axis=2))) + _RANGE_DB
    unit = level / np.maximum(np.linalg.norm(level, axis=0), np.finfo(float).tiny)
    similarity = unit.T @ unit
    lags = range(len(similarity))
    return pd.Series(
        [similarity.diagonal(k).mean() for k in lags],
        index=pd.Index([k * _BLOCK_FRAMES / _FRAMES_PER_SECOND for k in lags], name="s"),
    )


def log_mel_embedding(clip: Sound) -> np.ndarray:
    """(80,) mean and standard deviation of the 40 mel-band levels, in dB relative to their mean power, over the frames within 60 dB of the
    loudest one."""
    frame_power = clip.mel.sum(axis=0)
    active = clip.mel[:, frame_power > frame_power.max() * 10 ** (-_RANGE_DB / 10)]
    level = 10 * np.log10(np.maximum(active / active.mean(), 10 ** (-_EMBEDDING_RANGE_DB / 10)))
    return np.concatenate([level.mean(axis=1), level.std(axis=1)])


def _energy(wav: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """|rfft|^2 of the whole clip and its frequencies in Hz, without DC."""
    return np.abs(scipy.fft.rfft(wav)[1:]) ** 2, scipy.fft.rfftfreq(wav.size, 1 / sample_rate)[1:]


def _audible(power: np.ndarray) -> np.ndarray:
    """The bands (rows) of power (bands, T) whose loudest moment is within 60 dB of the loudest band's."""
    peaks = power.max(axis=1)
    return power[peaks > peaks.max() * 10 ** (-_RANGE_DB / 10)]


def _levels(power: np.ndarray, range_db: float = _RANGE_DB) -> np.ndarray:
    """power (bands, T) -> dB below each band's own loudest moment, in [-range_db, 0]."""
    return 10 * np.log10(
        np.maximum(power / power.max(axis=1, keepdims=True), 10 ** (-range_db / 10))
    )


def _blocks(power: np.ndarray, frames: int) -> np.ndarray:
    """power (bands, T) -> (bands, T // frames, frames), the rest dropped."""
    whole = power.shape[1] // frames
    return power[:, : whole * frames].reshape(len(power), whole, frames)


def _modulation(amplitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """amplitude (bands, T) -> modulation rates (R,) in Hz, and the share (bands, R) of each in the band's energy, its mean included."""
    energy = np.abs(scipy.fft.rfft(amplitude, axis=1)) ** 2
    energy[:, 0] /= 2  # the mean has no mirror image at a negative frequency
    return scipy.fft.rfftfreq(amplitude.shape[1], 1 / _FRAMES_PER_SECOND), energy / energy.sum(
        axis=1, keepdims=True
    )


def _wide_bands(clip: Sound) -> np.ndarray:
    """(8, T) power."""
    return _audible(clip.mel.reshape(_WIDE_BANDS, -1, clip.mel.shape[1]).sum(axis=1))


def _rise(power: np.ndarray, range_db: float = _RANGE_DB) -> np.ndarray:
    """(8, T) power -> (T - 3,) dB: how much the bands rise over 30 ms, on average, falling ones counted as 0."""
    level = _levels(power, range_db)
    return np.mean(np.maximum(level[:, _ONSET_FRAMES:] - level[:, :-_ONSET_FRAMES], 0), axis=0)


def _onset_frames(rise: np.ndarray, least: float = _ONSET_DB) -> np.ndarray:
    return find_peaks(rise, height=least, distance=5)[0]
