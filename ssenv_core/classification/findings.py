"""What notebook 06 shows: each function judges results of `comparison` and returns a finding."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix as count_confusions

from ssenv_core.classification.comparison import (
    CNN,
    FIRST,
    FROZEN,
    RANDOM,
    TUNED,
    AstRun,
    Classic,
    Measured,
    Probes,
    Split,
)
from ssenv_core.classification.feature_map import (
    FeatureMap,
    confused_neighbours,
    neighbour_agreement,
)
from ssenv_core.classification.probes import Classification, gain
from ssenv_core.metrics.intervals import share_interval
from ssenv_core.plots.classes import (
    PAPER_CLASSES,
    accuracy_by_clips,
    class_accuracy,
    clip_map,
    confusion_matrix,
    reliability,
)
from ssenv_core.plots.finding import Finding, Number

COLUMNS = ("correct", "clips", "accuracy", "low", "high", "seconds", "MB")
CONFUSIONS = 4  # confusions to listen to
CAPTION = (
    "low, high: 95 % confidence interval; clips of one recording count as one clip as far as they "
    "are classified alike. The rows on tokens leave out clips that are silent throughout. "
    "seconds: those of the CNN include its training in 01, those of fine-tuning exclude the "
    "probe it starts from, those of the classic features are of all folds. MB: peak memory of "
    "this process during the row, with what earlier rows left in it; for the CNN during "
    "classification only."
)


def split_finding(split: Split) -> Finding:
    """Say how many clips train and test, and by which protocol."""
    counts = f"{len(split.training)} clips for training, {len(split.heldout)} for the test."
    return Finding(sentence=f"{counts} {split.protocol}")


def classic_finding(classic: Classic) -> Finding:
    """Show the accuracy of the classic features fold by fold."""
    folds = classic.table.filter(like="fold ")
    spread = (folds.max(axis=1) - folds.min(axis=1)).max()
    sentence = f"The same classifier differs by up to {100 * spread:.1f} points between folds."
    if folds.shape[1] == 1:
        sentence = "One fold was evaluated, so the spread between folds is unknown."
    return Finding(sentence=sentence, table=classic.table.round(3))


def labelled_clips_finding(probes: Probes) -> Finding:
    """Show the accuracy of the probes against the number of labelled clips."""
    return Finding(figure=accuracy_by_clips(probes.curves), name="labelled_clips")


def ast_finding(ast: AstRun) -> Finding:
    """Say how AST does, or why it is missing."""
    sentences = [f"{name}. {reason}" for name, reason in ast.missing.items()]
    sentences += [
        f"{name}: {_percent(measured.result.accuracy)} of the held-out clips classified correctly."
        for name, measured in ast.measured.items()
    ]
    return Finding(sentence="\n".join(sentences) or "AST is left out: ast_epochs is 0.")


def comparison_table(
    measured: Mapping[str, Measured], classic: Classic, split: Split, missing: Mapping[str, str]
) -> pd.DataFrame:
    """One row per classifier: columns COLUMNS; NaN for those that are missing.

    Args:
        measured: results by name of the row, the first rows in this order.
        classic: the next rows, of the held-out fold alone.
        split: what was held out.
        missing: names of the last rows.
    """
    results = {name: (row.result, row.megabytes) for name, row in measured.items()}
    rows = {
        name: _row(result.correct, result.recordings, result.seconds, megabytes)
        for name, (result, megabytes) in results.items()
    }
    names = [clip.name for clip in split.heldout_clips]
    recordings = [clip.recording for clip in split.heldout_clips]
    for name, seconds in classic.table["seconds"].items():
        correct = classic.correct.loc[names, name].to_numpy()
        rows[name] = _row(correct, recordings, seconds, classic.megabytes)
    rows |= {name: [np.nan] * len(COLUMNS) for name in missing}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS), dtype=float)


def comparison_finding(
    measured: Mapping[str, Measured],
    classic: Classic,
    split: Split,
    *,
    missing: Mapping[str, str],
    seed: int,
) -> Finding:
    """Show all classifiers side by side, and what training and finer levels contribute.

    Args:
        measured: results by name; those of RANDOM, FIRST, FROZEN, TUNED and CNN are needed.
        classic: the baselines on classic features.
        split: what was held out.
        missing: names of rows without a result.
        seed: of the bootstrap of differences.
    """
    table = comparison_table(measured, classic, split, missing)
    accuracy = table["accuracy"]
    frozen = measured[FROZEN].result
    against = {
        name: _difference(gain(frozen, measured[name].result, seed)) for name in (RANDOM, FIRST)
    }
    best = accuracy[classic.table.index].idxmax()
    sentence = (
        f"A linear probe on the trained features of all levels classifies "
        f"{_percent(accuracy[FROZEN])} of {len(frozen.labels)} held-out clips correctly: "
        f"with random weights {against[RANDOM]}, with the first level alone {against[FIRST]}. "
        f"After fine-tuning it is {_percent(accuracy[TUNED])}; chance is "
        f"{_percent(1 / len(split.class_names))}. The log-mel CNN reaches "
        f"{_percent(accuracy[CNN])}, the best of the classic features, {best}, "
        f"{_percent(accuracy[best])}. {split.protocol}"
    )
    numbers = {
        name: Number(round(float(share), 4), "higher") for name, share in accuracy.dropna().items()
    }
    if split.sounds.missing_folds:
        numbers["official folds missing"] = Number(len(split.sounds.missing_folds))
    formats = dict.fromkeys(COLUMNS, "{:.0f}") | dict.fromkeys(
        ("accuracy", "low", "high"), "{:.1%}"
    )
    style = table.style.format(formats, na_rep="").set_caption(CAPTION)
    return Finding(sentence=sentence, table=style, numbers=numbers)


def confusion_finding(result: Classification, split: Split) -> Finding:
    """Show which classes are taken for which."""
    classes = range(len(split.class_names))
    counts = count_confusions(result.labels, result.predictions, labels=classes)
    return Finding(figure=confusion_matrix(counts, split.class_names), name="confusion")


def class_accuracy_finding(measured: Mapping[str, Measured], split: Split) -> Finding:
    """Show the accuracy class by class; on ESC-50 beside the paper's."""
    shares = {
        name: _class_shares(measured[name].result, split.class_names)
        for name in (TUNED, FROZEN, CNN)
    }
    paper = PAPER_CLASSES if split.sounds.name == "esc50" else None
    return Finding(figure=class_accuracy(shares, paper), name="classes")


