"""The codec tokens of a dataset, stored as one safetensors file with a JSON sidecar.

tokenizing.py makes them once; training reads them whole into memory. Silence before the first and
after the last active frame of a clip is padding; silence in between is content.
"""

import hashlib
import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_file, write_json
from ssenv_core.base.tensors import load_tensors, save_tensors
from ssenv_core.codecs import load_codec
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.recordings import Dataset

KIND = "soundstorm tokens with recordings"

TENSORS = ("codes", "labels", "folds", "active", "controls")
TEXTS = ("names", "recordings")


@dataclass(frozen=True)
class TokenFormat:
    """The dataset and codec of tokens, as files hold it: the fields, by name and in this order.

    Attributes:
        dataset: its name.
        dataset_fingerprint: hash of its clips.
        codec: its name.
        bandwidth: kbps.
        token_hash: hash of all that decides which codes a waveform gets, see `Codec`.
        sample_rate: Hz.
        frame_rate: frames per second.
        n_q: quantizer levels.
        codebook_size: codes per level.
        duration: seconds of a clip.
    """

    dataset: str
    dataset_fingerprint: str
    codec: str
    bandwidth: float
    token_hash: str
    sample_rate: int
    frame_rate: float
    n_q: int
    codebook_size: int
    duration: float

    @classmethod
    def of(cls, dataset: Dataset, codec: Codec) -> "TokenFormat":
        """The format of a dataset's tokens by a codec."""
        return cls(
            dataset.name,
            dataset.fingerprint,
            codec.name,
            codec.bandwidth,
            codec.token_hash,
            codec.sample_rate,
            codec.frame_rate,
            codec.n_q,
            codec.codebook_size,
            dataset.duration,
        )

    def load_codec(self, device: str | torch.device = "cpu") -> Codec:
        """Make the frozen codec of this name and bandwidth.

        Raises:
            SsenvError: its weights or package are missing or damaged.
        """
        return load_codec(self.codec, self.bandwidth, device)


@dataclass(frozen=True, eq=False)
class TokenSet:
    """Clips as codes, in the dataset's order. N clips, Q levels (coarse first), T frames.

    Attributes:
        codes: (N, Q, T) int64 in [0, codebook_size); uint16 in the file.
        labels: (N,) int64, index into `class_names`.
        folds: (N,) int64, from 1.
        active: (N, T) bool, the frame is not digital silence.
        controls: (N, T, C) float32, the clip's loudness and onsets, see `CONTROLS`; float16 in the
            file.
        names: N clip names.
        recordings: the recording that each clip was cut from, if others were too; else "".
        class_names: names of all classes of the dataset.
        format: the dataset and codec of the codes.
    """

    codes: torch.Tensor
    labels: torch.Tensor
    folds: torch.Tensor
    active: torch.Tensor
    controls: torch.Tensor
    names: tuple[str, ...]
    recordings: tuple[str, ...]
    class_names: tuple[str, ...]
    format: TokenFormat

    def __len__(self) -> int:
        return len(self.names)

    @property
    def padding(self) -> torch.Tensor:
        """Frames before a clip's first or after its last active frame, (N, T) bool."""
        begun = self.active.cumsum(1) > 0
        to_come = self.active.flip(1).cumsum(1).flip(1) > 0
        return ~(begun & to_come)

    @property
    def frames_from_first_sound(self) -> torch.Tensor:
        """Each clip's frame numbers from its first active frame on, (N, T) int64.

        Numbers of T and above lie beyond its end.
        """
        return torch.arange(self.active.shape[1]) + self.active.int().argmax(1, keepdim=True)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of codes, labels, active and controls; part of a training's identity."""
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
            SsenvError: one of them has no clip.
        """
        present = self.folds.unique().tolist()
        for fold in folds:
            if fold not in present:
                raise SsenvError(
                    f"the tokens of {self.format.dataset} have no fold {fold}: there are "
                    f"{', '.join(map(str, present))}"
                )
        chosen = torch.isin(self.folds, torch.tensor(list(folds), dtype=torch.int64))
        return self.at(chosen.nonzero()[:, 0])

    def without(self, fold: int) -> "TokenSet":
        """The clips of all folds but one, without recordings that are in that fold too.

        Raises:
            SsenvError: that fold has no clip, or no other fold has one.
        """
        others = set(self.folds.tolist()) - {fold}
        if not others:
            raise SsenvError(f"the tokens of {self.format.dataset} have no fold but {fold}")
        held_out = set(self.where([fold]).recordings) - {""}
        rest = self.where(sorted(others))
        kept = [i for i, recording in enumerate(rest.recordings) if recording not in held_out]
        return rest.at(torch.tensor(kept, dtype=torch.int64))


def save_tokens(path: str | Path, tokens: TokenSet) -> Path:
    """Write the tokens, and a .json beside them with their format and the hash of the file.

    Afterwards the parts that `tokenizing.tokenize` kept for this file are removed.
    """
    tensors = {name: getattr(tokens, name) for name in TENSORS}
    tensors |= {"codes": tokens.codes.to(torch.uint16), "controls": tokens.controls.half()}
    named = {name: getattr(tokens, name) for name in (*TEXTS, "class_names")}
    path = save_tensors(path, tensors, {"kind": KIND, **named, "tokens": asdict(tokens.format)})
    described = {
        "clips": len(tokens),
        "frames": tokens.codes.shape[2],
        "class_names": tokens.class_names,
        "sha256": sha256_file(path),
    }
    write_json(path.with_suffix(".json"), asdict(tokens.format) | described)
    if (parts := parts_folder(path)).exists():
        shutil.rmtree(parts)
    return path


def parts_folder(path: str | Path) -> Path:
    """The folder that keeps the finished parts of a token file until it is written."""
    return Path(path).with_suffix(".parts")


def load_tokens_file(path: str | Path) -> TokenSet:
    """Read a file of `save_tokens`.

    Raises:
        SsenvError: it is missing, damaged or not a token file.
    """
    tensors, metadata = load_tensors(path, KIND, "01_tokenize")
    tensors |= {"codes": tensors["codes"].to(torch.int64), "controls": tensors["controls"].float()}
    named = {name: tuple(metadata[name]) for name in (*TEXTS, "class_names")}
    return TokenSet(**tensors, **named, format=TokenFormat(**metadata["tokens"]))


def require_codec(tokens: TokenFormat, codec: Codec) -> None:
    """Refuse a codec that decodes these tokens to other sounds.

    Raises:
        SsenvError: the tokens are of another codec, other weights, or more levels than it has.
    """
    if tokens.token_hash != codec.token_hash:
        raise SsenvError(
            f"the tokens are of {tokens.codec} (hash {tokens.token_hash[:8]}), the codec is "
            f"{codec.name} (hash {codec.token_hash[:8]}): load the codec that made them, or "
            "tokenize and train again with this one"
        )
    if tokens.n_q > codec.n_q:
        raise SsenvError(
            f"the tokens have {tokens.n_q} levels, {codec.name} here {codec.n_q}: load it at "
            f"{tokens.bandwidth:g} kbps"
        )


def require_dataset(tokens: TokenSet, sounds: Dataset) -> None:
    """Refuse a dataset that the tokens were not made from.

    Raises:
        SsenvError: it is another dataset, or another copy.
    """
    if tokens.format.dataset_fingerprint != sounds.fingerprint:
        raise SsenvError(
            f"the tokens of {tokens.format.dataset} were not made from this copy of "
            f"{sounds.name}: run 01_tokenize with the same dataset parameters"
        )
