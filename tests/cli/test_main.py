"""Help is fast, wrong usage is exit 2, and what pyproject says of Python holds for make."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from tiny.commands import ssenv

from ssenv_core.cli import main
from ssenv_core.codecs import CODECS
from ssenv_core.data import DATASETS
from ssenv_core.evaluation.embeddings import EMBEDDINGS
from ssenv_core.soundstorm.sampling import SAMPLERS


def test_help_comes_without_the_heavy_imports():
    code = (
        "import sys, ssenv_core.cli\n"
        "ssenv_core.cli.main(['--help'], standalone_mode=False)\n"
        "print('heavy' if {'numpy', 'torch'} & set(sys.modules) else 'light')"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.endswith("light\n")
    assert all(
        f"\n  {command} " in shown
        for command in (
            "baselines",
            "classify",
            "download",
            "evaluate",
            "export",
            "generate",
            "params",
            "reconstruct",
            "run",
            "sweep",
        )
    )


def test_help_repeats_no_list_of_names():
    registries = (CODECS, DATASETS, EMBEDDINGS, SAMPLERS)
    words = {"folder", "random"}  # which are also plain English
    for command in main.commands:
        shown = re.split(r"[^a-z0-9_]+", ssenv(command, "--help").stdout)
        for registry in registries:
            assert len((registry.keys() - words) & set(shown)) < 2, (command, registry.keys())


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "ssenv_core.cli", "--version"]
    assert "version" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", ["3.10.14", "3.11.0", "3.13.9", "3.14.0"])
def test_make_refuses_the_pythons_that_the_package_refuses(version, monkeypatch):
    code = re.search(r"-c '(.*)'", (ROOT / "Makefile").read_text())[1]
    monkeypatch.setattr(sys, "version_info", tuple(map(int, version.split("."))))
    with pytest.raises(SystemExit) as exited:
        exec(code)
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert (not exited.value.code) == (version in SpecifierSet(supported))
    assert not exited.value.code or exited.value.code.startswith(
        "ssenv needs Python 3.11 to 3.13: "
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["rum"],
        ["run"],
        ["run", "a.yaml", "--froce"],
        ["run", "a.yaml", "--from", "03", "--only", "04"],
    ],
)
def test_wrong_usage_is_exit_2(arguments):
    assert ssenv(*arguments).exit_code == 2
