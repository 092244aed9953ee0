"""Published and shipped weights: where they are looked for, how they are checked, and what to do without them."""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from huggingface_hub import snapshot_download
from torch import nn

from ssenv_core.base.errors import SsenvError, install, one_line
from ssenv_core.base.files import read_json, sha256_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def require_shipped(path: Path) -> Path:
    """A file that comes with the package, if its SHA-256 is the one in the .json beside it.

    Raises:
        SsenvError: one of the two is missing, or the hashes differ.
    """
    sidecar = path.with_suffix(".json")
    for file in (path, sidecar):
        if not file.is_file():
            raise SsenvError(f"{file} is missing: reinstall ssenv")
    if sha256_file(path) != read_json(sidecar).get("sha256"):
        raise SsenvError(
            f"{path} is damaged (its sha256 is not the one in {sidecar.name}): reinstall ssenv"
        )
    return path


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
            raise self._not_to_be_had(
                f"{path} has the sha256 {found[:16]}.. where {self.sha256[:16]}.. is expected, remove it"
            )
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            model.load_state_dict(content if entry is None else content[entry])
        except (
            pickle.UnpicklingError,
            RuntimeError,
            EOFError,
            TypeError,
            LookupError,
            AttributeError,
            ValueError,
        ) as error:
            raise self._not_to_be_had(
                f"{path} does not hold this model: {one_line(error)}"
            ) from None

    def _find(self) -> Path:
        if folder := os.environ.get(self.folder_variable):
            path = Path(folder) / self.file
            if not path.is_file():
                raise self._not_to_be_had(
                    f"{self.folder_variable} names {folder}, which does not hold it"
                )
            return path
        try:
            return Path(self.fetch(self))
        except (
            Exception
        ) as error:  # the clients that download have no base in common for what they raise
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


SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"


@dataclass(frozen=True)
class Published:
    """One published network.

    Attributes:
        name: of the network, in messages.
        repository: on huggingface.co.
        folder_variable: the environment variable that may name the user's folder.
        extra: of ssenv, which brings `transformers`.
        files: that the folder holds beside the weights.
        weights: the files of which it holds one, the best first.
    """

    name: str
    repository: str
    folder_variable: str
    extra: str
    files: tuple[str, ...] = ("config.json",)
    weights: tuple[str, ...] = (SAFETENSORS,)

    def package(self) -> ModuleType:
        """`transformers`. Raises SsenvError where it is not installed."""
        try:
            import transformers
        except ImportError as error:
            raise SsenvError(
                f"{self.name} needs the package transformers ({error}): {install(self.extra)}"
            ) from error
        return transformers

    def load(self, kind: str) -> tuple["PreTrainedModel", Path]:
        """The network as the class `kind` of `transformers`, ready to be asked, and the folder it came from.

        Raises:
            SsenvError: `transformers` is not installed, or the weights are not to be had or not whole.
        """
        package, folder = self.package(), self._find()
        spoken = package.logging.get_verbosity()
        package.logging.set_verbosity_error()  # it lists every tensor that `kind` leaves in the file; those that it lacks are ours to name
        try:
            network, found = getattr(package, kind).from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
        except Exception as error:  # the package has no base for what it raises
            raise SsenvError(
                f"{folder} does not hold {self.name} ({one_line(error)}): {self._ways}"
            ) from error
        finally:
            package.logging.set_verbosity(spoken)
        if lacking := len(found["missing_keys"]) + len(found["mismatched_keys"]):
            raise SsenvError(f"{folder} lacks {lacking} of {self.name}'s tensors: {self._ways}")
        return network.eval(), folder

    @property
    def _needed(self) -> str:
        return " and ".join([*self.files, " or ".join(self.weights)])

    @property
    def _ways(self) -> str:
        return f"put {self._needed} of huggingface.co/{self.repository} into a folder and set {self.folder_variable} to it"

    def _find(self) -> Path:
        if named := os.environ.get(self.folder_variable):
            if not self._whole(Path(named)):
                raise SsenvError(
                    f"{self.folder_variable} names {named}, which does not hold {self._needed}: {self._ways}"
                )
            return Path(named)
        try:
            for weights in self.weights:
                folder = Path(
                    snapshot_download(self.repository, allow_patterns=[*self.files, weights])
                )
                if self._whole(folder):
                    break
        except Exception as error:  # nor has the client that downloads
            raise SsenvError(
                f"the weights of {self.name} cannot be downloaded ({one_line(error)}): {self._ways}"
            ) from error
        return folder

    def _whole(self, folder: Path) -> bool:
        return all((folder / file).is_file() for file in self.files) and any(
            (folder / file).is_file() for file in self.weights
        )
