"""Codec tokens of a whole dataset: made once (tokenizing.py), stored as one safetensors file with a JSON sidecar, read whole into memory
by training.

It knows which frames are digital silence and which codec the codes belong to, and nothing of models. Silence before the first and after the
last active frame is padding; silence in between is content.
"""

import hashlib
import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_file, write_json
from ssenv_core.base.tensors import load_tensors, save_tensors
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.recordings import Dataset

KIND = "soundstorm tokens with recordings"

TENSORS = ("codes", "labels", "folds", "active", "controls")
TEXTS = ("names", "recordings")


class HasMetadata(Protocol):
    """A token set, or a generator trained on one."""

    @property
    def metadata(self) -> dict: ...


@dataclass(frozen=True, eq=False)
class TokenSet:
    """Clips as codes, in the dataset's order. N clips, Q levels (coarse first), T frames.

    Attributes:
        codes: (N, Q, T) int64 in [0, codebook_size); uint16 in the file.
        labels: (N,) int64, index into `class_names`.
        folds: (N,) int64, from 1.
        active: (N, T) bool, the frame is not digital silence.
        controls: (N, T, 2) float32, the clip's loudness and onsets, see `controls`; float16 in the file.
        names: N clip names.
        recordings: what each of the N clips was cut from, if others were too; else "".
        class_names: names of all classes of the dataset.
        metadata: dataset, dataset_fingerprint, codec, bandwidth (kbps), token_hash, sample_rate (Hz), frame_rate (frames/s), n_q,
            codebook_size, duration (s).
    """

    codes: torch.Tensor
    labels: torch.Tensor
    folds: torch.Tensor
    active: torch.Tensor
    controls: torch.Tensor
    names: tuple[str, ...]
    recordings: tuple[str, ...]
    class_names: tuple[str, ...]
    metadata: dict

    def __len__(self) -> int:
        return len(self.names)

    @property
    def padding(self) -> torch.Tensor:
        """(N, T) bool: the frame lies before the clip's first or after its last active frame."""
        begun = self.active.cumsum(1) > 0
        to_come = self.active.flip(1).cumsum(1).flip(1) > 0
        return ~(begun & to_come)

    @property
    def frames_from_first_sound(self) -> torch.Tensor:
        """(N, T) int64: which frames each clip has from its first active one on; T and above lie beyond its end."""
        return torch.arange(self.active.shape[1]) + self.active.int().argmax(1, keepdim=True)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that is learned from: what a training's identity says of its clips."""
        digest = hashlib.sha256()
        for name in ("codes", "labels", "active", "controls"):
            digest.update(getattr(self, name).numpy().tobytes())
        return digest.hexdigest()

    def at(self, index: torch.Tensor) -> "TokenSet":
        """The clips at index (n,) int64, in that order."""
        tensors = {name: getattr(self, name)[index] for name in TENSORS}
        texts = {name: tuple(getattr(self, name)[i] for i in index.tolist()) for name in TEXTS}
        return replace(self, **tensors, **texts)

    def where(self, folds: Collection[int]) -> "TokenSet":
        """The clips of these folds.

        Raises:
            SsenvError: one of them holds no clip.
        """
        present = self.folds.unique().tolist()
        for fold in folds:
            if fold not in present:
                raise SsenvError(
                    f"the tokens of {self.metadata['dataset']} have no fold {fold}: there are {', '.join(map(str, present))}"
                )
        return self.at(
            torch.isin(self.folds, torch.tensor(list(folds), dtype=torch.int64)).nonzero()[:, 0]
        )

    def without(self, fold: int) -> "TokenSet":
        """The clips of all folds but one, without those of a recording that is in that fold too.

        Raises:
            SsenvError: that fold holds no clip, or no other does.
        """
        others = set(self.folds.tolist()) - {fold}
        if not others:
            raise SsenvError(f"the tokens of {self.metadata['dataset']} have no fold but {fold}")
        held_out = set(self.where([fold]).recordings) - {""}
        rest = self.where(sorted(others))
        return rest.at(
            torch.tensor(
                [i for i, recording in enumerate(rest.recordings) if recording not in held_out],
                dtype=torch.int64,
            )
        )


def save_tokens(path: str | Path, tokens: TokenSet) -> Path:
    """Write the tokens, and beside them a .json of the same name with their identity and the hash of the file.

    Only then the parts that `tokenizing.tokenize` kept for this file are removed.
    """
    tensors = {name: getattr(tokens, name) for name in TENSORS}
    tensors |= {"codes": tokens.codes.to(torch.uint16), "controls": tokens.controls.half()}
    named = {name: getattr(tokens, name) for name in (*TEXTS, "class_names")}
    path = save_tensors(path, tensors, {"kind": KIND, **named, "tokens": tokens.metadata})
    described = {
        "clips": len(tokens),
        "frames": tokens.codes.shape[2],
        "class_names": tokens.class_names,
        "sha256": sha256_file(path),
    }
    write_json(path.with_suffix(".json"), tokens.metadata | described)
    if (parts := parts_folder(path)).exists():
        shutil.rmtree(parts)
    return path


def parts_folder(path: str | Path) -> Path:
    """Where the finished parts of a token file are kept until it is written."""
    return Path(path).with_suffix(".parts")


def load_tokens_file(path: str | Path) -> TokenSet:
    """Read a file of `save_tokens`.

    Raises:
        SsenvError: it is missing, damaged, or no token file.
    """
    tensors, metadata = load_tensors(path, KIND, "01_tokenize")
    tensors |= {"codes": tensors["codes"].to(torch.int64), "controls": tensors["controls"].float()}
    named = {name: tuple(metadata[name]) for name in (*TEXTS, "class_names")}
    return TokenSet(**tensors, **named, metadata=metadata["tokens"])


def require_codec(tokens: HasMetadata, codec: Codec) -> None:
    """Refuse a codec that would read these codes as other sounds.

    Raises:
        SsenvError: the tokens, or those a generator was trained on, come from another codec, other weights, or more levels than it has.
    """
    made = tokens.metadata
    if made["token_hash"] != codec.token_hash:
        raise SsenvError(
            f"the tokens are of {made['codec']} (hash {made['token_hash'][:8]}), the codec is {codec.name} (hash {codec.token_hash[:8]}): "
            f"load the codec that made them, or tokenize and train again with this one"
        )
    if made["n_q"] > codec.n_q:
        raise SsenvError(
            f"the tokens have {made['n_q']} levels, {codec.name} here {codec.n_q}: load it at {made['bandwidth']:g} kbps"
        )


def require_dataset(tokens: TokenSet, sounds: Dataset) -> None:
    """Refuse another dataset than the tokens were made of.

    Raises:
        SsenvError: it is another one, or another copy.
    """
    if tokens.metadata["dataset_fingerprint"] != sounds.fingerprint:
        raise SsenvError(
            f"the tokens, of {tokens.metadata['dataset']}, were not made of this copy of {sounds.name}: "
            f"run 01_tokenize with the same dataset parameters"
        )
