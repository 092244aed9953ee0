"""The one-cycle rate takes any number of steps; a short run's weight average is not its start."""

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from ssenv_core.base.training_loop import one_cycle, warmed_up_average


@pytest.mark.parametrize(("steps", "warmup"), [(20, 0.05), (10, 0.0), (10, 1.0), (100, 0.3)])
def test_the_rate_of_a_cycle_peaks_where_the_warmup_ends_and_dies_out(steps, warmup):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = one_cycle(optimizer, 0.01, steps, warmup)
    rates = []
    for _ in range(steps):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates.index(max(rates)) == pytest.approx(max(0, warmup * steps - 1), abs=1)


@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
def test_a_single_step_has_a_rate_to_learn_with(warmup):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    assert one_cycle(optimizer, 0.01, 1, warmup).get_last_lr()[0] == pytest.approx(0.005, rel=0.01)


def test_the_average_of_a_short_run_has_forgotten_its_start():
    model = torch.nn.Linear(1, 1)
    average = AveragedModel(model, multi_avg_fn=warmed_up_average(0.999))
    for step in range(100):
        torch.nn.init.constant_(model.weight, float(step))
        average.update_parameters(model)
    assert average.module.weight.item() > 80
