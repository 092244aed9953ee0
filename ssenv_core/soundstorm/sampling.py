"""The settings of decoding: iterations, temperature, guidance, and which samples are kept.

A sampler, a small object, decides what is kept. MaskGIT's confidence (Chang et al. 2022, section
3.2) keeps what the model is surest of. A fixed order spreads what is kept over time, at random or
evenly (Besnier et al. 2025, "Halton Scheduler"): neighbours, which depend on each other, are then
seldom sampled together.
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
    """The random numbers of decoding: counts[b] rows of item b, after those of item b - 1."""

    def uniform(self, counts: Sequence[int]) -> Tensor:
        """Float32 in [0, 1), (sum(counts),)."""
        ...

    def gumbel(self, counts: Sequence[int]) -> Tensor:
        """Standard Gumbel noise, float32 (sum(counts),)."""
        ...


class SeededNoise:
    """One generator per item, on a device: what an item draws depends on its seed alone."""

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
"""(log_p, index, counts, progress) -> ranks (M,) float32; the lowest of an item are masked again.

M tokens have just been sampled, counts[b] of item b after those of item b - 1. `log_p` (M,) is the
model's. `index` (M,) int64 counts the level's tokens to generate, in order of time, on through all
items of the batch. `progress` in (0, 1] is i / n.
"""


class Sampler(Protocol):
    """Decides which of the tokens sampled in an iteration are kept."""

    def begin(self, totals: Sequence[int], noise: Noise) -> Rank:
        """Start a level in which item b has totals[b] tokens to generate."""
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
                f"decoding: choice_temperature {self.choice_temperature} must be finite and not "
                "below 0"
            )

    def begin(self, totals: Sequence[int], noise: Noise) -> Rank:
        def rank(log_p: Tensor, index: Tensor, counts: Sequence[int], progress: float) -> Tensor:
            return log_p + self.choice_temperature * (1 - progress) * noise.gumbel(counts)

        return rank


@dataclass(frozen=True)
class RandomOrder:
    """Tokens are kept in a random order, independent of the model."""

    def begin(self, totals: Sequence[int], noise: Noise) -> Rank:
        order = noise.uniform(totals)
        return lambda log_p, index, counts, progress: order[index]


@dataclass(frozen=True)
class HaltonOrder:
    """Tokens are kept in the order of the van der Corput sequence (Halton's in one dimension).

    At every moment it is spread evenly over the tokens to generate; each item starts at a random
    one.
    """

    def begin(self, totals: Sequence[int], noise: Noise) -> Rank:
        # An item without tokens to generate draws nothing.
        starts = noise.uniform([min(total, 1) for total in totals])
        pairs = zip(filter(None, totals), starts, strict=True)
        order = torch.cat([_halton(total, start) for total, start in pairs])
        return lambda log_p, index, counts, progress: order[index]


def _halton(total: int, start: Tensor) -> Tensor:
    """Ranks (total,) float32; the token at `start` () in [0, 1) has the highest, kept first."""
    points = torch.from_numpy(Halton(1, scramble=False).random(total)[:, 0])
    turn = points.argsort().to(start.device)
    token = torch.arange(total, device=start.device)
    return -turn[(token - (start * total).long()) % total].float()


SAMPLERS = {"confidence": Confidence, "halton": HaltonOrder, "random": RandomOrder}


def sampler_named(name: str, choice_temperature: float) -> Sampler:
    """A sampler by its key in SAMPLERS; only "confidence" has a choice_temperature.

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
    temperature : of the sampling, >= 0; 0 takes the likeliest codes. One number for all levels or
        one per level. SoundStorm takes the likeliest codes of all fine levels, (1, 0, 0, ...); for
        noise this combines codes that never occur together, and sounds are several times too loud
    guidance : g >= 0 in logits = null + g (conditional - null), where null has neither class nor
        controls; 1 is no guidance and needs one pass where other values need two
    guidance_schedule : "constant", or within each level "rising" from none to g or "falling" from g
        to none (a level of one step has g)
    top_k, top_p : sample from the k likeliest codes only, and from the fewest codes that together
        have the probability p in (0, 1]
    sampler : decides which samples are kept

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
                f"decoding: temperature {self.temperature} must be one number, or one for each of "
                f"{len(self.steps)} levels"
            )
        if not 0 <= self.guidance < math.inf:
            raise SsenvError(f"decoding: guidance {self.guidance} must be finite and not below 0")
        if self.guidance_schedule not in ("constant", "rising", "falling"):
            raise SsenvError(
                f"decoding: guidance_schedule {self.guidance_schedule!r} must be constant, rising "
                "or falling"
            )
        if self.top_k is not None and self.top_k < 1:
            raise SsenvError(f"decoding: top_k {self.top_k} must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SsenvError(f"decoding: top_p {self.top_p} must lie in (0, 1]")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Sampling":
        """Make it from a recipe: JSON's lists, the sampler by name, and `choice_temperature`.

        Other keys are ignored. Raises `SsenvError` for a setting out of range or a sampler of
        another name.
        """
        values = {field.name: settings[field.name] for field in fields(cls)}
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        values["sampler"] = sampler_named(values["sampler"], settings["choice_temperature"])
        return cls(**values)

    def settings(self) -> dict[str, Any]:
        """The inverse of `of`, JSON-able."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        name = next(name for name, kind in SAMPLERS.items() if isinstance(self.sampler, kind))
        default = Confidence.choice_temperature
        choice = getattr(self.sampler, "choice_temperature", default)
        return {**values, "sampler": name, "choice_temperature": choice}

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperature of each level."""
        if isinstance(self.temperature, tuple):
            return self.temperature
        return (self.temperature,) * len(self.steps)

    def guidance_at(self, i: int, n: int) -> float:
        """The guidance of iteration i of a level's n."""
        shares = {"constant": 1.0, "rising": i / n, "falling": (n + 1 - i) / n}
        return 1.0 + (self.guidance - 1.0) * shares[self.guidance_schedule]
