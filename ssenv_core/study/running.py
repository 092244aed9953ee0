"""Run the notebooks of a study with papermill, skipping those whose result is already there."""

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
from ssenv_core.data import load_dataset
from ssenv_core.study.fingerprint import code_hashes
from ssenv_core.study.reading import Step, nearest_name, read_study
from ssenv_core.study.records import outdated_steps
from ssenv_core.study.report import format_headline, format_result, format_seconds, write_report

ASKED_FOR = "asked for"


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
        params_path: a flat YAML file: values by name, and `notebooks`, the names of the notebooks in order.
        overrides: values that replace those of the file.
        force: run every step, changed or not. A step that is asked for in this or one of the next two ways trains anew: the state of a
            training that ended is removed. That of an interrupted one is kept, for the step to go on from.
        start: run the step with this name or number ("03") and all after it, changed or not; leave those before it alone.
        only: run the step with this name or number, changed or not; leave all others alone.
        root: the project; by default the one around the working directory.

    Returns:
        What became of each step: "run", "skipped" (unchanged) or "left alone".

    Raises:
        SsenvError: before anything runs, for a parameter that is unknown or wrong, or a dataset that is not there; or a step failed:
            notebook, cell and reason.
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
        }
        fingerprint |= {"dataset": datasets[step.name]}
        reason = (
            ASKED_FOR
            if force or start or only
            else _why_run(records.get(step.name), fingerprint, folder)
        )
        if not reason:
            print(f"{step.name}: skipped, unchanged{_say_missing(records[step.name])}", flush=True)
            states[step.name] = "skipped"
            continue
        print(f"{step.name}: running ({reason})", flush=True)
        if reason == ASKED_FOR:
            _forget_training(step.name, folder)
        if step.name in records:
            records[step.name]["fingerprint"] = (
                None  # until it ends well, its files may be of two runs
            )
            write_json(folder.manifest, manifest)
        records[step.name] = {"fingerprint": fingerprint, **_run_step(step, folder, root)}
        write_json(folder.manifest, manifest)
        record = records[step.name]
        print(
            f"{step.name}: done in {format_seconds(record['seconds'])}  {format_headline(record['headline'])}".rstrip(),
            flush=True,
        )
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
    """The fingerprint of the dataset that a step reads, with its clips and their labels and folds; "" of a step that reads none."""
    if "data_root" not in parameters:
        return ""
    name, made = (
        parameters["dataset"],
        {"clips_per_class": parameters["clips_per_class"], "seed": parameters["seed"]},
    )
    sounds = load_dataset(name, root / parameters["data_root"], **made)
    if "fold" in parameters:
        sounds.subset(folds=[parameters["fold"]])  # which refuses one that is not there
    return sounds.fingerprint


def _why_run(record: dict | None, fingerprint: dict[str, str], folder: StudyFolder) -> str:
    """Why a step has to run; "" if all that decides its result, and all that it made, is as its record in the manifest says."""
    if record is None:
        return "no result yet"
    if record["fingerprint"] is None:
        return "its last run did not end"
    words = {
        "notebook": "its code cells",
        "code": "ssenv_core",
        "parameters": "its parameters",
        "dataset": "the dataset",
    }
    words["files"] = "the files of earlier steps"
    for part, value in fingerprint.items():
        if record["fingerprint"].get(part) != value:
            return f"{words[part]} changed"
    for name, digest in {**record["inputs"], **record["outputs"]}.items():
        file = Path(path.normpath(folder.root / name))  # what it is relative to may be a link
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


def _say_missing(record: dict) -> str:
    """What the step had to do without when it ran, for one who can give it that by now."""
    missing = "; ".join(record.get("missing", ()))
    return (
        f". When it ran it lacked: {missing}. Ask for the step with --only or --from if that is here now"
        if missing
        else ""
    )


def _forget_training(name: str, folder: StudyFolder) -> None:
    """Remove the states of a step's trainings, without which it trains anew, but for one that was interrupted."""
    for file in TRAINING_STATES.get(name, ()):
        state = folder.generator.with_name(file)
        if state.exists() and not can_be_resumed(state):
            state.unlink()


def _run_step(step: Step, folder: StudyFolder, root: Path) -> dict:
    """Execute one notebook and return its entry of the manifest."""
    executed, step_record = folder.notebooks / f"{step.name}.ipynb", folder.step_record(step.name)
    before = step_record.stat().st_mtime_ns if step_record.exists() else None
    started, clock = datetime.now(UTC), time.monotonic()
    with peak_memory(child_processes) as memory:
        _execute(step, executed, root)
    seconds = time.monotonic() - clock
    if not step_record.exists() or step_record.stat().st_mtime_ns == before:
        raise SsenvError(
            f"{step.name} ended without calling finish_step({step.name!r}, ...): its last cell must"
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
    """Starts kernels in the interpreter that runs the study, whatever "python3" is registered as on this machine, and without the marks
    of a live front end that an environment may carry over from Jupyter or VS Code."""

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
            shutdown_kernel="immediate",  # all is on disk by then, and an interrupted kernel would print a traceback first
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
            f"{step.name}, cell [{number}]: the kernel died, killed from outside or out of memory (see {executed})"
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
        made = (
            f"{format_seconds(record['seconds']):>10}  {format_result(record, name in outdated)}"
            if record
            else ""
        )
        print(f"{name:<{width}}  {state:<10}  {made}".rstrip())
