"""A map of a classifier's features: clips in two dimensions, neighbours as close as possible.

Uses t-SNE (van der Maaten and Hinton 2008). It starts from the principal components, so that large
distances have a meaning, too (Kobak and Berens 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances

from ssenv_core.base.errors import SsenvError
from ssenv_core.classification.classifier import Classifier, Features

PERPLEXITY = 30.0  # roughly the number of neighbours that determine a clip's position


@dataclass(frozen=True)
class FeatureMap:
    """Features and map positions of clips, without those that are silent throughout.

    The order is that of their tokens, as in a `Classification` of the same tokens.

    Attributes:
        names: N clip names.
        labels: (N,) int64.
        recordings: the recording of each clip, if other clips are cut from it too; else "".
        features: (N, D) float64, standardized as for the classifier's head.
        points: (N, 2) float64, positions on the map; the axes have no meaning.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    recordings: tuple[str, ...]
    features: np.ndarray
    points: np.ndarray


def map_features(classifier: Classifier, features: Features, seed: int) -> FeatureMap:
    """Lay out clips by the features that `classifier` computed of them.

    The same seed gives the same map on the same machine.

    Raises:
        SsenvError: there are fewer than 4 clips.
    """
    if len(features.names) < 4:
        raise SsenvError(
            "a map needs at least 4 clips that are not silent throughout, "
            f"and there are {len(features.names)}"
        )
    mean = classifier.mean.double().cpu().numpy()
    std = classifier.std.double().cpu().numpy()
    values = (features.values - mean) / std
    points = lay_out(values, seed)
    return FeatureMap(features.names, features.labels, features.recordings, values, points)


def lay_out(features: np.ndarray, seed: int) -> np.ndarray:
    """Lay out features (N, D), N >= 4, by t-SNE: -> points (N, 2) float64.

    With few clips the perplexity is a third of the number of other clips.
    """
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return tsne.fit_transform(features).astype(np.float64)


def neighbour_agreement(
    points: np.ndarray, labels: np.ndarray, recordings: Sequence[str]
) -> tuple[float, float]:
    """Share of clips whose nearest clip of another recording has the same label.

    Args:
        points: (N, D) float.
        labels: (N,) int.
        recordings: the recording of each clip, if other clips are cut from it too; else "".

    Returns:
        The share, and the share expected by chance. Clips without a clip of another recording are
        left out; NaN if none is left.
    """
    names = np.array(recordings)
    other = ((names[:, None] != names) | (names == "")) & ~np.eye(len(names), dtype=bool)
    kept = other.any(1)
    if not kept.any():
        return float("nan"), float("nan")
    same = (labels[:, None] == labels)[kept]
    nearest = np.where(other, _distances(points), np.inf)[kept].argmin(1)
    chance = (same & other[kept]).sum(1) / other[kept].sum(1)
    return float(same[np.arange(len(same)), nearest].mean()), float(chance.mean())


def confused_neighbours(
    features: np.ndarray, labels: np.ndarray, predictions: np.ndarray, count: int
) -> list[tuple[int, int]]:
    """Find a clip and its neighbour for each of the most frequent confusions of two classes.

    Args:
        features: (N, D) float.
        labels, predictions: (N,) int.
        count: number of confusions, at most.

    Returns:
        Pairs of indices: of the clips that were taken for another class, the one nearest to a clip
        of that class, and that clip. The most frequent confusions come first, among equally
        frequent ones those of lower labels. Confusions with a class without clips are left out.
    """
    wrong = np.flatnonzero(predictions != labels)
    confusions, counts = np.unique(
        np.stack([labels[wrong], predictions[wrong]], axis=1), axis=0, return_counts=True
    )
    distances = _distances(features)
    pairs = []
    for true, predicted in confusions[np.argsort(-counts, kind="stable")]:
        confused = np.flatnonzero((labels == true) & (predictions == predicted))
        others = np.flatnonzero(labels == predicted)
        if len(others) and len(pairs) < count:
            between = distances[np.ix_(confused, others)]
            row, column = np.unravel_index(between.argmin(), between.shape)
            pairs.append((int(confused[row]), int(others[column])))
    return pairs


def _distances(points: np.ndarray) -> np.ndarray:
    """Distances between points (N, D): (N, N) float64, infinite from each to itself."""
    distances = pairwise_distances(points)
    np.fill_diagonal(distances, np.inf)
    return distances
