"""The resumable loop on a network of one weight: what it asks for, keeps, and refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.tensors import load_state
from ssenv_core.base.training_loop import (
    Clock,
    Draws,
    EpochSettings,
    Run,
    Training,
    one_cycle,
    train_epochs,
    warmed_up_average,
)

CLIPS = 10
SETTINGS = Training(
    steps=7, batch_size=1, learning_rate=0.1, checkpoint_minutes=0.0, log_every=3, seed=4
)


class Killed(Exception):
    pass


class Walk:
    """A weight that takes random steps, from global and own draws."""

    def __init__(self, folder: Path, settings: Training = SETTINGS, **changes) -> None:
        self.weight = nn.Parameter(torch.zeros(1))
        self.network = nn.ParameterList([self.weight])
        self.draws = Draws(settings.seed, torch.device("cpu"))
        self.seen: list[int] = []
        arguments = {
            "name": "walk",
            "module": "ssenv_core.base.training_loop",
            "steps": settings.steps,
            "state_file": folder / "state",
            "settings": settings,
            "identity": {},
            "parts": {"network": self.network, "draws": self.draws},
            "logged": settings.logged,
        }
        self.run = Run(**arguments | changes)

    def step(self, number: int) -> float:
        self.seen.append(number)
        with torch.no_grad():
            self.weight += torch.rand(()) + torch.rand((), generator=self.draws.own)
        return self.weight.item()


def without_seconds(rows: list[dict]) -> list[dict]:
    return [{key: row[key] for key in row if key != "seconds"} for row in rows]


@pytest.mark.parametrize("killed_at", [0, 1, 3, 4, 6])
def test_a_killed_run_resumes_to_the_same_rows_and_weights(tmp_path: Path, killed_at: int) -> None:
    (tmp_path / "straight").mkdir()
    straight = Walk(tmp_path / "straight")
    rows = straight.run(straight.step)
    killed = Walk(tmp_path)

    def step(number: int) -> float:
        if number == killed_at:
            raise Killed
        return killed.step(number)

    with pytest.raises(Killed):
        killed.run(step)
    resumed = Walk(tmp_path)
    assert without_seconds(resumed.run(resumed.step)) == without_seconds(rows)
    assert resumed.seen == list(range(killed_at, 7))
    assert torch.equal(resumed.weight, straight.weight)


def test_rows_hold_the_mean_loss_since_the_row_before(tmp_path: Path) -> None:
    walk = Walk(tmp_path)
    rows = walk.run(lambda number: float(number), lambda row: row.update(twice=2 * row["step"]))
    assert without_seconds(rows) == [
        {"step": 3, "loss": 1.0, "twice": 6},
        {"step": 6, "loss": 4.0, "twice": 12},
        {"step": 7, "loss": 6.0, "twice": 14},
    ]


def test_a_finished_run_takes_no_further_step_and_keeps_its_rows(tmp_path: Path) -> None:
    first, again = Walk(tmp_path), Walk(tmp_path)
    rows = first.run(first.step)
    assert again.run(again.step) == rows
    assert again.seen == []
    assert torch.equal(again.weight, first.weight)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": replace(SETTINGS, learning_rate=0.2)}, "learning_rate"),
        ({"identity": {"clips": 3}}, "clips"),
        ({"module": "ssenv_core.base.errors"}, "code"),
    ],
)
def test_an_interrupted_run_of_another_identity_is_refused(
    tmp_path: Path, changes: dict, named: str
) -> None:
    walk = Walk(tmp_path)
    with pytest.raises(SsenvError, match="not finite"):
        walk.run(lambda number: 1.0 if number < 2 else float("inf"))
    other = Walk(tmp_path, **changes)
    with pytest.raises(SsenvError, match=f"interrupted training with other {named}: remove it"):
        other.run(other.step)
    often = Walk(tmp_path, settings=replace(SETTINGS, checkpoint_minutes=9.0, log_every=1))
    often.run(often.step)
    assert often.seen == list(range(2, 7))


@pytest.mark.parametrize(
    ("bad", "kept"), [(0, "there is no checkpoint"), (2, "state holds step 2, the last good one")]
)
def test_a_loss_that_is_not_finite_stops_with_its_step_and_the_last_checkpoint(
    tmp_path: Path, bad: int, kept: str
) -> None:
    walk = Walk(tmp_path)
    with pytest.raises(SsenvError, match=rf"walk's loss .* at step {bad + 1} .*{kept}$"):
        walk.run(lambda number: float("nan") if number == bad else 1.0)


def test_checkpoints_are_written_after_their_minutes_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    written = []

    def step(number: int) -> float:
        if (tmp_path / "state").exists():
            written.append(load_state(tmp_path / "state", "walk training state")[0]["step"])
        now[0] += 25.0
        return 1.0

    Walk(tmp_path, settings=replace(SETTINGS, checkpoint_minutes=1.0)).run(step)
    assert written == [3, 3, 3, 6]
    state, metadata = load_state(tmp_path / "state", "walk training state")
    assert (state["step"], metadata["finished"]) == (7, True)
    assert state["rows"][-1]["seconds"] == 175.0


def test_a_process_that_is_not_the_main_one_writes_and_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    walk = Walk(tmp_path, main=False)
    assert len(walk.run(walk.step)) == 3
    assert not (tmp_path / "state").exists()
    assert capsys.readouterr().out == ""


def trained(path, settings, loss=None, *, network, average=None, clock=None):
    scheduler = one_cycle(torch.optim.SGD(network.parameters()), 0.1, settings.steps(CLIPS), 0.5)
    loss = loss or (lambda index, epoch: (network.weight - 1).square().mean())
    rows = train_epochs(
        network,
        loss,
        CLIPS,
        scheduler,
        settings,
        path,
        name="scale",
        module="ssenv_core.base.training_loop",
        identity={},
        clock=clock or Clock(),
        average=average,
    )
    return scheduler, rows


def test_each_epoch_takes_whole_batches_of_clips_in_an_order_of_its_own(tmp_path: Path) -> None:
    settings, taken = EpochSettings(3, batch_size=4), {0: [], 1: [], 2: []}
    network = nn.Linear(1, 1, bias=False)
    loss = lambda index, epoch: taken[epoch].append(index) or network.weight.square().mean()  # noqa: E731
    scheduler, rows = trained(tmp_path / "state", settings, loss, network=network)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert scheduler.last_epoch == settings.steps(CLIPS) == 6
    for batches in taken.values():
        assert [len(batch) for batch in batches] == [4, 4]
        assert len(torch.cat(batches).unique()) == 8
    assert len({tuple(torch.cat(batches).tolist()) for batches in taken.values()}) == 3


def test_fewer_clips_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    sizes = []
    network = nn.Linear(1, 1, bias=False)
    loss = lambda index, epoch: sizes.append(len(index)) or network.weight.square().mean()  # noqa: E731
    trained(tmp_path / "state", EpochSettings(2, batch_size=32), loss, network=network)
    assert sizes == [CLIPS, CLIPS]


@pytest.mark.parametrize("killed_at", [3, 4, 5])
def test_epochs_resume_within_an_epoch_to_the_same_clips_and_draws(
    tmp_path: Path, killed_at: int
) -> None:
    settings = EpochSettings(3, batch_size=3, checkpoint_minutes=0.0)

    def losses(path: Path, calls: list, stop: int | None) -> None:
        network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(network.weight)

        def loss(index: torch.Tensor, epoch: int) -> torch.Tensor:
            if len(calls) == stop:
                raise Killed
            calls.append((epoch, index.tolist(), float(torch.rand(()))))
            return (network.weight - calls[-1][2]).square().mean()

        trained(path, settings, loss, network=network)

    straight, killed = [], []
    losses(tmp_path / "straight", straight, None)
    with pytest.raises(Killed):
        losses(tmp_path / "killed", killed, killed_at)
    losses(tmp_path / "killed", killed, None)
    assert killed == straight


def test_the_average_follows_every_step_and_is_resumed_with_the_clock(tmp_path: Path) -> None:
    settings = EpochSettings(2, batch_size=5)
    network = nn.Linear(1, 1, bias=False)
    average = AveragedModel(network, multi_avg_fn=warmed_up_average(0.9))
    first = Clock()
    first.started -= 100.0
    trained(tmp_path / "state", settings, average=average, network=network, clock=first)
    assert average.n_averaged == 4
    other, clock = nn.Linear(1, 1, bias=False), Clock()
    again = AveragedModel(other, multi_avg_fn=warmed_up_average(0.9))
    _, rows = trained(tmp_path / "state", settings, average=again, network=other, clock=clock)
    assert torch.equal(again.module.weight, average.module.weight)
    assert torch.equal(other.weight, network.weight)
    assert len(rows) == 2
    assert clock.seconds > 100.0
