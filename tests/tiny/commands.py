"""Run commands in this process, and the input that they refuse."""

import re

import numpy as np
from click.testing import CliRunner

from ssenv_core.cli import main


def ssenv(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result, pattern):
    assert result.exit_code == 1
    assert re.fullmatch(f"error: {pattern}\n", result.stderr), result.stderr
    assert result.stdout == ""


def noise(seed, samples=6000):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


BAD_FOLDERS = [
    ("missing", "no folder at .*missing"),
    ("empty", r".*empty holds no audio file .*"),
    ("text", r".*a\.wav cannot be read as audio .*: replace or remove it"),
    ("cut", r".*a\.ogg is truncated: fetch it again or remove it"),
]
