"""Distances between a clip and its own reconstruction by a codec, aligned in time.

They do not suit generated clips, which share no event with any real one (see `similarity`).
"""

import librosa
import numpy as np

from ssenv_core.metrics.acoustic import check_waveform

# (n_fft, mel bands): the first separates clicks best, the last partials
RESOLUTIONS = ((256, 24), (512, 40), (1024, 64), (2048, 96))
FLOOR_DB = -100.0  # re a full-scale sine; quieter levels are raised to it


def log_mel_distance(original: np.ndarray, reconstruction: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference of two log-mel spectrograms in dB.

    It is averaged over RESOLUTIONS (hop n_fft / 4), bands and frames, without the frames in which
    both clips lie on the floor in every band; NaN if no frame is left.

    Args:
        original: (S,) float, at `sample_rate` Hz.
        reconstruction: likewise.
    """
    clips = _pair(original, reconstruction)
    distances = []
    for n_fft, bands in RESOLUTIONS:
        a, b = (_log_mel(wav, sample_rate, n_fft, bands) for wav in clips)
        audible = (np.maximum(a, b) > FLOOR_DB).any(axis=0)
        distances.append(np.abs(a - b)[:, audible].mean() if audible.any() else np.nan)
    return float(np.mean(distances))


def si_sdr(original: np.ndarray, reconstruction: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio (dB) of two waveforms (S,) float.

    |a x|^2 / |a x - y|^2 with a = <x, y> / |x|^2 (Le Roux et al. 2019, eq. 3); inf for equal clips,
    NaN if one is silent. It compares waveforms: a decoder that draws its noise anew scores below
    0 dB on every noise, however similar it sounds.
    """
    x, y = _pair(original, reconstruction)
    if not x.any() or not y.any():
        return float("nan")
    target = (x @ y) / (x @ x) * x
    rest = np.sum((target - y) ** 2)
    return float(10 * np.log10(np.sum(target**2) / rest)) if rest > 0 else float("inf")


def _pair(original: np.ndarray, reconstruction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    original = check_waveform(original, "original")
    reconstruction = check_waveform(reconstruction, "reconstruction")
    if len(original) != len(reconstruction):
        raise ValueError(
            f"the original has {len(original)} samples, its reconstruction {len(reconstruction)}"
        )
    return original, reconstruction


def _log_mel(wav: np.ndarray, sample_rate: int, n_fft: int, bands: int) -> np.ndarray:
    """(bands, T) in dB re a full-scale sine, at least FLOOR_DB."""
    power = librosa.feature.melspectrogram(
        y=wav, sr=sample_rate, n_fft=n_fft, hop_length=n_fft // 4, n_mels=bands, norm=None
    )
    return librosa.power_to_db(power / (n_fft / 4) ** 2, amin=10 ** (FLOOR_DB / 10), top_db=None)
