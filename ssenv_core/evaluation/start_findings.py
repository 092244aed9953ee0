"""Findings of 00_start_here: the codec by example, and results known before."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ssenv_core.base.folders import project_root
from ssenv_core.codecs.protocol import Codec
from ssenv_core.codecs.reconstruction import reconstruct
from ssenv_core.data.recordings import Dataset
from ssenv_core.plots.finding import Finding
from ssenv_core.plots.spectrograms import spectrogram_grid

Versions = Mapping[str, Mapping[str, np.ndarray]]  # waveforms by class and version


def codec_examples(dataset: Dataset, codec: Codec) -> Versions:
    """Every clip of a dataset with one clip per class: "real", and through the "codec"."""
    examples = {}
    for clip in dataset.clips:
        wav = dataset.read(clip, codec.sample_rate)
        examples[dataset.class_names[clip.label]] = {"real": wav, "codec": reconstruct(codec, wav)}
    return examples


def spectrograms(versions: Versions, sample_rate: int, name: str, count: int = 4) -> Finding:
    """The spectrograms of the first `count` classes."""
    rows = {label: versions[label] for label in list(versions)[:count]}
    return Finding(figure=spectrogram_grid(rows, sample_rate), name=name)


def ceiling_file() -> Path:
    """The reference table of what codecs keep of ESC-50's fold 1."""
    return project_root() / "outputs" / "reference" / "codec_ceiling" / "ceiling_summary.csv"


def known_results(table: pd.DataFrame) -> Finding:
    """What the sampling rate and the codec change in recordings; `table` of `ceiling_file`."""
    codec = table.loc["melrvq_24khz 6 kbps"]
    rate = 100 * (table.loc["real"] / table.loc["real 44.1 kHz"] - 1)
    return Finding(
        sentence=f'The sampling rate alone changes the "SNR" by {rate["snr"]:+.0f} % and the '
        f"spectral centroid by {rate['spectral_centroid']:+.0f} %; the codec at 6 kbps then "
        f"changes them by {codec['snr_percent']:+.0f} and "
        f"{codec['spectral_centroid_percent']:+.0f} %. "
        f"The project's judge classifies {table.loc['real', 'right']:.1%} of the real clips "
        f"correctly and {codec['right']:.1%} of them through the codec."
    )
