"""The loop of trainings that take whole epochs of clips: the judge's, fine-tuning's, AST's. A killed one goes on from its last
checkpoint to what it would have become.

Each epoch's random draws begin at a seed of its own, so that a state needs no generator's.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from ssenv_core.artifacts import resume_state, save_state, sha256_files
from ssenv_core.devices import autocast, resolve_precision
from ssenv_core.errors import SsenvError
from ssenv_core.progress import Progress
from ssenv_core.validation import derive_seed


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
    code: Iterable[Path],
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
        data: JSON-able; together with the settings and the code, what has to be the same for a training to be the same training.
        code: files of this package that it depends on, besides this one and optimization.py.
        started: `time.monotonic()` when its preparation began.
        average: of the network's weights, updated after each step.

    Returns:
        Rows {epoch, loss}, the mean of each epoch; and `started`, moved back by the seconds that earlier processes spent.

    Raises:
        SsenvError: the loss is not finite, or the state is of another, interrupted training.
    """
    device, kind, package = next(network.parameters()).device, f"{name} training state", Path(__file__).parent
    identity = {**asdict(settings), "precision": resolve_precision(settings.precision, device), **data}
    identity["code"] = sha256_files([Path(__file__), package / "optimization.py", *code], package)
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
    with Progress(settings.steps(clips), f"train {name}", "step", initial=len(rows) * per_epoch) as progress:
        while (epoch := len(rows)) < settings.epochs:
            torch.manual_seed(derive_seed(settings.seed, epoch))
            losses = []
            for index in torch.randperm(clips).split(settings.batch_size)[:per_epoch]:
                with autocast(settings.precision, device):
                    value = loss(index, epoch)
                if not torch.isfinite(value):
                    raise SsenvError(f"the {name}'s loss is not finite in epoch {epoch + 1}: {remedy}")
                scheduler.optimizer.zero_grad(set_to_none=True)
                value.backward()
                scheduler.optimizer.step()
                scheduler.step()
                if average is not None:
                    average.update_parameters(network)
                losses.append(value.item())
                progress.update(note=f"loss {losses[-1]:.3f}")
            rows.append({"epoch": epoch + 1, "loss": float(np.mean(losses))})
            if time.monotonic() - saved > 60 * settings.checkpoint_minutes or len(rows) == settings.epochs:
                state = {key: part.state_dict() for key, part in parts.items()} | {"rows": rows, "seconds": time.monotonic() - started}
                save_state(state_file, state, {"kind": kind, "identity": identity, "finished": len(rows) == settings.epochs})
                saved = time.monotonic()
    return rows, started
