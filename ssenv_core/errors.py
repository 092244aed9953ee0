"""The one error that ssenv raises for a mistake of input or environment.

Notebooks show its single line in place of a long traceback, and the command line prints it and exits with 1. Programming mistakes are
plain `ValueError`s and keep their traceback.
"""


class SsenvError(Exception):
    """One line: what is wrong, where, and what to do."""
