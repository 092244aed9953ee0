"""How much memory something took."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

INTERVAL = 0.5  # s between looks


@dataclass
class Peak:
    """The largest resident memory seen, in MB (2^20 bytes)."""

    megabytes: float = 0.0


def own_process() -> list[psutil.Process]:
    """The process that asks."""
    return [psutil.Process()]


def child_processes() -> list[psutil.Process]:
    """All that the process that asks has started, and what those have."""
    return psutil.Process().children(recursive=True)


@contextmanager
def peak_memory(processes: Callable[[], Iterable[psutil.Process]] = own_process) -> Iterator[Peak]:
    """Watch the resident memory of processes, all together, twice a second and at the end of the block."""
    peak, done = Peak(), threading.Event()

    def look() -> None:
        total = 0
        for process in processes():
            with suppress(psutil.Error):  # it may end between being listed and being asked
                total += process.memory_info().rss
        peak.megabytes = max(peak.megabytes, total / 2**20)

    def watch() -> None:
        while not done.wait(INTERVAL):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        look()
