"""The commands of studies pass on what they get, and refuse bad input in one line."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny.commands import refused, ssenv

from ssenv_core.base.code import PACKAGE
from ssenv_core.cli import main
from ssenv_core.study.reading import read_study


def test_a_sweep_takes_axes_after_grid_and_each_once(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "ssenv_core.study.sweep.run_sweep",
        lambda params, choices, overrides: seen.append((str(params), choices, overrides)) or ["a"],
    )
    monkeypatch.setattr("ssenv_core.study.sweep.sweep_table", lambda studies: f"table of {studies}")
    result = CliRunner().invoke(
        main, ["sweep", "p.yaml", "--grid", "fold=1,2", "guidance=1,3", "--set", "seed=7"]
    )
    assert result.exit_code == 0
    combined = [{"fold": fold, "guidance": guidance} for fold in (1, 2) for guidance in (1, 3)]
    assert seen == [("p.yaml", combined, {"seed": 7})]
    assert "table of ['a']" in result.output
    assert (
        CliRunner().invoke(main, ["sweep", "p.yaml", "--vary", "fold=1,2", "guidance=3"]).exit_code
        == 0
    )
    assert seen[1:] == [("p.yaml", [{}, {"fold": 1}, {"fold": 2}, {"guidance": 3}], {})]
    result = CliRunner().invoke(main, ["sweep", "p.yaml", "--grid", "fold=1,2", "fold=3"])
    assert result.exit_code == 2
    assert "fold is named twice" in result.output
    for axes, message in (
        (["fold=1,2"], "name the values to sweep with --grid or --vary"),
        (["--grid", "fold=1", "--vary", "seed=2"], "--grid and --vary exclude each other"),
    ):
        result = CliRunner().invoke(main, ["sweep", "p.yaml", *axes])
        assert result.exit_code == 2
        assert message in result.output
    assert len(seen) == 2


@pytest.fixture
def project(tmp_path, monkeypatch):
    for folder in ("notebooks", "params"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params" / "bad.yaml").write_text("notebooks: [99_none]\nstudy: bad\n")
    (tmp_path / "params" / "list.yaml").write_text("[1, 2]")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["params/none.yaml"], "no parameter file at params/none.yaml"),
        (["params/list.yaml"], "params/list.yaml must be one flat mapping of name: value"),
        (["params/bad.yaml"], "params/bad.yaml lists notebook '99_none': .*"),
        (["params/bad.yaml", "--set", "seed"], "--set seed: write name=value"),
    ],
)
def test_run_refuses_bad_parameters(project, arguments, line):
    for command in ("run", "params"):
        refused(ssenv(command, *arguments), line)
    assert not Path("outputs").exists()


def test_download_refuses_an_unknown_data_set_and_passes_on_a_known_one(tmp_path, monkeypatch):
    result = ssenv("download", "esc51", "--data-root", tmp_path)
    assert result.exit_code == 1
    assert re.fullmatch("error: .*esc51.*esc50.*\n", result.stderr)
    fetched = []
    monkeypatch.setattr(
        "ssenv_core.data.download.download",
        lambda name, root: fetched.append((name, root)) or tmp_path / "ESC-50",
    )
    result = ssenv("download", "esc50", "--data-root", tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'ESC-50'}\n")
    assert fetched == [("esc50", tmp_path)]


def test_params_prints_a_study_that_can_be_run_and_where_each_value_comes_from(tmp_path):
    root = PACKAGE.parent
    result = ssenv("params", root / "params" / "esc10.yaml", "--set", "guidance=3")
    assert result.exit_code == 0
    lines = dict(re.findall(r"^(\w+): .*  # (.*)$", result.stdout, flags=re.MULTILINE))
    demo, esc10 = (str(root / "params" / f"{name}.yaml") for name in ("demo", "esc10"))
    assert lines["dataset"] == lines["study"] == esc10
    assert lines["notebooks"] == lines["steps"] == demo
    assert lines["guidance"] == "--set"
    (tmp_path / "whole.yaml").write_text(result.stdout)
    assert [step.parameters for step in read_study(tmp_path / "whole.yaml", {}, root)[1]] == [
        step.parameters for step in read_study(esc10, {"guidance": 3}, root)[1]
    ]
