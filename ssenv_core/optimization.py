"""What every training here uses of optimization: a one-cycle rate that any number of steps survives, and a weight average that warms up."""

from collections.abc import Callable

import torch
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import get_ema_multi_avg_fn


def one_cycle(
    optimizer: torch.optim.Optimizer, learning_rate: float, steps: int, warmup: float, cycle_momentum: bool = False
) -> OneCycleLR:
    """OneCycleLR that rises for the share `warmup` of the steps, but not in the last; where that is one step or less, at once.

    Rising in all of them, or in one, it would divide by zero. A single step is the first of two: it would else have no rate.
    """
    rise = min(float(warmup), 1 - 1 / steps) if warmup * steps > 1 else 0.0
    return OneCycleLR(optimizer, learning_rate, max(2, steps), pct_start=rise, cycle_momentum=cycle_momentum)


def warmed_up_average(decay: float) -> Callable:
    """An exponential moving average for `AveragedModel` whose decay is min(decay, (1 + n) / (10 + n)) at update n.

    A short run would otherwise end with an average that is mostly its random start.
    """

    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], num_averaged: torch.Tensor) -> None:
        n = int(num_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, num_averaged)

    return update
