"""Trains a SoundStorm on tokens (SoundStorm, section 3.2; the paper's optimizer and schedule) and writes its generator file.

This floor owns the device, the precision, the processes and the checkpoints; what is masked and what the loss is, is the model's. All
randomness of a step follows from (seed, step, process), so a resumed run repeats a straight one exactly and needs no stored generator.
The averaged (EMA) weights are what is validated, saved and used.
"""

import hashlib
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ssenv_core.base.code import code_of
from ssenv_core.base.devices import can_compile, resolve_device, resolve_precision
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import Progress
from ssenv_core.base.seeds import Purpose, derive_seed
from ssenv_core.base.tensors import resume_state, save_state
from ssenv_core.base.training_loop import one_cycle, warmed_up_average
from ssenv_core.data.batches import Clips
from ssenv_core.data.tokens import TokenSet
from ssenv_core.generator.file import TrainedGenerator, round_to_half, save_generator
from ssenv_core.generator.plans import Plans
from ssenv_core.generator.validation import quick_validation, validation_loss
from ssenv_core.soundstorm.inputs import CONTROLS, Inputs
from ssenv_core.soundstorm.masking import sample_training_mask
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

STATE_KIND = "soundstorm training state"
LOG_ROWS = 200  # about this many at most
VALIDATIONS = 20  # on the way, at most
VALIDATION_SHARE = 0.05  # of the training's time, at most, goes to those


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults are the paper's where it names a value."""

    epochs: int = 100
    batch_size: int = 8  # over all processes
    accumulate: int = 1  # parts that each process's share of a batch is computed in, one after another, which bounds memory
    learning_rate: float = 1e-4  # the highest of OneCycleLR
    warmup: float = 0.3  # share of the steps in which it rises
    grad_clip: float = 1.0
    label_dropout: float = (
        0.1  # share of items trained told nothing: no class, no loudness, no onsets
    )
    control_dropout: float = 0.3  # share of the others trained without their loudness, and as many, drawn anew, without their onsets
    crop_frames: int | None = (
        None  # of longer clips, this many from a random start at every step; None: whole clips
    )
    coarse_emphasis: float = 0.0  # level q of 1 to Q is trained in proportion to 1 / q^coarse_emphasis; 0, as in the paper: all alike
    ema_decay: float = 0.999
    precision: str = "auto"  # auto, bf16, fp32
    seed: int = 42
    checkpoint_minutes: float = 10.0


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves.

    Attributes:
        rows: {step, epoch, loss, learning_rate, validation_loss, seconds}. loss is the mean in nat since the row before, over levels as
            they were drawn; the first row is that of the first step. validation_loss, a mean over all levels alike, is None where none was
            made.
        level_loss, level_accuracy: of `validation_loss`, at the end.
        left_out: names of training clips without an active frame.
        generator: what was saved.
    """

    rows: list[dict]
    level_loss: list[float]
    level_accuracy: list[float]
    left_out: list[str]
    generator: TrainedGenerator


class Objective(nn.Module):
    """The training loss as a forward pass: the form in which data parallelism and mixed precision can wrap it."""

    def __init__(self, model: SoundStorm) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Inputs, level: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The loss summed over the masked tokens."""
        return self.model.masked_loss(inputs, level, mask).loss.sum()


