"""Runs a study for several choices of some parameters' values, each as a study of its own whose name says which: for every combination
of them, or for each alone beside the study as it is, as ablations are done.

Steps that the changed parameters do not reach are made once: a study begins with copies of what an earlier one of the sweep made with equal
parameters, and `study.run_study` skips them as it skips whatever is unchanged.
"""

import itertools
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import atomic_path, read_json, sha256_json, write_json
from ssenv_core.base.folders import StudyFolder, project_root
from ssenv_core.study.reading import Step, read_study
from ssenv_core.study.running import run_study
from ssenv_core.study.summary import summarise_studies


def parse_axis(text: str) -> tuple[str, list]:
    """`name=value,value,...` from the command line, the values read as a YAML list.

    Raises:
        SsenvError: there is no `=`, no value, or one twice.
    """
    name, equals, values = text.partition("=")
    try:
        found = yaml.safe_load(f"[{values}]")
    except yaml.YAMLError:
        found = []
    if not equals or not name.strip() or not found:
        raise SsenvError(f"sweep {text}: write name=value,value,...")
    if len({json.dumps(value, default=str) for value in found}) < len(found):
        raise SsenvError(f"sweep {text}: each value is to be named once")
    return name.strip(), found


def every_combination(axes: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """Of the values of all axes; those of the last one change fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def one_at_a_time(axes: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """No value, which leaves the study as it is, and then each one alone."""
    return [{}, *({name: value} for name, values in axes.items() for value in values)]


def run_sweep(
    params_path: str | Path,
    choices: Sequence[Mapping[str, object]],
    overrides: Mapping[str, object] | None = None,
    root: Path | None = None,
) -> list[str]:
    """Run a study for each of several choices of values, into outputs/<study>_<name>=<value>.../.

    One that fails does not keep the others from running.

    Args:
        params_path, overrides, root: as for `study.run_study`.
        choices: values by parameter, as `every_combination` and `one_at_a_time` make them.

    Returns:
        The names of the studies, in order.

    Raises:
        SsenvError: before anything runs, for a parameter that is unknown, wrong, or both swept and set; or at the end, for what failed.
    """
    root, overrides = root or project_root(), dict(overrides or {})
    if both := sorted(
        {name for chosen in choices for name in chosen} & {*overrides, "study", "notebooks"}
    ):
        raise SsenvError(
            f"sweep {both[0]}: it cannot be swept" + " and set" * (both[0] in overrides)
        )
    base, _ = read_study(params_path, overrides, root)
    studies: dict[str, Mapping[str, object]] = {}
    for chosen in choices:
        study = "_".join([base, *(f"{name}={_spelled(value)}" for name, value in chosen.items())])
        if study in studies:
            raise SsenvError(
                f"sweep: two studies would both be called {study}: sweep them one by one, with --set study=NAME"
            )
        studies[study] = chosen
    plans = {name: {**overrides, **chosen, "study": name} for name, chosen in studies.items()}
    steps = {name: read_study(params_path, plan, root)[1] for name, plan in plans.items()}
    folders, failed = [StudyFolder(root / "outputs" / name) for name in plans], []
    for number, (name, plan) in enumerate(plans.items(), start=1):
        print(f"[{number}/{len(plans)}] {name}", flush=True)
        try:
            _adopt(folders[number - 1], steps[name], folders[: number - 1])
            run_study(params_path, plan, root=root)
        except SsenvError as error:
            failed.append(name)
            print(f"error: {error}", file=sys.stderr, flush=True)
    if failed:
        raise SsenvError(f"{len(failed)} of {len(plans)} studies failed: {', '.join(failed)}")
    return list(plans)


def _spelled(value: object) -> str:
    """A value as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.,-]", "", value if isinstance(value, str) else json.dumps(value))


def _adopt(folder: StudyFolder, steps: Sequence[Step], others: Sequence[StudyFolder]) -> None:
    """Copy into a study, from its first step on, what others made with the same parameters; steps that it has are left as they are."""
    manifest = (
        read_json(folder.manifest)
        if folder.manifest.exists()
        else {"study": folder.root.name, "steps": {}}
    )
    made = [
        (other, read_json(other.manifest)["steps"]) for other in others if other.manifest.exists()
    ]
    for step in steps:
        if step.name in manifest["steps"]:
            continue
        source = next(
            (pair for pair in made if _is_of(pair[1].get(step.name), step, pair[0])), None
        )
        if source is None:
            return
        other, record = source[0], source[1][step.name]
        for name in (*record["outputs"], record["notebook"]):
            with atomic_path(folder.root / name) as path:
                shutil.copyfile(other.root / name, path)
        fingerprint = {**record["fingerprint"], "parameters": sha256_json(step.parameters)}
        manifest["steps"][step.name] = {
            **record,
            "fingerprint": fingerprint,
            "parameters": step.parameters,
            "made_by": other.root.name,
        }
        write_json(folder.manifest, manifest)


def _is_of(record: dict | None, step: Step, folder: StudyFolder) -> bool:
    """Whether a record is of a step that ended well with these parameters, whatever the study is called, and its files are all there."""
    if record is None or record["fingerprint"] is None:
        return False
    if not all((folder.root / name).is_file() for name in (*record["outputs"], record["notebook"])):
        return False
    found, asked = (
        {name: value for name, value in given.items() if name != "study"}
        for given in (record["parameters"], step.parameters)
    )
    return sha256_json(found) == sha256_json(asked)


def sweep_table(studies: Sequence[str]) -> str:
    """The headline numbers of studies that differ, as text."""
    numbers = summarise_studies(studies).numbers
    numbers = numbers[numbers.nunique(axis=1, dropna=False) > 1]
    return numbers.to_string(float_format=lambda value: f"{value:.4g}")
