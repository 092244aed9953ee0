"""The generator file: weights, configuration, and what it was trained on."""

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ssenv_core.base.code import PACKAGE
from ssenv_core.base.devices import resolve_device
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.pretrained import require_shipped
from ssenv_core.base.tensors import load_tensors, save_tensors
from ssenv_core.data.tokens import TokenSet
from ssenv_core.generator.plans import LOUDNESS_STEPS, Plans
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

GENERATOR_KIND = "soundstorm generator"


PLAN_LABELS, PLAN_CONTROLS, PLAN_SILENCE = "plans.labels", "plans.controls", "plans.silence"


SHIPPED = PACKAGE / "weights" / "soundstorm_esc50.safetensors"


@dataclass(frozen=True)
class TrainedGenerator:
    """A trained model and what it takes to use it.

    Attributes:
        model: in eval mode.
        class_names: of the labels it was trained with.
        metadata: of the tokens it was trained on (see `TokenSet`): codec, bandwidth, token_hash, frame_rate, ...
        training: settings, precision, steps, folds (trained on), level_loss and level_accuracy of the run that
            made it.
        plans: of the clips it was trained on; None of a model without controls.
    """

    model: SoundStorm
    class_names: tuple[str, ...]
    metadata: dict
    training: dict
    plans: Plans | None = None


def round_to_half(model: SoundStorm) -> None:
    """Make every weight one that a generator file can hold, so that what is measured is what is stored."""
    model.load_state_dict(_halves(model))


def save_generator(path: str | Path, generator: TrainedGenerator) -> Path:
    """Write a generator file, atomically, in half precision."""
    described = {
        "class_names": generator.class_names,
        "tokens": generator.metadata,
        "training": generator.training,
    }
    tensors = _halves(generator.model)
    if generator.plans is not None:
        tensors |= {
            PLAN_LABELS: generator.plans.labels,
            PLAN_CONTROLS: (LOUDNESS_STEPS * generator.plans.controls).round().to(torch.uint8),
        }
        tensors |= (
            {} if generator.plans.silence is None else {PLAN_SILENCE: generator.plans.silence}
        )
    return save_tensors(
        path,
        tensors,
        {"kind": GENERATOR_KIND, "config": asdict(generator.model.config), **described},
    )


def _halves(model: SoundStorm) -> dict[str, torch.Tensor]:
    return {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }


def shipped_generator() -> Path:
    """The generator file that comes with the package: ESC-50's 50 classes on `melrvq_24khz` tokens (see the model card beside it).

    Raises:
        SsenvError: it is missing or damaged.
    """
    return require_shipped(SHIPPED)


def generator_file(named: str, own: Path, root: Path) -> Path:
    """Where a study's generator is: `own`, its own, for ""; the package's for "shipped"; else the file of this name, relative to `root`.

    Raises:
        SsenvError: the shipped one is missing or damaged.
    """
    if named == "shipped":
        return shipped_generator()
    return root / named if named else own


def load_generator(path: str | Path, device: str | torch.device = "auto") -> TrainedGenerator:
    """Read a file of `save_generator`.

    Raises:
        SsenvError: it is missing, damaged, of another kind or of another model; or there is no such device.
    """
    tensors, metadata = load_tensors(path, GENERATOR_KIND, "02_train")
    plans = None
    if PLAN_LABELS in tensors:
        plans = Plans(
            tensors.pop(PLAN_LABELS),
            tensors.pop(PLAN_CONTROLS) / LOUDNESS_STEPS,
            tensors.pop(PLAN_SILENCE, None),
        )
    try:
        model = SoundStorm(SoundStormConfig(**metadata["config"]))
        model.load_state_dict(tensors)
    except (TypeError, RuntimeError):
        raise SsenvError(
            f"{path} holds another model than this version of ssenv builds: train again"
        ) from None
    model = model.to(
        resolve_device(device)
    ).eval()  # its weights can learn: autocast casts others anew in every pass
    return TrainedGenerator(
        model, tuple(metadata["class_names"]), metadata["tokens"], metadata["training"], plans
    )


def require_tokens(generator: TrainedGenerator, tokens: TokenSet) -> None:
    """Refuse a generator that reads these codes as other sounds, or whose folds are those of another dataset.

    Raises:
        SsenvError: it was trained on another codec's codes, on another number of levels, or on another dataset; of the user's own
            folders, whose folds are the user's too, each copy is another one.
    """
    own = ("dataset_fingerprint",) if tokens.metadata["dataset"] == "folder" else ()
    for what in ("dataset", *own, "codec", "token_hash", "n_q"):
        if generator.metadata[what] != tokens.metadata[what]:
            raise SsenvError(
                f"the generator was trained on tokens of {what} {generator.metadata[what]}, these are of {tokens.metadata[what]}: "
                f"take a generator of this study's dataset, codec and bandwidth"
            )


def require_heldout(generator: TrainedGenerator, fold: int) -> None:
    """Refuse to measure a generator on what it was trained on.

    Raises:
        SsenvError: its training used this fold, or its file does not say which folds were used.
    """
    if "folds" not in generator.training:
        raise SsenvError(
            "the generator's file does not say which folds it was trained on: train again"
        )
    if fold in generator.training["folds"]:
        trained = ", ".join(map(str, generator.training["folds"]))
        raise SsenvError(
            f"fold {fold} is not held out: the generator was trained on folds {trained}; train another study with fold={fold}"
        )


def class_index(class_names: Sequence[str], name: str) -> int:
    """The label of a class.

    Raises:
        SsenvError: there is no such class; the line names the nearest ones, and all.
    """
    if name not in class_names:
        nearest = difflib.get_close_matches(name, class_names, n=3, cutoff=0)
        asked = f"no class {name!r} among the {len(class_names)} of this generator: did you mean {' or '.join(nearest)}?"
        raise SsenvError(f"{asked} There are {', '.join(class_names)}")
    return class_names.index(name)
