"""Varied sounds: bounded changes, and the same draws give the same sounds."""

import math

import pytest
import torch

from ssenv_core.base import augmentation
from ssenv_core.base.augmentation import SPEEDS, change_speed, draw_speed, mix, vary


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(items: int, samples: int = 24_000, level: float = 0.05) -> torch.Tensor:
    return level * torch.randn(items, samples, generator=rng(9))


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_faster_sound_is_shorter_and_higher_by_the_same_factor(speed: tuple[int, int]) -> None:
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(24_000) / 24_000)[None]
    played = change_speed(tone, speed)
    factor = speed[0] / speed[1]
    assert played.shape[1] == math.ceil(24_000 / factor)
    peak = (
        torch.fft.rfft(played[0] * torch.hann_window(played.shape[1])).abs().argmax()
        * 24_000
        / played.shape[1]
    )
    assert abs(float(peak) - 1000 * factor) < 2


def test_speeds_are_drawn_alike() -> None:
    generator = rng()
    drawn = [draw_speed(generator) for _ in range(600)]
    assert all(60 < drawn.count(speed) < 140 for speed in SPEEDS)


def test_levels_lie_where_they_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "DEVIATION", 0.0)
    wavs = noise(300, 1000)
    gains = 20 * (vary(wavs, rng()).square().mean(1) / wavs.square().mean(1)).sqrt().log10()
    low, high = augmentation.GAINS
    assert low - 0.01 < gains.min() < low + 1
    assert high - 1 < gains.max() < high + 0.01


def test_a_filter_deviates_by_what_it_is_said_to_and_differs_from_item_to_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(augmentation, "GAINS", (0.0, 0.0))
    impulses = torch.zeros(400, 4096)
    impulses[:, 2048] = 0.1
    response = 20 * (torch.fft.rfft(vary(impulses, rng())).abs() / 0.1).log10()
    steps = (
        torch.linspace(math.log(2048 * augmentation.LOWEST), math.log(2048), 200).exp().long()
    )  # evenly over log frequency
    assert abs(float(response[:, steps].square().mean().sqrt()) - augmentation.DEVIATION) < 0.3
    assert response[:, steps].std(0).min() > 1
    assert (response[:, 1:] - response[:, :-1])[:, 100:].abs().max() < 0.5  # smooth


def test_what_follows_a_sound_stays_silent() -> None:
    """A sound that begins at once has nothing before it that could come back behind it."""
    wavs = torch.zeros(60, 48_000)
    wavs[:, :12_000] = noise(60, 12_000, level=0.3)
    assert vary(wavs, rng())[:, 24_000:].abs().max() < 1 / 32768


def test_a_share_of_the_sounds_has_the_one_before_in_it() -> None:
    wavs = torch.zeros(400, 400)
    wavs[torch.arange(400), torch.arange(400)] = 0.5
    mixed = mix(wavs, rng())
    assert torch.equal(mixed.diagonal(), torch.full((400,), 0.5))
    other = mixed[torch.arange(400), (torch.arange(400) - 1) % 400]
    heard = other > 0
    assert 0.2 < heard.float().mean() < 0.3
    assert 0.05 - 1e-6 < other[heard].min() < other[heard].max() < 0.5 + 1e-6
    assert (mixed != 0).sum() == 400 + heard.sum()


def test_no_sound_is_clipped() -> None:
    loud = noise(50, level=0.5).clamp(-1, 1)
    varied = vary(loud, rng())
    assert varied.abs().max() <= 1
    assert (varied.abs() == 1).sum(1).max() <= 2  # its highest peak alone touches


def test_the_same_draws_give_the_same_sounds() -> None:
    wavs = noise(8)
    for change in (vary, mix):
        assert torch.equal(change(wavs, rng(1)), change(wavs, rng(1)))
        assert not torch.equal(change(wavs, rng(1)), change(wavs, rng(2)))


def test_silence_stays_silence() -> None:
    assert not vary(torch.zeros(4, 1000), rng()).any()
