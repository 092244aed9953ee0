"""The training of a codec, judged: what its finish listens with, held-out clips, and findings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import torch

from ssenv_core.base.training_loop import EpochSettings
from ssenv_core.classification.judge import LogMel, train_judge
from ssenv_core.codecs.melrvq.codec import SAMPLE_RATE, MelRVQ
from ssenv_core.codecs.melrvq.training.hearing import Hearing
from ssenv_core.codecs.melrvq.training.sounds import Sounds, from_pcm
from ssenv_core.data.recordings import Dataset
from ssenv_core.evaluation.ceiling import code_use
from ssenv_core.metrics.acoustic import COMPARED, METRICS, measure
from ssenv_core.metrics.stats import compare
from ssenv_core.plots.codes import codebook_usage
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.spectrograms import spectrogram_grid
from ssenv_core.plots.style import COLOURS, OTHERS, styled
from ssenv_core.plots.tables import comparison_table

SCALE_SEGMENTS = 64  # segments of SCALE_SECONDS that give the features their units
SCALE_SECONDS = 1.28
EXAMPLES = 3


class HeldOut(NamedTuple):
    """Held-out clips before and after the codec.

    Attributes:
        real: (N, S) float32.
        decoded: (N, S) float32, from the first `levels` levels.
        codes: (N, Q, T) int64 of all levels.
        levels: those that the codec was mainly trained for.
    """

    real: np.ndarray
    decoded: np.ndarray
    codes: torch.Tensor
    levels: int


def train_hearing(
    sounds: Sounds,
    clips: Dataset,
    settings: EpochSettings,
    state_file: Path,
    device: str | torch.device,
) -> Hearing | None:
    """Train a CNN of the judge's kind on the training clips, for a distance in its features.

    Args:
        sounds: the waveforms of `clips`, in the same order.

    Returns:
        The distance; None where all clips are of one class.

    Raises:
        SsenvError: see `train_judge`.
    """
    labels = np.array([clip.label for clip in clips.clips])
    if len(set(labels)) == 1:
        return None
    wavs = (from_pcm(wav).numpy() for wav in sounds.wavs)
    judge = train_judge(wavs, labels, clips.class_names, settings, state_file, device)
    rng = torch.Generator().manual_seed(settings.seed)
    tokens = round(SCALE_SECONDS * SAMPLE_RATE / sounds.hop)
    segments = sounds.waveforms(*sounds.segments(SCALE_SEGMENTS, tokens, rng))
    return Hearing(LogMel(), judge.network.cpu(), segments)


def decode_heldout(codec: MelRVQ, sounds: Sounds, seed: int) -> HeldOut:
    """Encode held-out clips with all levels; decode them from those mainly trained for."""
    real = from_pcm(sounds.wavs)
    levels = main_levels(codec)
    codes = [codec.encode(wav[None, None]) for wav in real]
    decoded = [
        codec.decode(code[:, :levels], torch.Generator().manual_seed(seed))[0, 0] for code in codes
    ]
    return HeldOut(real.numpy(), torch.stack(decoded).numpy(), torch.cat(codes), levels)


def main_levels(codec: MelRVQ) -> int:
    """The number of levels that the training of the encoder favours: 8, or all of fewer."""
    return codec.config.encoder.settled[0]


def clips_finding(training: Sounds, heldout: Sounds, fold: int) -> Finding:
    """How many clips train the codec, and how many are held out."""
    return Finding(
        sentence=(
            f"{len(training)} clips train the codec; the {len(heldout)} clips of fold {fold} are "
            "held out."
        )
    )


def encoder_finding(rows: Sequence[Mapping]) -> Finding:
    """How the encoder's loss developed; rows of `train_encoder`."""
    figure = _loss_curve(rows, "squared error of log bands (nat²)")
    return Finding(sentence=_loss_sentence(rows), figure=figure, name="encoder")


def decoder_finding(rows: Sequence[Mapping]) -> Finding:
    """How the decoder's loss developed; rows of `train_decoder` before the finish."""
    return Finding(
        sentence=_loss_sentence(rows),
        figure=_loss_curve(rows, "spectral energy distance"),
        name="decoder",
        numbers={"loss": Number(round(rows[-1]["loss"], 4), "lower")},
    )


