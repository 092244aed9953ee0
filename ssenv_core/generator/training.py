"""Trains a SoundStorm on tokens and writes its generator file.

The optimizer and schedule are the paper's (SoundStorm, section 3.2). This module chooses device,
precision and processes; the model computes the loss, and `base/training_loop` resumes. All draws of
a step follow from (seed, step, process), so a resumed training repeats an uninterrupted one exactly
without stored generators. The averaged (EMA) weights are validated, saved and used.
"""

import hashlib
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ssenv_core.base.devices import can_compile, resolve_device, resolve_precision
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.seeds import Purpose, derive_seed
from ssenv_core.base.training_loop import Run, one_cycle, warmed_up_average
from ssenv_core.data.batches import Clips
from ssenv_core.data.tokens import TokenSet
from ssenv_core.generator.file import TrainedGenerator, round_to_half, save_generator
from ssenv_core.generator.plans import Plans
from ssenv_core.generator.validation import quick_validation, validation_loss
from ssenv_core.soundstorm.inputs import Inputs, drop_conditioning
from ssenv_core.soundstorm.masking import sample_prompts, sample_training_mask
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

LOG_ROWS = 200  # about this many at most
VALIDATIONS = 20  # at most, before the last step
VALIDATION_SHARE = 0.05  # of the training's time at most goes to them
PROMPTED = 0.3  # share of the items with a prompt, if the model has prompts


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults are the paper's where it names a value.

    Attributes:
        batch_size: over all processes.
        accumulate: parts in which each process computes its share of a batch, to bound memory.
        learning_rate: the peak of OneCycleLR.
        warmup: share of the steps in which the rate rises.
        label_dropout: share of the items trained without class, loudness and onsets.
        control_dropout: share of the other items trained on the class alone.
        partial_dropout: share of the other items trained without loudness but with onsets, and
            share of them trained the other way round.
        crop_frames: train on this many frames of longer clips, from a random start at every step;
            None: whole clips.
        coarse_emphasis: level q of 1 to Q is drawn in proportion to 1 / q^coarse_emphasis; 0, as
            in the paper, draws all levels equally often.
        precision: auto, bf16 or fp32.
    """

    epochs: int = 100
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 1e-4
    warmup: float = 0.3
    grad_clip: float = 1.0
    label_dropout: float = 0.1
    control_dropout: float = 1 / 3
    partial_dropout: float = 0.1
    crop_frames: int | None = None
    coarse_emphasis: float = 0.0
    ema_decay: float = 0.999
    precision: str = "auto"
    seed: int = 42
    checkpoint_minutes: float = 10.0


@dataclass(frozen=True)
class TrainResult:
    """What a training returns.

    Attributes:
        rows: {step, loss, seconds, epoch, learning_rate, validation_loss}. loss is the mean in nat
            since the row before, over levels as they were drawn; the first row is that of the first
            step. validation_loss, an unweighted mean over levels, is None where none was computed.
        level_loss: validation loss of each level at the end, in nat.
        level_accuracy: validation accuracy of each level at the end.
        left_out: names of training clips without an active frame.
        generator: what was saved.
    """

    rows: list[dict]
    level_loss: list[float]
    level_accuracy: list[float]
    left_out: list[str]
    generator: TrainedGenerator


class Objective(nn.Module):
    """The training loss as a forward pass, which accelerate can wrap."""

    def __init__(self, model: SoundStorm) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Inputs, *drawn: torch.Tensor) -> torch.Tensor:
        """Sum the loss over the masked tokens; drawn: level, mask and prompt."""
        return self.model.masked_loss(inputs, *drawn).loss.sum()


class Trainer:
    """Everything that changes during a training, and one step of it.

    Attributes:
        total: steps of the whole training.
        parts: what a checkpoint holds.
        learning_rate: of the last step.
    """

    def __init__(
        self,
        config: SoundStormConfig,
        clips: Clips,
        settings: TrainSettings,
        accelerator: Accelerator,
        codebooks: torch.Tensor | None,
    ) -> None:
        self.config = config
        self.clips = clips
        self.settings = settings
        self.accelerator = accelerator
        torch.manual_seed(settings.seed)
        self.model = SoundStorm(config)
        if codebooks is not None:
            self.model.start_from_codebooks(codebooks.cpu())
        self.model.to(accelerator.device)
        average = AveragedModel(self.model, multi_avg_fn=warmed_up_average(settings.ema_decay))
        self.average = average.eval().requires_grad_(False)
        processes = accelerator.num_processes
        self.batch_size = min(settings.batch_size, len(clips) // processes * processes)
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
        self.parts = {"model": self.model, "average": self.average}
        self.parts |= {"optimizer": self.optimizer, "scheduler": self.scheduler}
        self.learning_rate = 0.0

    def take_step(self, step: int) -> float:
        """Take the step of this number, counted from 0.

        Returns:
            The loss, the mean over processes. NaN if it or its gradient is not finite; then nothing
            is updated.
        """
        seed, rank = self.settings.seed, self.accelerator.process_index
        epoch, position = divmod(step, self.epoch_steps)
        generator = torch.Generator().manual_seed(derive_seed(seed, epoch, Purpose.ORDER))
        order = torch.randperm(len(self.clips), generator=generator)
        index = order[position * self.batch_size : (position + 1) * self.batch_size]
        # Crops, masks and every dropout draw from here on.
        torch.manual_seed(derive_seed(seed, step, rank, Purpose.STEP))
        batch = self.clips.batch(
            index[rank :: self.accelerator.num_processes], self.settings.crop_frames
        )
        prompt = sample_prompts(batch.active, PROMPTED if self.config.prompts else 0.0)
        level, mask = sample_training_mask(
            batch.active & ~prompt, self.config.n_q, coarse_emphasis=self.settings.coarse_emphasis
        )
        inputs = drop_conditioning(
            batch if self.config.controls else batch._replace(controls=None),
            self.config.null_label,
            everything=self.settings.label_dropout,
            controls=self.settings.control_dropout,
            one_control=self.settings.partial_dropout,
        )
        count = min(self.settings.accumulate, len(batch.labels))
        tensors = (part.tensor_split(count) for part in (level, mask, prompt))
        parts = zip(inputs.split(count), *tensors, strict=True)
        # Gradients are averaged over processes, whose numbers of masked tokens differ.
        masked = self.accelerator.reduce(mask.sum().float(), "mean")
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
        self.scheduler.step()
        # Equal in every process, as one process saves for all.
        return self.accelerator.reduce(loss, "mean").item()


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
    """Train a model and write its generator file.

    An interrupted training resumes from the state beside that file, <name>.state.safetensors. Under
    torchrun every process takes its share of each batch. Each epoch leaves out the last, incomplete
    batch of its random order.

    Args:
        checkpoint_path: the generator file, *.safetensors.
        device: auto, cpu, cuda or cuda:<n>.
        report: called with each log row.
        codebooks: the codec's, for `SoundStorm.start_from_codebooks`; None: random tables.

    Raises:
        SsenvError: the state is of another, interrupted training; the loss is not finite; no clip
            has an active frame; or there is no such device.
        ValueError: model and tokens do not fit.
    """
    _check_fit(model_config, train_tokens, validation_tokens)
    accelerator, precision = _accelerator(resolve_device(device), settings.precision)
    processes = accelerator.num_processes
    clips = Clips(train_tokens, accelerator.device)
    validation = Clips(validation_tokens, accelerator.device)
    if settings.batch_size % processes or len(clips) < processes:
        raise SsenvError(
            f"{len(clips)} clips in batches of {settings.batch_size} do not divide among "
            f"{processes} processes"
        )
    trainer = Trainer(model_config, clips, settings, accelerator, codebooks)
    total = trainer.total
    if accelerator.is_main_process:
        _announce(trainer, precision)
    validated = _every(_validate_every(total, trainer.batch_size, len(validation)), total)

    def complete(row: dict) -> None:
        quick = None
        if row["step"] in validated:
            with accelerator.autocast():
                quick = quick_validation(trainer.average.module, validation, settings.seed)
        row["epoch"] = -(-row["step"] // trainer.epoch_steps)
        row |= {"learning_rate": trainer.learning_rate, "validation_loss": quick}
        if report is not None and accelerator.is_main_process:
            report(row)

    identity = asdict(model_config) | {
        "train_tokens": train_tokens.digest,
        "validation_tokens": validation_tokens.digest,
        "codebooks": None if codebooks is None else _sha256(codebooks),
        "processes": processes,
    }
    run = Run(
        name="soundstorm",
        module=__name__,
        steps=total,
        state_file=Path(checkpoint_path).with_suffix(".state.safetensors"),
        settings=replace(settings, precision=precision),  # "auto" differs between machines
        identity=identity,
        parts=trainer.parts,
        logged={1, *_every(max(1, total // LOG_ROWS), total), *validated},
        main=accelerator.is_main_process,
    )
    rows = run(trainer.take_step, complete)

    model = trainer.average.module
    round_to_half(model)
    with accelerator.autocast():
        scores = validation_loss(
            model, validation_tokens, seed=settings.seed, device=accelerator.device
        )
    training = {
        "settings": asdict(settings),
        "precision": precision,
        "steps": total,
        "folds": train_tokens.folds.unique().tolist(),
        **scores._asdict(),
    }
    plans = Plans.of(train_tokens) if model_config.controls else None
    generator = TrainedGenerator(
        model, train_tokens.class_names, train_tokens.format, training, plans
    )
    if accelerator.is_main_process:
        save_generator(checkpoint_path, generator)
    accelerator.wait_for_everyone()
    return TrainResult(rows, *scores, clips.left_out, generator)


def _announce(trainer: Trainer, precision: str) -> None:
    """Print what is trained, and how."""
    accelerator, clips = trainer.accelerator, trainer.clips
    size = sum(p.numel() for p in trainer.model.parameters()) / 1e6
    compiled = "compiled" if trainer.compiled else "not compiled"
    print(
        f"train: {len(clips)} clips, {trainer.total} steps of {trainer.batch_size}, "
        f"{size:.1f} M parameters, {precision}, {compiled}, "
        f"on {accelerator.num_processes} x {accelerator.device}",
        flush=True,
    )
    if clips.left_out:
        names = ", ".join(clips.left_out)
        print(f"train: {len(clips.left_out)} silent clips left out: {names}", flush=True)


def _accelerator(device: torch.device, precision: str) -> tuple[Accelerator, str]:
    """The processes with their device, and the precision they compute in."""
    precision = resolve_precision(precision, device)
    if device.index is not None:
        torch.cuda.set_device(device)
    AcceleratorState._reset_state(reset_partial_state=True)  # for a process that trains twice
    mixed = "bf16" if precision == "bf16" else "no"
    return Accelerator(mixed_precision=mixed, cpu=device.type == "cpu"), precision


def _check_fit(config: SoundStormConfig, *token_sets: TokenSet) -> None:
    for tokens in token_sets:
        found = (tokens.codes.shape[1], tokens.format.codebook_size, len(tokens.class_names))
        if found != (config.n_q, config.codebook_size, config.num_classes):
            raise ValueError(f"tokens with (levels, codes, classes) = {found} do not fit {config}")


def _sha256(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.cpu().numpy().tobytes()).hexdigest()


def _every(interval: int, total: int) -> set[int]:
    """Every `interval`-th of `total` steps, and the last."""
    return {*range(interval, total, interval), total}


def _validate_every(total: int, batch_size: int, validation_clips: int) -> int:
    """Steps between quick validations.

    A step costs about three forward passes of each of its clips, a quick validation one pass of
    each validation clip.
    """
    affordable = int(VALIDATION_SHARE * 3 * total * batch_size / validation_clips)
    return math.ceil(total / max(1, min(VALIDATIONS, affordable)))
