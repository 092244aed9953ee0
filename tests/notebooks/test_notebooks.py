"""The notebooks and the parameter files as a set: what they declare fits the package, and one another."""

import ast
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import nbformat
import pytest
import yaml

from ssenv_core.cli.study import download
from ssenv_core.study.params import NOTEBOOK_PARAMS
from ssenv_core.study.params_files import parse_override, read_params
from ssenv_core.study.reading import read_study

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STUDIES = sorted((ROOT / "params").glob("*.yaml"))


def cells(notebook: Path) -> list[nbformat.NotebookNode]:
    return nbformat.read(notebook, as_version=4).cells


def declared(notebook: Path) -> dict[str, object]:
    (tagged,) = [cell for cell in cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(tagged.source).body}


def by_name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=by_name)
def test_a_notebook_is_stored_without_outputs(notebook: Path) -> None:
    assert all(not cell.outputs and cell.execution_count is None for cell in cells(notebook) if cell.cell_type == "code")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=by_name)
def test_a_notebook_declares_exactly_the_parameters_of_its_dataclass_each_with_a_meaning(notebook: Path) -> None:
    assert set(declared(notebook)) == {field.name for field in fields(NOTEBOOK_PARAMS[notebook.stem])}
    (tagged,) = [cell for cell in cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert all(re.fullmatch(r"\w+ = .+  # .+", line) for line in tagged.source.splitlines())


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=by_name)
def test_the_values_in_a_notebook_are_those_of_the_demo(notebook: Path) -> None:
    demo = read_params(ROOT / "params" / "demo.yaml")
    if notebook.stem not in demo["notebooks"]:
        pytest.skip("not part of the demo: its values are a trial of their own")
    checked = NOTEBOOK_PARAMS[notebook.stem]
    assert checked.from_cell(declared(notebook)) == checked.from_cell(demo)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=by_name)
def test_a_notebook_defines_no_function_and_links_only_to_notebooks_that_exist(notebook: Path) -> None:
    for cell in cells(notebook):
        if cell.cell_type == "code":
            assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(ast.parse(cell.source)))
        else:
            assert all((notebook.parent / link).is_file() for link in re.findall(r"\]\(([^)]+\.ipynb)\)", cell.source))


@pytest.mark.parametrize("study", STUDIES, ids=by_name)
def test_a_study_looks_for_its_data_where_the_download_puts_it(study: Path) -> None:
    (default,) = [option.default for option in download.params if option.name == "data_root"]
    assert Path(read_params(study)["data_root"]) == default


@pytest.mark.parametrize("study", STUDIES, ids=by_name)
def test_a_study_sets_every_parameter_of_its_notebooks_and_no_other(study: Path) -> None:
    name, steps = read_study(study, {}, ROOT)
    assert name == study.stem
    for step in steps:
        assert set(step.given) == set(step.parameters)


def test_the_paper_setting_is_the_paper_s() -> None:
    paper = read_params(ROOT / "params" / "esc50_fold1.yaml")
    expected = {
        "dataset": "esc50", "fold": 1, "codec": "encodec_24khz", "bandwidth": 6.0, "depth": 2, "dim": 512, "heads": 8, "kernel_size": 31,
        "crop_frames": None, "coarse_emphasis": 0.0,
        "batch_size": 8, "epochs": 100, "learning_rate": 1e-4, "warmup": 0.3, "grad_clip": 1.0, "seed": 42, "steps": [12] + [1] * 7,
        "classifier_epochs": 50, "classifier_batch_size": 32, "classifier_learning_rate": 5e-5,
    }
    assert {name: paper[name] for name in expected} == expected


def test_environment_yml_has_the_versions_of_the_lock_for_everything_that_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {package["name"]: package["version"] for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    wanted = {re.match(r"[A-Za-z0-9_-]+", line)[0] for line in project["dependencies"]}
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert {line.split("==")[0]: line.split("==")[1] for line in pip["pip"] if line != "-e ."} == {name: locked[name] for name in wanted}
    assert "-e ." in pip["pip"]
    assert any(line.startswith("python=3.11") for line in conda)


def test_the_makefile_installs_the_uv_of_the_lock() -> None:
    version = re.search(r"UV_VERSION := (\S+)", (ROOT / "Makefile").read_text())[1]
    locked = {package["name"]: package["version"] for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    assert locked["uv"] == version


def test_an_override_reads_lists_and_numbers() -> None:
    assert parse_override("steps=[12, 1]") == ("steps", [12, 1])
