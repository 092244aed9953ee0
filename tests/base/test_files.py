"""Files of a study: complete or absent, tensors bit-equal, and every fault is one line."""

import resource
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssenv_core.base.audio import write_audio
from ssenv_core.base.environment import environment
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import (
    atomic_path,
    read_json,
    sha256_file,
    sha256_files,
    sha256_json,
    write_json,
    write_text,
)
from ssenv_core.base.folders import StudyFolder, project_root
from ssenv_core.base.tensors import (
    can_be_resumed,
    load_state,
    load_tensors,
    save_state,
    save_tensors,
)


@contextmanager
def full_disk():
    """Writes beyond 1 kB of a file fail, as on a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused(match):
    return pytest.raises(SsenvError, match=rf"\A[^\n]*{match}[^\n]*\Z")


def test_a_block_that_ends_well_replaces_the_file(tmp_path):
    path = write_text(tmp_path / "new" / "a.txt", "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".txt"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_old_file_and_no_temporary(tmp_path, error):
    path = write_text(tmp_path / "a.txt", "old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_text(path, "x" * 5_000),
        lambda path: save_tensors(path, {"x": torch.zeros(5_000)}, {"kind": "thing"}),
        lambda path: write_audio(path, np.zeros(5_000), 24_000),
    ],
    ids=["text", "tensors", "audio"],
)
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, write):
    path = write_text(tmp_path / "file.wav", "old")
    with full_disk(), refused("cannot write .*file.wav"):
        write(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with refused("cannot write .*file/a.txt"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_json_comes_back_and_nan_is_refused(tmp_path):
    path = write_json(tmp_path / "a.json", {"a": [1, None, "é"]})
    assert read_json(path) == {"a": [1, None, "é"]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": [1, None, "é"]}


def test_json_that_is_missing_or_cut_is_refused(tmp_path):
    with refused("no file at .*a.json"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"a": ')
    with refused("a.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_the_same_tensors_and_metadata_are_the_same_bytes(tmp_path):
    metadata = {"kind": "x"} | {f"key {i}": i for i in range(20)}
    paths = [
        save_tensors(
            tmp_path / f"{i}.safetensors", {"b": torch.ones(3), "a": torch.zeros(2)}, metadata
        )
        for i in range(3)
    ]
    assert len({path.read_bytes() for path in paths}) == 1


def test_tensors_and_metadata_come_back(tmp_path):
    tensors = {
        "codes": torch.arange(6).reshape(2, 3).to(torch.uint16),
        "turned": torch.randn(3, 2).T,
        "flag": torch.tensor(True),
    }
    metadata = {"kind": "tokens", "name": "é", "rate": 75.0, "classes": ["a", "b"], "none": None}
    loaded, found = load_tensors(
        save_tensors(tmp_path / "a.safetensors", tensors, metadata), "tokens"
    )
    assert found == metadata
    assert loaded.keys() == tensors.keys()
    assert all(
        torch.equal(loaded[name], tensors[name]) and loaded[name].dtype == tensors[name].dtype
        for name in tensors
    )


def test_tensors_of_another_kind_are_refused(tmp_path):
    path = save_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(1)}, {"kind": "classifier"})
    with refused("a.safetensors holds 'classifier', not a generator"):
        load_tensors(path, "generator")
    save_file({"x": torch.zeros(1)}, path)
    with refused("not a generator"):
        load_tensors(path, "generator")
    save_file({"x": torch.zeros(1)}, path, {"json": "pt"})
    with refused("not a readable generator file"):
        load_tensors(path, "generator")


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_tensors_that_are_missing_or_cut_are_refused(tmp_path, kept):
    path = tmp_path / "a.safetensors"
    with refused("no generator file at .*a.safetensors: 02_train makes it"):
        load_tensors(tmp_path / "a.safetensors", "generator", "02_train")
    with refused("no generator file at .*a.safetensors"):
        load_tensors(path, "generator")
    save_tensors(path, {"x": torch.zeros(100)}, {"kind": "generator"})
    path.write_bytes(path.read_bytes()[:kept])
    with refused("a.safetensors is not a readable generator file"):
        load_tensors(path, "generator")


def test_an_optimizer_goes_on_bit_for_bit_from_its_saved_state(tmp_path):
    def make():
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        return (
            model,
            optimizer,
            torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=10),
        )

    def step(model, optimizer, scheduler):
        optimizer.zero_grad()
        model(torch.arange(3.0)).square().sum().backward()
        optimizer.step()
        scheduler.step()

    first = make()
    for _ in range(3):
        step(*first)
    state = {
        "model": first[0].state_dict(),
        "optimizer": first[1].state_dict(),
        "scheduler": first[2].state_dict(),
    }
    loaded, metadata = load_state(
        save_state(tmp_path / "a.safetensors", state, {"kind": "training state", "step": 3}),
        "training state",
    )
    assert metadata == {"kind": "training state", "step": 3}

    second = make()
    for part, name in zip(second, state, strict=True):
        part.load_state_dict(loaded[name])
    for _ in range(3):
        step(*first)
        step(*second)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first[0].parameters(), second[0].parameters(), strict=True)
    )
    assert first[2].get_last_lr() == second[2].get_last_lr()


def test_state_keeps_its_structure_and_shared_tensors(tmp_path):
    shared = torch.randn(4)
    state = {
        "empty": {},
        "list": [1, 2.5, None, True, [shared]],
        7: {"again": shared, "scalar": torch.tensor(2)},
        "nan": float("inf"),
    }
    loaded, _ = load_state(
        save_state(tmp_path / "a.safetensors", state, {"kind": "state"}), "state"
    )
    assert loaded["empty"] == {}
    assert loaded["list"][:4] == [1, 2.5, None, True]
    assert torch.equal(loaded["list"][4][0], shared)
    assert torch.equal(loaded[7]["again"], shared)
    assert loaded[7]["scalar"].shape == ()
    assert loaded["nan"] == float("inf")


def test_only_a_readable_state_of_a_training_that_has_not_ended_can_be_resumed(tmp_path):
    path = tmp_path / "a.state.safetensors"
    for metadata, expected in (
        ({"finished": False}, True),
        ({"finished": True}, False),
        ({}, False),
    ):
        save_state(path, {"step": 1, "x": torch.zeros(4)}, {"kind": "state", **metadata})
        assert can_be_resumed(path) is expected
    save_state(path, {"x": torch.zeros(4)}, {"kind": "state", "finished": False})
    path.write_bytes(path.read_bytes()[:-4])
    assert not can_be_resumed(path)


def test_the_environment_names_a_gpu_only_where_it_was_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert environment(torch.device("cpu"))["device"] == "cpu"
    assert environment(torch.device("cuda:1"))["device"] == "GPU 1"


def test_hashes_follow_content_and_names_but_not_key_order(tmp_path):
    a, b = write_text(tmp_path / "a", "one"), write_text(tmp_path / "b", "two")
    assert sha256_file(a) == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert (
        sha256_json({"x": 1, "y": 2})
        == sha256_json({"y": 2, "x": 1})
        != sha256_json({"x": 1, "y": 3})
    )
    before = sha256_files([a, b], tmp_path)
    assert before == sha256_files([b, a], tmp_path)
    b.rename(tmp_path / "c")
    assert before != sha256_files([a, tmp_path / "c"], tmp_path)


def test_the_project_is_found_from_below(tmp_path, monkeypatch):
    with refused("no ssenv project at or above"):
        project_root(tmp_path)
    for name in ("notebooks", "params", "notebooks/deeper"):
        (tmp_path / name).mkdir()
    assert project_root(tmp_path / "notebooks" / "deeper") == tmp_path.resolve()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert StudyFolder.of("demo").root == tmp_path.resolve() / "outputs" / "demo"
