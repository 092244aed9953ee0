"""The exported program gives the generator's codes in a process without this package."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from tiny import tiny_codec, token_format

from ssenv_core.base.errors import SsenvError
from ssenv_core.codecs.encodec import untrained_encodec
from ssenv_core.codecs.vocos_encodec import VocosEnCodec, untrained_vocos
from ssenv_core.generator import export
from ssenv_core.generator.export import DESCRIPTION, Program, export_generator, plain_codes
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig
from ssenv_core.soundstorm.sampling import Confidence, HaltonOrder, RandomOrder, Sampling

CONFIG = SoundStormConfig(
    n_q=2, codebook_size=64, num_classes=2, dim=16, depth=1, heads=2, kernel_size=3
)
SETTINGS = Sampling((3, 1), guidance=2.0, top_p=0.9)


@pytest.fixture
def codec():
    return tiny_codec(bandwidth=1.5)


@pytest.fixture
def generator(codec):
    torch.manual_seed(0)
    model = SoundStorm(CONFIG).eval().requires_grad_(False)
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.5)
    return TrainedGenerator(model, ("dog", "rain"), token_format(codec, duration=5.0), {})


@pytest.mark.parametrize("sampler", [Confidence(4.5), HaltonOrder(), RandomOrder()])
def test_pytorch_alone_generates_the_same_codes_and_sounds(generator, codec, tmp_path, sampler):
    sampling = replace(SETTINGS, sampler=sampler)
    path = export_generator(tmp_path / "dog.pt2", generator, codec, sampling, 0.2)
    code = (
        "import sys, json, torch\n"
        f"extra = {{{DESCRIPTION!r}: ''}}\n"
        f"program = torch.export.load({str(path)!r}, extra_files=extra).module()\n"
        "made = []\n"
        "for label, seed in ((0, 5), (1, 5), (1, 6)):\n"
        "    torch.manual_seed(seed)\n"
        "    made.append([part.tolist() for part in program(torch.tensor([label]))])\n"
        "assert not any(name.startswith('ssenv') for name in sys.modules)\n"
        f"print(json.dumps([made, json.loads(extra[{DESCRIPTION!r}])]))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    made, described = json.loads(shown)
    for (codes, wav), (label, seed) in zip(made, ((0, 5), (1, 5), (1, 6)), strict=True):
        expected = plain_codes(generator, sampling, 15, label, seed)
        assert codes == expected.tolist()
        torch.manual_seed(seed)
        torch.testing.assert_close(
            torch.tensor(wav),
            Program(generator.model, codec, sampling, 15)(torch.tensor([label]))[1],
        )
        assert np.shape(wav) == (1, 1, 15 * 320)
        assert np.abs(wav).max() > 0
    assert made[1] != made[2]
    assert (described["class_names"], described["frames"], described["tokens"]) == (
        ["dog", "rain"],
        15,
        asdict(generator.format),
    )
    assert described["sample_rate"] == 24_000
    assert Sampling.of(described["sampling"]) == sampling


@pytest.mark.parametrize("name", ["encodec_24khz", "vocos_encodec_24khz"])
def test_other_codecs_are_exported_too(generator, tmp_path, name):
    codec = untrained_encodec("encodec_24khz", 1.5)
    if name == "vocos_encodec_24khz":
        codec = VocosEnCodec(codec.model, untrained_vocos(), 1.5)
    other = replace(generator, format=token_format(codec))
    path = export_generator(tmp_path / "dog.pt2", other, codec, SETTINGS, 0.2)
    assert torch.export.load(path).module()(torch.tensor([0]))[1].shape == (1, 1, 4800)


def test_clips_that_take_several_windows_are_left_to_the_package(generator, codec, tmp_path):
    with pytest.raises(
        SsenvError, match=r"at most 5 s, as in training: `ssenv generate` makes longer"
    ):
        export_generator(tmp_path / "dog.pt2", generator, codec, SETTINGS, 5.1)
    assert not (tmp_path / "dog.pt2").exists()


def test_a_program_that_gives_other_codes_is_not_written(generator, codec, tmp_path, monkeypatch):
    monkeypatch.setattr(
        export, "plain_codes", lambda *_, **__: torch.zeros(1, 2, 15, dtype=torch.int64)
    )
    with pytest.raises(SsenvError, match="other codes than the generator for dog"):
        export_generator(tmp_path / "dog.pt2", generator, codec, SETTINGS, 0.2)
    assert not list(tmp_path.iterdir())


def test_a_program_that_sounds_otherwise_is_not_written(generator, codec, tmp_path, monkeypatch):
    run = export.run_program

    def louder(made, label, seed):
        codes, wav = run(made, label, seed)
        return codes, wav if isinstance(made, Program) else 1.001 * wav

    monkeypatch.setattr(export, "run_program", louder)
    with pytest.raises(SsenvError, match="gives another sound than the codec for dog"):
        export_generator(tmp_path / "dog.pt2", generator, codec, SETTINGS, 0.2)
    assert not list(tmp_path.iterdir())


def test_another_codec_and_steps_of_another_number_of_levels_are_refused(
    generator, codec, tmp_path
):
    with pytest.raises(SsenvError, match="2 levels"):
        export_generator(tmp_path / "dog.pt2", generator, codec, Sampling((3, 1, 1)), 0.2)
    with pytest.raises(SsenvError, match="tokens are of"):
        export_generator(tmp_path / "dog.pt2", generator, tiny_codec(1.5, seed=1), SETTINGS, 0.2)
