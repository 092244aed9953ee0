"""A resumable training loop, and the schedule and weight average that trainings share."""

import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ssenv_core.base.code import code_of
from ssenv_core.base.devices import autocast, resolve_precision
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import Progress
from ssenv_core.base.seeds import derive_seed
from ssenv_core.base.tensors import resume_state, save_state

PACE = ("checkpoint_minutes", "log_every")  # settings that change no weight


class Stateful(Protocol):
    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> object: ...


class Clock:
    """The seconds that a training has taken, in this process and in those it resumes."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def state_dict(self) -> dict:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict) -> None:
        self.started -= state["seconds"]


class Draws:
    """The random generators of a training: torch's global ones, and `own` on the CPU."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.own = torch.Generator().manual_seed(seed)
        self.device = device
        torch.manual_seed(seed)

    def state_dict(self) -> dict:
        state = {"own": self.own.get_state(), "cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def load_state_dict(self, state: dict) -> None:
        self.own.set_state(state["own"])
        torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)


@dataclass
class Run:
    """A training that checkpoints, resumes exactly and stops at a loss that is not finite.

    Attributes:
        name: what is trained; in messages and in the state's kind.
        module: the caller's `__name__`; its code and what it imports belongs to the identity.
        steps: of the whole training.
        state_file: where checkpoints are written and read.
        settings: a dataclass with `checkpoint_minutes`; belongs to the identity, except `PACE`.
        identity: JSON-able; what else has to be equal for a training to be the same one.
        parts: everything that a step changes, random generators included where a step does not
            seed its own draws.
        logged: the steps, counted from 1, after which a row is added.
        clock: made where the preparation of the training begins, if that counts.
        main: whether this process reports and writes; of several, one does.
    """

    name: str
    module: str
    steps: int
    state_file: Path
    settings: object
    identity: dict
    parts: Mapping[str, Stateful]
    logged: Collection[int]
    clock: Clock = field(default_factory=Clock)
    main: bool = True

    def __call__(
        self, step: Callable[[int], float], on_row: Callable[[dict], None] | None = None
    ) -> list[dict]:
        """Take all steps, from the first or from the one where the state file ends.

        Args:
            step: takes the step of this number, counted from 0, and returns its loss.
            on_row: called with each new row; may add to it.

        Returns:
            Rows {step, loss, seconds}; loss is the mean since the row before.

        Raises:
            SsenvError: a loss is not finite, or the state is of another, interrupted training.
        """
        kind = f"{self.name} training state"
        settings = {key: value for key, value in asdict(self.settings).items() if key not in PACE}
        identity = {**settings, **self.identity, "code": code_of(self.module)}
        parts = {**self.parts, "clock": self.clock}
        done, rows, losses = 0, [], []
        if state := resume_state(self.state_file, kind, identity):
            done, rows, losses = state["step"], state["rows"], state["losses"]
            for key, part in parts.items():
                part.load_state_dict(state["parts"][key])
        saved_step, saved_at = done, time.monotonic()
        bar = Progress(self.steps, f"train {self.name}", "step", done) if self.main else None
        with bar or nullcontext():
            while done < self.steps:
                losses.append(step(done))
                done += 1
                if not math.isfinite(losses[-1]):
                    raise SsenvError(self._not_finite(done, saved_step))
                if bar:
                    bar.update(note=f"loss {losses[-1]:.4f}")
                if done in self.logged:
                    mean, seconds = float(np.mean(losses)), round(self.clock.seconds, 1)
                    rows.append({"step": done, "loss": mean, "seconds": seconds})
                    losses = []
                    if on_row is not None:
                        on_row(rows[-1])
                minutes = (time.monotonic() - saved_at) / 60
                if done == self.steps or minutes > self.settings.checkpoint_minutes:
                    if self.main:
                        states = {key: part.state_dict() for key, part in parts.items()}
                        state = {"step": done, "rows": rows, "losses": losses, "parts": states}
                        about = {"kind": kind, "identity": identity}
                        about["finished"] = done == self.steps
                        save_state(self.state_file, state, about)
                    saved_step, saved_at = done, time.monotonic()
        return rows

    def _not_finite(self, step: int, saved: int) -> str:
        good = f"{self.state_file} holds step {saved}, the last good one"
        return (
            f"the {self.name}'s loss or gradient is not finite at step {step} "
            "(try a lower learning rate, another seed, or fp32): "
            f"{good if saved else 'there is no checkpoint'}"
        )


