"""Find and check weights: shipped files, and published ones from a folder, cache or download."""

import os
import pickle
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

HUB = "https://huggingface.co/"


def require_shipped(path: Path) -> Path:
    """Return the path of a shipped file after checking its SHA-256 against the .json beside it.

    Raises:
        SsenvError: one of the two files is missing, or the hashes differ.
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
    """Published weights: which files, and where to find them.

    They are read from the folder that `folder_variable` names if it is set, else from a cache,
    into which they are downloaded if they are not there.

    Attributes:
        name: the codec, embedding or network that needs them, for messages.
        folder_variable: the environment variable that may name the user's folder.
        url: of the file, or of the repository on huggingface.co.
        weights: file names in the folder; one of them is enough, and earlier ones are preferred.
        others: names of files that are needed too.
        sha256: hash of the file or the start of it; "" if none is known.
        cache: the folder of the cache; "" for torch.hub's. Files of huggingface.co are in its own.
        otherwise: what a user without the weights can do.
    """

    name: str
    folder_variable: str
    url: str
    weights: tuple[str, ...]
    others: tuple[str, ...] = ()
    sha256: str = ""
    cache: str = ""
    otherwise: str = "use the embedded codec melrvq_24khz, which needs no download"

    def folder(self) -> Path:
        """Return the folder that holds the files, after downloading them if necessary.

        Raises:
            SsenvError: the user's folder lacks a file, or the download failed.
        """
        if named := os.environ.get(self.folder_variable):
            if not self._complete(Path(named)):
                raise self.unavailable(f"{self.folder_variable} names {named}, which lacks them")
            return Path(named)
        try:
            folder = self._from_hub() if self.url.startswith(HUB) else self._from_url()
        except Exception as error:  # the download clients share no base class for their errors
            raise self.unavailable(f"the download failed: {one_line(error)}") from error
        if not self._complete(folder):
            raise self.unavailable(f"{folder} lacks them")
        return folder

    def load_into(self, model: nn.Module, entry: str | None = None) -> None:
        """Load the tensors of the one file, or of one of its entries, into a model.

        Raises:
            SsenvError: the file is unavailable, has another hash, or holds another model.
        """
        path = self.folder() / self.weights[0]
        sha256 = sha256_file(path)
        if not sha256.startswith(self.sha256):
            raise self.unavailable(
                f"{path} has the sha256 {sha256[:16]}.., expected {self.sha256[:16]}..: remove it"
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
            raise self.unavailable(f"{path} does not hold this model: {one_line(error)}") from None

    def unavailable(self, reason: str) -> SsenvError:
        """The error for missing or unusable weights: which files, why, and what to do."""
        return SsenvError(
            f"{self.name}: weights unavailable ({reason}): put {self._needed} from {self.url} "
            f"into a folder and set {self.folder_variable} to it, or leave it unset where a "
            f"download is possible, or {self.otherwise}"
        )

    @property
    def _needed(self) -> str:
        return " and ".join([*self.others, " or ".join(self.weights)])

    def _complete(self, folder: Path) -> bool:
        return all((folder / file).is_file() for file in self.others) and any(
            (folder / file).is_file() for file in self.weights
        )

    def _from_hub(self) -> Path:
        for file in self.weights:
            repository = self.url.removeprefix(HUB)
            folder = Path(snapshot_download(repository, allow_patterns=[*self.others, file]))
            if self._complete(folder):
                break
        return folder

    def _from_url(self) -> Path:
        folder = Path(self.cache or Path(torch.hub.get_dir()) / "checkpoints").expanduser()
        path = folder / self.weights[0]
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(self.url, str(path), self.sha256)
        return folder


@dataclass(frozen=True, kw_only=True)
class TransformersWeights(Weights):
    """Weights of a network of the package `transformers`.

    Attributes:
        extra: the extra of ssenv that installs `transformers`.
    """

    extra: str
    weights: tuple[str, ...] = ("model.safetensors",)
    others: tuple[str, ...] = ("config.json",)

    def package(self) -> ModuleType:
        """Import `transformers`. Raises SsenvError where it is not installed."""
        try:
            import transformers
        except ImportError as error:
            raise SsenvError(
                f"{self.name} needs the package transformers ({error}): {install(self.extra)}"
            ) from error
        return transformers

    def load(self, class_name: str) -> tuple["PreTrainedModel", Path]:
        """Load the network as a class of `transformers`, in evaluation mode, and name its folder.

        Raises:
            SsenvError: `transformers` is not installed, or the weights are unavailable or
                incomplete.
        """
        package = self.package()
        folder = self.folder()
        verbosity = package.logging.get_verbosity()
        # By default it lists every tensor of the file that the class leaves out.
        package.logging.set_verbosity_error()
        try:
            network, loading = getattr(package, class_name).from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
        except Exception as error:  # the package's errors share no base class
            raise self.unavailable(
                f"{folder} does not hold this model: {one_line(error)}"
            ) from error
        finally:
            package.logging.set_verbosity(verbosity)
        lacking = len(loading["missing_keys"]) + len(loading["mismatched_keys"])
        if lacking:
            raise self.unavailable(f"{folder} lacks {lacking} tensors")
        return network.eval(), folder
