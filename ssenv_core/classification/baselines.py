"""What a classifier of sounds has to beat: the baselines published with ESC-50 (Piczak 2015), on a data set's own folds.

Each clip is the mean and the standard deviation over its frames of MFCC 1 to 12 and of the zero-crossing rate: 26 numbers. Features and
rates are as in the published notebooks: 44.1 kHz, windows of 2048 and hops of 512 samples, 128 mel bands, 80 dB below the loudest band.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor

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
from ssenv_core.base.progress import track
from ssenv_core.data.recordings import Dataset

SAMPLE_RATE, HOP = 44_100, 512
NUM_MFCC = 12
RANGE = 80.0  # dB
NEIGHBOURS = 8
BASELINES = ("k-NN", "random forest", "SVM")


def mfcc_zcr(wav: np.ndarray) -> np.ndarray:
    """wav (S,) float at 44.1 kHz, S >= 512 -> (26,) float: means, then deviations, of MFCC 1 to 12, and both of the zero-crossing rate."""
    heard = (
        wav * 32768 + 0.5
    ) / 32767.5  # as published: no sample is zero, so that silence has a level and no sign changes
    mel = librosa.feature.melspectrogram(
        y=heard, sr=SAMPLE_RATE, n_fft=2048, hop_length=HOP, n_mels=128
    )
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=RANGE), n_mfcc=1 + NUM_MFCC)[1:]
    zcr = librosa.feature.zero_crossing_rate(
        heard, frame_length=HOP, hop_length=HOP, center=False, pad=False
    )
    return np.concatenate([mfcc.mean(1), mfcc.std(1), [zcr.mean(), zcr.std()]])


def baseline(name: str, seed: int) -> ClassifierMixin:
    """A classifier of BASELINES, not yet fitted, with the published settings: 8 neighbours, 500 trees, a linear kernel and C = 0.1."""
    if name == "random forest":
        return RandomForestClassifier(500, random_state=seed, n_jobs=-1)
    return make_pipeline(
        StandardScaler(),
        {"k-NN": KNeighborsClassifier(NEIGHBOURS), "SVM": SVC(kernel="linear", C=0.1)}[name],
    )


def cross_validate(
    dataset: Dataset, seed: int = 42, required: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every baseline fitted to all folds but one and asked about that one, for each fold that is there.

    A fold without which there are fewer than 8 clips or one class is left out, but for the `required` one.

    Returns:
        Index: baseline; columns: the share named rightly of each "fold <n>", their "mean" and "std", and "seconds" of fitting and
        asking, all folds together. The features' time is in the log.
        And one row for each clip of these folds, under its name: a bool column per baseline, named rightly.

    Raises:
        SsenvError: one fold only, none or not the required one can be asked about, or a clip cannot be read.
    """
    if len(dataset.folds) < 2:
        raise SsenvError(f"{dataset.name} has one fold here: another one is needed to learn from")
    refused = {
        fold: reason for fold in dataset.folds if (reason := _too_little_without(dataset, fold))
    }
    folds = [fold for fold in dataset.folds if fold not in refused]
    if required in refused or not folds:
        raise SsenvError(refused[dataset.folds[0] if required is None else required])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda clip: mfcc_zcr(dataset.read(clip, SAMPLE_RATE)), dataset.clips)
        features = np.stack(list(track(found, len(dataset), "MFCC", "clip")))
    names, labels = (
        np.array([getattr(clip, name) for clip in dataset.clips]) for name in ("name", "label")
    )
    rows, right = {}, {}
    for name in BASELINES:
        started = time.monotonic()
        shares, named = {}, []
        for fold in folds:
            sides = (dataset.subset(exclude_folds=[fold]), dataset.subset(folds=[fold]))
            known, asked = (np.isin(names, [clip.name for clip in side.clips]) for side in sides)
            fitted = baseline(name, seed).fit(features[known], labels[known])
            named.append(pd.Series(fitted.predict(features[asked]) == labels[asked], names[asked]))
            shares[f"fold {fold}"] = float(named[-1].mean())
        values, right[name] = list(shares.values()), pd.concat(named)
        rows[name] = {
            **shares,
            "mean": np.mean(values),
            "std": np.std(values),
            "seconds": round(time.monotonic() - started, 1),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("baseline"), pd.DataFrame(right)


def _too_little_without(dataset: Dataset, fold: int) -> str:
    """Why the baselines cannot learn from the other folds; "" if they can."""
    known = dataset.subset(exclude_folds=[fold]).clips
    classes = len({clip.label for clip in known})
    if len(known) >= NEIGHBOURS and classes > 1:
        return ""
    found = f"{len(known)} clips of {classes} classes"
    return f"without fold {fold} {dataset.name} has {found}: the baselines learn from {NEIGHBOURS} or more of 2 or more"
