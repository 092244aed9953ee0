"""The exported program: it gives the generator's codes, in a process that knows nothing of this package."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from ssenv_core import export
from ssenv_core.checkpoints import TrainedGenerator
from ssenv_core.errors import SsenvError
from ssenv_core.export import DESCRIPTION, export_generator, plain_codes
from ssenv_core.soundstorm import Confidence, HaltonOrder, RandomOrder, Sampling, SoundStorm, SoundStormConfig

CONFIG = SoundStormConfig(n_q=2, codebook_size=64, num_classes=2, dim=16, depth=1, heads=2, kernel_size=3)
METADATA = {"codec": "melrvq_24khz", "frame_rate": 75.0, "duration": 5.0}
SETTINGS = Sampling((3, 1), guidance=2.0, top_p=0.9)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    model = SoundStorm(CONFIG).eval().requires_grad_(False)
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.5)
    return TrainedGenerator(model, ("dog", "rain"), METADATA, {})


@pytest.mark.parametrize("sampler", [Confidence(4.5), HaltonOrder(), RandomOrder()])
def test_pytorch_alone_generates_the_same_codes(generator, tmp_path, sampler):
    sampling = replace(SETTINGS, sampler=sampler)
    path = export_generator(tmp_path / "dog.pt2", generator, sampling, 0.2)
    code = (
        "import sys, json, torch\n"
        f"extra = {{{DESCRIPTION!r}: ''}}\n"
        f"program = torch.export.load({str(path)!r}, extra_files=extra).module()\n"
        "made = []\n"
        "for label, seed in ((0, 5), (1, 5), (1, 6)):\n"
        "    torch.manual_seed(seed)\n"
        "    made.append(program(torch.tensor([label])).tolist())\n"
        "assert not any(name.startswith('ssenv') for name in sys.modules)\n"
        f"print(json.dumps([made, json.loads(extra[{DESCRIPTION!r}])]))\n"
    )
    shown = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    made, described = json.loads(shown)
    for codes, (label, seed) in zip(made, ((0, 5), (1, 5), (1, 6)), strict=True):
        assert codes == plain_codes(generator, sampling, 15, label, seed).tolist()
    assert made[1] != made[2]
    assert (described["class_names"], described["frames"], described["tokens"]) == (["dog", "rain"], 15, METADATA)


def test_a_program_that_gives_other_codes_is_not_written(generator, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "plain_codes", lambda *_, **__: torch.zeros(1, 2, 15, dtype=torch.int64))
    with pytest.raises(SsenvError, match="other codes than the generator for dog"):
        export_generator(tmp_path / "dog.pt2", generator, SETTINGS, 0.2)
    assert not list(tmp_path.iterdir())


def test_steps_of_another_number_of_levels_are_refused(generator, tmp_path):
    with pytest.raises(SsenvError, match="2 levels"):
        export_generator(tmp_path / "dog.pt2", generator, Sampling((3, 1, 1)), 0.2)
