"""The loop over epochs on a network of one weight: what it asks the loss of, what it keeps, and where it stops."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.tensors import load_state
from ssenv_core.base.training_loop import EpochSettings, one_cycle, train_epochs, warmed_up_average

CLIPS = 10


def trained(path, settings, loss=None, *, network, average=None):
    scheduler = one_cycle(torch.optim.SGD(network.parameters()), 0.1, settings.steps(CLIPS), 0.5)
    loss = loss or (lambda index, epoch: (network.weight - 1).square().mean())
    about = {"name": "scale", "remedy": "weigh less", "data": {}, "started": 0.0}
    return scheduler, train_epochs(
        network, loss, CLIPS, scheduler, settings, path, average=average, **about
    )


def test_each_epoch_asks_of_whole_batches_of_clips_in_an_order_of_its_own(tmp_path: Path) -> None:
    settings, asked = EpochSettings(3, batch_size=4), {0: [], 1: [], 2: []}
    network = nn.Linear(1, 1, bias=False)
    loss = lambda index, epoch: asked[epoch].append(index) or network.weight.square().mean()  # noqa: E731
    scheduler, (rows, _) = trained(tmp_path / "state", settings, loss, network=network)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert scheduler.last_epoch == settings.steps(CLIPS) == 6
    for batches in asked.values():
        assert [len(batch) for batch in batches] == [4, 4]
        assert len(torch.cat(batches).unique()) == 8
    assert len({tuple(torch.cat(batches).tolist()) for batches in asked.values()}) == 3


def test_fewer_clips_than_a_batch_are_one(tmp_path: Path) -> None:
    sizes = []
    network = nn.Linear(1, 1, bias=False)
    loss = lambda index, epoch: sizes.append(len(index)) or network.weight.square().mean()  # noqa: E731
    trained(tmp_path / "state", EpochSettings(2, batch_size=32), loss, network=network)
    assert sizes == [CLIPS, CLIPS]


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_state(tmp_path: Path) -> None:
    network = nn.Linear(1, 1, bias=False)
    loss = lambda index, epoch: network.weight.square().mean() / (epoch < 2)  # noqa: E731
    with pytest.raises(SsenvError, match="the scale's loss is not finite in epoch 3: weigh less"):
        trained(tmp_path / "state", EpochSettings(4, checkpoint_minutes=0), loss, network=network)
    state, metadata = load_state(tmp_path / "state", "scale training state")
    assert len(state["rows"]) == 2
    assert metadata["finished"] is False


def test_the_average_follows_every_step_and_is_resumed(tmp_path: Path) -> None:
    settings = EpochSettings(2, batch_size=5)
    network = nn.Linear(1, 1, bias=False)
    average = AveragedModel(network, multi_avg_fn=warmed_up_average(0.9))
    trained(tmp_path / "state", settings, average=average, network=network)
    assert average.n_averaged == 4
    other = nn.Linear(1, 1, bias=False)
    again = AveragedModel(other, multi_avg_fn=warmed_up_average(0.9))
    _, (rows, started) = trained(tmp_path / "state", settings, average=again, network=other)
    assert torch.equal(again.module.weight, average.module.weight)
    assert torch.equal(other.weight, network.weight)
    assert len(rows) == 2
    assert started < 0  # what the first training took is counted
