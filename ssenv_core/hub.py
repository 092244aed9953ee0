"""Networks published on huggingface.co for the package `transformers`: from a folder that the user names, else from the hub's own cache,
into which they are downloaded. Which network it is and what it hears is the callers' affair.

Only tensors are ever read from a file of weights: safetensors, or else a pickle that PyTorch restricts to them.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from huggingface_hub import snapshot_download

from ssenv_core.errors import SsenvError, install, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
            raise SsenvError(f"{self.name} needs the package transformers ({error}): {install(self.extra)}") from error
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
            network, found = getattr(package, kind).from_pretrained(folder, local_files_only=True, output_loading_info=True)
        except Exception as error:  # the package has no base for what it raises
            raise SsenvError(f"{folder} does not hold {self.name} ({one_line(error)}): {self._ways}") from error
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
                raise SsenvError(f"{self.folder_variable} names {named}, which does not hold {self._needed}: {self._ways}")
            return Path(named)
        try:
            for weights in self.weights:
                folder = Path(snapshot_download(self.repository, allow_patterns=[*self.files, weights]))
                if self._whole(folder):
                    break
        except Exception as error:  # nor has the client that downloads
            raise SsenvError(f"the weights of {self.name} cannot be downloaded ({one_line(error)}): {self._ways}") from error
        return folder

    def _whole(self, folder: Path) -> bool:
        return all((folder / file).is_file() for file in self.files) and any((folder / file).is_file() for file in self.weights)