class Trainer:
    """All that changes during a training, and what one step does to it."""

    PARTS = ("model", "average", "optimizer", "scheduler")

    def __init__(
        self,
        config: SoundStormConfig,
        clips: Clips,
        settings: TrainSettings,
        accelerator: Accelerator,
        codebooks: torch.Tensor | None,
    ) -> None:
        self.config, self.clips, self.settings, self.accelerator = (
            config,
            clips,
            settings,
            accelerator,
        )
        torch.manual_seed(settings.seed)
        self.model = SoundStorm(config)
        if codebooks is not None:
            self.model.start_from_codebooks(codebooks.cpu())
        self.model.to(accelerator.device)
        self.average = (
            AveragedModel(self.model, multi_avg_fn=warmed_up_average(settings.ema_decay))
            .eval()
            .requires_grad_(False)
        )
        self.batch_size = min(
            settings.batch_size, len(clips) // accelerator.num_processes * accelerator.num_processes
        )
        self.epoch_steps = len(clips) // self.batch_size
        self.total = self.epoch_steps * settings.epochs
        optimizer = torch.optim.Adam(
            self.model.parameters(), settings.learning_rate, betas=(0.9, 0.999), fused=True
        )
        self.scheduler = one_cycle(optimizer, settings.learning_rate, self.total, settings.warmup)
        self.compiled = accelerator.device.type == "cuda" and can_compile()
        if self.compiled:
            self.model.conformer.compile(dynamic=True)
        self.objective, self.optimizer = accelerator.prepare(Objective(self.model), optimizer)
        self.step, self.losses, self.rows = 0, [], []

    def take_step(self) -> float:
        """One step of the optimizer. Returns the loss, or NaN where it or its gradient is not finite; then nothing is updated."""
        seed, rank = self.settings.seed, self.accelerator.process_index
        epoch, position = divmod(self.step, self.epoch_steps)
        order = torch.randperm(
            len(self.clips),
            generator=torch.Generator().manual_seed(derive_seed(seed, epoch, Purpose.ORDER)),
        )
        index = order[position * self.batch_size : (position + 1) * self.batch_size]
        torch.manual_seed(
            derive_seed(seed, self.step, rank, Purpose.STEP)
        )  # of crops, masks, and every dropout
        batch = self.clips.batch(
            index[rank :: self.accelerator.num_processes], self.settings.crop_frames
        )
        level, mask = sample_training_mask(
            batch.active, self.config.n_q, coarse_emphasis=self.settings.coarse_emphasis
        )
        untold = (
            torch.rand(len(batch.labels), device=batch.labels.device) < self.settings.label_dropout
        )
        labels = batch.labels.masked_fill(untold, self.config.null_label)
        unasked = (
            torch.rand(len(labels), 1, len(CONTROLS), device=labels.device)
            < self.settings.control_dropout
        ) | untold[:, None, None]
        controls = batch.controls.masked_fill(unasked, torch.nan) if self.config.controls else None
        inputs = batch._replace(labels=labels, controls=controls)
        count = min(self.settings.accumulate, len(labels))
        parts = zip(
            inputs.split(count), level.tensor_split(count), mask.tensor_split(count), strict=True
        )
        masked = self.accelerator.reduce(
            mask.sum().float(), "mean"
        )  # as gradients are averaged over processes, whose masks differ
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.accelerator.device)
        for number, part in enumerate(parts, start=1):
            with nullcontext() if number == count else self.accelerator.no_sync(self.objective):
                share = self.objective(*part) / masked
                self.accelerator.backward(share)
            loss += share.detach()
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        if not torch.isfinite(loss + norm):
            return math.nan
        self.learning_rate = self.scheduler.get_last_lr()[0]
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.step += 1
        self.scheduler.step()
        self.losses.append(
            self.accelerator.reduce(loss, "mean").item()
        )  # the same in every process, as one saves for all
        return self.losses[-1]

    def close_row(self, validation_loss: float | None, seconds: float) -> dict:
        """Add a log row; its loss is the mean over processes and over the steps since the row before."""
        mean = float(np.mean(self.losses))
        row = {
            "step": self.step,
            "epoch": -(-self.step // self.epoch_steps),
            "loss": mean,
            "learning_rate": self.learning_rate,
        }
        self.rows.append(row | {"validation_loss": validation_loss, "seconds": round(seconds, 1)})
        self.losses = []
        return self.rows[-1]

    def state_dict(self) -> dict:
        parts = {name: getattr(self, name).state_dict() for name in self.PARTS}
        return parts | {"step": self.step, "losses": self.losses, "rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        for name in self.PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.losses, self.rows = state["step"], state["losses"], state["rows"]


def train(
    model_config: SoundStormConfig,
    train_tokens: TokenSet,
    validation_tokens: TokenSet,
    settings: TrainSettings,
    checkpoint_path: str | Path,
    device: str | torch.device = "auto",
    report: Callable[[dict], None] | None = None,
    codebooks: torch.Tensor | None = None,
) -> TrainResult:
    """Train a model and write its generator file; resume where the state beside it, <name>.state.safetensors, is of the same run.

    Under torchrun every process takes its share of each batch. The last, incomplete batch of an epoch's random order is left out.

    Args:
        checkpoint_path: the generator file, *.safetensors.
        device: auto, cpu, cuda or cuda:<n>.
        report: called with each log row.
        codebooks: the codec's, for `SoundStorm.start_from_codebooks`; None starts from random tables.

    Raises:
        SsenvError: the state is of another run, the loss is not finite, no clip has an active frame, or there is no such device.
        ValueError: model and tokens do not fit.
    """
    _check_fit(model_config, train_tokens, validation_tokens)
    accelerator, precision = _accelerator(resolve_device(device), settings.precision)
    clips, validation = (
        Clips(tokens, accelerator.device) for tokens in (train_tokens, validation_tokens)
    )
    if settings.batch_size % accelerator.num_processes or len(clips) < accelerator.num_processes:
        raise SsenvError(
            f"{len(clips)} clips in batches of {settings.batch_size} do not divide among {accelerator.num_processes} processes"
        )
    trainer, main = (
        Trainer(model_config, clips, settings, accelerator, codebooks),
        accelerator.is_main_process,
    )
    state_file = Path(checkpoint_path).with_suffix(".state.safetensors")
    resolved = replace(settings, precision=precision)  # "auto" is another thing on another machine
    identity = _identity(
        resolved, model_config, train_tokens, validation_tokens, accelerator.num_processes
    )
    identity["codebooks"] = (
        None if codebooks is None else hashlib.sha256(codebooks.cpu().numpy().tobytes()).hexdigest()
    )
    if state := resume_state(state_file, STATE_KIND, identity):
        trainer.load_state_dict(state)
    total, batch_size = trainer.total, trainer.batch_size
    if main:
        size = sum(p.numel() for p in trainer.model.parameters()) / 1e6
        how = f"{precision}, {'' if trainer.compiled else 'not '}compiled, on {accelerator.num_processes} x {accelerator.device}"
        print(
            f"train: {len(clips)} clips, {total} steps of {batch_size}, {size:.1f} M parameters, {how}",
            flush=True,
        )
        if clips.left_out:
            print(
                f"train: {len(clips.left_out)} silent throughout and left out: {', '.join(clips.left_out)}",
                flush=True,
            )

    log_every, validate_every = (
        max(1, total // LOG_ROWS),
        _validate_every(total, batch_size, len(validation)),
    )
    saved, saved_step = time.monotonic(), trainer.step
    started = saved - (trainer.rows[-1]["seconds"] if trainer.rows else 0.0)
    with (
        Progress(total * batch_size, "train", "clip", initial=trainer.step * batch_size)
        if main
        else nullcontext() as progress
    ):
        while trainer.step < total:
            loss = trainer.take_step()
            if not math.isfinite(loss):
                good = (
                    f"{state_file} holds step {saved_step}, the last good one"
                    if saved_step
                    else "no checkpoint was made before it"
                )
                raise SsenvError(
                    f"loss or gradient not finite at step {trainer.step + 1} (try a lower learning_rate, or fp32): {good}"
                )
            if progress is not None:
                progress.update(batch_size, f"loss {loss:.3f}")
            step, validates = (
                trainer.step,
                trainer.step % validate_every == 0 or trainer.step == total,
            )
            if validates or step % log_every == 0 or step == 1:
                with accelerator.autocast():
                    quick = (
                        quick_validation(trainer.average.module, validation, settings.seed)
                        if validates
                        else None
                    )
                row = trainer.close_row(quick, time.monotonic() - started)
                if report is not None and main:
                    report(row)
            if time.monotonic() - saved > 60 * settings.checkpoint_minutes or step == total:
                if main:
                    described = {
                        "kind": STATE_KIND,
                        "identity": identity,
                        "finished": step == total,
                    }
                    save_state(state_file, trainer.state_dict(), described)
                saved, saved_step = time.monotonic(), step

    model, folds = trainer.average.module, train_tokens.folds.unique().tolist()
    round_to_half(model)
    with accelerator.autocast():
        scores = validation_loss(
            model, validation_tokens, seed=settings.seed, device=accelerator.device
        )
    training = {
        "settings": asdict(settings),
        "precision": precision,
        "steps": total,
        "folds": folds,
        **scores._asdict(),
    }
    plans = Plans.of(train_tokens) if model_config.controls else None
    generator = TrainedGenerator(
        model, train_tokens.class_names, train_tokens.format, training, plans
    )
    if main:
        save_generator(checkpoint_path, generator)
    accelerator.wait_for_everyone()
    return TrainResult(trainer.rows, *scores, clips.left_out, generator)


def _accelerator(device: torch.device, precision: str) -> tuple[Accelerator, str]:
    """The process group with its device, and the precision it computes in."""
    precision = resolve_precision(precision, device)
    if device.index is not None:
        torch.cuda.set_device(device)
    AcceleratorState._reset_state(reset_partial_state=True)  # a process that trains twice
    return Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no", cpu=device.type == "cpu"
    ), precision


def _check_fit(config: SoundStormConfig, *token_sets: TokenSet) -> None:
    for tokens in token_sets:
        found = (tokens.codes.shape[1], tokens.format.codebook_size, len(tokens.class_names))
        if found != (config.n_q, config.codebook_size, config.num_classes):
            raise ValueError(f"tokens with (levels, codes, classes) = {found} do not fit {config}")


def _identity(
    settings: TrainSettings,
    config: SoundStormConfig,
    train_tokens: TokenSet,
    validation_tokens: TokenSet,
    processes: int,
) -> dict:
    """What has to be the same for a run to be the same run."""
    run = {
        "train_tokens": train_tokens.digest,
        "validation_tokens": validation_tokens.digest,
        "processes": processes,
    }
    identity = asdict(settings) | asdict(config) | run | {"code": code_of(__name__)}
    del identity["checkpoint_minutes"]
    return identity


def _validate_every(total: int, batch_size: int, validation_clips: int) -> int:
    """Steps between validations: a step costs about three forward passes of each of its clips, a quick validation one of each clip."""
    affordable = int(VALIDATION_SHARE * 3 * total * batch_size / validation_clips)
    return math.ceil(total / max(1, min(VALIDATIONS, affordable)))
