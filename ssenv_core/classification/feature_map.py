"""The space in which a classifier names sounds, as a map: pooled features of clips in two dimensions, whose neighbourhoods are those of the
features as far as two dimensions can hold them. t-SNE, van der Maaten and Hinton 2008; begun from the principal components, so that the
large distances mean something, too (Kobak and Berens 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances

from ssenv_core.base.errors import SsenvError
from ssenv_core.classification.classifier import Classifier, Features

PERPLEXITY = 30.0  # neighbours that a clip is placed by


@dataclass(frozen=True)
class FeatureMap:
    """Clips that are not silent throughout, in the order of their tokens, which is that of a `Classification` of the same tokens.

    Attributes:
        names: N clip names.
        labels: (N,) int64.
        recordings: what each was cut from, if others were too; else "".
        features: (N, D) float64, standardized as the classifier's head sees them.
        points: (N, 2) float64, where they lie on the map; the axes have no meaning of their own.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    recordings: tuple[str, ...]
    features: np.ndarray
    points: np.ndarray


def map_features(classifier: Classifier, heard: Features, seed: int) -> FeatureMap:
    """Lay out clips by features that `classifier` read of them; the same seed gives the same map on the same machine.

    Raises:
        SsenvError: fewer than 4 clips are not silent throughout: there is nothing to lay out.
    """
    if len(heard.names) < 4:
        raise SsenvError(
            f"a map needs at least 4 clips that are not silent throughout, and there are {len(heard.names)}"
        )
    features = (
        heard.values - classifier.mean.double().cpu().numpy()
    ) / classifier.std.double().cpu().numpy()
    return FeatureMap(
        heard.names, heard.labels, heard.recordings, features, lay_out(features, seed)
    )


def lay_out(features: np.ndarray, seed: int) -> np.ndarray:
    """features (N, D) -> points (N, 2) float64 by t-SNE. N >= 4; with few clips each is placed by a third of the others."""
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    return (
        TSNE(perplexity=perplexity, init="pca", random_state=seed)
        .fit_transform(features)
        .astype(np.float64)
    )


def neighbour_agreement(
    points: np.ndarray, labels: np.ndarray, recordings: Sequence[str]
) -> tuple[float, float]:
    """The share of clips whose nearest one, that is not cut from the same recording, has the same label; and of all such others.

    Args:
        points: (N, D) float.
        labels: (N,) int.
        recordings: what each of the N was cut from, if others were too; else "".

    Returns:
        The share, and what it would be by chance. Clips without a clip of another recording are left out; NaN where none is left.
    """
    cut = np.array(recordings)
    other = ((cut[:, None] != cut) | (cut == "")) & ~np.eye(len(cut), dtype=bool)
    asked = other.any(1)
    if not asked.any():
        return float("nan"), float("nan")
    distances, same = (
        np.where(other, _distances(points), np.inf)[asked],
        (labels[:, None] == labels)[asked],
    )
    chance = (same & other[asked]).sum(1) / other[asked].sum(1)
    return float(same[np.arange(len(same)), distances.argmin(1)].mean()), float(chance.mean())


def confused_neighbours(
    features: np.ndarray, labels: np.ndarray, predictions: np.ndarray, count: int
) -> list[tuple[int, int]]:
    """What to listen to: for each of the `count` most frequent confusions of one class with another, a clip and its neighbour.

    Args:
        features: (N, D) float.
        labels, predictions: (N,) int.

    Returns:
        Pairs of indices: of the clips of a class that were taken for another, the one nearest to a clip of that other class, and that
        clip. Most frequent first, of those as frequent the lower labels; a class without a clip of its own has no neighbour to offer.
    """
    wrong = np.flatnonzero(predictions != labels)
    kinds, counts = np.unique(
        np.stack([labels[wrong], predictions[wrong]], axis=1), axis=0, return_counts=True
    )
    distances, pairs = _distances(features), []
    for true, named in kinds[np.argsort(-counts, kind="stable")]:
        misnamed, others = (
            np.flatnonzero((labels == true) & (predictions == named)),
            np.flatnonzero(labels == named),
        )
        if len(others) and len(pairs) < count:
            row, column = np.unravel_index(
                distances[np.ix_(misnamed, others)].argmin(), (len(misnamed), len(others))
            )
            pairs.append((int(misnamed[row]), int(others[column])))
    return pairs


def _distances(points: np.ndarray) -> np.ndarray:
    """Between points (N, D), (N, N) float64; infinite from each to itself."""
    distances = pairwise_distances(points)
    np.fill_diagonal(distances, np.inf)
    return distances
