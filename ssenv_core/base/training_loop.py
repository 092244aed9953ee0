"""Training loops that checkpoint and resume: learning-rate schedule, weight average, epochs and steps."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ssenv_core.base.devices import autocast, resolve_precision
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import Progress
from ssenv_core.base.seeds import derive_seed
from ssenv_core.base.tensors import resume_state, save_state


def one_cycle(
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    steps: int,
    warmup: float,
    cycle_momentum: bool = False,
) -> OneCycleLR:
    """OneCycleLR that rises for the share `warmup` of the steps, but not in the last; where that is one step or less, at once.

    Rising in all of them, or in one, it would divide by zero. A single step is the first of two: it would else have no rate.
    """
    rise = min(float(warmup), 1 - 1 / steps) if warmup * steps > 1 else 0.0
    return OneCycleLR(
        optimizer, learning_rate, max(2, steps), pct_start=rise, cycle_momentum=cycle_momentum
    )


def warmed_up_average(decay: float) -> Callable:
    """An exponential moving average for `AveragedModel` whose decay is min(decay, (1 + n) / (10 + n)) at update n.

    A short run would otherwise end with an average that is mostly its random start.
    """

    def update(
        averaged: list[torch.Tensor], current: list[torch.Tensor], num_averaged: torch.Tensor
    ) -> None:
        n = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, num_averaged)

    return update


STATE_KIND = "codec training state"


class Stateful(Protocol):
    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> object: ...


@dataclass(frozen=True)
class Training:
    """Settings of one training; a step takes `batch_size` segments of `segment_frames` frames."""

    steps: int
    batch_size: int
    learning_rate: float
    segment_frames: int = 96
    warmup: float = 0.05
    seed: int = 0
    checkpoint_minutes: float = 5.0
    log_every: int = 100


def run(
    settings: Training,
    take_step: Callable[[torch.Generator], float],
    parts: dict[str, Stateful],
    state_file: Path,
    *,
    name: str,
    data: dict,
    device: torch.device,
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Take all steps, from the first or from where `state_file` is.

    Args:
        take_step: one step, given the generator of its random draws -> its loss.
        parts: everything that a step changes.
        name: of what is trained, for messages.
        data: JSON-able; together with the settings, what has to be the same for a run to be the same run (the code among it).
        report: called with each log row.

    Returns:
        Log rows {step, loss, seconds}: the mean loss since the row before.

    Raises:
        SsenvError: a loss is not finite, or the state is of an unfinished training of other settings or data.
    """
    rng = torch.Generator().manual_seed(settings.seed)
    torch.manual_seed(settings.seed)
    step, rows, losses, spent = 0, [], [], 0.0
    identity = {**asdict(settings), "name": name, **data}
    del identity["checkpoint_minutes"], identity["log_every"]
    if state := resume_state(state_file, STATE_KIND, identity):
        step, rows, losses, spent = state["step"], state["rows"], state["losses"], state["seconds"]
        for key, part in parts.items():
            part.load_state_dict(state["parts"][key])
        rng.set_state(state["rng"])
        torch.set_rng_state(state["noise"]) if device.type == "cpu" else torch.cuda.set_rng_state(
            state["noise"]
        )
    started, saved = time.monotonic() - spent, time.monotonic()
    with Progress(settings.steps, f"train {name}", "step", initial=step) as progress:
        while step < settings.steps:
            losses.append(take_step(rng))
            if not math.isfinite(losses[-1]):
                raise SsenvError(
                    f"the {name}'s loss is not finite at step {step + 1}: train it from {state_file} with a lower learning rate"
                )
            step += 1
            progress.update(note=f"loss {losses[-1]:.4f}")
            spent = time.monotonic() - started
            if step % settings.log_every == 0 or step == settings.steps:
                rows.append(
                    {"step": step, "loss": sum(losses) / len(losses), "seconds": round(spent, 1)}
                )
                losses.clear()
                if report is not None:
                    report(rows[-1])
            if (
                time.monotonic() - saved > 60 * settings.checkpoint_minutes
                or step == settings.steps
            ):
                noise = (
                    torch.get_rng_state() if device.type == "cpu" else torch.cuda.get_rng_state()
                )
                state = {
                    "parts": {key: part.state_dict() for key, part in parts.items()},
                    "rng": rng.get_state(),
                    "noise": noise,
                }
                state |= {"step": step, "rows": rows, "losses": losses, "seconds": spent}
                save_state(
                    state_file,
                    state,
                    {"kind": STATE_KIND, "identity": identity, "finished": step == settings.steps},
                )
                saved = time.monotonic()
    return rows


