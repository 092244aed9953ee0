"""Atomic writes, JSON and SHA-256 hashes of files.

A file appears under its final name only when it is complete, so an interrupted or failed run leaves
earlier outputs unchanged.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssenv_core.base.errors import SsenvError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (same suffix) that replaces it if the block succeeds.

    Otherwise the temporary file is removed.

    Raises:
        SsenvError: the file system refuses the write (disk full, no permission).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix
        )
        os.close(handle)
    except OSError as error:
        raise SsenvError(f"cannot write {path}: {error.strerror}") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise SsenvError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)
    return Path(path)


def write_json(path: str | Path, value: object) -> Path:
    """Write JSON atomically; NaN is refused, as it is not valid JSON."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict:
    """Read a JSON object.

    Raises:
        SsenvError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise SsenvError(f"no file at {path}") from None
    except ValueError as error:
        raise SsenvError(
            f"{path} is not valid JSON ({error}): remove it and run its step again"
        ) from None


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: object) -> str:
    """Hex SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256_files(paths: list[Path], root: Path) -> str:
    """Hex SHA-256 over the relative names and contents of files."""
    return sha256_json({str(path.relative_to(root)): sha256_file(path) for path in sorted(paths)})


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder, sorted by path."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())
