"""The three columns of a study's sound: real clips, the same through the codec, generated clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ssenv_core.base.audio import active_frames
from ssenv_core.base.files import read_json
from ssenv_core.base.folders import StudyFolder
from ssenv_core.base.progress import track
from ssenv_core.base.tensors import load_tensors
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.tokens import TokenSet, load_tokens_file, require_codec, require_dataset
from ssenv_core.generator.clip_set import CODES_KIND
from ssenv_core.generator.file import load_generator, require_heldout
from ssenv_core.generator.generation import generate_waveforms


@dataclass(frozen=True)
class Columns:
    """Waveforms (S,) float32 at one rate: entry i of `real` and of `codec` is the same clip.

    Attributes:
        names: of the real clips.
        recordings: what each real clip was cut from, "" where no other clip was.
        labels, generated_labels: (N,) and (M,) int64, index into `class_names`.
        generated_codes: (M, Q, T) int64, which the generated sounds are decoded from.
        planned: whether the generated clips follow plans.
    """

    sample_rate: int
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    recordings: tuple[str, ...]
    labels: np.ndarray
    real: list[np.ndarray]
    codec: list[np.ndarray]
    generated_names: tuple[str, ...]
    generated_labels: np.ndarray
    generated: list[np.ndarray]
    generated_codes: torch.Tensor
    planned: bool

    @property
    def sounds(self) -> dict[str, list[np.ndarray]]:
        """The waveforms by column."""
        return {"real": self.real, "codec": self.codec, "generated": self.generated}


def load_columns(folder: StudyFolder, sounds: Dataset, fold: int, device: torch.device) -> Columns:
    """Read a study's real clips of a fold, and decode their codes and the generated ones.

    Generated clips are decoded from their codes, as 03 did, and not read from their 16-bit files,
    which clip peaks beyond full scale; the codec's clips are not clipped either.

    Args:
        sounds: the dataset that the study's tokens were made from.

    Raises:
        SsenvError: it is another dataset, a file is missing, the codec did not make the tokens, or
            the study's generator was trained on `fold`.
    """
    generator = load_generator(folder.generator, "cpu")
    require_heldout(generator, fold)
    tokens = load_tokens_file(folder.tokens)
    require_dataset(tokens, sounds)
    codec = tokens.format.load_codec(device)
    require_codec(tokens.format, codec)
    heldout = tokens.where([fold])
    clips = sounds.subset(folds=[fold]).clips
    real = [
        sounds.read(clip, codec.sample_rate) for clip in track(clips, len(clips), "read", "clip")
    ]
    decoded = []
    for codes, wav in zip(track(heldout.codes, len(heldout), "decode", "clip"), real, strict=True):
        draw = torch.Generator(device).manual_seed(0)
        sound = codec.decode(codes[None].to(device), draw)[0, 0].cpu().numpy()
        decoded.append(sound[: len(wav)])
    recipe = read_json(folder.generated / "recipe.json")
    stored, _ = load_tensors(folder.generated / "codes.safetensors", CODES_KIND, "03_generate")
    codes = stored["codes"].to(torch.int64)
    return Columns(
        sample_rate=codec.sample_rate,
        class_names=tokens.class_names,
        names=heldout.names,
        recordings=heldout.recordings,
        labels=heldout.labels.numpy(),
        real=real,
        codec=decoded,
        generated_names=tuple(clip["name"] for clip in recipe["clips"]),
        generated_labels=np.array(
            [tokens.class_names.index(clip["class"]) for clip in recipe["clips"]]
        ),
        generated=generate_waveforms(generator, codec, codes, seed=recipe["seed"]),
        generated_codes=codes,
        planned=recipe["plan"],
    )


def audible_latents(
    codec: Codec, wavs: Sequence[np.ndarray], device: str | torch.device = "cpu"
) -> list[np.ndarray]:
    """The codec's latents of each clip's audible frames, as embeddings for `metrics.frechet`.

    Args:
        wavs: (S,) float in [-1, 1] at the codec's rate.

    Returns:
        One array (T, D) float32 per clip; T is 0 for a silent clip.
    """
    embeddings = []
    for wav in track(wavs, len(wavs), "embed", "clip"):
        sound = torch.from_numpy(wav)[None]
        latents = codec.embed(sound[None].to(device))[0].T.float().cpu()
        audible = active_frames(sound, round(codec.sample_rate / codec.frame_rate), len(latents))[0]
        embeddings.append(latents[audible].numpy())
    return embeddings


def pair_within_classes(labels: np.ndarray, generated_labels: np.ndarray) -> pd.DataFrame:
    """Pair the i-th generated clip of a class with its i-th real clip, cyclically.

    Args:
        labels, generated_labels: (N,) and (M,) int64.

    Returns:
        `label` and the positions `real` and `generated`: one row per generated clip whose class has
        a real clip, in the order of the generated clips.
    """
    real = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
    ranks = pd.Series(generated_labels).groupby(generated_labels).cumcount()
    pairs = [
        (label, real[label][rank % len(real[label])], i)
        for i, (label, rank) in enumerate(zip(generated_labels, ranks, strict=True))
        if label in real
    ]
    return pd.DataFrame(pairs, columns=["label", "real", "generated"])


def sounding_frames(codes: torch.Tensor, tokens: TokenSet) -> np.ndarray:
    """The frames (N, T) bool of codes (N, Q, T) that are not silent.

    Silent: the first-level code is the one that digital silence mostly has in `tokens`.
    """
    silence = tokens.codes[:, 0][~tokens.active]
    return (codes[:, 0] != (int(silence.mode().values) if len(silence) else -1)).numpy()
