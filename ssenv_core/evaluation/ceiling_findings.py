"""Findings about a dataset, its tokens, and what codecs keep of its clips; see `ceiling`."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.express as px
import scipy.stats

from ssenv_core.classification.judge import Judge
from ssenv_core.codecs import was_fitted_on
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.tokens import TokenSet
from ssenv_core.evaluation.ceiling import REAL, code_use, trait_correlations
from ssenv_core.metrics.acoustic import COMPARED, METRICS
from ssenv_core.plots.codes import codebook_usage
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.spectrograms import spectrogram_grid
from ssenv_core.plots.style import COLOURS, styled
from ssenv_core.plots.tables import comparison_table

MOST_CLASSES = 25  # bars in the figure of classes
LEAST_CLASSES = 4  # that a rank correlation needs


def dataset_finding(sounds: Dataset) -> Finding:
    """How many clips each class has in each fold."""
    rows = [(sounds.class_names[clip.label], clip.fold) for clip in sounds.clips]
    table = pd.DataFrame(rows, columns=["class", "fold"])
    sentence = (
        f"The dataset has {len(sounds)} clips of {sounds.duration:g} s "
        f"in {table['class'].nunique()} classes and {len(sounds.folds)} folds."
    )
    if sounds.missing_folds:
        missing = ", ".join(map(str, sounds.missing_folds))
        sentence += f" This copy lacks the official folds {missing}."
    return Finding(sentence=sentence, table=pd.crosstab(table["class"], table["fold"]))


def tokens_finding(
    tokens: TokenSet, codec: Codec, throughput: Mapping[str, float], *, dataset: str, fold: int
) -> Finding:
    """Size of the token file, the share of silent frames, and how fast the clips were encoded.

    Args:
        throughput: as `tokenize` reports it.
        dataset: name of the dataset; with `fold`, what the codec may have been fitted to.
    """
    count, levels, frames = tokens.codes.shape
    silent_share = 1 - tokens.active.float().mean().item()
    sentence = (
        f"{count} clips became codes of {levels} levels x {frames} frames each; "
        f"{silent_share:.1%} of the frames are digital silence."
    )
    numbers = {
        "clips": Number(count),
        "frames": Number(frames),
        "silent share": Number(round(silent_share, 4)),
    }
    for name in ("clips/s", "x real time"):
        numbers[f"tokenize {name}"] = Number(round(throughput[name], 1), "higher")
    if was_fitted_on(codec, dataset, fold):
        sentence += (
            f" {codec.name} was fitted to clips of fold {fold}, too: it keeps more of them than of "
            "new clips, so the ceiling below is too high."
        )
        numbers["codec fitted to the held-out fold"] = Number(1)
    return Finding(sentence=sentence, numbers=numbers)


def codebook_finding(tokens: TokenSet, codec: Codec) -> Finding:
    """How much of each level's codebook is used, and the information that the codes carry."""
    codes = tokens.codes.transpose(1, 2)[tokens.active].numpy()
    use = code_use(codes, codec.codebook_size)
    bits = use["entropy"].sum()
    carried = bits * codec.frame_rate / 1000
    worst = use["dead"].idxmax()
    return Finding(
        sentence=(
            f"The {len(use)} levels carry at most {bits:.1f} bits per frame, {carried:.2f} of the "
            f"{codec.bandwidth:g} kbps that they take. Level {worst} has the most unused entries: "
            f"{use.loc[worst, 'dead']:.1%}."
        ),
        figure=codebook_usage(use, codec.codebook_size),
        name="codebook_usage",
        numbers={"kbps carried": Number(round(float(carried), 2), "higher")},
        tables={"ceiling_codes": use},
    )


def judge_finding(judge: Judge | None, training: Dataset) -> Finding:
    """What the judge was trained on."""
    if judge is None:
        return Finding(sentence="All training clips are of one class, so there is no judge.")
    return Finding(
        sentence=(
            f"The judge learned {len(judge.class_names)} classes from {len(training)} real clips "
            f"of folds {', '.join(map(str, training.folds))}."
        )
    )


def means_finding(summary: pd.DataFrame, version: str, missing: Mapping[str, str]) -> Finding:
    """How far the means of the metrics move, per version of `summarise`.

    Args:
        missing: codecs that could not be measured, each with the reason.
    """
    label, change = _largest(summary, version, "_percent")
    sentence = f"Through {version}, the mean {label} changes most: by {change:+.1f} %."
    as_recorded = summary.index[0]
    label, change = _largest(summary, as_recorded, "_percent")
    if change:
        sentence += (
            f" The clips as recorded ({as_recorded}) differ from the resampled ones most in {label}"
            f" ({change:+.1f} %); that is the sampling rate, not the codec."
        )
    for name, reason in missing.items():
        sentence += f" {name} is not measured: {reason}."
    caption = "Difference of the means from the real clips at the codec's rate"
    table = comparison_table(summary.filter(regex="_percent$"), caption)
    return Finding(sentence=sentence, table=table, tables={"ceiling_summary": summary})


def distributions_finding(summary: pd.DataFrame, version: str) -> Finding:
    """How far the distributions of the metrics move: KS D per version of `summarise`."""
    label, distance = _largest(summary, version, "_ks")
    caption = "KS D against the real clips at the codec's rate"
    return Finding(
        sentence=(
            f"Through {version}, {label} has the largest KS D of the metrics: {distance:.2f}."
        ),
        table=comparison_table(summary.filter(regex="_ks$"), caption),
    )


