"""Folders of clips, a small codec and a small generator for the commands."""

import json

import numpy as np
import pytest
import soundfile
import torch
from tiny import tiny_codec, token_format
from tiny.commands import noise

from ssenv_core import codecs
from ssenv_core.base.files import sha256_file
from ssenv_core.codecs import load_codec
from ssenv_core.generator.file import TrainedGenerator, save_generator
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig


@pytest.fixture
def sounds(tmp_path):
    """Folders of clips by name: real and generated; and bad ones.

    empty, text (not audio), cut (a truncated ogg), twins (two files of one stem).
    """
    for name in ("empty", "text", "cut", "twins", "real", "generated"):
        (tmp_path / name).mkdir()
    (tmp_path / "text" / "a.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "cut" / "a.ogg", noise(0, 48_000), 24_000)
    data = (tmp_path / "cut" / "a.ogg").read_bytes()
    (tmp_path / "cut" / "a.ogg").write_bytes(data[: len(data) // 2])
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / "twins" / f"a.{suffix}", noise(1), 24_000)
    (tmp_path / "real" / "dog").mkdir()
    soundfile.write(tmp_path / "real" / "dog" / "1.flac", noise(2, 11_025), 44_100)
    soundfile.write(tmp_path / "real" / "b.wav", noise(3), 24_000)
    soundfile.write(tmp_path / "real" / "c.wav", np.zeros(6000), 24_000)
    soundfile.write(tmp_path / "generated" / "x.wav", noise(4), 24_000)
    soundfile.write(tmp_path / "generated" / "y.wav", noise(5), 24_000)
    return tmp_path


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A small embedded codec in place of the shipped one."""
    path = tiny_codec().save(tmp_path / "weights" / "melrvq_24khz.safetensors")
    path.with_suffix(".json").write_text(json.dumps({"sha256": sha256_file(path)}))
    monkeypatch.setattr(codecs, "WEIGHTS", path.parent)


@pytest.fixture
def checkpoint(tmp_path, weights):
    codec = load_codec("melrvq_24khz", 1.5)
    torch.manual_seed(0)
    model = SoundStorm(
        SoundStormConfig(n_q=2, num_classes=2, dim=16, depth=1, heads=2, kernel_size=3)
    ).eval()
    tokens = token_format(codec, duration=5.0)
    return save_generator(
        tmp_path / "generator.safetensors", TrainedGenerator(model, ("dog", "rain"), tokens, {})
    )
