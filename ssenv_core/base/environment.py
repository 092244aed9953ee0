"""Versions, git revision, machine and peak memory, as recorded with every result."""

import importlib.metadata
import os
import platform
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil
import torch

from ssenv_core.base.code import PACKAGE


def environment(device: torch.device) -> dict:
    """Versions, git revision, machine and the device in use, as recorded with every result."""
    packages = (
        "ssenv",
        "torch",
        "torchaudio",
        "encodec",
        "vocos",
        "librosa",
        "numpy",
        "scikit-learn",
        "papermill",
    )
    return {
        "git": git_revision(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def git_revision() -> str | None:
    """The checkout's commit, with "+changes" if files differ; None outside a git checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changes = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
        return git("rev-parse", "HEAD") + changes
    except (OSError, subprocess.CalledProcessError):
        return None


INTERVAL = 0.5  # s between samples of the memory


@dataclass
class Peak:
    """The largest resident memory seen, in MB (2^20 bytes)."""

    megabytes: float = 0.0


def own_process() -> list[psutil.Process]:
    """The current process."""
    return [psutil.Process()]


def child_processes() -> list[psutil.Process]:
    """All descendants of the current process."""
    return psutil.Process().children(recursive=True)


@contextmanager
def peak_memory(processes: Callable[[], Iterable[psutil.Process]] = own_process) -> Iterator[Peak]:
    """Sample the total resident memory of processes, twice a second and at the end of the block."""
    peak = Peak()
    done = threading.Event()

    def sample() -> None:
        total = 0
        for process in processes():
            with suppress(psutil.Error):  # the process may have ended since it was listed
                total += process.memory_info().rss
        peak.megabytes = max(peak.megabytes, total / 2**20)

    def watch() -> None:
        while not done.wait(INTERVAL):
            sample()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        sample()
