"""The codebooks that a training starts from, and the last hand on those that it ends with."""

import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from ssenv_core.base.progress import track
from ssenv_core.codecs.melrvq.codec import MelRVQ
from ssenv_core.codecs.melrvq.encoder import CODEBOOK_SIZE, MAX_LEVELS
from ssenv_core.codecs.melrvq.training.sounds import BATCH, Sounds

IDLE = 0.02  # of the mean use, below which an entry moves


def fit_codebooks(
    latents: torch.Tensor, *, levels: int, iterations: int, seed: int
) -> torch.Tensor:
    """K-means, level by level, each on what the levels before it left: latents (M, D), none of them silent -> (levels, 1023, D) float32,
    all entries but silence.

    Args:
        iterations: Lloyd iterations per level, from random latents.
    """
    residual, codebooks = latents.clone(), torch.empty(levels, CODEBOOK_SIZE - 1, latents.shape[1])
    with threadpool_limits(
        1
    ):  # several threads add the members of a cluster up in any order, and no run would repeat another
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
    """Let entries that `sounds` as they are hardly use share, two by two, what the most used ones hold (Linde, Buzo & Gray 1980), in place.

    The training varies its segments, and some entries serve nothing but variations.
    """
    encoder, latents, codes = codec.encoder, [], []
    for wavs, live in track(sounds.batches(), -(-len(sounds) // BATCH), "spread use", "batch"):
        found = encoder(codec.features(wavs))
        codes.append(encoder.quantize(found, ~live, MAX_LEVELS).transpose(1, 2)[live])
        latents.append(found[live])
    left = torch.cat(latents)
    for codebook, taken in zip(encoder.codebooks, torch.cat(codes).unbind(1), strict=True):
        left = left - codebook[taken]
        use = torch.bincount(taken, minlength=CODEBOOK_SIZE)[1:]
        idle = 1 + (use < IDLE * use.float().mean()).nonzero()[: len(use) // 2, 0]
        for entry, most in zip(idle, 1 + use.topk(len(idle)).indices, strict=True):
            held = left[taken == most]
            if len(held) < 2:
                break  # nor do the others hold more
            variances, axes = torch.linalg.eigh(torch.cov(held.T))
            aside = 0.5 * variances[-1].sqrt() * axes[:, -1]
            codebook[entry], codebook[most] = codebook[most] + aside, codebook[most] - aside
