"""Weights: the folder before the cache before a download, and one line without them."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from ssenv_core.base import pretrained
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.pretrained import HUB, Weights


@pytest.fixture
def model() -> nn.Linear:
    return nn.Linear(2, 3)


@pytest.fixture
def published(tmp_path: Path, model: nn.Linear, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """One file on a web server, and a folder for the cache."""
    path = tmp_path / "web" / "tiny.pth"
    path.parent.mkdir()
    torch.save(model.state_dict(), path)
    monkeypatch.delenv("SSENV_TINY_DIR", raising=False)
    return Weights(
        "tiny",
        "SSENV_TINY_DIR",
        path.as_uri(),
        ("tiny.pth",),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        cache=str(tmp_path / "cache"),
        otherwise="do without it",
    )


def repository(folder: Path, monkeypatch: pytest.MonkeyPatch, *files: str) -> list[list[str]]:
    """A repository of the hub with these files; returns the patterns that are requested of it."""
    requests = []

    def snapshot(name: str, allow_patterns: list[str]) -> str:
        assert name == "someone/tiny"
        requests.append(allow_patterns)
        for file in set(files) & set(allow_patterns):
            (folder / file).touch()
        return str(folder)

    monkeypatch.setattr(pretrained, "snapshot_download", snapshot)
    return requests


def assert_loads(weights: Weights, model: nn.Linear) -> None:
    loaded = nn.Linear(2, 3)
    weights.load_into(loaded)
    assert torch.equal(loaded.weight, model.weight)


def test_the_folder_is_used_before_the_cache(
    published: Weights, model: nn.Linear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSENV_TINY_DIR", str(tmp_path / "web"))
    assert_loads(published, model)
    assert not (tmp_path / "cache").exists()


def test_a_file_is_downloaded_into_the_cache_once(
    published: Weights, model: nn.Linear, tmp_path: Path
) -> None:
    assert_loads(published, model)
    (tmp_path / "web" / "tiny.pth").unlink()
    assert_loads(published, model)
    assert (tmp_path / "cache" / "tiny.pth").is_file()


def test_the_home_folder_s_cache_may_be_named_by_a_tilde(
    published: Weights, model: nn.Linear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_loads(replace(published, cache="~/in/home"), model)
    assert (tmp_path / "in/home/tiny.pth").is_file()


@pytest.mark.parametrize("fault", ["folder", "hash", "model", "download"])
def test_every_fault_is_one_line_with_the_file_both_ways_and_the_alternative(
    published: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    path = tmp_path / "web" / "tiny.pth"
    monkeypatch.setenv("SSENV_TINY_DIR", str(path.parent))
    if fault == "folder":
        monkeypatch.setenv("SSENV_TINY_DIR", str(tmp_path))
    elif fault == "hash":
        published = replace(published, sha256="0123")
    elif fault == "model":
        torch.save({"other": torch.zeros(1)}, path)
        published = replace(published, sha256="")
    else:
        monkeypatch.delenv("SSENV_TINY_DIR")
        path.unlink()
    with pytest.raises(SsenvError, match=r"\Atiny: weights unavailable \(.*\): put .*\Z") as error:
        published.load_into(nn.Linear(2, 3))
    for part in ("tiny.pth", published.url, "set SSENV_TINY_DIR", "or do without it"):
        assert part in str(error.value)


def test_the_hub_is_asked_for_one_file_of_weights_the_preferred_one_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Weights("tiny", "SSENV_TINY_DIR", f"{HUB}someone/tiny", ("a", "b"), ("config",))
    requests = repository(tmp_path, monkeypatch, "config", "b")
    assert weights.folder() == tmp_path
    assert requests == [["config", "a"], ["config", "b"]]
    requests.clear()
    repository(tmp_path, monkeypatch)
    (tmp_path / "config").unlink()
    with pytest.raises(SsenvError, match=rf"{tmp_path} lacks them\): put config and a or b from"):
        weights.folder()
