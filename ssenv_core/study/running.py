"""Run the notebooks of a study with papermill, except those whose result is up to date."""

import logging
import sys
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from os import environ, path
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from ssenv_core.base.devices import resolve_device
from ssenv_core.base.environment import child_processes, environment, peak_memory
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import files_in, read_json, sha256_file, sha256_json, write_json
from ssenv_core.base.folders import StudyFolder, project_root
from ssenv_core.base.tensors import can_be_resumed
from ssenv_core.study.fingerprint import code_hashes
from ssenv_core.study.params import SoundParams
from ssenv_core.study.reading import Step, nearest_name, read_study
from ssenv_core.study.records import outdated_steps
from ssenv_core.study.report import format_headline, format_result, format_seconds, write_report

REQUESTED = "requested"

TRAINING_STATES = {  # in checkpoints/
    "01_tokenize": ("judge.state.safetensors",),
    "02_train": ("generator.state.safetensors",),
    "06_classify": ("classifier.state.safetensors", "ast.state.safetensors"),
    "08_train_codec": (
        "encoder.state.safetensors",
        "decoder.state.safetensors",
        "hearing.state.safetensors",
        "finish.state.safetensors",
    ),
}


def run_study(
    params_path: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    force: bool = False,
    start: str | None = None,
    only: str | None = None,
    root: Path | None = None,
) -> dict[str, str]:
    """Run a study into outputs/<study>/ and write its manifest.json and report.html.

    Args:
        params_path: a flat YAML file: values by name, `notebooks` (the names of the notebooks in
            order) and possibly `base` (a file whose values this one inherits).
        overrides: values that replace those of the file.
        force: run every step, changed or not.
        start: run the step with this name or number ("03") and all after it, changed or not; leave
            those before it alone.
        only: run the step with this name or number, changed or not; leave all others alone.
        root: the project; by default the one around the working directory.

    A step requested by `force`, `start` or `only` trains anew: the state of a finished training is
    removed. The state of an interrupted training is kept, and the step resumes from it.

    Returns:
        The state of each step: "run", "skipped" (unchanged) or "left alone".

    Raises:
        SsenvError: before anything runs, a parameter is unknown or wrong or a dataset is missing;
            or a step failed: notebook, cell and reason.
    """
    root = root or project_root()
    study, steps = read_study(params_path, overrides or {}, root)
    chosen = _choose([step.name for step in steps], start, only)
    folder = StudyFolder(root / "outputs" / study)
    manifest = (
        read_json(folder.manifest) if folder.manifest.exists() else {"study": study, "steps": {}}
    )
    records = manifest["steps"]
    datasets = {
        step.name: _dataset_of(step.parameters, root) for step in steps if step.name in chosen
    }
    states = {}
    for position, step in enumerate(steps):
        if step.name not in chosen:
            states[step.name] = "left alone"
            continue
        earlier = {
            other.name: sorted(records[other.name]["outputs"])
            for other in steps[:position]
            if other.name in records
        }
        fingerprint = {
            **code_hashes(step.notebook),
            "parameters": sha256_json(step.parameters),
            "files": sha256_json(earlier),
            "dataset": datasets[step.name],
        }
        reason = (
            REQUESTED
            if force or start or only
            else _why_run(records.get(step.name), fingerprint, folder)
        )
        if not reason:
            print(f"{step.name}: skipped, unchanged{_missing(records[step.name])}", flush=True)
            states[step.name] = "skipped"
            continue
        print(f"{step.name}: running ({reason})", flush=True)
        if reason == REQUESTED:
            _forget_training(step.name, folder)
        if step.name in records:
            records[step.name]["fingerprint"] = None  # until it ends, its files may mix two runs
            write_json(folder.manifest, manifest)
        records[step.name] = {"fingerprint": fingerprint, **_run_step(step, folder, root)}
        write_json(folder.manifest, manifest)
        record = records[step.name]
        headline = format_headline(record["headline"])
        line = f"{step.name}: done in {format_seconds(record['seconds'])}  {headline}"
        print(line.rstrip(), flush=True)
        states[step.name] = "run"
    outdated = outdated_steps(records)
    write_report(
        folder,
        study,
        {step.name: records[step.name] for step in steps if step.name in records},
        outdated,
    )
    _print_table(states, records, outdated)
    print(f"report: {folder.report}", flush=True)
    return states


def _choose(names: list[str], start: str | None, only: str | None) -> list[str]:
    def position(key: str) -> int:
        matches = [i for i, name in enumerate(names) if name == key or name.startswith(f"{key}_")]
        if len(matches) != 1:
            raise SsenvError(f"no step {key!r} in this study: {nearest_name(key, names)}")
        return matches[0]

    if only is not None:
        return [names[position(only)]]
    return names[position(start) :] if start is not None else names


def _dataset_of(parameters: Mapping[str, object], root: Path) -> str:
    """Return the fingerprint of the dataset that a step reads, or "" if it reads none.

    It covers the clips with their labels and folds.
    """
    if "data_root" not in parameters:
        return ""
    dataset = SoundParams.from_cell(parameters).load_dataset(root)
    if "fold" in parameters:
        dataset.subset(folds=[parameters["fold"]])  # raises if the fold is missing
    return dataset.fingerprint


