"""Whole folders of audio files: through the metrics, or through a codec. The measuring is `metrics`', the sound the codec's.

Clips are read one at a time, so that a folder may be larger than memory. Pairs are made by sorted file name, the i-th real with the i-th
generated clip: that is how the paper paired its clips, and it says nothing about content.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from ssenv_core.artifacts import atomic_path, write_json
from ssenv_core.audio import list_audio, read_audio, write_audio
from ssenv_core.codecs import reconstruct
from ssenv_core.codecs.base import Codec
from ssenv_core.errors import SsenvError
from ssenv_core.metrics.acoustic import check_waveform, measure
from ssenv_core.metrics.similarity import paired_similarity, whole_clip_similarity
from ssenv_core.metrics.stats import compare
from ssenv_core.progress import track

Convention = Literal["paper", "matched"]


def evaluate_folders(real: Path, generated: Path, output: Path, *, convention: Convention, sample_rate: int) -> tuple[pd.DataFrame, dict]:
    """Measure two folders of audio and compare them.

    Writes metrics.csv (one row per clip), comparison.csv (one per metric), pairs.csv (one per pair) and report.json (the comparison, the
    silent clips, and how pairs were made) into `output`.

    Args:
        convention: "paper", each clip at its own rate; "matched", all resampled to `sample_rate`.
        sample_rate: Hz.

    Returns:
        The comparison, as `metrics.stats.compare` makes it, and the report.

    Raises:
        SsenvError: a folder is missing or empty, or a clip cannot be read or measured; nothing is written then.
    """
    files = {"real": list_audio(real), "generated": list_audio(generated)}
    folders = {"real": real, "generated": generated}
    metrics = {side: measure_files(folders[side], files[side], convention, sample_rate) for side in files}
    comparison = compare(metrics["real"], metrics["generated"])
    pairs, pairing = compare_pairs(folders, files, convention, sample_rate)
    report = {
        "convention": convention,
        "sample_rates": {side: sorted(set(table["sample_rate"].tolist())) for side, table in metrics.items()},
        "folders": {side: str(folder) for side, folder in folders.items()},
        "clips": {side: len(table) for side, table in metrics.items()},
        "silent": {side: table.loc[table["silent"], "clip"].tolist() for side, table in metrics.items()},
        "comparison": {name: _json_values(row) for name, row in comparison.iterrows()},
        "pairing": pairing,
        "similarity": {name: _mean_and_std(pairs[name]) for name in pairs.columns[2:]},
    }
    clips = pd.concat(metrics, names=["side", None]).reset_index("side")
    tables = {"metrics.csv": clips, "comparison.csv": comparison.reset_index(), "pairs.csv": pairs}
    for name, table in tables.items():
        with atomic_path(output / name) as temporary:
            table.to_csv(temporary, index=False)
    write_json(output / "report.json", report)
    return comparison, report


def measure_files(folder: Path, files: list[Path], convention: Convention, sample_rate: int) -> pd.DataFrame:
    """One row per file: `clip`, its path below `folder`, then the columns of `metrics.acoustic.measure`."""
    rows = []
    for path in track(files, len(files), f"measure {folder}", "clip"):
        wav, rate = read_audio(path)
        check_waveform(wav, str(path))
        row = measure([(wav, rate)], convention=convention, sample_rate=sample_rate)
        row.insert(0, "clip", path.relative_to(folder).as_posix())
        rows.append(row)
    return pd.concat(rows, ignore_index=True)


def compare_pairs(
    folders: dict[str, Path], files: dict[str, list[Path]], convention: Convention, sample_rate: int
) -> tuple[pd.DataFrame, str]:
    """Spectral convergence and log spectral distance of pairs, and a sentence on how they were paired and compared.

    "matched" compares spectrograms at `sample_rate`, "paper" the spectra of whole clips at their own rates, as the published values were
    made (see `metrics.similarity`): between clips of different rates, that is not the same frequencies.
    """
    matched, count, rows, rates = convention == "matched", min(map(len, files.values())), [], set()
    for paths in track(zip(files["real"], files["generated"], strict=False), count, "compare pairs", "pair"):
        (real, real_rate), (generated, generated_rate) = (read_audio(path, sample_rate if matched else None) for path in paths)
        rates |= {real_rate, generated_rate}
        names = {side: path.relative_to(folders[side]).as_posix() for side, path in zip(files, paths, strict=True)}
        if matched:
            rows.append(names | paired_similarity([real], [generated]).iloc[0].to_dict())
        else:
            rows.append(names | whole_clip_similarity(real, generated))
    how = "spectrograms" if matched else "spectra of whole clips, as in the paper's published values"
    if len(rates) > 1:
        how += f", at different rates ({', '.join(map(str, sorted(rates)))} Hz), so not the same frequencies"
    left = {side: len(paths) - count for side, paths in files.items() if len(paths) > count}
    rest = "".join(f"; {number} {side} clips have no partner" for side, number in left.items())
    return pd.DataFrame(rows), f"{count} pairs by sorted file name, the i-th real with the i-th generated clip: {how}{rest}"


def reconstruct_folder(source: Path, target: Path, codec: Codec, device: str | torch.device) -> list[Path]:
    """Write every audio file below `source` through the codec: the same name below `target`, as .wav at the codec's rate.

    Raises:
        SsenvError: the folder is missing or empty, a file cannot be read, two files would get one name, or a file would be overwritten by
            its own reconstruction.
    """
    files = list_audio(source)
    targets = [target / path.relative_to(source).with_suffix(".wav") for path in files]
    seen: dict[Path, Path] = {}
    for path, name in zip(files, targets, strict=True):
        if name in seen:
            raise SsenvError(f"{seen[name]} and {path} would both become {name}: rename one")
        if name.resolve() == path.resolve():
            raise SsenvError(f"{path} would be overwritten by its reconstruction: choose another output folder than {target}")
        seen[name] = path
    written = []
    for path, name in track(zip(files, targets, strict=True), len(files), codec.name, "clip"):
        wav, rate = read_audio(path, codec.sample_rate)
        written.append(write_audio(name, reconstruct(codec, wav, device), rate))
    return written


def _json_values(row: pd.Series) -> dict[str, float | None]:
    return {name: float(value) if np.isfinite(value) else None for name, value in row.items()}


def _mean_and_std(values: pd.Series) -> dict[str, float | None]:
    finite = values[np.isfinite(values)]
    return {"n": len(finite), **_json_values(pd.Series({"mean": finite.mean(), "std": finite.std(ddof=0)}))}
