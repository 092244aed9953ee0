"""Training masks, the schedule and prompt masks: what is hidden, how much of it, and from whom."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssenv_core.soundstorm.masking import (
    apply_training_mask,
    cosine_schedule,
    keep_outside,
    keep_prompt,
    keep_random,
    num_masked,
    sample_prompts,
    sample_training_mask,
)

MASK = 99


@st.composite
def drawn_masks(draw):
    """Active frames of a few items (possibly none), their codes, and a random training mask."""
    items, n_q, n_frames = (
        draw(st.integers(1, 4)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 30)),
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    active = torch.rand(items, n_frames, generator=generator) < draw(
        st.sampled_from([0.1, 0.7, 1.0])
    )
    codes = torch.randint(MASK, (items, n_q, n_frames), generator=generator)
    return active, codes, *sample_training_mask(active, n_q, generator)


@settings(deadline=None)
@given(drawn_masks())
def test_levels_below_are_visible_and_levels_above_hidden(drawn):
    _, codes, level, mask = drawn
    seen = apply_training_mask(codes, level, mask, MASK)
    for item, q in enumerate(level.tolist()):
        assert torch.equal(seen[item, :q], codes[item, :q])
        assert torch.equal(seen[item, q] == MASK, mask[item])
        assert torch.equal(seen[item, q][~mask[item]], codes[item, q][~mask[item]])
        assert (seen[item, q + 1 :] == MASK).all()


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**32))
def test_prompts_leave_one_span_to_predict_and_are_never_masked(n_frames, seed):
    active = torch.arange(n_frames) < torch.tensor([[n_frames], [max(1, n_frames // 2)], [1]])
    prompt = sample_prompts(active, 1.0, torch.Generator().manual_seed(seed))
    for open_frames in (active & ~prompt).tolist():
        assert any(open_frames)
        first = open_frames.index(True)
        last = len(open_frames) - open_frames[::-1].index(True)
        assert all(open_frames[first:last])
    codes = torch.arange(3 * 2 * n_frames).view(3, 2, n_frames)
    level = torch.zeros(3, dtype=torch.int64)
    seen = apply_training_mask(codes, level, active & ~prompt, -1, prompt)
    shown = prompt[:, None].expand_as(codes)
    assert torch.equal(seen[shown], codes[shown])


def test_prompts_are_drawn_in_their_share_and_half_of_them_are_first_frames():
    active = torch.ones(4000, 40, dtype=torch.bool)
    prompt = sample_prompts(active, 0.4, torch.Generator().manual_seed(0))
    assert abs(prompt.any(1).float().mean() - 0.4) < 0.03
    ends = prompt[prompt.any(1)][:, -1].float().mean()
    assert abs(ends - 0.5) < 0.05
    assert not sample_prompts(active, 0.0).any()


@settings(deadline=None)
@given(drawn_masks())
def test_padding_is_never_masked_as_a_target_and_an_active_item_has_a_target(drawn):
    active, codes, level, mask = drawn
    assert not (mask & ~active).any()
    assert torch.equal(mask.any(dim=1), active.any(dim=1))
    assert ((level >= 0) & (level < codes.shape[1])).all()


def test_share_of_masked_frames_follows_the_cosine_of_a_uniform_draw():
    _, mask = sample_training_mask(
        torch.ones(4000, 200, dtype=torch.bool), 1, torch.Generator().manual_seed(0)
    )
    share = mask.float().mean(dim=1)
    for x in (0.25, 0.5, 0.75, 0.9):  # P(cos(pi r / 2) <= x) = 1 - 2 acos(x) / pi
        assert (share <= x).float().mean() == pytest.approx(
            1 - 2 * math.acos(x) / math.pi, abs=0.025
        )


def test_count_is_a_share_of_the_active_frames_rounded_up():
    """With r drawn from the same stream, the count is exactly ceil(gamma(r) n_active)."""
    active = torch.arange(50) < torch.arange(1, 51)[:, None]
    _, mask = sample_training_mask(active, 3, torch.Generator().manual_seed(5))
    same = torch.Generator().manual_seed(5)
    torch.multinomial(torch.ones(3), 50, replacement=True, generator=same)
    expected = [
        math.ceil(math.cos(math.pi / 2 * r) * n)
        for r, n in zip(torch.rand(50, generator=same).tolist(), range(1, 51), strict=True)
    ]
    assert mask.sum(dim=1).tolist() == expected


def test_every_item_draws_its_own_level_share_and_frames():
    level, mask = sample_training_mask(
        torch.ones(300, 40, dtype=torch.bool), 3, torch.Generator().manual_seed(1)
    )
    assert level.bincount(minlength=3).min() > 70
    assert mask.sum(dim=1).unique().numel() > 20
    partial = mask[~mask.all(dim=1)]
    assert len(partial.unique(dim=0)) > 0.95 * len(partial)
    assert (
        mask.float().mean(dim=0) - mask.float().mean()
    ).abs().max() < 0.12  # no frame is favoured


@pytest.mark.parametrize(
    ("emphasis", "shares"), [(0.0, [1 / 3, 1 / 3, 1 / 3]), (1.0, [6 / 11, 3 / 11, 2 / 11])]
)
def test_a_level_is_drawn_in_proportion_to_its_emphasis(emphasis, shares):
    level, _ = sample_training_mask(
        torch.ones(6000, 1, dtype=torch.bool), 3, torch.Generator().manual_seed(1), emphasis
    )
    assert (level.bincount(minlength=3) / 6000).tolist() == pytest.approx(shares, abs=0.02)


def test_same_generator_seed_same_training_mask():
    active = torch.ones(4, 20, dtype=torch.bool)
    one, two = (sample_training_mask(active, 8, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


@given(st.integers(0, 5000), st.integers(1, 64))
def test_schedule_starts_full_never_rises_and_ends_at_exactly_zero(total, n):
    counts = [num_masked(total, i, n) for i in range(n + 1)]
    assert counts[0] == total
    assert counts[-1] == 0
    assert counts == sorted(counts, reverse=True)
    assert all(count >= 1 for count in counts[:-1]) or total == 0


def test_rounding_errors_of_the_cosine_mask_no_extra_token():
    assert num_masked(10, 8, 12) == 5  # cos(pi / 3) is 0.5000000000000001 in floating point
    assert num_masked(10**6, 12, 12) == 0  # and cos(pi / 2) is 6e-17
    assert num_masked(375, 1, 12) == math.ceil(375 * math.cos(math.pi / 24))


def test_largest_draw_below_1_still_masks_a_token():
    """In float32 r = 1 would give a share of -4e-8; as r < 1, every active item has a target."""
    assert 0 < cosine_schedule(torch.tensor(1 - 2**-24)) < 1e-6


def test_schedule_of_a_tensor_is_that_of_its_numbers():
    r = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert cosine_schedule(r).tolist() == pytest.approx(
        [cosine_schedule(x) for x in r.tolist()], abs=1e-12
    )


def test_prompt_masks_keep_what_they_name_and_compose():
    assert keep_prompt(2, 5, 2).tolist() == [[[True, True, False, False, False]] * 2]
    assert keep_outside(2, 5, 1, 3).tolist() == [[[True, False, False, True, True]] * 2]
    assert (keep_prompt(1, 5, 2) & keep_outside(1, 5, 1, 3)).tolist() == [
        [[True, False, False, False, False]]
    ]
    assert (keep_prompt(1, 5, 2) | keep_outside(1, 5, 1, 3)).tolist() == [
        [[True, True, False, True, True]]
    ]


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 60), st.data())
def test_keep_random_keeps_exactly_the_fraction_of_each_level(n_q, n_frames, data):
    fraction = data.draw(st.lists(st.floats(0, 1, width=32), min_size=n_q, max_size=n_q))
    kept = keep_random(n_q, n_frames, fraction, torch.Generator().manual_seed(0))
    assert kept.shape == (1, n_q, n_frames)
    for count, share in zip(kept.sum(dim=-1)[0].tolist(), fraction, strict=True):
        assert abs(count - share * n_frames) <= 0.5 + 1e-4


def test_keep_random_draws_anew_for_every_level():
    kept = keep_random(3, 100, 0.5, torch.Generator().manual_seed(0))[0]
    assert (kept[0] != kept[1]).any()
    assert (kept[1] != kept[2]).any()
