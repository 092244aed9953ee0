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
from ssenv_core.data.tokens import TokenFormat, TokenSet
from ssenv_core.generator.plans import LOUDNESS_STEPS, Plans
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

GENERATOR_KIND = "soundstorm generator"
PLAN_LABELS, PLAN_CONTROLS, PLAN_SILENCE = "plans.labels", "plans.controls", "plans.silence"
SHIPPED = PACKAGE / "weights" / "soundstorm_esc50.safetensors"


@dataclass(frozen=True)
class TrainedGenerator:
    """A trained model with its classes, token format, training record and plans.

    Attributes:
        model: in eval mode.
        class_names: the classes of its labels.
        format: the dataset and codec of the tokens it was trained on.
        training: settings, precision, steps, folds (trained on), level_loss and level_accuracy.
        plans: of the clips it was trained on; None for a model without controls.
    """

    model: SoundStorm
    class_names: tuple[str, ...]
    format: TokenFormat
    training: dict
    plans: Plans | None = None


def round_to_half(model: SoundStorm) -> None:
    """Round the weights to half precision, so that the measured model is the stored one."""
    model.load_state_dict(_halves(model))


def save_generator(path: str | Path, generator: TrainedGenerator) -> Path:
    """Write a generator file, atomically, in half precision."""
    described = {
        "class_names": generator.class_names,
        "tokens": asdict(generator.format),
        "training": generator.training,
    }
    tensors = _halves(generator.model)
    if generator.plans is not None:
        tensors |= {
            PLAN_LABELS: generator.plans.labels,
            PLAN_CONTROLS: (LOUDNESS_STEPS * generator.plans.controls).round().to(torch.uint8),
        }
        if generator.plans.silence is not None:
            tensors[PLAN_SILENCE] = generator.plans.silence
    config = asdict(generator.model.config)
    return save_tensors(path, tensors, {"kind": GENERATOR_KIND, "config": config, **described})


def _halves(model: SoundStorm) -> dict[str, torch.Tensor]:
    return {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }


def shipped_generator() -> Path:
    """The generator file that comes with the package: ESC-50 on `melrvq_24khz` tokens.

    Its model card lies beside it.

    Raises:
        SsenvError: it is missing or damaged.
    """
    return require_shipped(SHIPPED)


def generator_file(named: str, own: Path, root: Path) -> Path:
    """The generator file of a study.

    Args:
        named: "" for the study's own, "shipped" for the package's, else a path relative to `root`.
        own: the study's own.

    Raises:
        SsenvError: the shipped one is missing or damaged.
    """
    if named == "shipped":
        return shipped_generator()
    return root / named if named else own


def load_generator(path: str | Path, device: str | torch.device = "auto") -> TrainedGenerator:
    """Read a file of `save_generator`.

    Raises:
        SsenvError: it is missing, damaged, of another kind or of another model; or there is no such
            device.
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
        token_format = TokenFormat(**metadata["tokens"])
    except (TypeError, RuntimeError):
        raise SsenvError(
            f"{path} holds another model than this version of ssenv builds: train again"
        ) from None
    # Weights keep requires_grad: autocast casts weights without it again in every pass.
    model = model.to(resolve_device(device)).eval()
    class_names = tuple(metadata["class_names"])
    return TrainedGenerator(model, class_names, token_format, metadata["training"], plans)


def require_tokens(generator: TrainedGenerator, tokens: TokenSet) -> None:
    """Refuse a generator of another codec's tokens or of another dataset's folds.

    Raises:
        SsenvError: it was trained on another codec's codes, another number of levels, or another
            dataset. For the user's own folders each copy is another dataset, as its folds may
            differ.
    """
    own = ("dataset_fingerprint",) if tokens.format.dataset == "folder" else ()
    for name in ("dataset", *own, "codec", "token_hash", "n_q"):
        trained = getattr(generator.format, name)
        present = getattr(tokens.format, name)
        if trained != present:
            raise SsenvError(
                f"the generator was trained on tokens of {name} {trained}, these are of "
                f"{present}: use a generator of this study's dataset, codec and bandwidth"
            )


def require_heldout(generator: TrainedGenerator, fold: int) -> None:
    """Refuse to measure a generator on a fold that it was trained on.

    Raises:
        SsenvError: its training used this fold, or its file does not list its folds.
    """
    if "folds" not in generator.training:
        raise SsenvError(
            "the generator's file does not say which folds it was trained on: train again"
        )
    if fold in generator.training["folds"]:
        trained = ", ".join(map(str, generator.training["folds"]))
        raise SsenvError(
            f"fold {fold} is not held out: the generator was trained on folds {trained}; train "
            f"another study with fold={fold}"
        )


def class_index(class_names: Sequence[str], name: str) -> int:
    """The label of a class.

    Raises:
        SsenvError: there is no such class; the message names the nearest classes, then all.
    """
    if name not in class_names:
        nearest = difflib.get_close_matches(name, class_names, n=3, cutoff=0)
        raise SsenvError(
            f"no class {name!r} among the {len(class_names)} of this generator: did you mean "
            f"{' or '.join(nearest)}? There are {', '.join(class_names)}"
        )
    return class_names.index(name)
