"""Sound as pictures: mel spectrograms on one colour scale, and envelopes.

Heat maps are rounded to whole dB to keep notebooks small.
"""

from collections.abc import Mapping, Sequence

import librosa
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ssenv_core.metrics.acoustic import check_waveform
from ssenv_core.plots.style import HERTZ, styled

DB_RANGE = 80  # dB from the brightest to the darkest colour of a spectrogram
_DB_FLOOR = -120
_COLUMNS = 250
_BANDS = 80


def spectrogram_grid(rows: Mapping[str, Mapping[str, np.ndarray]], sample_rate: int) -> go.Figure:
    """A grid of spectrograms on one colour scale.

    Args:
        rows: by row (a class, for example) and column (real, codec, generated) a waveform (S,)
            float. A missing clip becomes a panel that says "no clip".
        sample_rate: of all waveforms, Hz.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    fig = make_subplots(
        len(rows),
        len(columns),
        shared_xaxes="all",
        shared_yaxes="all",
        column_titles=[column.replace(" ", "<br>", 1) for column in columns],
        horizontal_spacing=0.02,
        vertical_spacing=0.15 / len(rows),
    )
    look = {"zsmooth": False, "hovertemplate": "%{x:.2f} s, %{z} dB<extra></extra>"}
    levels = {
        (label, column): mel_levels(wav, sample_rate)
        for label, row in rows.items()
        for column, wav in row.items()
    }
    for i, label in enumerate(rows, 1):
        for j, column in enumerate(columns, 1):
            panel = (i - 1) * len(columns) + j
            if (label, column) not in levels:
                # relative to the page: plotly.js has no axes where nothing is drawn
                x, y = (np.mean(fig.layout[f"{axis}axis{panel}"].domain) for axis in "xy")
                place = {"xref": "paper", "yref": "paper", "x": x, "y": y}
                fig.add_annotation(text="no clip", showarrow=False, **place)
                continue
            level, step = levels[label, column]
            z = np.round(level).astype(np.int8)
            fig.add_heatmap(z=z, x0=0, dx=step, coloraxis="coloraxis", **look, row=i, col=j)
        title = f"{label.replace('_', ' ')} (Hz)"
        fig.update_yaxes(title={"text": title, "font_size": 13}, row=i, col=1)
    ticks = {text: hz for hz, text in HERTZ.items() if hz < sample_rate / 2}
    mels = librosa.hz_to_mel(np.array(list(ticks.values()))) / librosa.hz_to_mel(sample_rate / 2)
    bands = mels * (_BANDS + 1) - 1
    fig.update_yaxes(tickvals=bands, ticktext=list(ticks), range=[-0.5, _BANDS - 0.5])
    fig.update_xaxes(title="time (s)", row=len(rows))
    top = colour_top([level for level, _ in levels.values()])
    bar = {"title": "dB", "thickness": 14}
    fig.update_layout(
        coloraxis={"colorscale": "Magma", "cmin": top - DB_RANGE, "cmax": top, "colorbar": bar}
    )
    return styled(fig, height=90 + 150 * len(rows), grid=False)


def mel_levels(
    wav: np.ndarray, sample_rate: int, columns: int = _COLUMNS, bands: int = _BANDS
) -> tuple[np.ndarray, float]:
    """The mel spectrogram of wav (S,) float, and the seconds between two of its frames.

    Slaney mel bands up to half the rate; Hann windows of about 40 ms, longer only where frames
    would otherwise leave gaps.

    Args:
        columns: the largest number of frames.

    Returns:
        Levels (bands, T) in dB, at least -120; a full-scale sine has about 0 in its band.

    Raises:
        SsenvError: see `check_waveform`.
    """
    wav = check_waveform(wav)
    hop = max(sample_rate // 200, -(-len(wav) // (columns - 1)))
    n_fft = 2 ** int(np.ceil(np.log2(max(0.04 * sample_rate, 2 * hop))))
    padded = librosa.util.fix_length(wav, size=max(len(wav), n_fft))
    power = librosa.feature.melspectrogram(
        y=padded, sr=sample_rate, n_fft=n_fft, hop_length=hop, n_mels=bands, norm=None
    )
    # a Hann window sums to n_fft / 2; a sine's positive frequency has half of that
    full_scale = (n_fft / 4) ** 2
    level = librosa.power_to_db(
        power[:, : 1 + len(wav) // hop] / full_scale, amin=10 ** (_DB_FLOOR / 10), top_db=None
    )
    return level, hop / sample_rate


def colour_top(levels: Sequence[np.ndarray]) -> int:
    """The level (dB) of the brightest colour on a shared scale; silence stays dark."""
    return int(np.ceil(max([_DB_FLOOR + DB_RANGE, *(level.max() for level in levels)])))


def extremes(wav: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Minima and maxima, at most `columns` of each, of consecutive parts of wav (S,), S >= 1."""
    starts = np.linspace(0, len(wav), min(columns, len(wav)), endpoint=False).astype(int)
    return np.minimum.reduceat(wav, starts), np.maximum.reduceat(wav, starts)
