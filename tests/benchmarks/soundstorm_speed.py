"""Speed and memory of our SoundStorm beside soundstorm-pytorch, at the paper's size.

Ours trains in the precision it picks for this device (and in fp32), with dropout and a level for
each clip. The package trains in fp32, without dropout, with one level and one prompt for the batch,
and computes the logits of every token. The optimizer is the same. Clips are generated in 12 passes
at the first level and 1 at each of the others, which are counted; ours again in both precisions.
The package's Conformer is measured as it is by default, and with plain residual sums as in ours.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import psutil
import torch
from peer import Peer
from torch import Tensor

from ssenv_core.base.devices import resolve_precision
from ssenv_core.soundstorm.decoding import decode
from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.masking import sample_training_mask
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig
from ssenv_core.soundstorm.sampling import Sampling

CONFIG = SoundStormConfig()
STEPS = (12, 1, 1, 1, 1, 1, 1, 1)
FRAMES, BATCH = 375, 8  # 5 s, and the paper's batch
ROUNDS, LONG_ROUNDS = 5, 3
PEERS = {"soundstorm-pytorch": 4, "soundstorm-pytorch with plain residuals": 1}  # residual streams


class Ours:
    """Our model, with what `training` and `generation` do with it."""

    def __init__(self, precision: str):
        self.model = self.net = SoundStorm(CONFIG)
        self.bf16 = precision == "bf16"

    def loss(self, codes: Tensor) -> Tensor:
        level, mask = sample_training_mask(
            torch.ones(len(codes), codes.shape[2], dtype=torch.bool), CONFIG.n_q
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            inputs = Inputs(codes, torch.zeros(len(codes), dtype=torch.int64))
            return self.model.masked_loss(inputs, level, mask).loss.mean()

    def generate(self, clips: int, frames: int) -> Tensor:
        self.model.eval()
        blank = torch.zeros(clips, CONFIG.n_q, frames, dtype=torch.int64)
        labels = torch.full((clips,), CONFIG.null_label)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return decode(
                self.model,
                Inputs(blank, labels),
                blank.bool(),
                Sampling(steps=STEPS),
                seeds=range(clips),
            ).codes


def make(name: str) -> Ours | Peer:
    """The contender of that name: "ssenv fp32", "ssenv bf16", or one of PEERS."""
    torch.manual_seed(0)
    return (
        Peer(CONFIG, PEERS[name], STEPS[0]) if name in PEERS else Ours(name.removeprefix("ssenv "))
    )


def measure() -> dict[str, float]:
    """Medians over rounds in which the models take turns: a busy machine slows all of them."""
    trained = f"ssenv {resolve_precision('auto', torch.device('cpu'))}"
    names = [*dict.fromkeys((trained, "ssenv fp32")), *PEERS]
    memory = {name: peak_memory(name) for name in names}
    rows = {
        f"{name} training step of {BATCH} clips, peak MB": peak for name, peak in memory.items()
    }
    rows |= {
        f"{trained} training step of {BATCH} clips, peak MB, x {peer}": memory[trained]
        / memory[peer]
        for peer in PEERS
    }
    contenders = {name: make(name) for name in names}
    rows |= {
        f"{name}, M parameters": sum(p.numel() for p in c.model.parameters()) / 1e6
        for name, c in contenders.items()
    }
    rows |= compare(
        f"training step of {BATCH} clips",
        {name: training_step(c) for name, c in contenders.items()},
        ROUNDS,
    )
    passes = {name: count_passes(c) for name, c in contenders.items()}
    if set(passes.values()) != {sum(STEPS)}:
        raise RuntimeError(f"not the same work: {passes} passes instead of {sum(STEPS)}")
    rows |= {f"{name} generating, passes": count for name, count in passes.items()}
    for task, clips, rounds in (
        ("generating 1 clip", 1, ROUNDS),
        (f"generating {BATCH} clips", BATCH, LONG_ROUNDS),
    ):
        rows |= compare(
            task,
            {name: partial(c.generate, clips, FRAMES) for name, c in contenders.items()},
            rounds,
        )
    return rows


def compare(task: str, runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of every run, and how many times as fast as the peers ours are."""
    times = {name: [] for name in runs}
    for measured in range(-1, rounds):  # the first round sets things up
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if measured >= 0:
                times[name].append(time.perf_counter() - started)
    seconds = {name: torch.tensor(rounds).median().item() for name, rounds in times.items()}
    rows = {f"{name} {task}, s": value for name, value in seconds.items()}
    ours = [name for name in runs if name not in PEERS]
    return rows | {
        f"{name} {task}, x {peer}": seconds[peer] / seconds[name] for name in ours for peer in PEERS
    }


def training_step(contender: Ours | Peer) -> Callable[[], None]:
    """Forward, backward and Adam on the same random codes each time."""
    codes = torch.randint(
        CONFIG.codebook_size,
        (BATCH, CONFIG.n_q, FRAMES),
        generator=torch.Generator().manual_seed(0),
    )
    optimizer = torch.optim.Adam(contender.model.parameters(), 1e-4, fused=True)

    def step() -> None:
        loss = contender.loss(codes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def count_passes(contender: Ours | Peer) -> int:
    """Forward passes of the network while it generates one clip."""
    calls = []
    hook = contender.net.register_forward_pre_hook(lambda net, inputs: calls.append(net))
    contender.generate(1, FRAMES)
    hook.remove()
    return len(calls)


def peak_memory(name: str) -> float:
    """MB that training adds to what a fresh process holds once the model is made."""
    return float(
        subprocess.run(
            [sys.executable, __file__, name], check=True, capture_output=True, text=True
        ).stdout
    )


def train_alone(name: str) -> float:
    """What `peak_memory` runs in a process: two steps, as Adam's averages exist from the second."""
    step, held, peak_before = (
        training_step(make(name)),
        psutil.Process().memory_info().rss,
        peak_so_far(),
    )
    for _ in range(2):
        step()
    if peak_so_far() <= peak_before:
        # Linux lets a process start with the peak of the one that started it.
        raise RuntimeError(
            f"the peak of {name} is below {peak_before / 1e6:.0f} MB, which was reached before it "
            "trained"
        )
    return (peak_so_far() - held) / 1e6


def peak_so_far() -> int:
    """Bytes; getrusage counts kilobytes, but bytes on macOS."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count())
    print(train_alone(sys.argv[1]))
