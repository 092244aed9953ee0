"""The model: its size, its loss, and what must not influence an item's result."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ssenv_core.base.errors import SsenvError
from ssenv_core.soundstorm.conformer import ConvModule, rotary_angles, rotate
from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.masking import apply_training_mask, sample_training_mask
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

TINY = SoundStormConfig(
    n_q=3, codebook_size=16, num_classes=4, dim=32, depth=2, heads=2, kernel_size=5, dropout=0.1
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SoundStorm(TINY).eval()


def batch(items=4, n_frames=12, seed=0):
    """Codes, labels, and a training mask of all frames."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(TINY.codebook_size, (items, TINY.n_q, n_frames), generator=generator)
    labels = torch.randint(TINY.num_classes + 1, (items,), generator=generator)
    return (
        codes,
        labels,
        *sample_training_mask(torch.ones(items, n_frames, dtype=torch.bool), TINY.n_q, generator),
    )


def test_paper_size_counts_22_to_24_million_parameters():
    assert 22e6 < sum(p.numel() for p in SoundStorm(SoundStormConfig()).parameters()) < 24e6


def test_first_loss_on_random_codes_is_that_of_guessing():
    torch.manual_seed(0)
    model = SoundStorm(SoundStormConfig(dim=64, heads=2, num_classes=2))
    level, mask = sample_training_mask(torch.ones(8, 64, dtype=torch.bool), 8)
    loss = model.masked_loss(
        Inputs(torch.randint(1024, (8, 8, 64)), torch.zeros(8, dtype=torch.int64)), level, mask
    ).loss
    assert loss.mean().item() == pytest.approx(math.log(1024), abs=0.1)


