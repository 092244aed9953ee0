"""What memory is seen, and that it is looked for to the end of the block."""

import subprocess
import sys

import numpy as np

from ssenv_core.base.environment import child_processes, peak_memory

MB = 2**20


def test_the_peak_is_what_was_held_and_let_go_again() -> None:
    with peak_memory() as before:
        pass
    with peak_memory() as during:
        held = np.ones(300 * MB, np.uint8)
    del held
    with peak_memory() as after:
        pass
    assert during.megabytes - before.megabytes > 250
    assert during.megabytes - after.megabytes > 250


def test_children_are_seen() -> None:
    with peak_memory(child_processes) as before:  # other tests' children, if any
        pass
    holding = (
        "import sys; held = bytearray(b'1') * (200 * 2**20); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        with peak_memory(child_processes) as peak:
            pass
        process.stdin.close()
    assert 200 < peak.megabytes - before.megabytes < 300
