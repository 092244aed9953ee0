"""Conditioning signals per frame: loudness and onsets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d

from ssenv_core.base.audio import read_audio
from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.spectrotemporal import analyse, is_constant, onset_times
from ssenv_core.soundstorm.inputs import CONTROLS

LOUDNESS, ONSET = range(len(CONTROLS))


QUIETEST = -80.0  # dB
ONSET_WINDOW = 0.05  # s
SMOOTHED = 0.05  # s, over which loudness is measured


def file_level(path: str | Path) -> np.ndarray:
    """The loudness of a recording, (T,) dB re full scale, 100 times a second.

    Raises:
        SsenvError: the file cannot be read, or is silent throughout.
    """
    wav, rate = read_audio(path)
    level = _level(wav, rate, max(1, round(100 * len(wav) / rate)), 100.0)
    if level.max() <= QUIETEST:
        raise SsenvError(f"{path} is silent throughout: it has no loudness to use")
    return level


def measure_controls(
    wav: np.ndarray, sample_rate: int, n_frames: int, frame_rate: float
) -> torch.Tensor:
    """Measure the controls (n_frames, 2) of wav (S,) float.

    They are the loudness around the middle of each frame, and a mark on the frames with an onset.
    """
    controls = torch.zeros(n_frames, len(CONTROLS))
    controls[:, LOUDNESS] = _scaled(_level(wav, sample_rate, n_frames, frame_rate))
    if not is_constant(wav) and len(wav) >= sample_rate / 10:
        onsets = onset_times(analyse(wav, sample_rate))
        controls[:, ONSET] = _marked(onsets, n_frames, frame_rate)
    return controls


def build_controls(
    n_frames: int,
    frame_rate: float,
    *,
    onsets: Sequence[float] | None = None,
    level: np.ndarray | None = None,
) -> torch.Tensor:
    """Build controls (n_frames, 2) for conditioning; NaN where a control is not given.

    Args:
        onsets: seconds at which an event begins, with no onset elsewhere; None leaves them free.
        level: dB re full scale, any number of values evenly spaced over the clip; None leaves it
            free.

    Raises:
        SsenvError: an onset lies outside the clip, or the levels are not finite.
    """
    controls = torch.full((n_frames, len(CONTROLS)), torch.nan)
    if onsets is not None:
        duration = n_frames / frame_rate
        if any(not 0 <= onset < duration for onset in onsets):
            times = ", ".join(f"{onset:g}" for onset in onsets)
            raise SsenvError(f"onsets {times} s must lie within the {duration:.2f} s of the clip")
        controls[:, ONSET] = _marked(np.asarray(onsets, float), n_frames, frame_rate)
    if level is not None:
        level = np.asarray(level, float)
        if not len(level) or not np.isfinite(level).all():
            raise SsenvError("an envelope must hold one level or more, all of them finite, in dB")
        controls[:, LOUDNESS] = _scaled(
            np.interp(np.linspace(0, 1, n_frames), np.linspace(0, 1, len(level)), level)
        )
    return controls


def _level(wav: np.ndarray, sample_rate: int, n_frames: int, frame_rate: float) -> np.ndarray:
    """(n_frames,) dB re full scale: RMS over SMOOTHED seconds around the middle of each frame.

    Samples beyond the ends count as zeros.
    """
    power = uniform_filter1d(
        np.square(wav, dtype=np.float64), round(SMOOTHED * sample_rate), mode="constant"
    )
    middle = ((np.arange(n_frames) + 0.5) * sample_rate / frame_rate).astype(int)
    power = np.where(middle < len(power), power[np.minimum(middle, len(power) - 1)], 0.0)
    return 10 * np.log10(np.maximum(power, 10 ** (QUIETEST / 10)))


def _scaled(level: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(1 - np.clip(level, QUIETEST, 0) / QUIETEST).float()


def _marked(times: np.ndarray, n_frames: int, frame_rate: float) -> torch.Tensor:
    marks = torch.zeros(n_frames)
    marks[torch.from_numpy((times * frame_rate).astype(int)).clamp(0, n_frames - 1)] = 1.0
    return marks
