"""The runner skips what is unchanged and only that, checks parameters first, and survives kills.

Most tests run the notebooks' cells in this process, which is fast; two run them as `ssenv run`
does, in kernels.
"""

import ast
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import soundfile
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ssenv_core.base import code
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import write_text
from ssenv_core.base.folders import StudyFolder
from ssenv_core.base.tensors import save_state
from ssenv_core.data import load_dataset
from ssenv_core.study import params, reading, running
from ssenv_core.study.report import format_seconds, write_report
from ssenv_core.study.running import run_study
from ssenv_core.study.sweep import every_combination, one_at_a_time, parse_axis, run_sweep

FIRST = """from ssenv_core.base.folders import StudyFolder
from ssenv_core.plots.finding import Number
from ssenv_core.study.records import finish_step
folder = StudyFolder.of(study)
for i in range(count):
    folder.generated.mkdir(parents=True, exist_ok=True)
    (folder.generated / f"{i}.txt").write_text(f"sound {i}")
finish_step(
    folder, "10_make", numbers={"clips": Number(count)}, inputs=[], outputs=[folder.generated]
)"""
SECOND = """from ssenv_core.base.folders import StudyFolder
from ssenv_core.plots.finding import Number
from ssenv_core.study.records import finish_step
folder = StudyFolder.of(study)
folder.figures.mkdir(parents=True, exist_ok=True)
text = " ".join(path.read_text() for path in sorted(folder.generated.iterdir()))
(folder.figures / "all.txt").write_text(f"{colour} {text}")
outputs = [folder.figures / "all.txt"]
finish_step(
    folder, "20_use", numbers={"length": Number(0.5)}, inputs=[folder.generated], outputs=outputs
)"""
FAILING = """from ssenv_core.base.errors import SsenvError
if colour == "blue":
    raise SsenvError("no blue")"""
PARAMS = "notebooks: [10_make, 20_use]\nstudy: tiny\nseed: 1\ncount: 2\ncolour: red\n"


