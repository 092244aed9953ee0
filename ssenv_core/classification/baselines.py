"""The baselines published with ESC-50 (Piczak 2015), on classic features: k-NN, random forest, SVM.

A clip has 26 features: mean and standard deviation over frames of MFCC 1 to 12 and of the
zero-crossing rate. They are computed as in the published notebooks: at 44.1 kHz, with windows of
2048 and hops of 512 samples, 128 mel bands, and a range of 80 dB below the loudest band.
"""

import time

import librosa
import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import on_all_cores
from ssenv_core.data.recordings import Dataset

SAMPLE_RATE = 44_100
HOP = 512
NUM_MFCC = 12
RANGE = 80.0  # dB
NEIGHBOURS = 8
BASELINES = ("k-NN", "random forest", "SVM")


def mfcc_zcr(wav: np.ndarray) -> np.ndarray:
    """Compute the features of a clip.

    Args:
        wav: (S,) float at 44.1 kHz, S >= 512.

    Returns:
        (26,) float: means, then standard deviations, of MFCC 1 to 12; mean and standard deviation
        of the zero-crossing rate.
    """
    # As published: no sample is zero, so silence has a level and no sign changes.
    shifted = (wav * 32768 + 0.5) / 32767.5
    mel = librosa.feature.melspectrogram(
        y=shifted, sr=SAMPLE_RATE, n_fft=2048, hop_length=HOP, n_mels=128
    )
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=RANGE), n_mfcc=1 + NUM_MFCC)[1:]
    zcr = librosa.feature.zero_crossing_rate(
        shifted, frame_length=HOP, hop_length=HOP, center=False, pad=False
    )
    return np.concatenate([mfcc.mean(1), mfcc.std(1), [zcr.mean(), zcr.std()]])


def baseline(name: str, seed: int) -> ClassifierMixin:
    """Build one of BASELINES as published: 8 neighbours, 500 trees, linear kernel with C = 0.1."""
    if name == "random forest":
        return RandomForestClassifier(500, random_state=seed, n_jobs=-1)
    others = {"k-NN": KNeighborsClassifier(NEIGHBOURS), "SVM": SVC(kernel="linear", C=0.1)}
    return make_pipeline(StandardScaler(), others[name])


def cross_validate(
    dataset: Dataset, seed: int = 42, required: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cross-validate every baseline: fit it to all folds but one, test it on that fold.

    A fold is left out of the test if the others hold fewer than 8 clips or a single class.

    Args:
        dataset: with two folds or more.
        seed: of the random forest.
        required: a fold that must not be left out.

    Returns:
        Two tables. Accuracies, indexed by baseline: columns "fold <n>", their "mean" and "std", and
        "seconds" of fitting and prediction for all folds, without the features. And one row per
        tested clip, indexed by its name: a bool column per baseline, classified correctly.

    Raises:
        SsenvError: the dataset has one fold, no fold or not the required one can be tested, or a
            clip cannot be read.
    """
    if len(dataset.folds) < 2:
        raise SsenvError(f"{dataset.name} has one fold here: another one is needed for training")
    refused = {
        fold: reason for fold in dataset.folds if (reason := _too_little_without(dataset, fold))
    }
    folds = [fold for fold in dataset.folds if fold not in refused]
    if required in refused or not folds:
        raise SsenvError(refused[dataset.folds[0] if required is None else required])

    features = np.stack(
        [
            *on_all_cores(
                lambda clip: mfcc_zcr(dataset.read(clip, SAMPLE_RATE)), dataset.clips, "MFCC"
            )
        ]
    )
    names = np.array([clip.name for clip in dataset.clips])
    labels = np.array([clip.label for clip in dataset.clips])
    rows = {}
    correct = {}
    for name in BASELINES:
        started = time.monotonic()
        by_fold = {}
        for fold in folds:
            sides = (dataset.subset(exclude_folds=[fold]), dataset.subset(folds=[fold]))
            train, test = (np.isin(names, [clip.name for clip in side.clips]) for side in sides)
            fitted = baseline(name, seed).fit(features[train], labels[train])
            predictions = fitted.predict(features[test])
            by_fold[f"fold {fold}"] = pd.Series(predictions == labels[test], names[test])
        shares = {column: float(clips.mean()) for column, clips in by_fold.items()}
        correct[name] = pd.concat(by_fold.values())
        rows[name] = {
            **shares,
            "mean": np.mean(list(shares.values())),
            "std": np.std(list(shares.values())),
            "seconds": round(time.monotonic() - started, 1),
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("baseline")
    return table, pd.DataFrame(correct)


def _too_little_without(dataset: Dataset, fold: int) -> str:
    """Why the baselines cannot be fitted to the other folds; "" if they can."""
    clips = dataset.subset(exclude_folds=[fold]).clips
    classes = len({clip.label for clip in clips})
    if len(clips) >= NEIGHBOURS and classes > 1:
        return ""
    return (
        f"without fold {fold} {dataset.name} has {len(clips)} clips of {classes} classes: "
        f"the baselines need {NEIGHBOURS} clips of 2 classes or more"
    )
