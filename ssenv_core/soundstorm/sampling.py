"""How decoding samples: iterations of each level, which codes may be drawn, how strongly what is told guides, which samples are kept.

What is kept is up to a sampler, a small object. MaskGIT's confidence (Chang et al. 2022, section 3.2) keeps what the model is surest of;
an order fixed beforehand spreads what is kept over time, be it at random or evenly (Besnier et al. 2025, "Halton Scheduler"): neighbours,
which depend on each other, are then seldom sampled together. No model and no codes here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import torch
from scipy.stats.qmc import Halton
from torch import Tensor

from ssenv_core.base.errors import SsenvError


class Noise(Protocol):
    """Where decoding draws from; item b draws counts[b] rows of its own, which come after those of item b - 1."""

    def uniform(self, counts: Sequence[int]) -> Tensor:
        """Float32 in [0, 1), (sum(counts),)."""
        ...

    def gumbel(self, counts: Sequence[int]) -> Tensor:
        """Standard Gumbel noise, float32 (sum(counts),)."""
        ...


class SeededNoise:
    """A generator for each item, on a device: what an item draws depends on its seed alone."""

    def __init__(self, seeds: Sequence[int], device: torch.device):
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def uniform(self, counts: Sequence[int]) -> Tensor:
        return torch.cat(
            [
                torch.rand(n, generator=g, device=g.device)
                for g, n in zip(self.generators, counts, strict=True)
            ]
        )

    def gumbel(self, counts: Sequence[int]) -> Tensor:
        draws = [
            torch.empty(n, device=g.device).exponential_(generator=g)
            for g, n in zip(self.generators, counts, strict=True)
        ]
        return -torch.cat(draws).log()


Rank = Callable[[Tensor, Tensor, Sequence[int], float], Tensor]
"""(log_p, index, counts, progress) -> ranks (M,) float32: of the M tokens just sampled, counts[b] of item b after those of item b - 1,
those with the lowest ranks are masked again. `log_p` (M,) is the model's, `index` (M,) int64 says which of the level's tokens they are,
`progress` in (0, 1] is i / n."""


class Sampler(Protocol):
    """Decides which of the tokens that an iteration sampled are kept."""

    def begin(self, totals: Sequence[int], noise: Noise) -> Rank:
        """At the start of a level: item b has totals[b] tokens to fill in."""
        ...


@dataclass(frozen=True)
class Confidence:
    """log p + choice_temperature (1 - progress) Gumbel noise; 4.5 is MaskGIT's.

    Raises `SsenvError` for a choice_temperature below 0.
    """

    choice_temperature: float = 4.5

    def __post_init__(self):
        if not 0 <= self.choice_temperature < math.inf:
            raise SsenvError(
                f"decoding: choice_temperature {self.choice_temperature} must be finite and not below 0"
            )

    def begin(self, totals: Sequence[int], noise: Noise) -> Rank:
        def rank(log_p: Tensor, index: Tensor, counts: Sequence[int], progress: float) -> Tensor:
            return log_p + self.choice_temperature * (1 - progress) * noise.gumbel(counts)

        return rank


@dataclass(frozen=True)
class RandomOrder:
    """Tokens are kept in a random order, whatever they are."""

    def begin(self, totals: Sequence[int], noise: Noise) -> Rank:
        order = noise.uniform(totals)
        return lambda log_p, index, counts, progress: order[index]


@dataclass(frozen=True)
class HaltonOrder:
    """Tokens are kept in the order of the van der Corput sequence (Halton's, of one dimension), which at every moment is spread evenly
    over the tokens to fill in; each item begins at a random one."""

    def begin(self, totals: Sequence[int], noise: Noise) -> Rank:
        starts = noise.uniform(
            [min(total, 1) for total in totals]
        )  # an item with nothing to fill in draws nothing
        order = torch.cat(
            [
                _halton(total, start)
                for total, start in zip(filter(None, totals), starts, strict=True)
            ]
        )
        return lambda log_p, index, counts, progress: order[index]


def _halton(total: int, start: Tensor) -> Tensor:
    """(total,) float32 ranks, the first kept the highest; `start` () in [0, 1) says where that is."""
    turn = (
        torch.from_numpy(Halton(1, scramble=False).random(total)[:, 0]).argsort().to(start.device)
    )  # of each place
    place = torch.arange(total, device=start.device)
    return -turn[(place - (start * total).long()) % total].float()


SAMPLERS = {"confidence": Confidence, "halton": HaltonOrder, "random": RandomOrder}


def sampler_named(name: str, choice_temperature: float) -> Sampler:
    """The sampler "confidence", "halton" or "random"; `choice_temperature` is of confidence alone.

    Raises `SsenvError` for another name.
    """
    if name not in SAMPLERS:
        raise SsenvError(f"decoding: sampler {name!r} must be one of {', '.join(SAMPLERS)}")
    return Confidence(choice_temperature) if SAMPLERS[name] is Confidence else SAMPLERS[name]()


@dataclass(frozen=True)
class Sampling:
    """The settings of `decode`.

    Attributes
    ----------
    steps : iterations of each level, at least 1
    temperature : of the sampling, >= 0, 0 taking the likeliest codes; one for all levels or one per level. SoundStorm takes the likeliest
        of all fine levels, (1, 0, 0, ...); of noise these are unlike any that occur together, and sounds come out several times too loud
    guidance : g >= 0 in logits = null + g (conditional - null), null being told neither the class nor what is asked of each moment; 1 is
        none, and costs one pass where others cost two
    guidance_schedule : "constant", or within each level "rising" from none to g or "falling" from g to none (a level of one step has g)
    top_k, top_p : sample from the k likeliest codes only, and from the fewest codes that together have the probability p in (0, 1]
    sampler : which samples are kept

    Raises `SsenvError` for a setting out of range.
    """

    steps: tuple[int, ...] = (12, 1, 1, 1, 1, 1, 1, 1)
    temperature: float | tuple[float, ...] = 1.0
    guidance: float = 1.0
    guidance_schedule: Literal["constant", "rising", "falling"] = "constant"
    top_k: int | None = None
    top_p: float | None = None
    sampler: Sampler = Confidence()

    def __post_init__(self):
        if not self.steps or min(self.steps) < 1:
            raise SsenvError(
                f"decoding: steps {self.steps} must name at least 1 iteration for each level"
            )
        if not all(0 <= temperature < math.inf for temperature in self.temperatures):
            raise SsenvError(
                f"decoding: temperature {self.temperature} must be finite and not below 0"
            )
        if len(self.temperatures) != len(self.steps):
            raise SsenvError(
                f"decoding: temperature {self.temperature} must be one number, or one for each of {len(self.steps)} levels"
            )
        if not 0 <= self.guidance < math.inf:
            raise SsenvError(f"decoding: guidance {self.guidance} must be finite and not below 0")
        if self.guidance_schedule not in ("constant", "rising", "falling"):
            raise SsenvError(
                f"decoding: guidance_schedule {self.guidance_schedule!r} must be constant, rising or falling"
            )
        if self.top_k is not None and self.top_k < 1:
            raise SsenvError(f"decoding: top_k {self.top_k} must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SsenvError(f"decoding: top_p {self.top_p} must lie in (0, 1]")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Sampling":
        """From the names of the fields and of `choice_temperature`, lists as JSON has them and the sampler by its name; others are ignored.

        Raises `SsenvError` for a setting out of range or a sampler of another name.
        """
        values = {field.name: settings[field.name] for field in fields(cls)}
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(
            **{
                **values,
                "sampler": sampler_named(values["sampler"], settings["choice_temperature"]),
            }
        )

    def settings(self) -> dict[str, Any]:
        """What `of` makes it from, and JSON holds."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        name = next(name for name, kind in SAMPLERS.items() if isinstance(self.sampler, kind))
        return {
            **values,
            "sampler": name,
            "choice_temperature": getattr(
                self.sampler, "choice_temperature", Confidence.choice_temperature
            ),
        }

    @property
    def temperatures(self) -> tuple[float, ...]:
        """One per level."""
        return (
            self.temperature
            if isinstance(self.temperature, tuple)
            else (self.temperature,) * len(self.steps)
        )

    def guidance_at(self, i: int, n: int) -> float:
        """Of iteration i of a level's n."""
        share = {"constant": 1.0, "rising": i / n, "falling": (n + 1 - i) / n}[
            self.guidance_schedule
        ]
        return 1.0 + (self.guidance - 1.0) * share
