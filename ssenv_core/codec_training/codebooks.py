"""Codebooks by k-means, level by level, each on what the levels before it left."""

import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from ssenv_core.codecs.melrvq import CODEBOOK_SIZE
from ssenv_core.codecs.melrvq.encoder import nearest
from ssenv_core.progress import track


def fit_codebooks(latents: torch.Tensor, *, levels: int, iterations: int, seed: int) -> torch.Tensor:
    """latents (M, D), none of them silent -> (levels, 1024, D) float32, rounded to half precision, entry 0 of each level zero.

    Args:
        iterations: Lloyd iterations per level, from random latents.
    """
    residual, codebooks = latents.clone(), torch.zeros(levels, CODEBOOK_SIZE, latents.shape[1])
    with threadpool_limits(1):  # several threads add the members of a cluster up in any order, and tokens would differ from run to run
        for level in track(range(levels), levels, "fit codebooks", "level"):
            kmeans = KMeans(CODEBOOK_SIZE - 1, init="random", n_init=1, max_iter=iterations, tol=0, random_state=seed + level)
            codebook = codebooks[level, 1:]
            codebook.copy_(torch.from_numpy(kmeans.fit(residual.numpy()).cluster_centers_).half())
            residual -= codebook[torch.cat([nearest(part, codebook) for part in residual.split(8192)])]
    return codebooks