@dataclass(frozen=True)
class Training:
    """Settings of a training in steps on `batch_size` segments of `segment_seconds` seconds."""

    steps: int
    batch_size: int
    learning_rate: float
    segment_seconds: float = 1.28
    warmup: float = 0.05
    seed: int = 0
    checkpoint_minutes: float = 5.0
    log_every: int = 100

    @property
    def logged(self) -> set[int]:
        """The steps after which a row is added."""
        return {*range(self.log_every, self.steps, self.log_every), self.steps}


@dataclass(frozen=True)
class EpochSettings:
    """How long to train, in which precision, and from which seed."""

    epochs: int
    batch_size: int = 32
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 42
    checkpoint_minutes: float = 5.0

    def steps(self, clips: int) -> int:
        """Steps of all epochs; each leaves out the last, incomplete batch of its random order."""
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
    module: str,
    identity: dict,
    clock: Clock,
    average: AveragedModel | None = None,
) -> list[dict]:
    """Train a network on batches of clips in a new random order each epoch; see `Run`.

    Args:
        network: in any mode, on its device; it is left in training mode.
        loss: of the clips at index (B,), int64 on the CPU, in an epoch counted from 0; it is
            computed under autocast.
        scheduler: with the network's optimizer, for `settings.steps(clips)` steps.
        average: of the network's weights, updated after each step.

    Returns:
        Rows {epoch, loss}, the mean of each epoch.

    Raises:
        SsenvError: the loss is not finite, or the state is of another, interrupted training.
    """
    device = next(network.parameters()).device
    steps = settings.steps(clips)
    per_epoch = steps // settings.epochs
    draws = Draws(settings.seed, device)
    parts = {"network": network, "optimizer": scheduler.optimizer, "scheduler": scheduler}
    parts |= {"draws": draws} if average is None else {"draws": draws, "average": average}

    def step(number: int) -> float:
        epoch, position = divmod(number, per_epoch)
        seed = derive_seed(settings.seed, epoch)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(clips, generator=generator)
        if position == 0:  # the epoch's other draws follow those of its order
            torch.manual_seed(seed)
            torch.set_rng_state(generator.get_state())
        with autocast(settings.precision, device):
            value = loss(order.split(settings.batch_size)[position], epoch)
        descend(value, scheduler)
        if average is not None:
            average.update_parameters(network)
        return value.item()

    network.train()
    precision = resolve_precision(settings.precision, device)
    run = Run(
        name,
        module,
        steps,
        state_file,
        settings,
        {**identity, "precision": precision},
        parts,
        range(per_epoch, steps + 1, per_epoch),
        clock,
    )
    return [{"epoch": i, "loss": row["loss"]} for i, row in enumerate(run(step), start=1)]


def descend(loss: torch.Tensor, scheduler: LRScheduler, max_norm: float | None = None) -> None:
    """Take one step of the scheduler's optimizer down the gradient, clipped to `max_norm`."""
    optimizer = scheduler.optimizer
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if max_norm is not None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()
    scheduler.step()


def one_cycle(
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    steps: int,
    warmup: float,
    cycle_momentum: bool = False,
) -> OneCycleLR:
    """OneCycleLR whose rate rises during the share `warmup` of the steps, for any number of steps.

    The rate never rises in the last step, and starts at its peak where the rise would take one
    step or less: OneCycleLR would divide by zero. A single step is treated as the first of two,
    or its rate would be zero.
    """
    rise = min(float(warmup), 1 - 1 / steps) if warmup * steps > 1 else 0.0
    return OneCycleLR(
        optimizer, learning_rate, max(2, steps), pct_start=rise, cycle_momentum=cycle_momentum
    )


def warmed_up_average(decay: float) -> Callable:
    """Exponential moving average for `AveragedModel`, with a shorter memory at its start.

    The decay at update n is min(decay, (1 + n) / (10 + n)). With a constant decay the average of a
    short run would be mostly its random start.
    """

    def update(
        averaged: list[torch.Tensor], current: list[torch.Tensor], num_averaged: torch.Tensor
    ) -> None:
        n = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, num_averaged)

    return update
