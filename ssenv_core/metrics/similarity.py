"""Spectral convergence and log spectral distance between a real and a generated clip, as the paper's released code defines them (librosa's
default STFT). They compare spectrograms frame by frame; real i and generated i share no event times, so between unrelated clips they
measure mostly level and spectrum, not quality.

The paper's published values are not those of these definitions but of `whole_clip_similarity`, found by recomputing them: no frames at all,
and a clip at 44.1 kHz against one at 24 kHz that is zero-padded to as many samples, so that bin k is another frequency on either side.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.fft
import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.acoustic import check_waveform

_LOG_FLOOR = 1e-8


def spectral_convergence(real: np.ndarray, generated: np.ndarray) -> float:
    """||R - G||_F / ||R||_F, where R, G are the STFT magnitudes of real (S,) and generated (S',), cut to the shorter one's frames.

    0 for equal clips, 1 for a silent generated one, NaN (0 / 0 or x / 0) for a silent real one. Both clips at one rate.
    """
    return _convergence(*_magnitudes(real, generated))


def log_spectral_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """sqrt(mean((ln(R + 1e-8) - ln(G + 1e-8))^2)) in nat, R and G as in `spectral_convergence`, the mean over all bins and frames.

    0 for equal clips; a gain of g between two loud clips is |ln g|. Symmetric.
    """
    return _log_distance(*_magnitudes(real, generated))


def whole_clip_similarity(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """`spectral_convergence` and `log_spectral_distance` with R, G the magnitudes of the rfft of the whole clips, the shorter one
    zero-padded to the longer one's samples: how the paper's published values were made. For reproducing them only."""
    real, generated = check_waveform(real, "real clip"), check_waveform(generated, "generated clip")
    samples = max(real.size, generated.size)
    r, g = (np.abs(scipy.fft.rfft(wav, samples)) for wav in (real, generated))
    return {
        "spectral_convergence": _convergence(r, g),
        "log_spectral_distance": _log_distance(r, g),
    }


def paired_similarity(
    reals: Sequence[np.ndarray], generateds: Sequence[np.ndarray]
) -> pd.DataFrame:
    """One row per pair, real i against generated i: `spectral_convergence` (ratio), `log_spectral_distance` (nat).

    Raises SsenvError when the two lists differ in length or hold a clip that cannot be measured.
    """
    if len(reals) != len(generateds):
        raise SsenvError(
            f"pairs need as many real as generated clips, got {len(reals)} and {len(generateds)}; cut the longer list"
        )
    rows = []
    for i, (real, generated) in enumerate(zip(reals, generateds, strict=True)):
        pair = _magnitudes(real, generated, f" {i}")
        rows.append(
            {
                "spectral_convergence": _convergence(*pair),
                "log_spectral_distance": _log_distance(*pair),
            }
        )
    return pd.DataFrame(rows, columns=["spectral_convergence", "log_spectral_distance"])


def _magnitudes(
    real: np.ndarray, generated: np.ndarray, position: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """The two STFT magnitudes (1025, T), cut to the fewer frames."""
    r, g = (
        _stft(check_waveform(wav, f"{side} clip{position}"))
        for side, wav in (("real", real), ("generated", generated))
    )
    frames = min(r.shape[1], g.shape[1])
    return r[:, :frames], g[:, :frames]


def _stft(wav: np.ndarray) -> np.ndarray:
    """The magnitude (1025, T) of librosa's default STFT, without the seconds that importing it takes. wav is float64: single precision
    leaves noise of the size of the logarithm's floor in the quiet bins."""
    window = torch.hann_window(2048, dtype=torch.float64)
    return (
        torch.stft(
            torch.from_numpy(wav),
            2048,
            512,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        .abs()
        .numpy()
    )


def _convergence(r: np.ndarray, g: np.ndarray) -> float:
    norm = np.linalg.norm(r)
    return float(np.linalg.norm(r - g) / norm) if norm > 0 else float("nan")


def _log_distance(r: np.ndarray, g: np.ndarray) -> float:
    return float(np.sqrt(np.mean((np.log(r + _LOG_FLOOR) - np.log(g + _LOG_FLOOR)) ** 2)))
