"""The three columns of sound that every comparison shows: real held-out clips, the same clips through the codec, and generated clips.

The gap from real to codec is the codec's, the one from codec to generated the model's; all three are at the codec's sampling rate.
Beside them, what relates clips of two columns: pairs within a class, copies of training clips, and latents to compare as distributions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from ssenv_core.artifacts import StudyFolder, load_tensors, read_json
from ssenv_core.audio import active_frames, read_audio
from ssenv_core.checkpoints import load_generator, require_heldout
from ssenv_core.codecs import load_codec
from ssenv_core.codecs.base import Codec
from ssenv_core.datasets import Dataset
from ssenv_core.progress import track
from ssenv_core.tokens import TokenSet, load_tokens_file, require_codec, require_dataset

COPY_LEVELS = 2  # in which a copy is looked for


@dataclass(frozen=True)
class Columns:
    """Waveforms (S,) float32 at one rate. Entry i of `real` and `codec` is one clip; `labels` is its class.

    Attributes:
        names: of the real clips.
        labels, generated_labels: (N,) and (M,) int64, index into `class_names`.
        generated_codes: (M, Q, T) int64, which the generated sound was decoded from.
    """

    sample_rate: int
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    real: list[np.ndarray]
    codec: list[np.ndarray]
    generated_names: tuple[str, ...]
    generated_labels: np.ndarray
    generated: list[np.ndarray]
    generated_codes: torch.Tensor


def load_columns(folder: StudyFolder, sounds: Dataset, fold: int, device: str) -> Columns:
    """Read a study's three columns: `sounds` must be the dataset its tokens were made of.

    Raises:
        SsenvError: the dataset is another one, a file is missing, the codec is not the one of the tokens, or the study's generator was
            trained on `fold`.
    """
    require_heldout(load_generator(folder.generator, "cpu"), fold)
    tokens = load_tokens_file(folder.tokens)
    require_dataset(tokens, sounds)
    codec = load_codec(tokens.metadata["codec"], tokens.metadata["bandwidth"], device)
    require_codec(tokens, codec)
    heldout, clips = tokens.where([fold]), sounds.subset(folds=[fold]).clips
    real = [sounds.read(clip, codec.sample_rate) for clip in track(clips, len(clips), "read", "clip")]
    through = [
        codec.decode(codes[None].to(device), torch.Generator(device).manual_seed(0))[0, 0].cpu().numpy()[: len(wav)]
        for codes, wav in zip(track(heldout.codes, len(heldout), "decode", "clip"), real, strict=True)
    ]
    recipe = read_json(folder.generated / "recipe.json")["clips"]
    generated = [read_audio(folder.generated / f"{clip['name']}.wav", codec.sample_rate)[0] for clip in recipe]
    return Columns(
        sample_rate=codec.sample_rate,
        class_names=tokens.class_names,
        names=heldout.names,
        labels=heldout.labels.numpy(),
        real=real,
        codec=through,
        generated_names=tuple(clip["name"] for clip in recipe),
        generated_labels=np.array([tokens.class_names.index(clip["class"]) for clip in recipe]),
        generated=generated,
        generated_codes=load_tensors(folder.generated / "codes.safetensors", "generated codes", "03_generate")[0]["codes"].to(torch.int64),
    )


def audible_latents(codec: Codec, wavs: Sequence[np.ndarray], device: str | torch.device = "cpu") -> list[np.ndarray]:
    """What a codec makes of each clip before it quantizes, as embeddings for `metrics.frechet`.

    Args:
        wavs: (S,) float in [-1, 1] at the codec's rate.

    Returns:
        One array (T, D) float32 per clip, of its frames that are not silent; clips without any are left out.
    """
    made = []
    for wav in track(wavs, len(wavs), "embed", "clip"):
        sound = torch.from_numpy(wav)[None]
        latents = codec.embed(sound[None].to(device))[0].T.float().cpu()
        audible = active_frames(sound, round(codec.sample_rate / codec.frame_rate), len(latents))[0]
        if audible.any():
            made.append(latents[audible].numpy())
    return made


def pair_within_classes(labels: np.ndarray, generated_labels: np.ndarray) -> pd.DataFrame:
    """The i-th generated clip of a class beside the i-th real one, from the first again where there are fewer real ones.

    Args:
        labels, generated_labels: (N,) and (M,) int64.

    Returns:
        `label`, and the positions `real` and `generated`: one row for each generated clip whose class has a real one, in their order.
    """
    real = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
    places = pd.Series(generated_labels).groupby(generated_labels).cumcount()
    pairs = [
        (label, real[label][place % len(real[label])], i)
        for i, (label, place) in enumerate(zip(generated_labels, places, strict=True))
        if label in real
    ]
    return pd.DataFrame(pairs, columns=["label", "real", "generated"])


def sounding_frames(codes: torch.Tensor, tokens: TokenSet) -> np.ndarray:
    """codes (N, Q, T) of the codec of `tokens` -> (N, T) bool: the first-level code is not what digital silence mostly has there."""
    silence = tokens.codes[:, 0][~tokens.active]
    return (codes[:, 0] != (int(silence.mode().values) if len(silence) else -1)).numpy()


class Copies(NamedTuple):
    """share (N,) float64 in [0, 1]: how much of each clip stands in one training clip; source (N,) int64: which one that is."""

    share: np.ndarray
    source: np.ndarray


def find_copies(codes: torch.Tensor, training: TokenSet) -> Copies:
    """The largest share of each clip's audible frames whose first COPY_LEVELS codes are those of one training clip, at the best lag.

    A copy has 1, wherever in the training clip it begins: training hears clips from their first active frame on, or random crops of them.
    One level alone would not do: steady sounds repeat a first-level code for seconds. A clip of nothing but silence has 0. Compare with the
    value for real held-out clips.

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
        equal = np.concatenate([number[a:b] - t for a, b, t in zip(first, end, at, strict=True)] or [number[:0]])
        agreeing = np.bincount(equal, minlength=1)
        share[i], source[i] = agreeing.max() / max(len(at), 1), agreeing.argmax() // lags
    return Copies(share, source)


def _words(codes: torch.Tensor) -> np.ndarray:
    """(N, Q, T) -> (N, T) int64, one number for the first COPY_LEVELS codes of a frame."""
    first = codes[:, :COPY_LEVELS]
    return (first << 16 * torch.arange(first.shape[1])[:, None]).sum(1).numpy()
