"""The command line `ssenv`: parse options, call the package, print the result.

A mistake of input is one line on stderr and exit 1, an interrupted command one line and exit 130,
wrong usage is click's exit 2. Commands import the package when they run, so `--help` is fast.
"""

from ssenv_core.cli.main import main

__all__ = ["main"]