def write_notebook(path, parameters, *cells):
    tagged = new_code_cell(
        "\n".join(["study = 'tiny'  # name", "seed = 0  # integer", *parameters]),
        metadata={"tags": ["parameters"]},
    )
    python = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    nbformat.write(
        new_notebook(
            cells=[new_markdown_cell("# Title"), tagged, *map(new_code_cell, cells)],
            metadata=python,
        ),
        path,
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    for folder in ("notebooks", "params"):
        (tmp_path / folder).mkdir()
    write_notebook(tmp_path / "notebooks" / "10_make.ipynb", ["count = 1  # files"], FIRST)
    write_notebook(
        tmp_path / "notebooks" / "20_use.ipynb", ["colour = 'blue'  # of the text"], SECOND
    )
    (tmp_path / "params" / "tiny.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def in_process(monkeypatch):
    """Run cells in this process; returns the names of the notebooks that ran."""
    ran = []

    def execute(step, executed, root):
        ran.append(step.name)
        notebook = nbformat.read(step.notebook, as_version=4)
        names = {}
        for cell in notebook.cells:
            if cell.cell_type == "code":
                exec(cell.source, names)
                names |= step.given if "parameters" in cell.metadata.get("tags", []) else {}
        executed.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, executed)

    monkeypatch.setattr(running, "_execute", execute)
    return ran


def run(**options):
    return run_study("params/tiny.yaml", options.pop("overrides", {}), **options)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"coulor": "green"}, "unknown parameter 'coulor' in the command: did you mean 'colour'?"),
        ({"seed": "often"}, "parameter seed = 'often': input should be a valid integer"),
        ({"study": "../elsewhere"}, "parameter study = '../elsewhere'"),
        ({"notebooks": ["10_make", "20_uses"]}, "lists notebook '20_uses': did you mean '20_use'?"),
        ({"notebooks": None}, "must list its notebooks"),
        ({"notebooks": [{"10_make": None}]}, "lists notebook {'10_make': None}"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(project, in_process, overrides, message):
    with pytest.raises(SsenvError, match=re.escape(message)):
        run(overrides=overrides)
    assert in_process == []
    assert not (project / "outputs").exists()


def test_a_dataset_that_is_not_there_is_refused_before_anything_runs(project, in_process):
    data = [
        "dataset = 'esc50'  # which",
        "data_root = 'data'  # where",
        "clips_per_class = 1  # of synthetic",
    ]
    write_notebook(
        project / "notebooks" / "20_use.ipynb", ["colour = 'blue'  # of the text", *data], SECOND
    )
    with pytest.raises(SsenvError, match=r"no ESC-50 at .*data .*: run `ssenv download esc50`"):
        run()
    assert in_process == []


def test_a_fold_that_is_not_there_is_refused_before_anything_runs(project, in_process):
    data = ["dataset = 'synthetic'", "data_root = ''", "clips_per_class = 5", "fold = 1"]
    write_notebook(
        project / "notebooks" / "20_use.ipynb", ["colour = 'blue'  # of the text", *data], SECOND
    )
    with pytest.raises(SsenvError, match=r"synthetic has no fold 9 here: it has 1, 2, 3, 4, 5$"):
        run(overrides={"fold": 9})
    assert in_process == []


def test_a_key_of_the_file_that_no_listed_notebook_declares_is_refused(project, in_process):
    (project / "params" / "tiny.yaml").write_text(PARAMS.replace("10_make, ", ""))
    with pytest.raises(SsenvError, match=r"unknown parameter 'count' in params/tiny.yaml"):
        run()


def test_values_are_checked_by_the_dataclass_of_their_notebook(project, in_process):
    write_notebook(project / "notebooks" / "90_summary.ipynb", ["studies = ['tiny']  # names"], "1")
    (project / "params" / "tiny.yaml").write_text(
        "notebooks: [10_make, 90_summary]\nstudy: tiny\nseed: 1\nstudies: 3\n"
    )
    with pytest.raises(
        SsenvError, match="90_summary: parameter studies = 3: must be a list, as in --set"
    ):
        run()
    assert in_process == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"bandwidth": 3},
            r"steps = \[12, 1, 1, 1, 1, 1, 1, 1\]: melrvq_24khz has 4 levels at 3 kbps, .* "
            r"--set 'steps=\[12,1,1,1\]'$",
        ),
        ({"steps": [12, 1]}, r"steps = \[12, 1\]: melrvq_24khz has 8 levels at 6 kbps"),
        ({"codec": "encodec_48khz"}, r"encodec_48khz has 5 levels at 6 kbps"),
        ({"bandwidth": 5}, "melrvq_24khz has no 5 kbps"),
        (
            {"controls": False},
            "plan = True needs a generator with controls: --set controls=true, or --set plan=false",
        ),
        (
            {"temperature": [1, 0]},
            r"temperature \(1\.0, 0\.0\) must be one number, or one for each of 8 levels",
        ),
        ({"compare": ["melrvq_24khz@5"]}, "melrvq_24khz has no 5 kbps"),
        ({"mushra_codecs": ["melrvq_24khz@5"]}, "melrvq_24khz has no 5 kbps"),
        ({"generator": "nowhere.safetensors"}, r"no .* file at .*nowhere\.safetensors"),
        (
            {"generator": "shipped", "fold": 2},
            "fold 2 is not held out: the generator was trained on folds 2, 3, 4, 5",
        ),
        ({"classifier_layer": 99}, "classifier_layer = 99: the generator has 3 blocks"),
    ],
)
def test_what_a_step_would_refuse_after_hours_is_refused_before_the_first(overrides, message):
    root = code.PACKAGE.parent
    with pytest.raises(SsenvError, match=message):
        reading.read_study(root / "params" / "demo.yaml", overrides, root)


def test_iterations_that_fit_and_studies_without_both_notebooks_pass():
    root = code.PACKAGE.parent
    reading.read_study(
        root / "params" / "demo.yaml", {"bandwidth": 3, "steps": [12, 1, 1, 1]}, root
    )
    reading.read_study(root / "params" / "demo.yaml", {"controls": False, "plan": False}, root)
    reading.read_study(root / "params" / "codec.yaml", {}, root)


def test_a_summary_that_names_no_study_is_of_its_own(project, in_process):
    root = code.PACKAGE.parent
    (project / "notebooks" / "90_summary.ipynb").write_text(
        (root / "notebooks" / "90_summary.ipynb").read_text()
    )
    source = FIRST.replace("10_make", "01_make")
    write_notebook(project / "notebooks" / "01_make.ipynb", ["count = 1  # files"], source)
    (project / "params" / "tiny.yaml").write_text(
        "notebooks: [01_make, 90_summary]\nstudy: mine\nseed: 1\nstudies: []\n"
    )
    run()
    record = json.loads((project / "outputs" / "mine" / "metrics" / "90_summary.json").read_text())
    assert record["headline"] == {"studies": 1, "numbers": 1}
    assert list(record["inputs"]) == ["metrics/01_make.json"]