def reliability_finding(measured: Mapping[str, Measured]) -> Finding:
    """Show how often predictions of a given probability are correct."""
    results = {name: measured[name].result for name in (TUNED, FROZEN)}
    probabilities = {name: result.probabilities for name, result in results.items()}
    return Finding(
        sentence=" ".join(_confidence(name, result) for name, result in results.items()),
        figure=reliability(results[TUNED].labels, probabilities),
        name="reliability",
    )


def map_finding(features: FeatureMap, result: Classification, split: Split) -> Finding:
    """Show the held-out clips on a map, and how often neighbours have the same class."""
    figure = clip_map(
        features.points, features.labels, result.probabilities, features.names, split.class_names
    )
    on_map, chance = neighbour_agreement(features.points, features.labels, features.recordings)
    in_features, _ = neighbour_agreement(features.features, features.labels, features.recordings)
    sentence = (
        f"The nearest clip of another recording has the same class for {_percent(on_map)} of the "
        f"clips on the map and for {_percent(in_features)} in the features; by chance for "
        f"{_percent(chance)}."
    )
    if np.isnan(chance):
        sentence = "All clips are cut from one recording, so no clip has a neighbour to compare."
    return Finding(sentence=sentence, figure=figure, name="map")


def confused_finding(features: FeatureMap, result: Classification, split: Split) -> Finding:
    """Name the most frequent confusions with a class that has clips."""
    labels = features.labels
    names = [name.replace("_", " ") for name in split.class_names]
    sentences = []
    for i, j in confused_neighbours(features.features, labels, result.predictions, CONFUSIONS):
        predictions = result.predictions[labels == labels[i]]
        count = (predictions == labels[j]).sum()
        sentences.append(
            f"{names[labels[i]]}, taken for {names[labels[j]]} ({count} of {len(predictions)})"
        )
    if not sentences:
        return Finding(sentence="No class was taken for another that has clips here.")
    return Finding(sentence=f"Most frequent confusions: {'; '.join(sentences)}.")


def confused_clips(
    features: FeatureMap, result: Classification, split: Split, sample_rate: int
) -> list[tuple[str, str, np.ndarray, str]]:
    """Two clips per confusion: one that was misclassified, and its neighbour in the other class.

    Returns:
        Confusion ("rain, taken for wind"), clip name, sound (S,) float32 at `sample_rate` (Hz), and
        file name without suffix of each clip.
    """
    labels = features.labels
    clips = {clip.name: clip for clip in split.heldout_clips}
    names = [name.replace("_", " ") for name in split.class_names]
    chosen = []
    for i, j in confused_neighbours(features.features, labels, result.predictions, CONFUSIONS):
        label = f"{names[labels[i]]}, taken for {names[labels[j]]}"
        for name in (features.names[i], features.names[j]):
            wav = split.sounds.read(clips[name], sample_rate)
            chosen.append((label, name, wav, f"{len(chosen)}_{name.replace('/', '_')}"))
    return chosen


def _row(correct: np.ndarray, recordings: tuple | list, seconds: float, megabytes: float) -> list:
    interval = share_interval(correct, recordings)
    return [correct.sum(), len(correct), correct.mean(), *interval, seconds, megabytes]


def _class_shares(result: Classification, class_names: tuple[str, ...]) -> pd.Series:
    """Share of clips classified correctly, by class; classes without a clip are left out."""
    shares = pd.Series(result.correct).groupby(result.labels).mean()
    return shares.set_axis([class_names[label] for label in shares.index])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _difference(difference: tuple[float, float, float]) -> str:
    """Say how much less or more the other classifier reaches; as `gain` returns it."""
    points, low, high = (100 * value for value in difference)
    words = "as much"
    if points:
        words = f"{abs(points):.1f} points {'less' if points > 0 else 'more'}"
    if np.isnan(low):
        return f"{words} (all clips are of one recording, so without an interval)"
    return f"{words} (95 % interval of the gain: {low:+.1f} to {high:+.1f} points)"


def _confidence(name: str, result: Classification) -> str:
    mean = result.probabilities.max(1).mean()
    excess = mean - result.accuracy
    verdict = "overconfident" if excess > 0 else "underconfident" if excess < 0 else "calibrated"
    return (
        f"{name} is {verdict} on average: it gives the predicted class a probability of "
        f"{_percent(mean)} and is correct for {_percent(result.accuracy)} of the clips."
    )
