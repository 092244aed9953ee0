"""Shared parts of the dataset loaders: find a folder, read a table, check for missing files."""

import csv
from collections.abc import Sequence
from pathlib import Path

from ssenv_core.base.audio import SUFFIXES
from ssenv_core.base.errors import SsenvError
from ssenv_core.data.recordings import AudioFile


def find_root(
    data_root: str | Path | None,
    folders: Sequence[str],
    marker: str,
    title: str,
    download_name: str,
) -> Path:
    """The folder that holds `marker`: `data_root` itself or one of the named `folders` below it.

    Raises:
        SsenvError: none does; the line says how to get the data, and that the synthetic dataset
            needs none.
    """
    ways = (
        f"run `ssenv download {download_name}`, or use dataset synthetic, which needs no download"
    )
    if data_root is None:
        raise SsenvError(
            f"{title} needs data_root, the folder that holds it: name the folder, {ways}"
        )
    for folder in (Path(data_root), *(Path(data_root) / name for name in folders)):
        if (folder / marker).is_file():
            return folder
    below = " or ".join(folders)
    raise SsenvError(
        f"no {title} at {data_root} ({marker} is neither there nor in {below} below it): {ways}"
    )


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header.

    Raises:
        SsenvError: the file cannot be read, lacks one of the columns, has a row that is cut short,
            or has no row.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SsenvError(f"cannot read the table {path}: {error}") from error
    lacking = [column for column in columns if column not in header]
    if lacking:
        names = ", ".join(lacking)
        raise SsenvError(
            f"{path} has no column {names}: its header is {','.join(header) or 'missing'}"
        )
    if not rows:
        raise SsenvError(f"{path} lists no clip")
    for line, row in enumerate(rows, start=2):
        empty = ", ".join(column for column in columns if not row[column])
        if empty:
            raise SsenvError(f"{path}, row {line}: {empty} is empty")
    return rows


def integer(row: dict[str, str], column: str, path: Path) -> int:
    """Read a whole number from a table's row.

    Raises:
        SsenvError: it is not one.
    """
    try:
        return int(row[column])
    except ValueError:
        content = ",".join(map(str, row.values()))
        raise SsenvError(
            f"{path}: {column} {row[column]!r} is not a whole number (row {content})"
        ) from None


def audio_by_stem(folder: Path) -> dict[str, AudioFile]:
    """The audio files directly in a folder, by name without suffix.

    If a name has several suffixes, the first in `audio.SUFFIXES` is used.

    Raises:
        SsenvError: there is no such folder.
    """
    if not folder.is_dir():
        raise SsenvError(f"no folder {folder}")
    paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    paths.sort(key=lambda path: SUFFIXES.index(path.suffix.lower()), reverse=True)
    return {path.stem: AudioFile(path, path.stat().st_size) for path in paths}


def refuse_missing(missing: Sequence[str], listed: int, table: Path, download_name: str) -> None:
    """Refuse a copy of a published dataset that lacks files its table lists.

    Raises:
        SsenvError: `missing` is not empty.
    """
    if missing:
        raise SsenvError(
            f"{len(missing)} of the {listed} clips in {table} have no audio file (first: "
            f"{missing[0]}): complete the copy, or fetch it again with "
            f"`ssenv download {download_name}`"
        )