def test_tokenizing_records_all_its_files_and_names_the_folds_that_the_copy_lacks(
    project, in_process, monkeypatch, capsys
):
    root = code.PACKAGE.parent
    (project / "notebooks" / "01_tokenize.ipynb").write_text(
        (root / "notebooks" / "01_tokenize.ipynb").read_text()
    )
    (project / "params" / "tiny.yaml").write_text(
        "notebooks: [01_tokenize]\nstudy: tiny\nseed: 1\n"
        "compare: []\njudge_epochs: 1\ndevice: cpu\n"
    )
    sounds = load_dataset("synthetic", clips_per_class=2)
    sounds = replace(
        sounds, clips=tuple(clip for clip in sounds.clips if clip.label < 2), missing_folds=(3, 5)
    )
    monkeypatch.setattr("ssenv_core.study.params.load_dataset", lambda *_, **__: sounds)
    monkeypatch.setattr(
        "ssenv_core.study.step.save_figure", lambda figure, path: write_text(path, "a figure")
    )
    run()
    assert "This copy lacks the official folds 3, 5.\n" in capsys.readouterr().out
    folder = project / "outputs" / "tiny"
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    recorded = json.loads((folder / "manifest.json").read_text())["steps"]["01_tokenize"]["outputs"]
    assert left - recorded.keys() == {
        "manifest.json",
        "report.html",
        "notebooks/01_tokenize.ipynb",
        "checkpoints/judge.state.safetensors",
    }


def test_what_a_base_sets_and_no_listed_notebook_declares_is_left_out(project):
    (project / "params" / "base.yaml").write_text(PARAMS)
    (project / "params" / "tiny.yaml").write_text(
        "study: derived\nbase: base.yaml\nnotebooks: [20_use]\nseed: 2\n"
    )
    name, steps = reading.read_study("params/tiny.yaml", {}, project)
    assert name == "derived"
    assert [step.given for step in steps] == [{"study": "derived", "seed": 2, "colour": "red"}]
    (project / "params" / "tiny.yaml").write_text("base: base.yaml\n")
    with pytest.raises(SsenvError, match=r"params/tiny\.yaml must name its study"):
        reading.read_study("params/tiny.yaml", {}, project)


def test_all_parameters_are_written_with_their_sources(project):
    (project / "params" / "base.yaml").write_text(PARAMS.replace("count: 2\n", ""))
    (project / "params" / "tiny.yaml").write_text("study: derived\nbase: base.yaml\n")
    assert reading.params_as_yaml("params/tiny.yaml", {"colour": "no: red"}, project) == (
        "notebooks: [10_make, 20_use]  # params/base.yaml\n"
        "study: derived  # params/tiny.yaml\n"
        "seed: 1  # params/base.yaml\n"
        "count: 1  # default of 10_make\n"
        "colour: 'no: red'  # --set\n"
    )


def test_defaults_that_differ_between_notebooks_are_commented_out(project):
    for number, name in enumerate(("10_make", "20_use")):
        write_notebook(project / "notebooks" / f"{name}.ipynb", [f"count = {number}  # of files"])
    (project / "params" / "tiny.yaml").write_text(
        "notebooks: [10_make, 20_use]\nstudy: tiny\nseed: 1\n"
    )
    assert reading.params_as_yaml("params/tiny.yaml", {}, project).splitlines()[3:] == [
        "# count: 0  # default of 10_make",
        "# count: 1  # default of 20_use",
    ]


def test_each_notebook_gets_only_what_it_declares(project, in_process):
    _, steps = reading.read_study("params/tiny.yaml", {}, project)
    assert [step.given for step in steps] == [
        {"study": "tiny", "seed": 1, "count": 2},
        {"study": "tiny", "seed": 1, "colour": "red"},
    ]


def test_unchanged_steps_are_skipped(project, in_process, capsys):
    assert run() == {"10_make": "run", "20_use": "run"}
    (project / "README.md").write_text("other words")
    assert run() == {"10_make": "skipped", "20_use": "skipped"}
    assert in_process == ["10_make", "20_use"]
    assert "10_make: skipped, unchanged" in capsys.readouterr().out


