"""Options that several commands share, and how their values are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FILE = click.Path(path_type=Path)
TARGET = click.Path(path_type=Path, file_okay=False)  # a folder to write to
MEASURED = "the default was chosen on a validation split of ESC-10"

checkpoint = click.option(
    "--checkpoint",
    type=FILE,
    metavar="FILE",
    help="A generator file of 02_train.  [default: the shipped generator of ESC-50's classes]",
)
device = click.option("--device", default="auto", metavar="auto|cpu|cuda")
seed = click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=42)
data_root = click.option(
    "--data-root", type=FILE, default=Path("data"), metavar="DIR", help="Folder of the datasets."
)

SAMPLING = (
    click.option(
        "--steps",
        metavar="N,N,...",
        help="Iterations of each codec level, coarse first.  [default: 12,1,1,...]",
    ),
    click.option(
        "--temperature",
        default="1",
        metavar="X[,X,...]",
        help="For all levels, or for each; 0 takes the likeliest codes.",
    ),
    click.option("--top-k", type=int, help="Sample from the k likeliest codes only."),
    click.option(
        "--top-p", type=float, help="Sample from the fewest codes whose probabilities add up to p."
    ),
    click.option(
        "--sampler",
        default="confidence",
        metavar="NAME",
        help="The rule by which sampled tokens are kept; a wrong name lists the rules.",
    ),
    click.option(
        "--choice-temperature",
        type=float,
        default=8.0,
        help=f"Weight of the noise in the default sampler's choice; {MEASURED}.",
    ),
    click.option(
        "--guidance",
        type=float,
        default=2.0,
        help=f"Classifier-free guidance, 1 is none; {MEASURED}.",
    ),
    click.option(
        "--guidance-schedule",
        default="constant",
        metavar="NAME",
        help="Course of the guidance within each level; a wrong name lists the schedules.",
    ),
)


def sampling(command: Callable) -> Callable:
    """Add the options of the decoding; `sampling_numbers` reads their values."""
    for option in reversed(SAMPLING):
        command = option(command)
    return command


def sampling_numbers(options: dict[str, Any], n_q: int) -> dict[str, Any]:
    """Read steps and temperature as numbers; the default steps are the paper's for `n_q` levels."""
    steps = options["steps"]
    temperature = numbers(options["temperature"], float, "--temperature")
    return {
        **options,
        "steps": numbers(steps, int, "--steps") if steps else (12,) + (1,) * (n_q - 1),
        "temperature": temperature if len(temperature) > 1 else temperature[0],
    }


def numbers(
    text: str, kind: type[int] | type[float], option: str
) -> tuple[int, ...] | tuple[float, ...]:
    """Read numbers separated by commas.

    Raises:
        click.BadParameter: the text is something else.
    """
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        example = "whole numbers such as 12,1,1" if kind is int else "numbers such as 1,2.2,3.5"
        raise click.BadParameter(
            f"{text!r} is not a list of {example}", param_hint=option
        ) from None