def quantizer_finding(errors: Sequence[float], main: int) -> Finding:
    """What each further level of the quantizer gains on held-out clips.

    Args:
        errors: RMS error (dB) after 1, 2, ... levels, see `feature_error`.
        main: see `main_levels`.
    """
    useless = [
        str(level) for level in range(2, len(errors) + 1) if errors[level - 1] >= errors[level - 2]
    ]
    each = "every level lowers it" if not useless else f"not lowered by level {', '.join(useless)}"
    labels = {"x": "quantizer levels", "y": "RMS error of log bands (dB)"}
    colours = {"color_discrete_sequence": [COLOURS["codec"]]}
    levels = range(1, len(errors) + 1)
    figure = px.line(x=levels, y=errors, markers=True, labels=labels, **colours)
    return Finding(
        sentence=(
            f"The error on held-out clips is {errors[0]:.2f} dB after level 1, "
            f"{errors[main - 1]:.2f} dB after level {main} and {errors[-1]:.2f} dB after level "
            f"{len(errors)}: {each}."
        ),
        figure=styled(figure, height=400),
        name="quantizer",
        numbers={f"error after {main} levels (dB)": Number(round(errors[main - 1], 3), "lower")},
    )


def finish_finding(hearing: Hearing | None, steps: int) -> Finding:
    """Whether the decoder was finished with a CNN, and what that means for measurements."""
    if steps == 0:
        return Finding(sentence="No finish: finish_steps is 0.")
    if hearing is None:
        return Finding(sentence="No finish: the clips are of one class, so a CNN learns nothing.")
    return Finding(
        sentence=(
            f"The decoder was trained for {steps} more steps in the feature space of a CNN of the "
            "judge's own kind. A judge therefore favours this codec; an unrelated classifier says "
            "how much of the gain is real."
        )
    )


def metrics_finding(clips: HeldOut, sample_rate: int) -> Finding:
    """How the codec changes the acoustic metrics of held-out clips."""
    real, decoded = (
        measure([(wav, sample_rate) for wav in side], convention="matched", sample_rate=sample_rate)
        for side in (clips.real, clips.decoded)
    )
    table = compare(real, decoded, metrics=COMPARED)
    percent = table["difference_percent"]
    largest = percent.abs().idxmax()
    distant = table["ks_d"].idxmax()
    columns = ["real_mean", "generated_mean", "difference_percent", "ks_d"]
    return Finding(
        sentence=(
            f"Through {clips.levels} levels, the mean {METRICS[largest].label} changes most: by "
            f"{percent[largest]:+.1f} %. The largest KS D of the metrics is that of "
            f"{METRICS[distant].label}: {table.loc[distant, 'ks_d']:.2f}."
        ),
        table=comparison_table(table[columns].rename(columns={"generated_mean": "codec_mean"})),
        numbers={f"{name} %": Number(round(float(value), 2)) for name, value in percent.items()},
    )


def use_finding(clips: HeldOut, live: torch.Tensor, codebook_size: int) -> Finding:
    """How much of each level's codebook held-out clips use.

    Args:
        live: (N, T) bool, frames that are not silent.
    """
    codes = clips.codes.transpose(1, 2)[live]
    use = code_use(codes.numpy(), codebook_size)
    worst = use["dead"].idxmax()
    share = use.loc[worst, "dead"]
    return Finding(
        sentence=(
            f"In {len(codes)} frames of held-out clips, level {worst} leaves the most of its "
            f"{codebook_size} entries unused: {share:.1%}."
        ),
        figure=codebook_usage(use, codebook_size),
        name="codebook_usage",
        numbers={"dead codes %": Number(round(float(100 * share), 2), "lower")},
    )


def examples_finding(clips: HeldOut, sample_rate: int) -> Finding:
    """Spectrograms of the first held-out clips, real and decoded."""
    pairs = list(zip(clips.real, clips.decoded, strict=True))[:EXAMPLES]
    rows = {f"clip {i}": {"real": real, "codec": codec} for i, (real, codec) in enumerate(pairs, 1)}
    return Finding(figure=spectrogram_grid(rows, sample_rate), name="real_and_codec")


def _loss_curve(rows: Sequence[Mapping], label: str) -> go.Figure:
    colours = {"color_discrete_sequence": [OTHERS[0]]}
    figure = px.line(pd.DataFrame(rows), x="step", y="loss", labels={"loss": label}, **colours)
    return styled(figure, height=400)


def _loss_sentence(rows: Sequence[Mapping]) -> str:
    first = rows[0]["loss"]
    last = rows[-1]["loss"]
    if len(rows) == 1:
        return f"The mean loss of all {rows[0]['step']} steps is {last:.3f}."
    return (
        f"The loss {'fell' if last < first else 'did not fall'}: {first:.3f} up to step "
        f"{rows[0]['step']}, {last:.3f} from step {rows[-2]['step']} to {rows[-1]['step']} (means)."
    )