def test_a_skipped_step_says_what_was_missing_when_it_ran(project, in_process, capsys):
    lacking = FIRST.replace(
        "outputs=[folder.generated]", "outputs=[folder.generated], missing={'AST': 'no weights'}"
    )
    write_notebook(project / "notebooks" / "10_make.ipynb", ["count = 1  # files"], lacking)
    run()
    run()
    printed = capsys.readouterr().out
    assert (
        "10_make: skipped, unchanged. When it ran, this was missing: AST. "
        "To run it again: --only or --from\n"
    ) in printed
    assert "20_use: skipped, unchanged\n" in printed


def edit_cell(project):
    write_notebook(
        project / "notebooks" / "20_use.ipynb",
        ["colour = 'blue'  # of the text"],
        SECOND + "\n# another word",
    )


def edit_prose(project):
    path = project / "notebooks" / "20_use.ipynb"
    path.write_text(path.read_text().replace("# Title", "# Another title"))


def change_input(project):
    (project / "outputs" / "tiny" / "generated" / "0.txt").write_text("another sound")


def add_input(project):
    (project / "outputs" / "tiny" / "generated" / "more.txt").write_text("one more")


def remove_output(project):
    (project / "outputs" / "tiny" / "figures" / "all.txt").unlink()


def remove_step_record(project):
    (project / "outputs" / "tiny" / "metrics" / "20_use.json").unlink()


def remove_executed_notebook(project):
    (project / "outputs" / "tiny" / "notebooks" / "20_use.ipynb").unlink()


@pytest.mark.parametrize(
    ("change", "overrides", "expected"),
    [
        (None, {"colour": "green"}, ["20_use"]),
        (None, {"count": 3}, ["10_make", "20_use"]),  # a folder that grew is a changed input
        (edit_cell, {}, ["20_use"]),
        (edit_prose, {}, []),
        (change_input, {}, ["10_make"]),  # its output, which it writes again as it was
        (add_input, {}, ["20_use"]),  # of a folder that it reads
        (remove_output, {}, ["20_use"]),
        (remove_step_record, {}, ["20_use"]),
        (remove_executed_notebook, {}, ["20_use"]),
    ],
)
def test_what_changed_runs_again_and_nothing_else(project, in_process, change, overrides, expected):
    run()
    in_process.clear()
    if change:
        change(project)
    run(overrides=overrides)
    assert in_process == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"force": True}, ["10_make", "20_use"]),
        ({"start": "20"}, ["20_use"]),
        ({"only": "10"}, ["10_make"]),
        ({"only": "20_use"}, ["20_use"]),
    ],
)
def test_steps_can_be_requested(project, in_process, options, expected):
    run()
    in_process.clear()
    run(**options)
    assert in_process == expected


TRAIN = """from ssenv_core.base.folders import StudyFolder
from ssenv_core.plots.finding import Number
from ssenv_core.study.records import finish_step
finish_step(StudyFolder.of(study), "02_train", numbers={}, inputs=[], outputs=[])"""


@pytest.mark.parametrize(
    ("options", "finished", "kept"),
    [
        ({"force": True}, True, False),
        ({"start": "02"}, True, False),
        ({"only": "02"}, True, False),
        ({"only": "02"}, False, True),  # interrupted: goes on
        ({"only": "10"}, True, True),
        (
            {"overrides": {"rate": 2}},
            True,
            True,
        ),  # changed, not requested: the training itself decides
    ],
)
def test_a_requested_training_starts_anew_unless_it_was_interrupted(
    project, in_process, monkeypatch, options, finished, kept
):
    monkeypatch.setitem(params.NOTEBOOK_PARAMS, "02_train", params.Params)
    write_notebook(project / "notebooks" / "02_train.ipynb", ["rate = 1  # rate"], TRAIN)
    (project / "params" / "tiny.yaml").write_text(
        "notebooks: [10_make, 02_train]\nstudy: tiny\nseed: 1\n"
    )
    run()
    folder = StudyFolder(project / "outputs" / "tiny")
    state = folder.generator.with_suffix(".state.safetensors")  # as training.train names it
    save_state(state, {"step": 1}, {"kind": "soundstorm training state", "finished": finished})
    run(**options)
    assert state.exists() == kept


def test_the_codec_s_training_states_are_those_its_notebook_names():
    notebook = (code.PACKAGE.parent / "notebooks" / "08_train_codec.ipynb").read_text()
    assert all(state in notebook for state in running.TRAINING_STATES["08_train_codec"])