def test_tiny_model_overfits_one_clip():
    torch.manual_seed(0)
    model = SoundStorm(
        SoundStormConfig(
            n_q=3,
            codebook_size=16,
            num_classes=4,
            dim=32,
            depth=1,
            heads=2,
            kernel_size=5,
            dropout=0.0,
        )
    )
    codes, labels, *_ = batch(items=1, n_frames=12)
    codes, labels = codes.expand(8, -1, -1), labels.expand(8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        mask = sample_training_mask(torch.ones(8, 12, dtype=torch.bool), 3)
        loss = model.masked_loss(Inputs(codes, labels), *mask).loss.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * math.log(16)


def test_loss_is_cross_entropy_at_the_masked_positions_of_each_items_level(model):
    codes, labels, level, mask = batch()
    hidden = model(Inputs(apply_training_mask(codes, level, mask, TINY.mask_token), labels))
    result = model.masked_loss(Inputs(codes, labels), level, mask)
    assert len(result.loss) == mask.sum()
    assert torch.equal(result.level, level[result.item])
    for item, q in enumerate(level.tolist()):
        logits, target = model.logits(hidden[item][mask[item]], q), codes[item, q][mask[item]]
        mine = result.item == item
        torch.testing.assert_close(
            result.loss[mine], F.cross_entropy(logits, target, reduction="none")
        )
        assert torch.equal(result.correct[mine], logits.argmax(-1) == target)


def test_loss_cannot_see_the_hidden_codes(model):
    """With code c at every hidden place the loss is -ln p(c).

    The p of all c add up to 1 only if the model's input never contained c.
    """
    codes, labels, level, mask = batch()
    hidden = apply_training_mask(codes, level, mask, TINY.mask_token) == TINY.mask_token
    total = sum(
        (-model.masked_loss(Inputs(codes.masked_fill(hidden, c), labels), level, mask).loss).exp()
        for c in range(TINY.codebook_size)
    )
    torch.testing.assert_close(total, torch.ones_like(total))


def test_padding_is_never_a_target(model):
    codes, labels, level, _ = batch()
    padding = torch.arange(12) >= torch.tensor([[12], [7], [3], [0]])
    result = model.masked_loss(Inputs(codes, labels, padding), level, torch.ones_like(padding))
    assert result.item.bincount(minlength=4).tolist() == [12, 7, 3, 0]
    assert result.loss.isfinite().all()


def test_every_parameter_has_a_gradient_even_of_levels_nobody_drew():
    model = SoundStorm(TINY)
    codes, labels, level, mask = batch(items=2)
    model.masked_loss(Inputs(codes, labels), torch.zeros_like(level), mask).loss.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.heads[0].weight.grad.abs().sum() > 0
    assert model.heads[1].weight.grad.abs().sum() == 0


def test_padding_cannot_influence_active_frames(model):
    codes, labels, *_ = batch(items=3)
    alone = model(Inputs(codes[:, :, :7], labels))
    padding = (torch.arange(12) >= 7).expand(3, 12)
    torch.testing.assert_close(model(Inputs(codes, labels, padding))[:, :7], alone)
    garbage = torch.where(padding[:, None], TINY.mask_token, codes)
    assert torch.equal(
        model(Inputs(garbage, labels, padding))[:, :7], model(Inputs(codes, labels, padding))[:, :7]
    )


def test_positions_are_relative(model):
    """An item comes out the same wherever it lies within its padding."""
    codes, labels, *_ = batch(items=3)
    padding = (torch.arange(12) < 5).expand(3, 12)
    torch.testing.assert_close(
        model(Inputs(codes, labels, padding))[:, 5:], model(Inputs(codes[:, :, 5:], labels))
    )


def test_padding_does_influence_when_it_is_not_declared(model):
    codes, labels, *_ = batch(items=3)
    assert not torch.allclose(
        model(Inputs(codes, labels))[:, :7], model(Inputs(codes[:, :, :7], labels)), atol=1e-3
    )


@pytest.mark.parametrize("training", [False, True])
def test_item_is_independent_of_its_batch(training):
    torch.manual_seed(0)
    model = SoundStorm(
        SoundStormConfig(
            n_q=3, codebook_size=16, num_classes=4, dim=32, heads=2, kernel_size=5, dropout=0.0
        )
    ).train(training)
    codes, labels, *_ = batch()
    torch.testing.assert_close(
        model(Inputs(codes, labels))[1:2], model(Inputs(codes[1:2], labels[1:2]))
    )


def test_frames_see_both_directions_and_their_order(model):
    codes, labels, *_ = batch(items=1)
    for frame in (0, 11):
        changed = codes.clone()
        changed[..., frame] = (changed[..., frame] + 1) % TINY.codebook_size
        difference = (
            (model(Inputs(changed, labels)) - model(Inputs(codes, labels))).abs().amax(dim=-1)[0]
        )
        assert (difference > 1e-6).all()
    swapped = codes[..., [1, 0, *range(2, 12)]]
    assert not torch.allclose(
        model(Inputs(swapped, labels))[:, [1, 0]], model(Inputs(codes, labels))[:, :2], atol=1e-3
    )


def test_every_level_of_codes_and_the_class_reach_the_frames(model):
    codes, labels, *_ = batch(items=1)
    base = model(Inputs(codes, labels))
    for level in range(TINY.n_q):
        changed = codes.clone()
        changed[:, level] = TINY.mask_token
        assert not torch.allclose(model(Inputs(changed, labels)), base, atol=1e-3)
    assert not torch.allclose(
        model(Inputs(codes, (labels + 1) % TINY.num_classes)), base, atol=1e-3
    )


def test_swapping_codes_between_levels_is_noticed(model):
    codes, labels, *_ = batch(items=1)
    assert not torch.allclose(
        model(Inputs(codes.flip(1), labels)), model(Inputs(codes, labels)), atol=1e-3
    )


def test_features_are_of_the_named_layer_and_without_a_class_unless_given(model):
    codes, labels, *_ = batch()
    null = torch.full_like(labels, TINY.null_label)
    assert torch.equal(model.features(Inputs(codes)), model(Inputs(codes, null)))
    assert torch.equal(
        model.features(Inputs(codes, labels), layer=TINY.depth), model(Inputs(codes, labels))
    )
    layers = [model.features(Inputs(codes, labels), layer=layer) for layer in range(TINY.depth + 1)]
    assert all(frames.shape == (4, 12, TINY.dim) for frames in layers)
    angles = rotary_angles(12, 16)
    torch.testing.assert_close(model.conformer.blocks[0](layers[0], angles, None), layers[1])
    torch.testing.assert_close(model.conformer.blocks[1](layers[1], angles, None), layers[2])


def test_dropout_acts_in_training_only():
    model = SoundStorm(TINY)
    codes, labels, *_ = batch()
    assert not torch.equal(model(Inputs(codes, labels)), model(Inputs(codes, labels)))
    assert torch.equal(model.eval()(Inputs(codes, labels)), model(Inputs(codes, labels)))


def test_rotary_scores_depend_on_distance_alone():
    q, k = torch.randn(16), torch.randn(16)
    cos, sin = rotary_angles(40, 16)
    score = rotate(q.expand(40, 16), cos, sin) @ rotate(k.expand(40, 16), cos, sin).T
    for distance in (-7, 0, 3):
        diagonal = score.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)
    assert score[0].std() > 0.1


def test_depthwise_convolution_is_that_of_conv1d():
    module = ConvModule(dim=4, kernel_size=5, dropout=0.0)
    seen = {}
    module.depthwise.register_forward_hook(
        lambda _, inputs, output: seen.update(x=inputs[0], y=output)
    )
    module(torch.randn(2, 9, 4), None)
    expected = F.conv1d(
        seen["x"].squeeze(3),
        module.depthwise.weight.squeeze(3),
        module.depthwise.bias,
        padding=2,
        groups=8,
    )
    torch.testing.assert_close(seen["y"].squeeze(3), expected)


def test_bfloat16_autocast_yields_a_finite_float32_loss(model):
    codes, labels, *mask = batch()
    with torch.autocast("cpu", torch.bfloat16):
        result = model.masked_loss(Inputs(codes, labels), *mask)
    assert result.loss.dtype == torch.float32
    expected = model.masked_loss(Inputs(codes, labels), *mask).loss
    torch.testing.assert_close(result.loss, expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dim": 33}, "dim"),
        ({"heads": 3}, "heads"),
        ({"kernel_size": 4}, "kernel_size"),
        ({"dropout": 1.0}, "dropout"),
        ({"depth": 0}, "depth"),
    ],
)
def test_impossible_sizes_are_refused_by_name(change, named):
    with pytest.raises(SsenvError, match=named):
        SoundStormConfig(**change)


