"""The three columns of sound of a study: real, codec and generated."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ssenv_core.base.audio import active_frames, read_audio
from ssenv_core.base.files import read_json
from ssenv_core.base.folders import StudyFolder
from ssenv_core.base.progress import track
from ssenv_core.base.tensors import load_tensors
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.tokens import TokenSet, load_tokens_file, require_codec, require_dataset
from ssenv_core.generator.file import load_generator, require_heldout


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
    codec = tokens.format.load_codec(device)
    require_codec(tokens.format, codec)
    heldout, clips = tokens.where([fold]), sounds.subset(folds=[fold]).clips
    real = [
        sounds.read(clip, codec.sample_rate) for clip in track(clips, len(clips), "read", "clip")
    ]
    through = [
        codec.decode(codes[None].to(device), torch.Generator(device).manual_seed(0))[0, 0]
        .cpu()
        .numpy()[: len(wav)]
        for codes, wav in zip(
            track(heldout.codes, len(heldout), "decode", "clip"), real, strict=True
        )
    ]
    recipe = read_json(folder.generated / "recipe.json")["clips"]
    generated = [
        read_audio(folder.generated / f"{clip['name']}.wav", codec.sample_rate)[0]
        for clip in recipe
    ]
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
        generated_codes=load_tensors(
            folder.generated / "codes.safetensors", "generated codes", "03_generate"
        )[0]["codes"].to(torch.int64),
    )


def audible_latents(
    codec: Codec, wavs: Sequence[np.ndarray], device: str | torch.device = "cpu"
) -> list[np.ndarray]:
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
