"""Progress bars for terminals, progress lines for logs, and work on all cores."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tqdm.auto import tqdm

LINE_SECONDS = 20.0


def live_front_end() -> bool:
    """Whether a notebook front end is attached to this kernel.

    Jupyter's server names the session in the environment; papermill and nbconvert do not.
    """
    return "JPY_SESSION_NAME" in os.environ or "VSCODE_PID" in os.environ


class Progress:
    """Count `total` units of work and show the progress: a context manager with `update`.

    For plain loops use `track`.

    Args:
        total: units of work in all.
        description: the work, e.g. "tokenize".
        unit: the name of one unit, e.g. "clip".
        initial: units done by an earlier, resumed run.
        sound: seconds of sound in one unit; if given, the rate is also shown in multiples of real
            time.
    """

    def __init__(
        self,
        total: int,
        description: str,
        unit: str = "it",
        initial: int = 0,
        sound: float | None = None,
    ) -> None:
        self.total = total
        self.initial = initial
        self.unit = unit
        self.description = description
        self.sound = sound
        self.done = initial
        self.note = ""
        interactive = live_front_end() or sys.stderr.isatty()
        self.bar = (
            tqdm(total=total, desc=description, unit=unit, initial=initial) if interactive else None
        )
        self.started = self.last_line = time.monotonic()
        self.ended: float | None = None

    @property
    def elapsed(self) -> float:
        """Seconds from the start until now, or until the end."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def rate(self) -> float:
        """Units per second in this run."""
        return (self.done - self.initial) / max(self.elapsed, 1e-9)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = time.monotonic()
        if self.bar is not None:
            self.bar.close()
        elif self.done > self.initial:
            self._line()

    def update(self, count: int = 1, note: str = "") -> None:
        """Count finished units; `note` is shown beside the rate, e.g. "loss 4.21"."""
        self.done += count
        speed = f"{self.rate * self.sound:.1f} x real time" if self.sound else ""
        self.note = ", ".join(filter(None, [speed, note]))
        if self.bar is not None:
            self.bar.set_postfix_str(self.note, refresh=False)
            self.bar.update(count)
        elif self.done < self.total and time.monotonic() - self.last_line >= LINE_SECONDS:
            self._line()

    def _line(self) -> None:
        self.last_line = time.monotonic()
        left = (self.total - self.done) / self.rate
        time_words = f"{left:.0f} s left" if left else f"done in {self.elapsed:.1f} s"
        words = [
            f"{self.description}: {self.done}/{self.total} {self.unit}",
            f"{self.rate:.3g} {self.unit}/s",
            time_words,
            self.note,
        ]
        print(", ".join(filter(None, words)), flush=True)


def track(items: Iterable, total: int, description: str, unit: str = "it") -> Iterator:
    """Yield the items, `total` in all, showing progress."""
    with Progress(total, description, unit) as progress:
        for item in items:
            yield item
            progress.update()


def on_all_cores(
    work: Callable[[Any], Any], items: Sequence, description: str, unit: str = "clip"
) -> Iterator:
    """Yield work(item) of every item in order, on all cores, showing progress.

    The first error ends it.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield from track(pool.map(work, items), len(items), description, unit)
        finally:
            pool.shutdown(cancel_futures=True)