def started(codebooks, dim=128, depth=2):
    torch.manual_seed(0)
    n_q, size, _ = codebooks.shape
    config = SoundStormConfig(
        n_q=n_q, codebook_size=size, num_classes=3, dim=dim, depth=depth, heads=2, kernel_size=9
    )
    model = SoundStorm(config).eval()
    model.start_from_codebooks(codebooks)
    return model


def test_codes_with_close_codebook_entries_start_alike_yet_each_most_like_itself():
    torch.manual_seed(1)
    codebooks = torch.randn(2, 64, 20)
    codebooks[:, 1] = codebooks[:, 0] + 0.01
    model = started(codebooks)
    for table in (model.code_embedding.weight[:64], model.heads[0].weight, model.heads[1].weight):
        similarity = F.cosine_similarity(table[:, None], table, dim=-1)
        assert similarity[0, 1] > 0.4 > similarity[0, 2:].max()
        assert similarity[0, 1] < 0.6


def test_a_model_starts_by_repeating_what_surrounds_a_hidden_frame():
    """Also where loudness, one direction of the codebook, outweighs all others."""
    torch.manual_seed(1)
    codebooks = torch.randn(2, 64, 20) * torch.tensor([1.0, 0.3])[:, None, None]
    codebooks[..., 0] *= 10
    model = started(codebooks)
    codes = torch.randint(64, (16, 2, 1)).expand(-1, -1, 40)
    labels, level, mask = (
        torch.zeros(16, dtype=torch.int64),
        torch.zeros(16, dtype=torch.int64),
        torch.rand(16, 40) < 0.5,
    )
    assert model.masked_loss(Inputs(codes, labels), level, mask).correct.float().mean() > 0.9


def test_a_model_that_starts_from_codebooks_starts_near_chance():
    torch.manual_seed(0)
    config = SoundStormConfig(num_classes=3, dim=64, depth=1, heads=2, kernel_size=3)
    model = SoundStorm(config).eval()
    model.start_from_codebooks(torch.randn(8, 1024, 20) * torch.logspace(0, -1, 8)[:, None, None])
    codes = torch.randint(1024, (4, 8, 50))
    level, mask = torch.arange(4) * 2, torch.ones(4, 50, dtype=torch.bool)
    loss = model.masked_loss(
        Inputs(codes, torch.zeros(4, dtype=torch.int64)), level, mask
    ).loss.mean()
    assert loss.item() == pytest.approx(math.log(1024), abs=0.1)


@pytest.fixture
def controlled():
    torch.manual_seed(0)
    return SoundStorm(replace(TINY, controls=True)).eval()


def test_no_controls_and_controls_that_ask_nothing_are_the_same(controlled):
    codes, labels, *_ = batch()
    nothing = torch.full((4, 12, 2), torch.nan)
    assert torch.equal(
        controlled(Inputs(codes, labels)), controlled(Inputs(codes, labels, controls=nothing))
    )


def test_each_control_speaks_for_itself_and_for_its_frame(controlled):
    codes, labels, *_ = batch(items=1)
    plain = controlled.features(Inputs(codes, labels), layer=0)
    for kind, values in ((0, (0.0, 0.2, 0.23, 1.0)), (1, (0.0, 1.0))):
        frames = []
        for value in values:
            asked = torch.full((1, 12, 2), torch.nan)
            asked[0, 5, kind] = value
            changed = controlled.features(Inputs(codes, labels, controls=asked), layer=0) != plain
            assert changed[0, 5].any()
            assert not changed[0, torch.arange(12) != 5].any()
            frames.append(controlled.features(Inputs(codes, labels, controls=asked), layer=0)[0, 5])
        assert all(not torch.allclose(a, b) for a, b in itertools.combinations(frames, 2))


def test_loudness_is_heard_as_a_continuous_curve_that_goes_on_flat_beyond_its_range(controlled):
    def rows(value):
        return controlled.control_embedding(torch.tensor([value, 0.0]))

    between = [rows(value) for value in (0.4, 0.41, 0.42)]
    torch.testing.assert_close(
        between[1], (between[0] + between[2]) / 2
    )  # 0.4 and 0.42 lie between the same two of the 16 knots
    assert torch.equal(rows(1.5), rows(1.0))
    assert torch.equal(rows(-1.0), rows(0.0))


def test_a_model_without_controls_refuses_them(model):
    codes, labels, *_ = batch()
    with pytest.raises(ValueError, match="without controls"):
        model(Inputs(codes, labels, controls=torch.zeros(4, 12, 2)))


def test_the_loss_learns_from_controls(controlled):
    codes, labels, level, mask = batch()
    asked = torch.rand(4, 12, 2)
    controlled.masked_loss(
        Inputs(codes, labels, controls=asked), level, mask
    ).loss.mean().backward()
    assert controlled.control_embedding.rows.weight.grad.abs().sum() > 0
