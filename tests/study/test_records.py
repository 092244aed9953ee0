"""The record of a step: its numbers, its files with their hashes, and what makes it outdated."""

import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import read_json, sha256_file, write_text
from ssenv_core.base.folders import StudyFolder
from ssenv_core.plots.finding import Number
from ssenv_core.study.records import finish_step


def test_a_step_records_its_files_and_refuses_a_missing_one(tmp_path):
    folder = StudyFolder(tmp_path / "outputs" / "demo")
    tokens = write_text(folder.tokens, "t")
    clips = [write_text(folder.generated / f"{name}.wav", name) for name in "ba"]
    finish_step(
        folder,
        "03_generate",
        numbers={"clips": Number(2, "higher")},
        inputs=[tokens],
        outputs=[folder.generated],
    )
    path = folder.metrics / "03_generate.json"
    record = read_json(path)
    assert record["headline"] == {"clips": 2}
    assert record["better"] == {"clips": "higher"}
    assert record["inputs"] == {"tokens/tokens.safetensors": sha256_file(tokens)}
    assert record["outputs"] == {
        "generated/a.wav": sha256_file(clips[1]),
        "generated/b.wav": sha256_file(clips[0]),
    }
    path.unlink()
    with pytest.raises(SsenvError, match=r"declared .*classifier.safetensors but it is missing"):
        finish_step(folder, "03_generate", numbers={}, inputs=[folder.classifier], outputs=[])
    assert not path.exists()


def test_the_figures_of_a_step_are_among_its_outputs(tmp_path):
    folder = StudyFolder(tmp_path)
    clip = write_text(folder.generated / "a.wav", "a")
    for name in ("03_generated.png", "03_mask_trace.png", "02_training.png", "030_other.png"):
        write_text(folder.figures / name, name)
    finish_step(folder, "03_generate", numbers={}, inputs=[], outputs=[clip])
    expected = ["generated/a.wav", "figures/03_generated.png", "figures/03_mask_trace.png"]
    assert list(read_json(folder.step_record("03_generate"))["outputs"]) == expected
