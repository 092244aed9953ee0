"""The codebooks that a training starts from: k-means, level by level, each on what the levels before it left."""

import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from ssenv_core.codecs.melrvq import CODEBOOK_SIZE
from ssenv_core.progress import track


def fit_codebooks(latents: torch.Tensor, *, levels: int, iterations: int, seed: int) -> torch.Tensor:
    """latents (M, D), none of them silent -> (levels, 1023, D) float32: all entries but silence.

    Args:
        iterations: Lloyd iterations per level, from random latents.
    """
    residual, codebooks = latents.clone(), torch.empty(levels, CODEBOOK_SIZE - 1, latents.shape[1])
    with threadpool_limits(1):  # several threads add the members of a cluster up in any order, and no run would repeat another
        for level in track(range(levels), levels, "fit codebooks", "level"):
            kmeans = KMeans(CODEBOOK_SIZE - 1, init="random", n_init=1, max_iter=iterations, tol=0, random_state=seed + level)
            kmeans.fit(residual.numpy())
            codebooks[level] = torch.from_numpy(kmeans.cluster_centers_)
            residual -= codebooks[level][torch.from_numpy(kmeans.labels_).long()]
    return codebooks
