"""Spectral convergence and log spectral distance of pairs of clips, as the paper defines them.

They compare spectrograms frame by frame. Real clip i and generated clip i share no event times, so
they measure mostly level and spectrum, not quality.

The paper's published values are not those of its definitions but of `whole_clip_similarity`: no
frames, and a clip at 44.1 kHz against one at 24 kHz, zero-padded to as many samples, so that a bin
is another frequency on either side.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.fft
import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.acoustic import check_waveform

_LOG_FLOOR = 1e-8


def paired_similarity(
    reals: Sequence[np.ndarray], generateds: Sequence[np.ndarray]
) -> pd.DataFrame:
    """Spectral convergence (ratio) and log spectral distance (nat), a row per pair.

    R, G are the STFT magnitudes of real (S,) and generated clip (S'), both at one rate, cut to the
    shorter one's frames. `spectral_convergence` is ||R - G||_F / ||R||_F: 0 for equal clips, 1 for
    a silent generated one, NaN for a silent real one. `log_spectral_distance` is the rms over bins
    and frames of ln(R + 1e-8) - ln(G + 1e-8).

    Raises:
        SsenvError: the lists differ in length, or a clip cannot be measured.
    """
    if len(reals) != len(generateds):
        raise SsenvError(
            f"pairs need as many real as generated clips, got {len(reals)} and {len(generateds)}; "
            "cut the longer list"
        )
    rows = []
    for i, pair in enumerate(zip(reals, generateds, strict=True)):
        r, g = (_stft(wav) for wav in _checked(*pair, f" {i}"))
        frames = min(r.shape[1], g.shape[1])
        rows.append(_similarity(r[:, :frames], g[:, :frames]))
    return pd.DataFrame(rows, columns=["spectral_convergence", "log_spectral_distance"])


def whole_clip_similarity(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """The measures of `paired_similarity` with R, G from one rfft of each whole clip.

    The shorter clip is zero-padded. Only for reproducing the paper's published values.
    """
    clips = _checked(real, generated)
    samples = max(map(len, clips))
    return _similarity(*(np.abs(scipy.fft.rfft(wav, samples)) for wav in clips))


def _checked(real: np.ndarray, generated: np.ndarray, position: str = "") -> list[np.ndarray]:
    return [
        check_waveform(wav, f"{side} clip{position}")
        for side, wav in (("real", real), ("generated", generated))
    ]


def _stft(wav: np.ndarray) -> np.ndarray:
    """The magnitude (1025, T) of librosa's default STFT, without the seconds of importing it.

    In single precision, quiet bins would have noise as large as the logarithm's floor.
    """
    window = torch.hann_window(2048, dtype=torch.float64)
    spectrum = torch.stft(
        torch.from_numpy(wav), 2048, 512, window=window, pad_mode="constant", return_complex=True
    )
    return spectrum.abs().numpy()


def _similarity(r: np.ndarray, g: np.ndarray) -> dict[str, float]:
    norm = np.linalg.norm(r)
    log_ratio = np.log(r + _LOG_FLOOR) - np.log(g + _LOG_FLOOR)
    return {
        "spectral_convergence": float(np.linalg.norm(r - g) / norm if norm > 0 else np.nan),
        "log_spectral_distance": float(np.sqrt(np.mean(log_ratio**2))),
    }
