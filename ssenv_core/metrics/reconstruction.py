"""How far a reconstruction is from its own original, sample by sample in time: for codecs, where the two share every event.

Not for generated clips, which share none with any real one (`similarity` says what little can be said there).
"""

import librosa
import numpy as np

from ssenv_core.metrics.acoustic import check_waveform

RESOLUTIONS = (
    (256, 24),
    (512, 40),
    (1024, 64),
    (2048, 96),
)  # (n_fft, mel bands): clicks at the first, partials at the last
FLOOR_DB = -100.0  # re a full-scale sine; what is quieter counts as this


def log_mel_distance(original: np.ndarray, reconstruction: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference in dB of the two clips' log-mel spectrograms, over RESOLUTIONS (hop n_fft / 4), bands and frames.

    original, reconstruction: (S,) float of equal length, at `sample_rate` Hz. 0 for equal clips; a gain of g dB is |g|, above the floor.
    Frames in which both lie on the floor in every band, as padding does, are left out; NaN where that leaves none.
    """
    original, reconstruction = _pair(original, reconstruction)
    distances = []
    for n_fft, bands in RESOLUTIONS:
        a, b = (_log_mel(wav, sample_rate, n_fft, bands) for wav in (original, reconstruction))
        heard = (np.maximum(a, b) > FLOOR_DB).any(axis=0)
        distances.append(np.abs(a - b)[:, heard].mean() if heard.any() else np.nan)
    return float(np.mean(distances))


def si_sdr(original: np.ndarray, reconstruction: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, eq. 3): |a x|^2 / |a x - y|^2 with a = <x, y> / |x|^2.

    original x, reconstruction y: (S,) float of equal length. inf for equal clips. It knows only the waveform: a decoder that draws its
    noise anew scores below 0 dB on every noise, however alike it sounds. NaN where one of the clips is silent.
    """
    x, y = _pair(original, reconstruction)
    if not x.any() or not y.any():
        return float("nan")
    target = (x @ y) / (x @ x) * x
    rest = np.sum((target - y) ** 2)
    return float(10 * np.log10(np.sum(target**2) / rest)) if rest > 0 else float("inf")


def _pair(original: np.ndarray, reconstruction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    original, reconstruction = (
        check_waveform(original, "original"),
        check_waveform(reconstruction, "reconstruction"),
    )
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
    return librosa.power_to_db(
        power / (n_fft / 4) ** 2, ref=1.0, amin=10 ** (FLOOR_DB / 10), top_db=None
    )
