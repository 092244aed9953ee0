"""Read params/*.yaml, in which a file may name another as its base, and `name=value` overrides."""

import os
from collections.abc import Iterable
from pathlib import Path

import yaml

from ssenv_core.base.errors import SsenvError, did_you_mean


def read_params(path: str | Path) -> dict[str, object]:
    """Read the values of a study's YAML file over those of its bases.

    Raises:
        SsenvError: as `read_files`.
    """
    values: dict[str, object] = {}
    for own in reversed(read_files(path).values()):
        values |= own
    return values


def read_files(path: str | Path) -> dict[str, dict[str, object]]:
    """Read a study's YAML file, the file that it names as its base, the base of that, and so on.

    `base: FILE` is relative to the file that holds it. A study's name is not inherited.

    Returns:
        The values of each file by name, by the file's path; that of the study comes first.

    Raises:
        SsenvError: a file is missing, is no YAML or no flat mapping, or is its own base.
    """
    files: dict[str, dict[str, object]] = {}
    file = Path(path)
    while True:
        values = _read_file(file, derived=list(files)[-1] if files else None)
        if files:
            values.pop("study", None)
        base = values.pop("base", None)
        files[str(file)] = values
        if base is None:
            return files
        if not isinstance(base, str):
            raise SsenvError(f"{file}: base = {base!r} must be the name of a file")
        file = Path(os.path.normpath(file.parent / base))
        if str(file) in files:
            raise SsenvError(f"{file} is its own base: {' -> '.join([*files, str(file)])}")


def _read_file(path: Path, derived: str | None) -> dict[str, object]:
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        reason = f", which {derived} names as its base" if derived else ""
        raise SsenvError(f"no parameter file at {path}{reason}") from None
    except OSError as error:
        raise SsenvError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SsenvError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or any(
        not isinstance(name, str) or isinstance(value, dict) for name, value in values.items()
    ):
        raise SsenvError(f"{path} must be one flat mapping of name: value")
    return values


def parse_override(text: str) -> tuple[str, object]:
    """Parse `name=value` from the command line, the value as YAML.

    Raises:
        SsenvError: there is no `=`, or the value is no YAML.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SsenvError(f"--set {text}: write name=value")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise SsenvError(f"--set {text}: {value!r} is not a YAML value") from None


def refuse_unknown(names: Iterable[str], known: Iterable[str], source: str) -> None:
    """Raise SsenvError for the first unknown name, with the nearest known one if there is one."""
    known = sorted(set(known))
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            advice = f": {hint}" if hint else f"; known: {', '.join(known)}"
            raise SsenvError(f"unknown parameter {name!r} in {source}{advice}")
