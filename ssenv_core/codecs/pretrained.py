"""Published weights of a network: one file that comes from a folder the user names, or is downloaded into a cache.

Its hash, where one is known, is checked before anything in it is read, and only tensors are ever unpickled. Which network the weights are
for is the callers' affair.
"""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ssenv_core.artifacts import sha256_file
from ssenv_core.errors import SsenvError, one_line


@dataclass(frozen=True)
class Weights:
    """One published file.

    Attributes:
        name: of what needs it, a codec or an embedding.
        file: its name in the user's folder.
        url: where it is published.
        folder_variable: the environment variable that may name the user's folder.
        fetch: gives the file's place in a cache, to which it is downloaded if need be.
        sha256: its hash or the start of it; "" if none is known.
        otherwise: what else a user can do who does not have it.
    """

    name: str
    file: str
    url: str
    folder_variable: str
    fetch: Callable[["Weights"], str | Path]
    sha256: str = ""
    otherwise: str = "do without it: the embedded codec melrvq_24khz needs no download"

    def load_into(self, model: nn.Module, entry: str | None = None) -> None:
        """Load the file's tensors, or those of one of its entries, into a model that has exactly these.

        Raises:
            SsenvError: the file is not to be had, has another hash, or is not one of this model.
        """
        path = self._find()
        if not (found := sha256_file(path)).startswith(self.sha256):
            raise self._not_to_be_had(f"{path} has the sha256 {found[:16]}.. where {self.sha256[:16]}.. is expected, remove it")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            model.load_state_dict(content if entry is None else content[entry])
        except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, LookupError, AttributeError, ValueError) as error:
            raise self._not_to_be_had(f"{path} does not hold this model: {one_line(error)}") from None

    def _find(self) -> Path:
        if folder := os.environ.get(self.folder_variable):
            path = Path(folder) / self.file
            if not path.is_file():
                raise self._not_to_be_had(f"{self.folder_variable} names {folder}, which does not hold it")
            return path
        try:
            return Path(self.fetch(self))
        except Exception as error:  # the clients that download have no base in common for what they raise
            raise self._not_to_be_had(f"the download failed: {one_line(error)}") from error

    def _not_to_be_had(self, reason: str) -> SsenvError:
        return SsenvError(
            f"{self.name} needs its weights {self.file} ({reason}): put {self.url} under that name into a folder and set "
            f"{self.folder_variable} to the folder, or unset it where a download is possible, or {self.otherwise}"
        )


def download(weights: Weights, path: Path) -> Path:
    """The file at this place of a cache, downloaded if it is not there; it appears when it is whole and has the right hash."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(weights.url, str(path), weights.sha256)
    return path


def in_torch_hub(weights: Weights) -> Path:
    """The file in torch.hub's cache, where packages look that fetch their weights with it; as `download`."""
    return download(weights, Path(torch.hub.get_dir()) / "checkpoints" / weights.file)
