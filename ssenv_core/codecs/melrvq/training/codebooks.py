"""Codebooks of the embedded codec: initial values, and the reuse of idle entries at the end."""

import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from ssenv_core.base.progress import track
from ssenv_core.codecs.melrvq.codec import MelRVQ
from ssenv_core.codecs.melrvq.encoder import CODEBOOK_SIZE
from ssenv_core.codecs.melrvq.training.sounds import BATCH, Sounds

IDLE = 0.02  # an entry used less than this share of the mean use moves


def fit_codebooks(
    latents: torch.Tensor, *, levels: int, iterations: int, seed: int
) -> torch.Tensor:
    """Fit codebooks by K-means, each level on the residuals of the levels before it.

    Args:
        latents: (M, D), none of them silent.
        iterations: Lloyd iterations per level, from random latents.

    Returns:
        (levels, 1023, D) float32, all entries but silence.
    """
    residual = latents.clone()
    codebooks = torch.empty(levels, CODEBOOK_SIZE - 1, latents.shape[1])
    # Several threads sum the members of a cluster in any order, and no run would repeat another.
    with threadpool_limits(1):
        for level in track(range(levels), levels, "fit codebooks", "level"):
            kmeans = KMeans(
                CODEBOOK_SIZE - 1,
                init="random",
                n_init=1,
                max_iter=iterations,
                tol=0,
                random_state=seed + level,
            )
            kmeans.fit(residual.numpy())
            codebooks[level] = torch.from_numpy(kmeans.cluster_centers_)
            residual -= codebooks[level][torch.from_numpy(kmeans.labels_).long()]
    return codebooks


@torch.inference_mode()
def spread_use(codec: MelRVQ, sounds: Sounds) -> None:
    """Move entries that `sounds` hardly use to halve the most used ones, in place.

    Each idle entry splits one of the most used (Linde, Buzo & Gray 1980). The training varies its
    segments, and some entries serve nothing but variations.
    """
    encoder, latents, codes = codec.encoder, [], []
    for wavs, live in track(sounds.batches(), -(-len(sounds) // BATCH), "spread use", "batch"):
        latent = encoder(codec.features(wavs))
        codes.append(encoder.quantize(latent, ~live, codec.config.encoder.levels).mT[live])
        latents.append(latent[live])
    residual = torch.cat(latents)
    for codebook, taken in zip(encoder.codebooks, torch.cat(codes).unbind(1), strict=True):
        residual = residual - codebook[taken]
        use = torch.bincount(taken, minlength=CODEBOOK_SIZE)[1:]
        idle = 1 + (use < IDLE * use.float().mean()).nonzero()[: len(use) // 2, 0]
        for entry, most in zip(idle, 1 + use.topk(len(idle)).indices, strict=True):
            members = residual[taken == most]
            if len(members) < 2:
                break  # the remaining entries have no more members
            variances, axes = torch.linalg.eigh(torch.cov(members.T))
            offset = 0.5 * variances[-1].sqrt() * axes[:, -1]
            codebook[entry] = codebook[most] + offset
            codebook[most] = codebook[most] - offset