def test_the_judge_s_training_state_is_the_one_its_notebook_names():
    notebook = (code.PACKAGE.parent / "notebooks" / "01_tokenize.ipynb").read_text()
    assert r"folder.judge.with_suffix(\".state.safetensors\")" in notebook
    assert running.TRAINING_STATES["01_tokenize"] == (
        StudyFolder(Path()).judge.stem + ".state.safetensors",
    )


def test_the_classifiers_training_states_are_those_their_notebook_names():
    notebook = (code.PACKAGE.parent / "notebooks" / "06_classify.ipynb").read_text()
    assert r"folder.classifier.with_suffix(\".state.safetensors\")" in notebook
    assert r"folder.classifier.with_name(\"ast.state.safetensors\")" in notebook
    assert running.TRAINING_STATES["06_classify"] == (
        StudyFolder(Path()).classifier.stem + ".state.safetensors",
        "ast.state.safetensors",
    )


def test_a_step_that_does_not_exist_cannot_be_requested(project, in_process):
    with pytest.raises(SsenvError, match="no step '30' in this study: there are 10_make, 20_use"):
        run(only="30")


def test_a_step_must_record_its_files(project, in_process):
    run()
    write_notebook(project / "notebooks" / "20_use.ipynb", ["colour = 'blue'  # of the text"], "1")
    with pytest.raises(SsenvError, match="20_use wrote no record: its last cell must call"):
        run()


def test_a_step_whose_last_run_failed_runs_again_even_when_its_change_is_taken_back(
    project, in_process
):
    run()
    with pytest.raises(TypeError):
        run(overrides={"colour": "red", "count": None})
    in_process.clear()
    run()
    assert in_process == ["10_make"]


def test_code_that_a_notebook_does_not_reach_does_not_count(tmp_path):
    for name, source in {
        "__init__": "",
        "used": "def f():\n    from pkg.lazily import g",
        "lazily": "import pkg.sub",
        "unused": "",
        "sub/__init__": "from pkg.sub.inner import h",
        "sub/inner": "",
        "sub/other": "",
    }.items():
        path = tmp_path / "pkg" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    for name in ("weights.bin", "inner.html", "other.html", "README.md", "folder/more.bin"):
        path = tmp_path / "pkg" / "sub" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("data")
    found = code.package_files("import numpy\nfrom pkg import used", tmp_path / "pkg")
    names = {path.relative_to(tmp_path / "pkg").as_posix() for path in found}
    assert names == {
        "__init__.py",
        "used.py",
        "lazily.py",
        "sub/__init__.py",
        "sub/inner.py",
        "sub/weights.bin",
        "sub/inner.html",
        "sub/folder/more.bin",
    }


def test_the_package_has_no_relative_imports_which_fingerprints_do_not_follow():
    for path in code.PACKAGE.rglob("*.py"):
        assert not any(
            isinstance(node, ast.ImportFrom) and node.level
            for node in ast.walk(ast.parse(path.read_text()))
        ), path


def test_a_run_in_kernels_leaves_a_manifest_and_names_the_cell_that_fails(
    project, capfd, monkeypatch
):
    monkeypatch.setenv("JPY_SESSION_NAME", "a front end that is not this kernel's")
    checks = (
        "import os, sys\n"
        "print('python', sys.executable, os.getcwd(), os.environ.get('JPY_SESSION_NAME'))"
    )
    write_notebook(project / "notebooks" / "10_make.ipynb", ["count = 1  # files"], checks, FIRST)
    write_notebook(
        project / "notebooks" / "20_use.ipynb",
        ["colour = 'blue'  # of the text"],
        "1",
        "raise ValueError('two\\nlines')",
    )
    with pytest.raises(
        SsenvError,
        match=r"^20_use, cell \[4\]: ValueError: two lines \(see .*notebooks/20_use.ipynb\)$",
    ):
        run()
    assert f"python {sys.executable} {project} None" in capfd.readouterr().out
    folder = StudyFolder(project / "outputs" / "tiny")
    assert "two" in (folder.notebooks / "20_use.ipynb").read_text()
    assert (folder.generated / "1.txt").read_text() == "sound 1"
    steps = json.loads(folder.manifest.read_text())["steps"]
    assert list(steps) == ["10_make"]
    record = steps["10_make"]
    assert record["parameters"] == {"study": "tiny", "seed": 1, "count": 2}
    assert (record["seed"], record["headline"], record["inputs"]) == (1, {"clips": 2}, {})
    assert list(record["outputs"]) == ["generated/0.txt", "generated/1.txt", "metrics/10_make.json"]
    assert record["seconds"] > 0
    assert record["peak_memory_mb"] > 30
    assert {"git", "python", "device", "packages"} <= record["environment"].keys()
    write_notebook(
        project / "notebooks" / "20_use.ipynb",
        ["colour = 'blue'  # of the text"],
        "1",
        "import os; os._exit(1)",
        "1",
    )
    with pytest.raises(
        SsenvError, match=r"^20_use, cell \[4\]: the kernel died, .*notebooks/20_use.ipynb\)$"
    ):
        run()


