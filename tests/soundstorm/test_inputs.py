"""Inputs: joined and split batches keep their clips, and unconditioned ones their codes."""

import pytest
import torch

from ssenv_core.soundstorm.inputs import CONTROLS, Inputs


@pytest.fixture(params=[True, False], ids=["all fields", "codes and labels"])
def inputs(request: pytest.FixtureRequest) -> Inputs:
    codes = torch.randint(9, (5, 2, 4))
    labels = torch.arange(5)
    if not request.param:
        return Inputs(codes, labels)
    return Inputs(codes, labels, torch.rand(5, 4) < 0.5, torch.rand(5, 4, len(CONTROLS)))


def same(one: Inputs, other: Inputs) -> bool:
    pairs = zip(one, other, strict=True)
    return all(b is None if a is None else torch.equal(a, b) for a, b in pairs)


def test_unconditioned_inputs_have_no_class_and_no_controls_but_the_same_codes(inputs) -> None:
    null = inputs.unconditioned(7)
    assert torch.equal(null.codes, inputs.codes)
    assert null.padding is inputs.padding
    assert null.labels.tolist() == [7] * 5
    if inputs.controls is None:
        assert null.controls is None
    else:
        assert null.controls.isnan().all()
        assert null.controls.shape == inputs.controls.shape


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_parts_of_a_batch_joined_again_are_the_batch(inputs, count: int) -> None:
    first, *others = inputs.split(count)
    assert len(others) == count - 1
    for part in others:
        first = first.joined(part)
    assert same(first, inputs)


def test_active_frames_are_those_that_are_not_padding(inputs) -> None:
    assert inputs.active.shape == (5, 4)
    if inputs.padding is None:
        assert inputs.active.all()
    else:
        assert torch.equal(inputs.active, ~inputs.padding)
