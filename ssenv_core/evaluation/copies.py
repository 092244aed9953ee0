"""Whether generated clips are copies of training clips: by tokens and by embedding."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import on_all_cores
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.tokens import TokenSet
from ssenv_core.evaluation.columns import sounding_frames
from ssenv_core.metrics.spectrotemporal import analyse, is_constant, log_mel_embedding

COPY_LEVELS = 2  # in which a copy is looked for


class Copies(NamedTuple):
    """How much of each of N clips is found in one training clip.

    Attributes:
        share: (N,) float64 in [0, 1].
        source: (N,) int64, the training clip.
    """

    share: np.ndarray
    source: np.ndarray


def find_copies(codes: torch.Tensor, training: TokenSet) -> Copies:
    """Find the largest share of each clip's audible frames that equals one training clip.

    Frames are equal if their first COPY_LEVELS codes are; the best lag counts. A copy has a share
    of 1, wherever in the training clip it begins. One level alone would not do: steady sounds
    repeat a first-level code for seconds. A silent clip has 0. Compare with the value for real
    held-out clips.

    Args:
        codes: (N, Q, T) int64, of the codec of `training`.
    """
    words, known = _words(codes), _words(training.codes)
    clip, frame = np.nonzero(sounding_frames(training.codes, training))
    order = np.argsort(known[clip, frame], kind="stable")
    clip, frame = clip[order], frame[order]
    lags = words.shape[1] + known.shape[1]  # every (training clip, lag) gets a number
    known, number = known[clip, frame], clip * lags + frame + words.shape[1]
    share, source = np.zeros(len(codes)), np.zeros(len(codes), dtype=np.int64)
    for i, audible in enumerate(sounding_frames(codes, training)):
        at = np.flatnonzero(audible)
        first, end = (np.searchsorted(known, words[i, at], side) for side in ("left", "right"))
        equal = np.concatenate(
            [number[a:b] - t for a, b, t in zip(first, end, at, strict=True)] or [number[:0]]
        )
        agreeing = np.bincount(equal, minlength=1)
        share[i], source[i] = agreeing.max() / max(len(at), 1), agreeing.argmax() // lags
    return Copies(share, source)


def _words(codes: torch.Tensor) -> np.ndarray:
    """(N, Q, T) -> (N, T) int64, one number for the first COPY_LEVELS codes of a frame."""
    first = codes[:, :COPY_LEVELS]
    return (first << 16 * torch.arange(first.shape[1])[:, None]).sum(1).numpy()


NEAR = 0.05  # the share of held-out clips that count as near to a training clip


LEAST_HELDOUT = 8


@dataclass(frozen=True)
class Memorisation:
    """What `judge_memorisation` found.

    Attributes:
        near: the distance that all but 5 % of the held-out clips exceed.
        share: of the generated clips, how many lie nearer than that to a training clip.
        noise_floor: what 95 % of such shares stay within among held-out clips.
        present: share > noise_floor.
    """

    near: float
    share: float
    noise_floor: float
    present: bool

    @property
    def sentence(self) -> str:
        return (
            f"Memorisation: {'present' if self.present else 'not present'}: {self.share:.0%} of "
            f"the generated clips lie nearer to a training clip than all but {NEAR:.0%} of the "
            f"held-out ones do, noise floor {self.noise_floor:.0%}"
        )


def embed_recordings(sounds: Dataset, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Embed every clip that is not silent, at a rate (Hz), by `log_mel_embedding`.

    Returns:
        Embeddings (N, D), and the positions of their clips in the dataset (N,) int64.

    Raises:
        SsenvError: a clip cannot be read or embedded, or all are silent.
    """

    def embedding(position: int) -> np.ndarray | None:
        wav = sounds.read(sounds.clips[position], sample_rate)
        return (
            None
            if is_constant(wav)
            else log_mel_embedding(analyse(wav, sample_rate, sounds.clips[position].name))
        )

    found = list(on_all_cores(embedding, range(len(sounds)), "embed training clips"))
    places = np.array(
        [position for position, one in enumerate(found) if one is not None], dtype=np.int64
    )
    if not len(places):
        raise SsenvError(
            f"all {len(sounds)} clips of {sounds.name} are silent, so none can be recognised"
        )
    return np.stack([found[position] for position in places]), places


def judge_memorisation(
    heldout: np.ndarray, generated: np.ndarray, *, repeats: int = 500, seed: int = 42
) -> Memorisation:
    """Test whether more generated clips lie near a training clip than held-out clips do by chance.

    The noise floor comes from held-out clips alone: `repeats` times a random half of them defines
    "near", and as many of the other half as there are generated clips, at most all, are tested.
    Clips are treated as drawn independently.

    Args:
        heldout: (N,) distance of each held-out clip to the nearest training clip, see
            `metrics.diversity.nearest`.
        generated: (M,) the same of generated clips.

    Raises:
        SsenvError: fewer than 8 held-out clips, or no generated one.
    """
    if len(heldout) < LEAST_HELDOUT or not len(generated):
        raise SsenvError(
            f"memorisation: {len(heldout)} held-out and {len(generated)} generated clips can be "
            f"used, {LEAST_HELDOUT} and 1 are needed; silent clips do not count"
        )
    half = len(heldout) // 2
    order = np.random.default_rng(seed).permuted(np.tile(heldout, (repeats, 1)), axis=1)
    near, asked = (
        np.quantile(order[:, :half], NEAR, axis=1),
        order[:, half : half + min(len(heldout) - half, len(generated))],
    )
    floor = float(np.quantile((asked < near[:, None]).mean(axis=1), 0.95))
    own = float(np.quantile(heldout, NEAR))
    share = float(np.mean(generated < own))
    return Memorisation(own, share, floor, share > floor)