WAIT = """from pathlib import Path
import os, time
Path("at").write_text(str(os.getpid()))
while not Path("go").exists():
    time.sleep(0.05)"""


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def ended(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupted_or_killed_run_leaves_no_kernel_and_goes_on_where_it_stopped(
    project, in_process
):
    write_notebook(
        project / "notebooks" / "20_use.ipynb", ["colour = 'blue'  # of the text"], WAIT, SECOND
    )
    at, manifest = project / "at", project / "outputs" / "tiny" / "manifest.json"
    for sent, exit_code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        command = [sys.executable, "-m", "ssenv_core.cli", "run", "params/tiny.yaml"]
        # a shell that runs pytest in the background has it, and all that it starts, ignore SIGINT
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        wait_for(lambda: at.exists() and at.read_text())
        process.send_signal(sent)
        printed = process.communicate(timeout=180)[1]
        assert process.returncode == exit_code
        assert (
            sent == signal.SIGKILL
            or printed == "interrupted: finished work is kept; run the same command again\n"
        )
        wait_for(lambda: ended(int(at.read_text())), seconds=60)
        at.unlink()
        assert list(json.loads(manifest.read_text())["steps"]) == ["10_make"]
    (project / "go").touch()
    assert run() == {"10_make": "skipped", "20_use": "run"}


def record_of(path, **more):
    environment = {
        "git": "abc",
        "python": "3",
        "machine": "box",
        "device": "cpu",
        "packages": {"torch": "2"},
    }
    common = {
        "started": "2024-01-01T00:00:00+00:00",
        "seconds": 75.0,
        "peak_memory_mb": 9,
        "headline": {"loss": 1.23456},
        "notebook": path,
    }
    return {
        **common,
        "parameters": {"study": "tiny", "epochs": 3},
        "environment": environment,
        **more,
    }


def test_the_report_needs_no_network_and_keeps_figures_sounds_and_links(tmp_path):
    folder = StudyFolder(tmp_path)
    folder.notebooks.mkdir()
    figure = {"data": [{"y": [1, 2]}], "layout": {"title": {"text": "</script><b>"}}}
    library = '<script>/**\n* plotly.js v3\n*/ 1</script><script type="module">import "https://cdn.plot.ly/p.js"</script>'
    outputs = [
        new_output(
            "display_data",
            {
                "application/vnd.plotly.v1+json": figure,
                "text/html": "<script src='https://cdn.plot.ly/p.js'></script>",
            },
        ),
        new_output(
            "display_data",
            {"text/html": f"{library}<div id='x'></div><script>Plotly.newPlot('x', [])</script>"},
        ),
        new_output(
            "display_data",
            {
                "text/html": "<audio controls src='../generated/dog_1.wav'></audio><img src='http://x.org/a.png'>"
            },
        ),
        new_output(
            "display_data",
            {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "IntSlider()"},
        ),
        new_output("stream", name="stdout", text="<loss> 0.5\n"),
        new_output("stream", name="stdout", text="and 0.4\n"),
    ]
    cells = [
        new_markdown_cell(
            "Next: [train](02_train.ipynb), [data](../tokens/t.json), [paper](https://arxiv.org/abs/2305.09636)"
        ),
        new_code_cell("secret_sauce = 1", outputs=outputs),
    ]
    for name in ("01_tokenize", "02_train"):
        nbformat.write(new_notebook(cells=cells), folder.notebooks / f"{name}.ipynb")
    records = {name: record_of(f"notebooks/{name}.ipynb") for name in ("01_tokenize", "02_train")}
    page = write_report(folder, "tiny", records, set()).read_text()
    own = re.sub(r"<script>/\*\*\n\* plotly\.js.*?</script>", "", page, flags=re.DOTALL)
    assert len(page) - len(own) > 1_000_000  # one whole copy of plotly.js
    assert "plotly.js" not in own
    assert not re.findall(r"""<link|@import|import ["']http|\bsrc=["']?(?:https?:)?//""", own)
    assert own.count('src="generated/dog_1.wav"') == 2
    assert own.count('href="#02_train"') == 3  # the table of steps, and the link in each notebook
    assert own.count('href="tokens/t.json"') == 2
    assert own.count('href="https://arxiv.org/abs/2305.09636"') == 2
    stored = re.findall(r'<script type="application/json" id="figure-\d+-data">(.*?)</script>', own)
    assert [json.loads(text) for text in stored] == [figure, figure]
    assert "IntSlider" not in own
    assert "&lt;loss&gt; 0.5\nand 0.4" in own
    assert re.search(r'<details class="code">(?:(?!</details>).)*secret_sauce', own, re.DOTALL)
    assert "loss 1.235" in own
    assert "1 min 15 s" in own


def test_a_step_runs_again_when_the_labels_of_its_dataset_change(project, in_process, capsys):
    """The table of labels is no file that the notebook hashed."""
    sounds = project / "sounds"
    sounds.mkdir()
    for number in range(10):
        soundfile.write(sounds / f"{number}.wav", np.full(2400, 0.1 * (number + 1) / 11), 24_000)
    rows = [f"{number}.wav,{'ab'[number % 2]}\n" for number in range(10)]
    (sounds / "labels.csv").write_text("filename,label\n" + "".join(rows))
    read = ["colour = 'blue'", "dataset = 'folder'", "data_root = 'sounds'", "clips_per_class = 1"]
    write_notebook(project / "notebooks" / "20_use.ipynb", read, SECOND)
    (project / "params" / "tiny.yaml").write_text(
        PARAMS + "dataset: folder\ndata_root: sounds\nclips_per_class: 1\n"
    )
    run()
    run()
    assert in_process == ["10_make", "20_use"]
    (sounds / "labels.csv").write_text("filename,label\n" + "".join(["0.wav,b\n", *rows[1:]]))
    run()
    assert in_process == ["10_make", "20_use", "20_use"]
    assert "20_use: running (the dataset changed)" in capsys.readouterr().out


def test_a_run_of_one_step_reports_though_the_notebook_of_another_is_gone(project, in_process):
    run()
    remove_executed_notebook(project)
    run(only="10")
    page = (project / "outputs" / "tiny" / "report.html").read_text()
    assert "notebooks/20_use.ipynb is gone: run this step again" in page
    assert page.count("is gone") == 1


def test_a_notebook_cut_short_does_not_keep_the_report_from_being_written(project, in_process):
    run()
    executed = project / "outputs" / "tiny" / "notebooks" / "20_use.ipynb"
    executed.write_text(executed.read_text()[:100])
    run(only="10")
    assert (
        "notebooks/20_use.ipynb cannot be read: run this step again"
        in (project / "outputs" / "tiny" / "report.html").read_text()
    )


def test_a_step_whose_last_run_failed_or_whose_files_changed_shows_no_numbers(
    project, in_process, capsys
):
    run()
    report = project / "outputs" / "tiny" / "report.html"
    assert "length 0.5" in report.read_text()
    run(only="10")  # made again as it was
    assert "length 0.5" in report.read_text()
    run(only="10", overrides={"count": 3})
    assert "length 0.5" not in report.read_text()
    assert (
        "20_use (outdated: its last run did not end, or it read what has changed since)"
        in report.read_text()
    )
    run()
    assert "length 0.5" in report.read_text()
    write_notebook(project / "notebooks" / "20_use.ipynb", ["colour = 'blue'"], FAILING, SECOND)
    with pytest.raises(SsenvError):
        run(overrides={"colour": "blue"})
    capsys.readouterr()
    run(only="10")
    assert "20_use   left alone" in (table := capsys.readouterr().out)
    assert "outdated" in table
    assert "length 0.5" not in table


def test_nothing_runs_again_where_the_outputs_lie_on_another_disk(
    project, in_process, tmp_path_factory
):
    scratch = tmp_path_factory.mktemp("scratch") / "deep" / "down"
    scratch.mkdir(parents=True)
    (project / "outputs").symlink_to(scratch, target_is_directory=True)
    (project / "data").mkdir()
    (project / "data" / "clip.txt").write_text("a recording")
    read = "from pathlib import Path\n" + SECOND.replace(
        "inputs=[", 'inputs=[Path("data/clip.txt").resolve(), '
    )
    write_notebook(project / "notebooks" / "20_use.ipynb", ["colour = 'blue'"], read)
    run()
    in_process.clear()
    run()
    assert in_process == []
    (project / "data" / "clip.txt").write_text("another recording")
    run()
    assert in_process == ["20_use"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.24, "4.2 s"), (59.97, "1 min 00 s"), (200, "3 min 20 s"), (3899, "1 h 05 min")],
)
def test_times_are_readable(seconds, text):
    assert format_seconds(seconds) == text