def same_clip_finding(summary: pd.DataFrame, clips: pd.DataFrame, version: str) -> Finding:
    """How far each clip is from itself: differences in which errors of two clips cannot cancel.

    Args:
        clips: of `measure_ceiling`, with `summary` its averages.
    """
    distances = summary["log_mel_distance"].dropna()
    label, change = _largest(summary, version, "_apart")
    sentence = (
        f"Through {version}, the log-mel distance of a clip from itself is "
        f"{distances[version]:.2f} dB; of the metrics, {label} changes most, by {change:.1f} % "
        "of the real mean."
    )
    if len(distances) > 1:
        nearest = distances.idxmin()
        farthest = distances.idxmax()
        sentence += (
            f" The distance is smallest through {nearest} ({distances[nearest]:.2f} dB) and largest"
            f" through {farthest} ({distances[farthest]:.2f} dB)."
        )
    caption = (
        "Mean absolute difference of a clip from itself in percent of the real mean (apart), "
        "log-mel distance (dB), SI-SDR (dB, median)"
    )
    columns = [*summary.filter(regex="_apart$"), "log_mel_distance", "si_sdr"]
    return Finding(
        sentence=sentence,
        table=comparison_table(summary.loc[distances.index, columns], caption),
        numbers={"log-mel distance (dB)": Number(round(float(distances[version]), 3), "lower")},
        tables={"ceiling_clips": clips},
    )


def recognition_finding(summary: pd.DataFrame, version: str, codec: Codec) -> Finding:
    """Whether the judge still classifies clips correctly after a codec.

    Args:
        codec: of this version; the sentence says if it was trained in favour of such a judge.
    """
    if "right" not in summary:
        return Finding(sentence="All training clips are of one class, so there is no judge.")
    right = summary["right"].dropna()
    sentence = (
        f"The judge classifies {right[REAL]:.1%} of the real clips correctly and "
        f"{right[version]:.1%} through {version}: {_points(right[version] - right[REAL])}."
    )
    if finished_with_cnn(codec):
        sentence += (
            f" The decoder of {codec.name} was finished in the feature space of a CNN of the "
            "judge's own kind, so the judge favours it: for the shipped codec, an unrelated "
            "classifier finds a larger loss."
        )
    caption = "Share that the judge classifies correctly, total variation of its probabilities"
    table = summary.loc[right.index, ["right", "total_variation"]]
    numbers = {f"judge on {name}": round(float(share), 3) for name, share in right.items()}
    return Finding(
        sentence=sentence,
        table=comparison_table(table, caption),
        numbers={name: Number(share, "higher") for name, share in numbers.items()},
    )


def _points(change: float) -> str:
    """A change of a share in words."""
    if abs(change) < 0.0005:
        return "no change"
    return f"{abs(100 * change):.1f} points {'fewer' if change < 0 else 'more'}"


def finished_with_cnn(codec: Codec) -> bool:
    """Whether a codec's file says that its decoder was finished in a CNN's feature space."""
    return getattr(codec, "card", {}).get("finish_steps", 0) > 0


def classes_finding(classes: pd.DataFrame) -> Finding:
    """Which classes lose most and least, from `by_class`."""
    distance = classes["log_mel_distance"]
    count = min(3, len(classes) // 2)
    sentence = f"There is one class; it loses {distance.iloc[0]:.2f} dB."
    if count:
        sentence = (
            f"{', '.join(classes.index[:count])} lose most (up to {distance.iloc[0]:.2f} dB), "
            f"{', '.join(classes.index[-count:])} least (down to {distance.iloc[-1]:.2f} dB)."
        )
    labels = {"log_mel_distance": "log-mel distance (dB)", "class": ""}
    colour = [COLOURS["codec"]]
    shown = classes.head(MOST_CLASSES)
    figure = px.bar(shown, y="log_mel_distance", labels=labels, color_discrete_sequence=colour)
    return Finding(sentence=sentence, figure=styled(figure, height=400), name="classes")


def traits_finding(classes: pd.DataFrame, traits: pd.DataFrame) -> Finding:
    """Which traits of a class go with its loss, as rank correlations over classes."""
    joined = classes.join(traits)
    count = int(joined[list(traits)].notna().all(axis=1).sum())
    sentence = f"Rank correlations need at least {LEAST_CLASSES} classes; there are {count}."
    if count >= LEAST_CLASSES:
        rank = trait_correlations(classes, traits)
        chance = chance_correlation(count)
        named = {name.replace("_", " "): value for name, value in rank.items()}
        listed = ", ".join(f"{name} {value:+.2f}" for name, value in named.items())
        outside = [name for name, value in named.items() if abs(value) > chance]
        sentence = (
            f"Spearman's rank correlation of a class's loss with its traits: {listed}. Of {count} "
            f"classes without any relation, 95 % of such values lie within ±{chance:.2f}; "
            f"outside: {', '.join(outside) or 'none'}."
        )
    return Finding(sentence=sentence, table=joined.round(2), tables={"ceiling_classes": joined})


def chance_correlation(count: int) -> float:
    """The |rank correlation| that 95 % of `count` unrelated pairs stay below (Student's t)."""
    t = scipy.stats.t.ppf(0.975, count - 2)
    return float(t / np.sqrt(count - 2 + t**2))


def examples_finding(examples: Mapping[str, Mapping[str, np.ndarray]], sample_rate: int) -> Finding:
    """Spectrograms of clips by class and version, from `example_clips`."""
    return Finding(figure=spectrogram_grid(examples, sample_rate), name="real_and_codec")


def _largest(summary: pd.DataFrame, version: str, suffix: str) -> tuple[str, float]:
    """The metric whose column with this suffix is largest in magnitude: its label, the value."""
    row = summary.loc[version, [f"{name}{suffix}" for name in COMPARED]].dropna()
    column = row.abs().idxmax()
    return METRICS[column.removesuffix(suffix)].label, float(row[column])
