"""Tensor files with metadata, and training states, as safetensors: no pickle is ever loaded."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import atomic_path


def save_tensors(path: str | Path, tensors: dict[str, torch.Tensor], metadata: dict) -> Path:
    """Write tensors and JSON-able metadata as one safetensors file, atomically.

    The same content gives the same bytes.

    Raises:
        SsenvError: the file system refuses the write (disk full, no permission).
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            # One metadata entry: safetensors writes several in random order.
            save_file(tensors, temporary, {"json": json.dumps(metadata)})
        except SafetensorError as error:
            raise SsenvError(f"cannot write {path}: {error}") from error
    return Path(path)


def load_tensors(
    path: str | Path, kind: str, made_by: str = ""
) -> tuple[dict[str, torch.Tensor], dict]:
    """Read a file of `save_tensors` whose metadata has this `kind`.

    Args:
        made_by: the notebook that writes such files, for the message.

    Raises:
        SsenvError: the file is missing, damaged, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise SsenvError(f"no {kind} file at {path}" + (f": {made_by} makes it" if made_by else ""))
    try:
        with safe_open(path, framework="pt") as file:
            metadata = _metadata(file)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is not a dict)
    except (SafetensorError, ValueError) as error:
        raise SsenvError(f"{path} is not a readable {kind} file ({error})") from None
    if metadata.get("kind") != kind:
        raise SsenvError(f"{path} holds {metadata.get('kind', 'something else')!r}, not a {kind}")
    return tensors, metadata


def _metadata(file: safe_open) -> dict:
    return json.loads((file.metadata() or {}).get("json", "{}"))


def save_state(path: str | Path, state: dict, metadata: dict) -> Path:
    """Write a nested dict/list of tensors and JSON values as one safetensors file, atomically.

    An optimizer's state_dict is an example.
    """
    tensors: dict[str, torch.Tensor] = {}

    def strip(value: object) -> object:
        if isinstance(value, torch.Tensor):
            tensors[name := str(len(tensors))] = value.clone()
            return {"tensor": name}
        if isinstance(value, dict):
            return {"dict": [[key, strip(item)] for key, item in value.items()]}
        if isinstance(value, list | tuple):
            return {"list": [strip(item) for item in value]}
        return {"value": value}

    return save_tensors(path, tensors, {**metadata, "structure": strip(state)})


def load_state(path: str | Path, kind: str) -> tuple[dict, dict]:
    """Read what `save_state` wrote; tuples come back as lists. Raises as `load_tensors` does."""
    tensors, metadata = load_tensors(path, kind)

    def restore(node: dict) -> object:
        ((shape, content),) = node.items()
        if shape == "tensor":
            return tensors[content]
        if shape == "dict":
            return {key: restore(item) for key, item in content}
        return [restore(item) for item in content] if shape == "list" else content

    return restore(metadata.pop("structure")), metadata


def resume_state(path: str | Path, kind: str, identity: dict) -> dict | None:
    """Load the state of an interrupted or finished training with this JSON-able `identity`.

    Returns:
        None if there is no file, or one of another training that has finished.

    Raises:
        SsenvError: it is of another training that was interrupted, or not a readable state of this
            `kind`.
    """
    if not Path(path).exists():
        return None
    state, metadata = load_state(path, kind)
    saved = metadata["identity"]
    different = [name for name in identity if saved.get(name) != identity[name]]
    if not different:
        return state
    if metadata["finished"]:
        print(
            f"{path} is of an earlier training with other {', '.join(different)}: starting anew",
            flush=True,
        )
        return None
    raise SsenvError(
        f"{path} is of an interrupted training with other {', '.join(different)}: "
        "remove it to start anew, or restore those to go on"
    )


def can_be_resumed(path: str | Path) -> bool:
    """Whether a file holds a readable state of a training that has not finished."""
    try:
        with safe_open(path, framework="pt") as file:
            return _metadata(file).get("finished") is False
    except SafetensorError:
        return False