def test_a_sweep_runs_every_combination_and_makes_once_what_does_not_change(
    project, in_process, capsys
):
    choices = every_combination({"count": [1, 3], "colour": ["red", "light blue"]})
    names = run_sweep("params/tiny.yaml", choices, root=project)
    assert names == [
        "tiny_count=1_colour=red",
        "tiny_count=1_colour=lightblue",
        "tiny_count=3_colour=red",
        "tiny_count=3_colour=lightblue",
    ]
    assert in_process == ["10_make", "20_use", "20_use", "10_make", "20_use", "20_use"]
    folders = [project / "outputs" / name for name in names]
    assert [(folder / "figures" / "all.txt").read_text() for folder in folders] == [
        "red sound 0",
        "light blue sound 0",
        "red sound 0 sound 1 sound 2",
        "light blue sound 0 sound 1 sound 2",
    ]
    manifest = json.loads((folders[1] / "manifest.json").read_text())["steps"]
    assert manifest["10_make"]["made_by"] == names[0]
    assert manifest["10_make"]["parameters"]["study"] == names[1]
    assert "made_by" not in manifest["20_use"]
    in_process.clear()
    run_sweep("params/tiny.yaml", choices, root=project)
    assert in_process == []
    run_study(
        "params/tiny.yaml", {"count": 1, "colour": "light blue", "study": names[1]}, root=project
    )
    assert in_process == []


