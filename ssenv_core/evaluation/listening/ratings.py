"""Ratings in a CSV file: one row for each score, appended page by page, by any number of listeners at once.

A row names its stimulus and not its condition: neither the hosted page nor whoever opens the file while people listen shall know it.
`collect_ratings` looks it up in the key of the test, see `hosting.write_key`.
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

LISTENER = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,31}"  # also what the pages let a listener be called
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
ONCE = ["listener", "version", "page", "stimulus", "scale"]  # what is rated once


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Rating:
    """One score.

    Attributes:
        listener: as they called themselves.
        test: a key of SCALES.
        version: of the test.
        page: "mushra-1".
        trial: which of this listener's pages it was, from 1.
        stimulus: the blind name.
        scale: one of the test's.
        score: 0 to 100.
        seconds: spent on the page.
        time: when the page was done, ISO 8601 with its offset from UTC.
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
    """Make a file with a header and no rating, unless there is one already."""
    with _lock(Path(path)):
        if not Path(path).exists():
            _write(Path(path), [])
    return Path(path)


def append_ratings(path: str | Path, rows: Iterable[dict]) -> None:
    """Add rows (values by the names in COLUMNS), all of them or none.

    One process at a time, by a lock on the folder. The file is replaced whole and synced: a crash leaves the old one or the new one.

    Raises:
        SsenvError: a row is no `Rating`, rates what its listener has rated already, or the file is not one of ratings or cannot be written.
    """
    path = Path(path)
    added = [_checked(row, "rating") for row in rows]
    with _lock(path):
        kept = _read(path) if path.exists() else []
        _refuse_twice(_table([*kept, *added]), str(path))
        _write(path, [*kept, *added])


def read_ratings(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The rows of several files, in the columns COLUMNS; a file that is there twice counts once.

    Raises:
        SsenvError: a file cannot be read or has other columns, a row is no `Rating` (file, line and value are named), or two rows rate the
            same thing differently.
    """
    table = _table([rating for path in paths for rating in _read(Path(path))]).drop_duplicates(
        ignore_index=True
    )
    _refuse_twice(table, " and ".join(map(str, paths)))
    return table


def collect_ratings(paths: Sequence[str | Path], key: str | Path) -> tuple[pd.DataFrame, int]:
    """The ratings of the version of a test that `key` is of, each with its `condition`; and how many are of other versions, and left out.

    Raises:
        SsenvError: as `read_ratings`, or a rating is of this version but of none of its stimuli.
    """
    table, known = read_ratings(paths), pd.read_csv(key, dtype=str)
    mine = table[table["version"].isin(known["version"])]
    columns = ["version", "test", "page", "stimulus"]
    joined = mine.merge(known[[*columns, "condition"]], on=columns, how="left")
    foreign = joined[joined["condition"].isna()]
    if len(foreign):
        row = foreign.iloc[0]
        raise SsenvError(
            f"listener {row['listener']} has rated {row['stimulus']} on page {row['page']}, which {Path(key).name} does not know"
        )
    return joined, len(table) - len(mine)


def _read(path: Path) -> list[Rating]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header, rows = tuple(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SsenvError(f"cannot read the ratings {path}: {error}") from None
    if header != COLUMNS:
        raise SsenvError(
            f"{path} holds no ratings: its columns are {','.join(header) or 'missing'}, not {','.join(COLUMNS)}"
        )
    return [_checked(row, f"{path}, row {line}") for line, row in enumerate(rows, 2)]


def _checked(row: dict, where: str) -> Rating:
    if None in row or None in row.values():
        raise SsenvError(f"{where}: has not the {len(COLUMNS)} values {','.join(COLUMNS)}")
    try:
        return RATING.validate_python(row)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        raise SsenvError(
            f"{where}: {'.'.join(map(str, first['loc']))} = {first['input']!r}: {message[0].lower()}{message[1:]}"
        ) from None


def _table(ratings: Sequence[Rating]) -> pd.DataFrame:
    table = pd.DataFrame([astuple(rating) for rating in ratings], columns=list(COLUMNS))
    return table.astype({"trial": int, "score": int, "seconds": float})


def _refuse_twice(table: pd.DataFrame, where: str) -> None:
    twice = table[table.duplicated(ONCE)]
    if len(twice):
        row = twice.iloc[0]
        raise SsenvError(
            f"{where}: listener {row['listener']} has rated {row['stimulus']} on page {row['page']} twice: keep one of them"
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
    """Keep other processes of this machine from changing files in a folder that they lock, too."""
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
