"""The three columns of sound that every comparison shows: real held-out clips, the same clips through the codec, and generated clips.

The gap from real to codec is the codec's, the one from codec to generated the model's; all three are at the codec's sampling rate.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ssenv_core.artifacts import StudyFolder, read_json
from ssenv_core.audio import read_audio
from ssenv_core.codecs import load_codec
from ssenv_core.datasets import Dataset
from ssenv_core.errors import SsenvError
from ssenv_core.progress import track
from ssenv_core.tokens import load_tokens_file, require_codec


@dataclass(frozen=True)
class Columns:
    """Waveforms (S,) float32 at one rate. Entry i of `real` and `codec` is one clip; `labels` is its class.

    Attributes:
        names: of the real clips.
        labels, generated_labels: (N,) and (M,) int64, index into `class_names`.
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


def load_columns(folder: StudyFolder, sounds: Dataset, fold: int, device: str) -> Columns:
    """Read a study's three columns: `sounds` must be the dataset its tokens were made of.

    Raises:
        SsenvError: the dataset is another one, a file is missing, or the codec is not the one of the tokens.
    """
    tokens = load_tokens_file(folder.tokens)
    if tokens.metadata["dataset_fingerprint"] != sounds.fingerprint:
        raise SsenvError(f"{folder.tokens} was not made of this copy of {sounds.name}: run 01_tokenize with the same dataset parameters")
    codec = load_codec(tokens.metadata["codec"], tokens.metadata["bandwidth"], device)
    require_codec(tokens, codec)
    heldout, clips = tokens.where([fold]), sounds.subset(folds=[fold]).clips
    real = [sounds.read(clip, codec.sample_rate) for clip in track(clips, len(clips), "read", "clip")]
    through = [
        codec.decode(codes[None].to(device))[0, 0].cpu().numpy()[: len(wav)]
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
    )


def copied_share(codes: torch.Tensor, training: torch.Tensor) -> torch.Tensor:
    """How much of each clip stands in one training clip: the largest share of first-level codes equal at the same frames, over clips.

    Args:
        codes: (N, Q, T) int64.
        training: (M, Q, T') int64.

    Returns:
        (N,) float32 in [0, 1]; 1 is a copy. Compare with the value for real held-out clips.
    """
    frames = min(codes.shape[2], training.shape[2])
    reference = training[:, 0, :frames]
    return torch.stack([(clip[0, :frames] == reference).float().mean(1).max() for clip in codes])
