"""Does the generator understand sound? Linear probes on the frozen features of a trained model, and how well anything named held-out clips.

`judge` names sounds, `classifier` tokens; `fine_tuning` trains further from a probe.
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
    """How a classifier does on held-out clips.

    Attributes:
        labels: (N,) int64.
        probabilities: (N, C) float64.
        recordings: what each of the N clips was cut from, if others were too; else "".
        rows: {epoch, loss} of a training by epochs; empty for a probe.
        seconds: that training and naming took, with those before an interruption.
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
    def right(self) -> np.ndarray:
        """(N,) bool."""
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Share named rightly."""
        return float(self.right.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Of the accuracy, 95 %, see `share_interval`."""
        return share_interval(self.right, self.recordings)


def probe(classifier: Classifier, train: Features, test: Features) -> Classification:
    """Fit the head alone: multinomial logistic regression on features that `classifier` read; the head is left holding it.

    Raises:
        SsenvError: the training clips are of one class.
    """
    started = time.monotonic() - train.seconds - test.seconds
    require_classes(train.labels)
    scaler, linear = _fit_linear(train.values, train.labels)
    weight, bias = torch.from_numpy(linear.coef_), torch.from_numpy(linear.intercept_)
    if (
        len(linear.classes_) == 2
    ):  # for which scikit-learn keeps one row: the second class's logit less the first's
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    head = classifier.head
    with torch.no_grad():
        classifier.mean.copy_(torch.from_numpy(scaler.mean_))
        classifier.std.copy_(torch.from_numpy(scaler.scale_))
        head.weight.zero_()
        head.bias.fill_(-20.0)  # a class that training never saw
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
    """The accuracy of probes that are given few labelled clips: one row for each draw of `count` random clips of each class.

    Counts of which some class has fewer training clips are left out; where a count takes all clips, there is one draw.

    Returns:
        Columns `clips` (of each class) and `accuracy`.

    Raises:
        SsenvError: the training clips are of one class.
    """
    require_classes(train.labels)
    known, rows = train.labels, []
    most = np.unique(known, return_counts=True)[1].min()
    for count in (count for count in counts if count <= most):
        for draw in range(1 if count * len(np.unique(known)) == len(known) else draws):
            order = np.random.default_rng([seed, count, draw]).permutation(len(known))
            chosen = np.concatenate(
                [order[known[order] == label][:count] for label in np.unique(known)]
            )
            scaler, linear = _fit_linear(train.values[chosen], known[chosen])
            rows.append(
                {
                    "clips": count,
                    "accuracy": float(
                        (linear.predict(scaler.transform(test.values)) == test.labels).mean()
                    ),
                }
            )
    return pd.DataFrame(rows, columns=["clips", "accuracy"])


def gain(better: Classification, worse: Classification, seed: int) -> tuple[float, float, float]:
    """What one classifier's accuracy has over another's on the same clips, and its 95 % interval, see `mean_interval`.

    Raises:
        SsenvError: they named clips of other classes, or in another order.
    """
    if not np.array_equal(better.labels, worse.labels):
        raise SsenvError("two classifiers are compared on the same clips, in the same order")
    differences = better.right.astype(float) - worse.right
    return float(differences.mean()), *mean_interval(differences, better.recordings, seed)


def judged(judge: Judge, sounds: Dataset, fold: int) -> Classification:
    """What a judge, trained on the waveforms of the other folds, makes of this one's; its training's seconds included.

    Raises:
        SsenvError: the judge was trained on this fold.
    """
    judge.require_heldout(fold)
    started, clips = time.monotonic() - judge.metadata["seconds"], sounds.subset(folds=[fold]).clips
    heard = track(clips, len(clips), "judge", "clip")
    probabilities = np.stack(
        [judge.probabilities(sounds.read(clip, SAMPLE_RATE), SAMPLE_RATE) for clip in heard]
    )
    labels, recordings = (
        np.array([clip.label for clip in clips]),
        tuple(clip.recording for clip in clips),
    )
    return Classification(
        labels, probabilities.astype(np.float64), recordings, [], time.monotonic() - started
    )


def random_twin(generator: TrainedGenerator, seed: int) -> SoundStorm:
    """A model of the same size with fresh random weights: what a frozen encoder that was never loaded amounts to."""
    torch.manual_seed(seed)
    twin = SoundStorm(generator.model.config)
    for module in twin.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()  # the model's own start is no random one
    return twin.eval()


def _fit_linear(
    features: np.ndarray, labels: np.ndarray
) -> tuple[StandardScaler, LogisticRegression]:
    """Of features (N, D) and labels (N,): their standardization, and multinomial logistic regression on what comes out of it."""
    scaler = StandardScaler().fit(features)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The number of unique classes", UserWarning
        )  # of one clip of each class, as was asked
        return scaler, LogisticRegression(C=0.1, max_iter=2000).fit(
            scaler.transform(features), labels
        )
