"""Ratings in a CSV file: one row per score, appended page by page, by several listeners at once.

A row holds the blind name of its stimulus, not the condition, so that neither the hosted page nor a
reader of the file can know it. `collect_ratings` looks the condition up in the key of the test, see
`hosting.write_key`.
"""

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import (
    AwareDatetime,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.dataclasses import dataclass

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import atomic_path
from ssenv_core.evaluation.listening.design import SCALES

LISTENER = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,31}"  # also checked by the pages
COLUMNS = (
    "listener",
    "test",
    "version",
    "page",
    "trial",
    "stimulus",
    "scale",
    "score",
    "seconds",
    "time",
)
ONCE = ["listener", "version", "page", "stimulus", "scale"]  # rated once in this combination


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Rating:
    """One score.

    Attributes:
        listener: the name that they entered.
        test: a key of SCALES.
        version: the version of the test.
        page: "mushra-1".
        trial: position of the page in this listener's order, from 1.
        stimulus: the blind name.
        scale: one of the test's.
        score: 0 to 100.
        seconds: spent on the page.
        time: when the page was finished, ISO 8601 with the offset from UTC.
    """

    listener: Annotated[str, Field(pattern=rf"^{LISTENER}$")]
    test: Literal["mushra", "fit", "diversity"]
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    page: Annotated[str, Field(pattern=r"^[a-z]+-[0-9]+$")]
    trial: Annotated[int, Field(ge=1)]
    stimulus: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    scale: str
    score: Annotated[int, Field(ge=0, le=100)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    time: AwareDatetime

    @field_validator("scale")
    @classmethod
    def _of_the_test(cls, scale: str, info: ValidationInfo) -> str:
        if scale not in SCALES.get(info.data.get("test"), (scale,)):
            raise ValueError(
                f"{info.data['test']} is rated for {', '.join(SCALES[info.data['test']])}"
            )
        return scale


RATING = TypeAdapter(Rating)


def start_ratings(path: str | Path) -> Path:
    """Write a file with a header and no rating, unless it exists."""
    with _lock(Path(path)):
        if not Path(path).exists():
            _write(Path(path), [])
    return Path(path)


def append_ratings(path: str | Path, rows: Iterable[dict]) -> None:
    """Add rows (values by the names in COLUMNS), all of them or none.

    A lock on the folder admits one process at a time. The file is replaced as a whole and synced:
    a crash leaves the old or the new one.

    Raises:
        SsenvError: a row is no `Rating` or rates again what its listener has rated, or the file
            holds no ratings or cannot be written.
    """
    path = Path(path)
    added = [_checked(row, "rating") for row in rows]
    with _lock(path):
        kept = _read(path) if path.exists() else []
        _refuse_twice(_table([*kept, *added]), str(path))
        _write(path, [*kept, *added])


def read_ratings(paths: Sequence[str | Path]) -> pd.DataFrame:
    """Read several files into one table with columns COLUMNS; copies of a row count once.

    Raises:
        SsenvError: a file cannot be read or has other columns, a row is no `Rating` (the message
            has file, line and value), or two rows rate the same stimulus differently.
    """
    table = _table([rating for path in paths for rating in _read(Path(path))]).drop_duplicates(
        ignore_index=True
    )
    _refuse_twice(table, " and ".join(map(str, paths)))
    return table


def collect_ratings(paths: Sequence[str | Path], key: str | Path) -> tuple[pd.DataFrame, int]:
    """Read the ratings of the test version that `key` belongs to.

    Returns:
        The ratings, each with its `condition`; and the number of ratings of other versions, which
        are left out.

    Raises:
        SsenvError: as `read_ratings`, or a rating is of this version but of an unknown stimulus.
    """
    table = read_ratings(paths)
    stimuli = pd.read_csv(key, dtype=str)
    current = table[table["version"].isin(stimuli["version"])]
    columns = ["version", "test", "page", "stimulus"]
    joined = current.merge(stimuli[[*columns, "condition"]], on=columns, how="left")
    unknown = joined[joined["condition"].isna()]
    if len(unknown):
        row = unknown.iloc[0]
        raise SsenvError(
            f"listener {row['listener']} has rated {row['stimulus']} on page {row['page']}, "
            f"which is not in {Path(key).name}"
        )
    return joined, len(table) - len(current)


def _read(path: Path) -> list[Rating]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header, rows = tuple(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SsenvError(f"cannot read the ratings {path}: {error}") from None
    if header != COLUMNS:
        raise SsenvError(
            f"{path} holds no ratings: its columns are {','.join(header) or 'missing'}, "
            f"not {','.join(COLUMNS)}"
        )
    return [_checked(row, f"{path}, row {line}") for line, row in enumerate(rows, 2)]


def _checked(row: dict, where: str) -> Rating:
    if None in row or None in row.values():
        raise SsenvError(f"{where}: needs the {len(COLUMNS)} values {','.join(COLUMNS)}")
    try:
        return RATING.validate_python(row)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        raise SsenvError(f"{where}: {name} = {first['input']!r}: {message}") from None


def _table(ratings: Sequence[Rating]) -> pd.DataFrame:
    table = pd.DataFrame([astuple(rating) for rating in ratings], columns=list(COLUMNS))
    return table.astype({"trial": int, "score": int, "seconds": float})


def _refuse_twice(table: pd.DataFrame, where: str) -> None:
    twice = table[table.duplicated(ONCE)]
    if len(twice):
        row = twice.iloc[0]
        raise SsenvError(
            f"{where}: listener {row['listener']} has rated {row['stimulus']} "
            f"on page {row['page']} twice: keep one of them"
        )


def _write(path: Path, ratings: Sequence[Rating]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [value.isoformat() if isinstance(value, datetime) else value for value in astuple(rating)]
        for rating in ratings
    )
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lock a file's folder against other processes of this machine that lock it, too."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise SsenvError(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
