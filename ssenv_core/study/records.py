"""The record that a notebook leaves of its step, and which records are out of date."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import files_in, sha256_file, write_json
from ssenv_core.base.folders import StudyFolder
from ssenv_core.plots.finding import Number


def finish_step(
    folder: StudyFolder,
    step: str,
    *,
    numbers: Mapping[str, Number],
    inputs: Iterable[Path],
    outputs: Iterable[Path],
    sentences: Iterable[str] = (),
    missing: Iterable[str] = (),
) -> None:
    """Record a finished step: numbers, sentences, hashes of files read and written, what it lacked.

    A folder among `inputs` or `outputs` stands for every file in it; a file added later to a folder
    among `inputs` makes the step outdated. Figures named with the step's number are outputs, too.

    Raises:
        SsenvError: a declared file is missing.
    """

    def hashes(paths: Iterable[Path]) -> dict[str, str]:
        files = [file for path in paths for file in (files_in(path) if path.is_dir() else [path])]
        for file in files:
            if not file.exists():
                raise SsenvError(f"{step} declared {file} but it is missing")
        return {os.path.relpath(file, folder.root): sha256_file(file) for file in files}

    inputs = list(inputs)
    figures = sorted(folder.figures.glob(f"{step.split('_')[0]}_*"))
    folders = [path for path in inputs if path.is_dir()]
    record = {
        "step": step,
        "headline": {name: number.value for name, number in numbers.items()},
        "better": {name: number.better for name, number in numbers.items()},
        "sentences": [*sentences],
        "inputs": hashes(inputs),
        "outputs": hashes([*outputs, *figures]),
        "missing": [*missing],
        "folders": {os.path.relpath(path, folder.root): len(files_in(path)) for path in folders},
    }
    write_json(folder.step_record(step), record)


def outdated_steps(records: Mapping[str, dict]) -> set[str]:
    """The steps of a manifest whose results are outdated.

    Their last run did not end; or a file that they read, or a new one in a folder that they read,
    was written since, or was written by a step that is outdated itself.
    """
    made = {
        name: (step, digest)
        for step, record in records.items()
        for name, digest in record["outputs"].items()
    }
    outdated = {step for step, record in records.items() if record["fingerprint"] is None}

    def stands(record: dict) -> bool:
        read = [(*made[name], digest) for name, digest in record["inputs"].items() if name in made]
        grown = (
            sum(name.startswith(f"{folder}/") for name in made) > count
            for folder, count in record.get("folders", {}).items()
        )
        return all(now == then and maker not in outdated for maker, now, then in read) and not any(
            grown
        )

    while more := {
        step for step, record in records.items() if step not in outdated and not stands(record)
    }:
        outdated |= more
    return outdated
