"""07_listening_test at its smallest: without ratings, with one listener's, with several."""

import json
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
from tiny import tiny_codec, token_format
from tiny.listening import noise, rate

from ssenv_core.base import code
from ssenv_core.base.audio import write_audio
from ssenv_core.base.files import write_json, write_text
from ssenv_core.codecs import load_codec
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.recordings import Clip, Dataset
from ssenv_core.evaluation.listening.design import REFERENCE
from ssenv_core.evaluation.listening.ratings import append_ratings, start_ratings

RATE = 24_000
CLASSES = ("rain", "dog", "wind", "clock tick")
NOTEBOOK = code.PACKAGE.parent / "notebooks" / "07_listening_test.ipynb"
SETTINGS = {
    "study": "tiny",
    "device": "cpu",
    "mushra_items": 2,
    "mushra_codecs": ["melrvq_24khz@6", "dac_44khz@8"],
    "fit_classes": 2,
    "seed": 1,
}


class Noise:
    """The source of a clip."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        return noise(self.seed, duration)

    def identity(self) -> list:
        return [self.seed]

    modified = 0


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study of 1 s clips; tokens and generator, which 07 only checks, are fakes."""
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSENV_DAC_DIR", str(tmp_path / "nothing"))
    for folder in ("notebooks", "params"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    clips = [
        Clip(f"{label}-{i}", label, 1, Noise(10 * label + i))
        for label in range(len(CLASSES))
        for i in range(2)
    ]
    sounds = Dataset("noises", CLASSES, tuple(clips), 1.0)
    study = tmp_path / "outputs" / "tiny"
    made = [
        {"name": f"{name}_{i}", "class": name, "index": i} for name in CLASSES for i in range(2)
    ]
    for i, clip in enumerate(made):
        write_audio(study / "generated" / f"{clip['name']}.wav", noise(100 + i, 1.0), RATE)
    write_json(study / "generated" / "recipe.json", {"clips": made})
    for path in ("tokens/tokens.safetensors", "checkpoints/generator.safetensors"):
        write_text(study / path, "a stand-in")
    tokens = SimpleNamespace(format=token_format(dataset="noises", dataset_fingerprint=sounds.fingerprint, sample_rate=RATE))
    generator = SimpleNamespace(training={"folds": [2, 3]})
    monkeypatch.setattr("ssenv_core.study.params.load_dataset", lambda *_, **__: sounds)
    monkeypatch.setattr(
        "ssenv_core.evaluation.listening.preparation.load_tokens_file", lambda _: tokens
    )
    monkeypatch.setattr(
        "ssenv_core.evaluation.listening.preparation.load_generator", lambda *_: generator
    )
    monkeypatch.setattr(
        "ssenv_core.evaluation.ceiling.load_codec",
        lambda name, bandwidth, device: _codec(name, bandwidth),
    )
    monkeypatch.setattr(
        "ssenv_core.study.step.save_figure", lambda figure, path: write_text(path, figure.to_json())
    )
    return study


def _codec(name: str, bandwidth: float) -> Codec:
    return tiny_codec(bandwidth) if name == "melrvq_24khz" else load_codec(name, bandwidth)


def execute() -> dict:
    """Run the notebook's cells in this process; returns the names they leave."""
    names: dict = {}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            names |= SETTINGS if "parameters" in cell.metadata.get("tags", []) else {}
    return names


def truth(condition: str) -> int:
    known = {
        REFERENCE: 100,
        "real": 90,
        "generated": 40,
        "mid anchor 7 kHz": 50,
        "low anchor 3.5 kHz": 20,
    }
    return known.get(condition, 70)


def record(study: Path) -> dict:
    return json.loads((study / "metrics" / "07_listening_test.json").read_text())


def test_without_ratings_the_notebook_prepares_the_test_and_says_that_nobody_has_rated(
    project: Path, capsys: pytest.CaptureFixture
) -> None:
    names = execute()
    said = capsys.readouterr().out
    assert "Nobody has rated anything yet" in said
    assert "Left out: dac_44khz 8 kbps. " in said
    assert not (project / "figures" / "07_ratings.json").exists()
    left = {
        path.relative_to(project).as_posix()
        for path in (project / "listening").rglob("*")
        if path.is_file()
    }
    found = record(project)
    assert left == {
        name for name in (*found["outputs"], *found["inputs"]) if name.startswith("listening/")
    }
    assert {
        "listening/ratings.csv",
        "listening/test/index.html",
        "listening/test/config.json",
    } <= left
    assert found["headline"]["listeners"] == 0
    assert not list(project.glob("figures/*"))
    assert names["files"].key.name == f"key-{names['test'].version}.csv"
    assert names["listening_panel"](
        names["test"], names["files"].audio, names["files"].ratings
    ).data.startswith("<table>")


@pytest.mark.parametrize("listeners", [1, 8])
def test_with_ratings_from_the_panel_and_from_the_page_it_says_what_they_are(
    project: Path, capsys: pytest.CaptureFixture, listeners: int
) -> None:
    test = execute()["test"]
    scores = {
        stimulus.condition: truth(stimulus.condition)
        for page in test.pages
        for stimulus in page.stimuli
    }
    for i in range(listeners):
        file = project / "listening" / ("returned/one.csv" if i == 0 else "ratings.csv")
        append_ratings(start_ratings(file), rate(test, f"l{i}", scores))
    capsys.readouterr()
    names = execute()
    said = capsys.readouterr().out
    assert names["test"].version == test.version
    found = record(project)
    assert found["headline"]["listeners"] == listeners
    medians = {name: value for name, value in found["headline"].items() if "fit fit" in name}
    assert medians == {"fit fit: real": 90, "fit fit: generated": 40}
    assert "listening/returned/one.csv" in found["inputs"]
    assert "figures/07_ratings.png" in found["outputs"]
    assert ("too few listeners to test" in said) == (listeners == 1)
    assert (project / "figures" / "07_ratings.png").is_file()
    differences = names["verdict"].differences
    assert differences["p"].isna().all() if listeners == 1 else (differences["p_holm"] < 0.05).all()
    (project / "listening" / "ratings.csv").unlink(missing_ok=True)
    (project / "listening" / "returned" / "one.csv").unlink()
    execute()
    assert "figures/07_ratings.png" not in record(project)["outputs"]
