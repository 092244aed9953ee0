"""The one error that ssenv raises for a mistake of input or environment.

Notebooks show its single line instead of a traceback, and the command line prints it and exits with
1. Programming mistakes are plain `ValueError`s and keep their traceback.
"""

import difflib
from collections.abc import Iterable


class SsenvError(Exception):
    """One line: what is wrong, where, and what to do."""


def install(extra: str) -> str:
    """How to install an extra of ssenv, as the end of an error line."""
    return f"in ssenv's folder, pip install -e '.[{extra}]'"


def one_line(error: Exception) -> str:
    """The message of another package's error on one line, cut to 200 characters."""
    return " ".join(str(error).split())[:200]


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Suggest the nearest known name, as a question; "" where none is near."""
    spellings = {str(other).lower(): other for other in known}
    nearest = difflib.get_close_matches(str(name).lower(), spellings, n=1)
    return f"did you mean {spellings[nearest[0]]!r}?" if nearest else ""
