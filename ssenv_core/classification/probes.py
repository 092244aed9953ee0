"""Linear probes on frozen features of a generator, and the accuracy of any classifier.

`judge` classifies waveforms, `classifier` tokens; `fine_tuning` starts from a probe.
"""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import track
from ssenv_core.classification.classifier import Classifier, Features
from ssenv_core.classification.judge import SAMPLE_RATE, Judge, require_classes
from ssenv_core.data.recordings import Dataset
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.metrics.intervals import mean_interval, share_interval
from ssenv_core.soundstorm.model import SoundStorm


@dataclass(frozen=True)
class Classification:
    """Predictions of a classifier for held-out clips.

    Attributes:
        labels: (N,) int64.
        probabilities: (N, C) float64.
        recordings: the recording of each clip, if other clips are cut from it too; else "".
        rows: {epoch, loss} of each epoch of a training; empty for a probe.
        seconds: duration of training and prediction, with the time before an interruption.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    recordings: tuple[str, ...]
    rows: list[dict]
    seconds: float

    @property
    def predictions(self) -> np.ndarray:
        """(N,) int64."""
        return self.probabilities.argmax(1)

    @property
    def correct(self) -> np.ndarray:
        """(N,) bool."""
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Share of clips classified correctly."""
        return float(self.correct.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy, see `share_interval`."""
        return share_interval(self.correct, self.recordings)


def probe(classifier: Classifier, train: Features, test: Features) -> Classification:
    """Fit the head alone, by multinomial logistic regression, and leave it in `classifier`.

    Args:
        classifier: the one that computed the features.
        train: features to fit to.
        test: features to classify.

    Raises:
        SsenvError: all training clips are of one class.
    """
    started = time.monotonic() - train.seconds - test.seconds
    require_classes(train.labels)
    scaler, linear = _fit_linear(train.values, train.labels)
    weight = torch.from_numpy(linear.coef_)
    bias = torch.from_numpy(linear.intercept_)
    if len(linear.classes_) == 2:  # scikit-learn keeps one row: the second logit minus the first
        weight = torch.cat([-weight, weight]) / 2
        bias = torch.cat([-bias, bias]) / 2
    head = classifier.head
    with torch.no_grad():
        classifier.mean.copy_(torch.from_numpy(scaler.mean_))
        classifier.std.copy_(torch.from_numpy(scaler.scale_))
        head.weight.zero_()
        head.bias.fill_(-20.0)  # for a class without a training clip
        head.weight[linear.classes_] = weight.float().to(head.weight.device)
        head.bias[linear.classes_] = bias.float().to(head.weight.device)
        logits = classifier.classify(torch.from_numpy(test.values).float().to(head.weight.device))
    probabilities = logits.double().softmax(1).cpu().numpy()
    return Classification(
        test.labels, probabilities, test.recordings, [], time.monotonic() - started
    )


def learning_curve(
    train: Features, test: Features, counts: Sequence[int], draws: int, seed: int
) -> pd.DataFrame:
    """Measure the accuracy of probes that are fitted to few labelled clips.

    Args:
        train: features to choose from.
        test: features to classify.
        counts: numbers of labelled clips per class; those that some class does not have are left
            out.
        draws: random choices of clips per count; one where a count takes all clips.
        seed: of the choices.

    Returns:
        One row per draw: columns `clips` (per class) and `accuracy`.

    Raises:
        SsenvError: all training clips are of one class.
    """
    require_classes(train.labels)
    rows = []
    classes, sizes = np.unique(train.labels, return_counts=True)
    for count in (count for count in counts if count <= sizes.min()):
        for draw in range(1 if count * len(classes) == len(train.labels) else draws):
            order = np.random.default_rng([seed, count, draw]).permutation(len(train.labels))
            chosen = np.concatenate(
                [order[train.labels[order] == label][:count] for label in classes]
            )
            scaler, linear = _fit_linear(train.values[chosen], train.labels[chosen])
            predictions = linear.predict(scaler.transform(test.values))
            rows.append({"clips": count, "accuracy": float((predictions == test.labels).mean())})
    return pd.DataFrame(rows, columns=["clips", "accuracy"])


def gain(better: Classification, worse: Classification, seed: int) -> tuple[float, float, float]:
    """Difference of the accuracies of two classifiers on the same clips.

    Returns:
        The difference, and the ends of its 95 % interval, see `mean_interval`.

    Raises:
        SsenvError: they classified other clips, or in another order.
    """
    if not np.array_equal(better.labels, worse.labels):
        raise SsenvError("two classifiers are compared on the same clips, in the same order")
    differences = better.correct.astype(float) - worse.correct
    return float(differences.mean()), *mean_interval(differences, better.recordings, seed)


def classify_with_judge(judge: Judge, sounds: Dataset, fold: int) -> Classification:
    """Classify the clips of one fold with a judge trained on the others.

    The result's seconds include the judge's training.

    Raises:
        SsenvError: the judge was trained on this fold.
    """
    judge.require_heldout(fold)
    started = time.monotonic() - judge.metadata["seconds"]
    clips = sounds.subset(folds=[fold]).clips
    probabilities = [
        judge.probabilities(sounds.read(clip, SAMPLE_RATE), SAMPLE_RATE)
        for clip in track(clips, len(clips), "judge", "clip")
    ]
    return Classification(
        np.array([clip.label for clip in clips]),
        np.stack(probabilities).astype(np.float64),
        tuple(clip.recording for clip in clips),
        [],
        time.monotonic() - started,
    )


def random_twin(generator: TrainedGenerator, seed: int) -> SoundStorm:
    """Build a model of the same size with random weights, like an encoder that was never loaded."""
    torch.manual_seed(seed)
    twin = SoundStorm(generator.model.config)
    for module in twin.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()  # the model's own initial weights are not random
    return twin.eval()


def _fit_linear(
    features: np.ndarray, labels: np.ndarray
) -> tuple[StandardScaler, LogisticRegression]:
    """Standardize features (N, D) and fit multinomial logistic regression to labels (N,)."""
    scaler = StandardScaler().fit(features)
    with warnings.catch_warnings():  # one clip per class is intended
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        linear = LogisticRegression(C=0.1, max_iter=2000)
        return scaler, linear.fit(scaler.transform(features), labels)