def test_ablations_are_the_study_as_it_is_and_each_value_alone(project, in_process):
    names = run_sweep(
        "params/tiny.yaml", one_at_a_time({"count": [3], "colour": ["light blue"]}), root=project
    )
    assert names == ["tiny", "tiny_count=3", "tiny_colour=lightblue"]
    assert in_process == ["10_make", "20_use", "10_make", "20_use", "20_use"]
    assert [(project / "outputs" / name / "figures" / "all.txt").read_text() for name in names] == [
        "red sound 0 sound 1",
        "red sound 0 sound 1 sound 2",
        "light blue sound 0 sound 1",
    ]


def test_a_study_that_fails_does_not_stop_the_sweep(project, in_process, capsys):
    write_notebook(project / "notebooks" / "20_use.ipynb", ["colour = 'blue'"], FAILING, SECOND)
    with pytest.raises(SsenvError, match=r"^1 of 3 studies failed: tiny_colour=blue$"):
        run_sweep(
            "params/tiny.yaml",
            every_combination({"colour": ["red", "blue", "green"]}),
            root=project,
        )
    assert (project / "outputs" / "tiny_colour=green" / "figures" / "all.txt").exists()
    assert "no blue" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("grid", "overrides", "message"),
    [
        ({"count": [1], "color": ["red"]}, {}, "color"),
        ({"count": [1], "seed": [1, "often"]}, {}, "parameter seed = 'often'"),
        ({"count": [1]}, {"count": 2}, "sweep count: it cannot be swept and set"),
        ({"study": ["a", "b"]}, {}, "sweep study: it cannot be swept$"),
        (
            {"colour": ["light blue", "lightblue"]},
            {},
            "two studies would both be called tiny_colour=lightblue",
        ),
    ],
)
def test_a_sweep_is_checked_before_anything_runs(project, in_process, grid, overrides, message):
    with pytest.raises(SsenvError, match=message):
        run_sweep("params/tiny.yaml", every_combination(grid), overrides, root=project)
    assert in_process == []


def test_an_axis_is_a_name_and_values():
    assert parse_axis("fold=1,2") == ("fold", [1, 2])
    assert parse_axis("steps=[12,1],[1,1]") == ("steps", [[12, 1], [1, 1]])
    assert parse_axis("top_p=null,0.9") == ("top_p", [None, 0.9])
    assert parse_axis("study=2024-01-01,2024-01-02")[0] == "study"  # which YAML reads as dates
    for text in ("fold", "fold=", "=1", "fold=[1"):
        with pytest.raises(SsenvError, match=r"write name=value,value,\.\.\.$"):
            parse_axis(text)
    with pytest.raises(SsenvError, match=r"sweep fold=1,1: name each value once"):
        parse_axis("fold=1,1")