def _why_run(record: dict | None, fingerprint: dict[str, str], folder: StudyFolder) -> str:
    """Return why a step has to run, or "" if its inputs and outputs match the manifest."""
    if record is None:
        return "no result yet"
    if record["fingerprint"] is None:
        return "its last run did not finish"
    words = {
        "notebook": "its code cells",
        "code": "ssenv_core",
        "parameters": "its parameters",
        "dataset": "the dataset",
        "files": "the files of earlier steps",
    }
    for part, value in fingerprint.items():
        if record["fingerprint"].get(part) != value:
            return f"{words[part]} changed"
    for name, digest in {**record["inputs"], **record["outputs"]}.items():
        file = Path(path.normpath(folder.root / name))  # the study folder may be a link
        if not file.is_file():
            return f"{name} is missing"
        if sha256_file(file) != digest:
            return f"{name} changed"
    for name, count in record.get("folders", {}).items():
        if len(files_in(folder.root / name)) > count:
            return f"{name} has more files"
    return (
        "" if (folder.root / record["notebook"]).is_file() else "its executed notebook is missing"
    )


def _missing(record: dict) -> str:
    """Say what was missing when a skipped step ran, and how to run it again."""
    if not record.get("missing"):
        return ""
    names = "; ".join(record["missing"])
    return f". When it ran, this was missing: {names}. To run it again: --only or --from"


def _forget_training(name: str, folder: StudyFolder) -> None:
    """Remove the states of a step's trainings, except those of interrupted ones."""
    for file in TRAINING_STATES.get(name, ()):
        state = folder.generator.with_name(file)
        if state.exists() and not can_be_resumed(state):
            state.unlink()


def _run_step(step: Step, folder: StudyFolder, root: Path) -> dict:
    """Execute one notebook and return its entry of the manifest."""
    executed = folder.notebooks / f"{step.name}.ipynb"
    step_record = folder.step_record(step.name)
    before = step_record.stat().st_mtime_ns if step_record.exists() else None
    started = datetime.now(UTC)
    clock = time.monotonic()
    with peak_memory(child_processes) as memory:
        _execute(step, executed, root)
    seconds = time.monotonic() - clock
    if not step_record.exists() or step_record.stat().st_mtime_ns == before:
        raise SsenvError(
            f"{step.name} wrote no record: its last cell must call finish_step({step.name!r}, ...)"
        )
    record = read_json(step_record)
    return {
        "parameters": step.parameters,
        "seed": step.parameters["seed"],
        "environment": environment(resolve_device(step.parameters.get("device", "cpu"))),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "peak_memory_mb": round(memory.megabytes),
        "headline": record["headline"],
        "missing": record["missing"],
        "inputs": record["inputs"],
        "folders": record["folders"],
        "outputs": {
            **record["outputs"],
            str(step_record.relative_to(folder.root)): sha256_file(step_record),
        },
        "notebook": str(executed.relative_to(folder.root)),
    }


class ThisInterpreter(AsyncKernelManager):
    """Start kernels in the interpreter that runs the study.

    The kernels named "python3" on this machine are ignored, and so are the environment variables
    by which a notebook takes Jupyter or VS Code for its front end.
    """

    transport_encryption = "auto"  # without it, ipykernel warns at every start

    @default("kernel_spec_manager")
    def _native_kernel_only(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])

    async def start_kernel(self, **options: object) -> None:
        env = {
            name: value
            for name, value in environ.items()
            if name not in ("JPY_SESSION_NAME", "VSCODE_PID")
        }
        await super().start_kernel(env=env, **options)


def _execute(step: Step, executed: Path, root: Path) -> None:
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # its errors arrive as exceptions
    try:
        executed.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            str(step.notebook),
            str(executed),
            parameters=step.given,
            kernel_name="python3",
            language="python",
            kernel_manager_class=ThisInterpreter,
            start_timeout=300,  # s; a busy machine needs more than papermill's 60
            shutdown_kernel="immediate",  # everything is on disk; an interrupt prints a traceback
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            cwd=str(root),
        )
    except PapermillExecutionError as error:
        reason = error.evalue if error.ename == "SsenvError" else f"{error.ename}: {error.evalue}"
        raise SsenvError(
            f"{step.name}, cell [{error.exec_count}]: {' '.join(reason.split())} (see {executed})"
        ) from None
    except DeadKernelError:
        cells = [
            cell for cell in nbformat.read(executed, as_version=4).cells if cell.cell_type == "code"
        ]
        number = sum(cell.metadata.papermill.start_time is not None for cell in cells)
        raise SsenvError(
            f"{step.name}, cell [{number}]: the kernel died, killed from outside or out of memory "
            f"(see {executed})"
        ) from None
    except OSError as error:
        raise SsenvError(
            f"{step.name} cannot run or write {executed}: {error.strerror or error}"
        ) from None


def _print_table(
    states: dict[str, str], records: dict[str, dict], outdated: Collection[str]
) -> None:
    width = max(map(len, states))
    print()
    for name, state in states.items():
        record = records.get(name)
        result = (
            f"{format_seconds(record['seconds']):>10}  {format_result(record, name in outdated)}"
            if record
            else ""
        )
        print(f"{name:<{width}}  {state:<10}  {result}".rstrip())