@dataclass(frozen=True)
class EpochSettings:
    """How long to train, in which precision, and from what seed."""

    epochs: int
    batch_size: int = 32
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 42
    checkpoint_minutes: float = 5.0

    def steps(self, clips: int) -> int:
        """Steps of all epochs; the last, incomplete batch of an epoch's random order is left out."""
        return self.epochs * max(1, clips // self.batch_size)


def train_epochs(
    network: nn.Module,
    loss: Callable[[torch.Tensor, int], torch.Tensor],
    clips: int,
    scheduler: LRScheduler,
    settings: EpochSettings,
    state_file: Path,
    *,
    name: str,
    remedy: str,
    data: dict,
    started: float,
    average: AveragedModel | None = None,
) -> tuple[list[dict], float]:
    """Train all epochs, from the first or from where `state_file` is.

    Args:
        network: in any mode, on the device to train on; it is left in training mode.
        loss: of the clips at index (B,), int64 on the CPU, in an epoch counted from 0; computed under autocast.
        scheduler: with the network's optimizer, for `settings.steps(clips)` steps.
        name: of what is trained, for messages and the state's kind.
        remedy: what to do where the loss is not finite.
        data: JSON-able; together with the settings, what has to be the same for a training to be the same training (the code among it).
        started: `time.monotonic()` when its preparation began.
        average: of the network's weights, updated after each step.

    Returns:
        Rows {epoch, loss}, the mean of each epoch; and `started`, moved back by the seconds that earlier processes spent.

    Raises:
        SsenvError: the loss is not finite, or the state is of another, interrupted training.
    """
    device, kind = next(network.parameters()).device, f"{name} training state"
    identity = {
        **asdict(settings),
        "precision": resolve_precision(settings.precision, device),
        **data,
    }
    del identity["checkpoint_minutes"]
    parts = {"network": network, "optimizer": scheduler.optimizer, "scheduler": scheduler}
    parts |= {} if average is None else {"average": average}
    rows = []
    if state := resume_state(state_file, kind, identity):
        rows, started = state["rows"], started - state["seconds"]
        for key, part in parts.items():
            part.load_state_dict(state[key])
    saved, per_epoch = time.monotonic(), settings.steps(clips) // settings.epochs
    network.train()
    with Progress(
        settings.steps(clips), f"train {name}", "step", initial=len(rows) * per_epoch
    ) as progress:
        while (epoch := len(rows)) < settings.epochs:
            torch.manual_seed(derive_seed(settings.seed, epoch))
            losses = []
            for index in torch.randperm(clips).split(settings.batch_size)[:per_epoch]:
                with autocast(settings.precision, device):
                    value = loss(index, epoch)
                if not torch.isfinite(value):
                    raise SsenvError(
                        f"the {name}'s loss is not finite in epoch {epoch + 1}: {remedy}"
                    )
                scheduler.optimizer.zero_grad(set_to_none=True)
                value.backward()
                scheduler.optimizer.step()
                scheduler.step()
                if average is not None:
                    average.update_parameters(network)
                losses.append(value.item())
                progress.update(note=f"loss {losses[-1]:.3f}")
            rows.append({"epoch": epoch + 1, "loss": float(np.mean(losses))})
            if (
                time.monotonic() - saved > 60 * settings.checkpoint_minutes
                or len(rows) == settings.epochs
            ):
                state = {key: part.state_dict() for key, part in parts.items()} | {
                    "rows": rows,
                    "seconds": time.monotonic() - started,
                }
                save_state(
                    state_file,
                    state,
                    {"kind": kind, "identity": identity, "finished": len(rows) == settings.epochs},
                )
                saved = time.monotonic()
    return rows, started
