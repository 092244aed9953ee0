"""A training by steps that logs, checkpoints, and resumes exactly where it was killed."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch

from ssenv_core.artifacts import resume_state, save_state, sha256_files
from ssenv_core.errors import SsenvError
from ssenv_core.progress import Progress

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
        data: JSON-able; together with the settings and the code, what has to be the same for a run to be the same run.
        report: called with each log row.

    Returns:
        Log rows {step, loss, seconds}: the mean loss since the row before.

    Raises:
        SsenvError: a loss is not finite, or the state is of an unfinished training of other settings or data.
    """
    rng = torch.Generator().manual_seed(settings.seed)
    torch.manual_seed(settings.seed)
    step, rows, losses, spent = 0, [], [], 0.0
    package = Path(__file__).parents[1]
    code = [*(package / "codec_training").glob("*.py"), *(package / "codecs" / "melrvq").glob("*.py"), package / "optimization.py"]
    code = sha256_files([*code, package / "augmentation.py"], package)
    identity = {**asdict(settings), "name": name, **data, "code": code}
    del identity["checkpoint_minutes"], identity["log_every"]
    if state := resume_state(state_file, STATE_KIND, identity):
        step, rows, losses, spent = state["step"], state["rows"], state["losses"], state["seconds"]
        for key, part in parts.items():
            part.load_state_dict(state["parts"][key])
        rng.set_state(state["rng"])
        torch.set_rng_state(state["noise"]) if device.type == "cpu" else torch.cuda.set_rng_state(state["noise"])
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
                rows.append({"step": step, "loss": sum(losses) / len(losses), "seconds": round(spent, 1)})
                losses.clear()
                if report is not None:
                    report(rows[-1])
            if time.monotonic() - saved > 60 * settings.checkpoint_minutes or step == settings.steps:
                noise = torch.get_rng_state() if device.type == "cpu" else torch.cuda.get_rng_state()
                state = {"parts": {key: part.state_dict() for key, part in parts.items()}, "rng": rng.get_state(), "noise": noise}
                state |= {"step": step, "rows": rows, "losses": losses, "seconds": spent}
                save_state(state_file, state, {"kind": STATE_KIND, "identity": identity, "finished": step == settings.steps})
                saved = time.monotonic()
    return rows
