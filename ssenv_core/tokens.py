"""Codec tokens of a whole dataset: made once, stored as one safetensors file with a JSON sidecar, read whole into memory by training.

It knows which frames are digital silence and which codec the codes belong to, and nothing of models. Silence before the first and after the
last active frame is padding; silence in between is content.
"""

import os
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from ssenv_core.artifacts import load_tensors, save_tensors, sha256_file, write_json
from ssenv_core.codecs.base import Codec
from ssenv_core.datasets.base import Dataset
from ssenv_core.errors import SsenvError
from ssenv_core.progress import Progress

KIND = "soundstorm tokens"
SILENCE = 1 / 32768  # one step of 16-bit audio; a sample no larger is silence
BATCHES_AHEAD = 2


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
        names: N clip names.
        class_names: names of all classes of the dataset.
        metadata: dataset, dataset_fingerprint, codec, bandwidth (kbps), token_hash, sample_rate (Hz), frame_rate (frames/s), n_q,
            codebook_size, duration (s).
    """

    codes: torch.Tensor
    labels: torch.Tensor
    folds: torch.Tensor
    active: torch.Tensor
    names: tuple[str, ...]
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

    def where(self, folds: Collection[int]) -> "TokenSet":
        """The clips of these folds.

        Raises:
            SsenvError: one of them holds no clip.
        """
        present = self.folds.unique().tolist()
        for fold in folds:
            if fold not in present:
                raise SsenvError(f"the tokens of {self.metadata['dataset']} have no fold {fold}: there are {', '.join(map(str, present))}")
        keep = torch.isin(self.folds, torch.tensor(list(folds), dtype=torch.int64)).nonzero()[:, 0]
        names = tuple(self.names[i] for i in keep.tolist())
        return replace(
            self, codes=self.codes[keep], labels=self.labels[keep], folds=self.folds[keep], active=self.active[keep], names=names
        )

    def without(self, fold: int) -> "TokenSet":
        """The clips of all folds but one.

        Raises:
            SsenvError: that fold holds no clip, or no other does.
        """
        others = set(self.folds.tolist()) - {fold}
        if not others:
            raise SsenvError(f"the tokens of {self.metadata['dataset']} have no fold but {fold}")
        self.where([fold])
        return self.where(sorted(others))


def tokenize(dataset: Dataset, codec: Codec, *, device: torch.device | str, batch_size: int = 16) -> TokenSet:
    """Encode every clip. Clips are read and resampled on as many threads as there are cores while the codec works.

    Clips that are silent throughout are kept, with no active frame, and named in the log.

    Args:
        device: where the codec is.

    Raises:
        SsenvError: a clip cannot be read.
    """
    hop = round(codec.sample_rate / codec.frame_rate)
    codes, active = [], []
    with Progress(len(dataset), "tokenize", "clip") as progress:
        for wavs in _read_ahead(dataset, codec.sample_rate, batch_size):
            codes.append(codec.encode(wavs[:, None].to(device)).cpu())
            active.append(active_frames(wavs, hop, codes[-1].shape[-1]))
            progress.update(len(wavs))
    tokens = TokenSet(
        codes=torch.cat(codes),
        labels=torch.tensor([clip.label for clip in dataset.clips]),
        folds=torch.tensor([clip.fold for clip in dataset.clips]),
        active=torch.cat(active),
        names=tuple(clip.name for clip in dataset.clips),
        class_names=dataset.class_names,
        metadata={
            "dataset": dataset.name,
            "dataset_fingerprint": dataset.fingerprint,
            "codec": codec.name,
            "bandwidth": codec.bandwidth,
            "token_hash": codec.token_hash,
            "sample_rate": codec.sample_rate,
            "frame_rate": codec.frame_rate,
            "n_q": codec.n_q,
            "codebook_size": codec.codebook_size,
            "duration": dataset.duration,
        },
    )
    silent = [name for name, any_active in zip(tokens.names, tokens.active.any(1).tolist(), strict=True) if not any_active]
    if silent:
        print(f"tokenize: {len(silent)} silent throughout: {', '.join(silent)}", flush=True)
    return tokens


def active_frames(wav: torch.Tensor, hop: int, num_frames: int) -> torch.Tensor:
    """wav (B, S) -> (B, num_frames) bool: some sample among the frame's `hop` ones is louder than one step of 16-bit audio."""
    loud = F.pad(wav.abs() > SILENCE, (0, num_frames * hop - wav.shape[1]))
    return loud.unflatten(1, (num_frames, hop)).any(2)


def save_tokens(path: str | Path, tokens: TokenSet) -> Path:
    """Write the tokens, and beside them a .json of the same name with their identity and the hash of the file."""
    tensors = {"codes": tokens.codes.to(torch.uint16), "labels": tokens.labels, "folds": tokens.folds, "active": tokens.active}
    named = {"names": tokens.names, "class_names": tokens.class_names}
    path = save_tensors(path, tensors, {"kind": KIND, **named, "tokens": tokens.metadata})
    described = {"clips": len(tokens), "frames": tokens.codes.shape[2], "class_names": tokens.class_names, "sha256": sha256_file(path)}
    write_json(path.with_suffix(".json"), tokens.metadata | described)
    return path


def load_tokens_file(path: str | Path) -> TokenSet:
    """Read a file of `save_tokens`.

    Raises:
        SsenvError: it is missing, damaged, or no token file.
    """
    tensors, metadata = load_tensors(path, KIND)
    tensors["codes"] = tensors["codes"].to(torch.int64)
    return TokenSet(**tensors, names=tuple(metadata["names"]), class_names=tuple(metadata["class_names"]), metadata=metadata["tokens"])


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
        raise SsenvError(f"the tokens have {made['n_q']} levels, {codec.name} here {codec.n_q}: load it at {made['bandwidth']:g} kbps")


def _read_ahead(dataset: Dataset, sample_rate: int, batch_size: int) -> Iterator[torch.Tensor]:
    """Batches of waveforms (B, S), a few of them read in the background."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = deque()
        for start in range(0, len(dataset), batch_size):
            waiting.append([pool.submit(dataset.read, clip, sample_rate) for clip in dataset.clips[start : start + batch_size]])
            if len(waiting) > BATCHES_AHEAD:
                yield _gather(waiting.popleft())
        while waiting:
            yield _gather(waiting.popleft())


def _gather(reading: list) -> torch.Tensor:
    return torch.from_numpy(np.stack([future.result() for future in reading]))
