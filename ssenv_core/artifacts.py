"""What a study leaves on disk: atomic writes, hashes, tensor files with metadata, and the layout of outputs/<study>/.

Nothing here knows what a step computes. A file appears under its final name only when it is whole, so an interrupted or failed run leaves
earlier outputs as they were. Tensors are safetensors: no pickle is ever loaded.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ssenv_core.errors import SsenvError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (same suffix) that replaces it when the block ends well and is removed when it does not.

    Raises:
        SsenvError: the file system refuses the write (disk full, no permission).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise SsenvError(f"cannot write {path}: {error.strerror}") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise SsenvError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)
    return Path(path)


def write_json(path: str | Path, value: object) -> Path:
    """Write JSON atomically; NaN is refused rather than written as invalid JSON."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict:
    """Read a JSON object.

    Raises:
        SsenvError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise SsenvError(f"no file at {path}") from None
    except ValueError as error:
        raise SsenvError(f"{path} is not valid JSON ({error}): remove it and run its step again") from None


def save_tensors(path: str | Path, tensors: dict[str, torch.Tensor], metadata: dict) -> Path:
    """Write tensors and a JSON-able metadata dict as one safetensors file, atomically; the same content gives the same bytes.

    Raises:
        SsenvError: the file system refuses the write (disk full, no permission).
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, {"json": json.dumps(metadata)})  # in one entry, as safetensors writes several in random order
        except SafetensorError as error:
            raise SsenvError(f"cannot write {path}: {error}") from error
    return Path(path)


def load_tensors(path: str | Path, kind: str, made_by: str = "") -> tuple[dict[str, torch.Tensor], dict]:
    """Read a file of `save_tensors` whose metadata says it is of this `kind`, and which the notebook `made_by` writes.

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
    """Write a nested dict/list of tensors and JSON values (an optimizer's state_dict, say) as one safetensors file, atomically."""
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
    """The state in a file of a training with this JSON-able `identity`; None where there is no file, or one of another training that ended.

    Raises:
        SsenvError: it is of another training that was interrupted, or no readable state of this `kind`.
    """
    if not Path(path).exists():
        return None
    state, metadata = load_state(path, kind)
    found = metadata["identity"]
    different = [name for name in identity if found.get(name) != identity[name]]
    if not different:
        return state
    if metadata["finished"]:
        print(f"{path} is of an earlier training with other {', '.join(different)}: starting anew", flush=True)
        return None
    raise SsenvError(
        f"{path} is of an interrupted training with other {', '.join(different)}: remove it to start anew, or restore those to go on"
    )


def can_be_resumed(path: str | Path) -> bool:
    """Whether a file holds a training state that is readable and, by its metadata, of a training that has not ended."""
    try:
        with safe_open(path, framework="pt") as file:
            return _metadata(file).get("finished") is False
    except SafetensorError:
        return False


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        raise SsenvError(f"{path} is damaged (its sha256 is not the one in {sidecar.name}): reinstall ssenv")
    return path


def sha256_json(value: object) -> str:
    """Hex SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256_files(paths: list[Path], root: Path) -> str:
    """Hex SHA-256 over the relative names and contents of files."""
    return sha256_json({str(path.relative_to(root)): sha256_file(path) for path in sorted(paths)})


def project_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` (the working directory) that holds notebooks/ and params/.

    Raises:
        SsenvError: there is none.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    raise SsenvError(f"no ssenv project at or above {start}: run from the checkout that holds notebooks/ and params/")


@dataclass(frozen=True)
class StudyFolder:
    """Where a study keeps its files: outputs/<study>/ and what lies below it."""

    root: Path

    @classmethod
    def of(cls, study: str) -> "StudyFolder":
        """The folder of a study of this name in the project around the working directory."""
        return cls(project_root() / "outputs" / study)

    @property
    def tokens(self) -> Path:
        return self.root / "tokens" / "tokens.safetensors"

    @property
    def generator(self) -> Path:
        return self.root / "checkpoints" / "generator.safetensors"

    @property
    def judge(self) -> Path:
        return self.root / "checkpoints" / "judge.safetensors"

    @property
    def classifier(self) -> Path:
        return self.root / "checkpoints" / "classifier.safetensors"

    @property
    def generated(self) -> Path:
        return self.root / "generated"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    def step_record(self, step: str) -> Path:
        return self.metrics / f"{step}.json"

    @property
    def step_records(self) -> list[Path]:
        """The records of finished steps, in order, without those of summaries, which are made of the others."""
        return sorted(self.metrics.glob("0[0-9]_*.json"))

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"


def environment(device: torch.device) -> dict:
    """Versions, git revision, machine and the device in use, as recorded with every result."""
    packages = ("ssenv", "torch", "torchaudio", "encodec", "vocos", "librosa", "numpy", "scikit-learn", "papermill")
    return {
        "git": git_revision(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def git_revision() -> str | None:
    """The checkout's commit, with "+changes" when files differ from it; None outside a git checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def finish_step(
    folder: StudyFolder, step: str, *, headline: dict[str, float], inputs: list[Path], outputs: list[Path], missing: Iterable[str] = ()
) -> None:
    """Record what a notebook made: its headline numbers, its input and output files with their hashes, and what it had to do without.

    A folder among `inputs` or `outputs` stands for every file in it, one among `inputs` also for there being no others; the figures that
    begin with the step's number are outputs, too. Written last, so its presence says that the step ended well.

    Raises:
        SsenvError: a declared file is missing.
    """

    def hashes(paths: list[Path]) -> dict[str, str]:
        files = [file for path in paths for file in (files_in(path) if path.is_dir() else [path])]
        for file in files:
            if not file.exists():
                raise SsenvError(f"{step} declared {file} but it is missing")
        return {os.path.relpath(file, folder.root): sha256_file(file) for file in files}

    figures = sorted(folder.figures.glob(f"{step.split('_')[0]}_*"))
    record = {"step": step, "headline": headline, "inputs": hashes(inputs), "outputs": hashes([*outputs, *figures]), "missing": [*missing]}
    record["folders"] = {os.path.relpath(path, folder.root): len(files_in(path)) for path in inputs if path.is_dir()}
    write_json(folder.step_record(step), record)


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder, sorted by path."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def outdated_steps(records: Mapping[str, dict]) -> set[str]:
    """Of the steps of a manifest those whose results no longer stand: their last run did not end, or a file that they read or one more in a
    folder that they read, was made since, or by a step that is outdated itself."""
    made = {name: (step, digest) for step, record in records.items() for name, digest in record["outputs"].items()}
    outdated = {step for step, record in records.items() if record["fingerprint"] is None}

    def stands(record: dict) -> bool:
        read = [(*made[name], digest) for name, digest in record["inputs"].items() if name in made]
        grown = (sum(name.startswith(f"{folder}/") for name in made) > count for folder, count in record.get("folders", {}).items())
        return all(now == then and maker not in outdated for maker, now, then in read) and not any(grown)

    while more := {step for step, record in records.items() if step not in outdated and not stands(record)}:
        outdated |= more
    return outdated
