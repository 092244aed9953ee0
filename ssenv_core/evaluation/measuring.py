"""The acoustic metrics of many clips: on all cores, with progress and a cache."""

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ssenv_core.base import audio
from ssenv_core.base.audio import read_channels
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import read_json, sha256_file, sha256_json, write_json
from ssenv_core.base.progress import on_all_cores
from ssenv_core.data.recordings import Dataset
from ssenv_core.metrics import acoustic, similarity
from ssenv_core.metrics.acoustic import check_waveform, is_clipped, measure

Convention = Literal["paper", "matched"]


_MODULES = (audio, acoustic, similarity)  # what decides the numbers, with these packages


_PACKAGES = ("numpy", "scipy", "soundfile", "soxr", "torch")


def measure_sounds(wavs: Sequence[np.ndarray], sample_rate: int, name: str) -> pd.DataFrame:
    """Measure waveforms (S,) float at one rate (Hz) by `metrics.acoustic.measure`, matched.

    Progress and errors call them `name`.
    """

    def row(i: int) -> pd.DataFrame:
        return measure(
            [(check_waveform(wavs[i], f"{name} clip {i}"), sample_rate)],
            convention="matched",
            sample_rate=sample_rate,
        )

    return pd.concat(on_all_cores(row, range(len(wavs)), f"measure {name}"), ignore_index=True)


def measure_recordings(sounds: Dataset) -> pd.DataFrame:
    """Measure all clips of a dataset at its native rate, without holding them in memory."""
    rate = sounds.native_rate

    def row(i: int) -> pd.DataFrame:
        return measure(
            [(sounds.read(sounds.clips[i], rate), rate)], convention="matched", sample_rate=rate
        )

    return pd.concat(
        on_all_cores(row, range(len(sounds)), f"measure at {rate} Hz"), ignore_index=True
    )


def measure_files(
    folder: Path, files: Sequence[Path], convention: Convention, sample_rate: int, cache: "Cache"
) -> pd.DataFrame:
    """Measure audio files.

    Returns:
        One row per file: `clip`, its path below `folder`; `sha256` of its samples and rate;
        `file_rate` (Hz); `channels`, which are mixed to mono; `clipped`, if a sample of any of them
        is at full scale; then the columns of `metrics.acoustic.measure`.

    Raises:
        SsenvError: a file cannot be read or measured; the line names it.
    """

    def row(path: Path) -> dict:
        channels, rate = read_channels(path)
        wav = check_waveform(channels.mean(axis=1), str(path))
        digest = hashlib.sha256(
            channels.tobytes() + repr((channels.shape, rate)).encode()
        ).hexdigest()

        def values() -> dict[str, float]:
            try:
                return (
                    measure([(wav, rate)], convention=convention, sample_rate=sample_rate)
                    .iloc[0]
                    .to_dict()
                )
            except SsenvError as error:
                raise SsenvError(f"{path}: {error}") from None

        found = cache.get(["clip", digest, convention, sample_rate], values)
        facts = {
            "sha256": digest,
            "file_rate": rate,
            "channels": channels.shape[1],
            "clipped": is_clipped(channels),
        }
        return {"clip": path.relative_to(folder).as_posix(), **facts, **found}

    table = pd.DataFrame(on_all_cores(row, files, f"measure {folder}"))
    return table.astype({"sample_rate": int, "silent": bool})


class Cache:
    """A JSON file of numbers by the hash of their sound, settings and code, to measure them once.

    Attributes:
        hits: how many entries have been found in the file so far.
    """

    def __init__(self, path: Path) -> None:
        versions = [importlib.metadata.version(package) for package in _PACKAGES]
        self._code = sha256_json(
            [*(sha256_file(module.__file__) for module in _MODULES), *versions]
        )
        stored = read_json(path) if path.exists() else {}
        self._path, self._used, self._known = path, {}, []
        self._stored: dict[str, dict[str, str]] = (
            stored["values"] if stored.get("code") == self._code else {}
        )

    @property
    def hits(self) -> int:
        return len(self._known)

    def get(self, key: list, values: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Look up a JSON-able key; keep values() for `save` if it is not there. Thread-safe."""
        name = sha256_json(key)
        if name in self._stored:
            self._known.append(name)
            self._used[name] = {column: float(text) for column, text in self._stored[name].items()}
        else:
            self._used[name] = values()
        return self._used[name]

    def save(self) -> Path:
        """Write the entries used since the file was read, and drop all others."""
        texts = {
            name: {column: repr(float(value)) for column, value in found.items()}
            for name, found in self._used.items()
        }
        return write_json(
            self._path, {"code": self._code, "values": texts}
        )  # as text: JSON has no NaN
