"""Run a study for several choices of parameter values, each as a study named after its values.

The choices are every combination of values, or the study as it is and each value alone (ablation).
Steps that the changed parameters do not reach run once: a study starts with copies of what an
earlier one of the sweep wrote with equal parameters, and `run_study` skips them as unchanged.
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
    """Parse `name=value,value,...` from the command line, the values as a YAML list.

    Raises:
        SsenvError: there is no `=` or no value, or a value occurs twice.
    """
    name, equals, listed = text.partition("=")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except yaml.YAMLError:
        values = []
    if not equals or not name.strip() or not values:
        raise SsenvError(f"sweep {text}: write name=value,value,...")
    if len({json.dumps(value, default=str) for value in values}) < len(values):
        raise SsenvError(f"sweep {text}: name each value once")
    return name.strip(), values


def every_combination(axes: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """Combine the values of all axes; the last axis changes fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def one_at_a_time(axes: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """Choose no value, which leaves the study as it is, and then each value alone."""
    return [{}, *({name: value} for name, values in axes.items() for value in values)]


def run_sweep(
    params_path: str | Path,
    choices: Sequence[Mapping[str, object]],
    overrides: Mapping[str, object] | None = None,
    root: Path | None = None,
) -> list[str]:
    """Run a study for each choice of values, into outputs/<study>_<name>=<value>.../.

    The others run even if one fails.

    Args:
        params_path, overrides, root: as for `run_study`.
        choices: values by parameter, from `every_combination` or `one_at_a_time`.

    Returns:
        The names of the studies, in order.

    Raises:
        SsenvError: before anything runs, a parameter is unknown, wrong, or both swept and set; or
            at the end, a study failed.
    """
    root = root or project_root()
    overrides = dict(overrides or {})
    if both := sorted(
        {name for chosen in choices for name in chosen} & {*overrides, "study", "notebooks"}
    ):
        raise SsenvError(
            f"sweep {both[0]}: it cannot be swept" + " and set" * (both[0] in overrides)
        )
    original, _ = read_study(params_path, overrides, root)
    studies: dict[str, Mapping[str, object]] = {}
    for chosen in choices:
        parts = [f"{name}={_spelled(value)}" for name, value in chosen.items()]
        study = "_".join([original, *parts])
        if study in studies:
            raise SsenvError(
                f"sweep: two studies would both be called {study}: "
                "sweep them one by one, with --set study=NAME"
            )
        studies[study] = chosen
    plans = {name: {**overrides, **chosen, "study": name} for name, chosen in studies.items()}
    steps = {name: read_study(params_path, plan, root)[1] for name, plan in plans.items()}
    folders = [StudyFolder(root / "outputs" / name) for name in plans]
    failed = []
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
    """Spell a value as part of a file name."""
    return re.sub(r"[^A-Za-z0-9.,-]", "", value if isinstance(value, str) else json.dumps(value))


def _adopt(folder: StudyFolder, steps: Sequence[Step], others: Sequence[StudyFolder]) -> None:
    """Copy into a study the steps that others ran with equal parameters.

    Stops at the first step that none of them has; steps that the study has are not replaced.
    """
    manifest = (
        read_json(folder.manifest)
        if folder.manifest.exists()
        else {"study": folder.root.name, "steps": {}}
    )
    candidates = [
        (other, read_json(other.manifest)["steps"]) for other in others if other.manifest.exists()
    ]
    for step in steps:
        if step.name in manifest["steps"]:
            continue
        sources = (
            (other, records[step.name])
            for other, records in candidates
            if step.name in records and _is_result_of(records[step.name], step, other)
        )
        source = next(sources, None)
        if source is None:
            return
        other, record = source
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


def _is_result_of(record: dict, step: Step, folder: StudyFolder) -> bool:
    """Whether a record is a finished run of this step whose files exist, whatever the study."""
    if record["fingerprint"] is None:
        return False
    if not all((folder.root / name).is_file() for name in (*record["outputs"], record["notebook"])):
        return False
    recorded, wanted = (
        sha256_json({name: value for name, value in given.items() if name != "study"})
        for given in (record["parameters"], step.parameters)
    )
    return recorded == wanted


def sweep_table(studies: Sequence[str]) -> str:
    """Format the headline numbers that differ between studies as text."""
    numbers = summarise_studies(studies).numbers
    numbers = numbers[numbers.nunique(axis=1, dropna=False) > 1]
    return numbers.to_string(float_format=lambda value: f"{value:.4g}")
