"""Findings of a training (02_train): an example, the loss over time, what each level learned."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch

from ssenv_core.base.seeds import Purpose, derive_seed
from ssenv_core.data.batches import Clips
from ssenv_core.data.tokens import TokenSet
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.generator.validation import validation_loss
from ssenv_core.metrics.diversity import code_entropy
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.masks import training_mask
from ssenv_core.plots.training import level_loss, training_curve
from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.masking import sample_training_mask
from ssenv_core.soundstorm.model import SoundStorm


class Example(NamedTuple):
    """One clip as training shows it to the model.

    Attributes:
        name: of the clip.
        class_name: of the clip.
        inputs: the true codes (1, Q, T), without mask tokens, and the label (1,).
        level: (1,) int64, the level that was drawn, from 0.
        mask: (1, T) bool, the frames of that level to predict.
    """

    name: str
    class_name: str
    inputs: Inputs
    level: torch.Tensor
    mask: torch.Tensor


def draw_example(tokens: TokenSet, seed: int) -> Example:
    """Draw a clip, a level and a mask as a training step does.

    Raises:
        SsenvError: all clips are silent.
    """
    clips = Clips(tokens, "cpu")
    draw = torch.Generator().manual_seed(derive_seed(seed, Purpose.VALIDATION))
    index = torch.randint(len(clips), (1,), generator=draw)
    batch = clips.batch(index)
    level, mask = sample_training_mask(batch.active, tokens.codes.shape[1], draw)
    label = int(batch.labels)
    inputs = Inputs(batch.codes, batch.labels)
    return Example(clips.names[int(index)], tokens.class_names[label], inputs, level, mask)


def example_finding(example: Example, frame_rate: float, training: int, heldout: int) -> Finding:
    """Show which tokens of an example the model sees and which it predicts.

    Args:
        frame_rate: frames per second.
        training: number of training clips.
        heldout: number of held-out clips.
    """
    n_q, frames = example.inputs.codes.shape[1:]
    level = int(example.level) + 1
    hidden = int(example.mask.sum())
    sentences = [
        f"{training} clips are for training, {heldout} are held out.",
        f"Clip {example.name} ({example.class_name}): level {level} of {n_q} was drawn, and "
        f"{hidden} of its {frames} frames are masked.",
        f"The model sees {_levels(1, level - 1)} whole and the other {frames - hidden} frames of "
        f"level {level}; it predicts the {hidden} masked codes."
        if level > 1
        else f"The model sees the other {frames - hidden} frames of level 1 and predicts the "
        f"{hidden} masked codes.",
    ]
    if level < n_q:
        rest = _levels(level + 1, n_q).capitalize()
        verb = "stays" if level + 1 == n_q else "stay"
        sentences.append(f"{rest} {verb} hidden and must not be predicted.")
    figure = training_mask(n_q, level - 1, example.mask[0].numpy(), frame_rate)
    return Finding(sentence=" ".join(sentences), figure=figure, name="training_mask")


@torch.inference_mode()
def example_loss_finding(model: SoundStorm, example: Example) -> Finding:
    """Score the trained model on the masked codes of an example."""
    device = next(model.parameters()).device
    inputs, level, mask = (
        example.inputs.to(device),
        example.level.to(device),
        example.mask.to(device),
    )
    scores = model.eval().masked_loss(inputs, level, mask)
    return Finding(
        sentence=f"On the example above the trained model has {float(scores.loss.mean()):.2f} nat "
        f"per masked code and predicts {int(scores.correct.sum())} of {len(scores.loss)} correctly."
    )


def loss_finding(rows: Sequence[Mapping], codebook_size: int) -> Finding:
    """Training and held-out loss over the steps."""
    uniform = math.log(codebook_size)
    first = rows[0]["loss"]
    return Finding(
        sentence=f"Guessing all codes with equal probability costs {uniform:.2f} nat per token. "
        f"Training began at {first:.2f} nat: the codebooks that the model starts from let it "
        "repeat what surrounds a masked frame.",
        figure=training_curve(rows, reference=uniform),
        name="training",
        numbers={"first loss": Number.rounded(first)},
    )


def score_levels(
    generator: TrainedGenerator, heldout: TokenSet, seed: int, device: str | torch.device
) -> pd.DataFrame:
    """Held-out cross-entropy per level, beside the entropy of the codes.

    Returns:
        Indexed by level from 1; columns in nat per token: "entropy" of the held-out codes' own
        frequencies (sounding frames), "class alone", "with loudness and onsets" (only of a model
        with controls), "learned" (entropy minus the lower of the two); and "accuracy" (class
        alone), the share of masked codes predicted correctly.
    """
    model = generator.model
    alone = validation_loss(model, heldout, seed=seed, device=device)
    sounding = heldout.codes.transpose(1, 2)[heldout.active].T.numpy()
    size = model.config.codebook_size
    table = pd.DataFrame(
        {
            "entropy": [code_entropy(codes, size) * math.log(2) for codes in sounding],
            "class alone": alone.level_loss,
        },
        index=pd.RangeIndex(1, len(alone.level_loss) + 1, name="level"),
    )
    if model.config.controls:
        scored = validation_loss(model, heldout, seed=seed, device=device, with_controls=True)
        table["with loudness and onsets"] = scored.level_loss
    table["learned"] = table["entropy"] - table.drop(columns="entropy").min(axis=1)
    table["accuracy"] = alone.level_accuracy
    return table


def levels_finding(levels: pd.DataFrame, codebook_size: int) -> Finding:
    """What each level learned of the entropy of its codes; `levels` as of `score_levels`."""
    loss = levels["class alone"]
    sentences = [
        f"Held out, the cross-entropy is {loss.iloc[0]:.2f} nat at level 1 and {loss.mean():.2f} "
        "averaged over the levels, given the class alone.",
        "A model that knew only how frequent each code is would have "
        f"{levels['entropy'].min():.2f} to {levels['entropy'].max():.2f} nat.",
        _learned(levels["learned"]),
    ]
    numbers = {"held-out cross-entropy": Number.rounded(float(loss.mean()), "lower")}
    numbers |= {f"level {q}": Number.rounded(float(value), "lower") for q, value in loss.items()}
    if "with loudness and onsets" in levels:
        conditioned = levels["with loudness and onsets"]
        sentences.append(
            f"Given the clip's loudness and onsets too, as in generation with plans, it is "
            f"{conditioned.iloc[0]:.2f} and {conditioned.mean():.2f} nat."
        )
        name = "held-out cross-entropy with loudness and onsets"
        numbers[name] = Number.rounded(float(conditioned.mean()), "lower")
    return Finding(
        sentence=" ".join(sentences),
        figure=level_loss(loss.tolist(), reference=math.log(codebook_size)),
        name="level_loss",
        table=levels.round(3),
        numbers=numbers,
        tables={"levels": levels},
    )


def _learned(learned: pd.Series) -> str:
    """Which levels learned most and least; `learned` in nat, indexed by level."""
    most, least = learned.idxmax(), learned.idxmin()
    if learned[most] <= 0:
        return "The model is not better than that at any level: it has not been trained enough."
    return (
        f"Most is learned at level {most} ({learned[most]:.2f} nat), least at level {least} "
        f"({learned[least]:.2f})."
    )


def _levels(first: int, last: int) -> str:
    return f"level {first}" if first == last else f"levels {first} to {last}"
