"""Which generator a study reads, and that one of other tokens is refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny.generator import tiny_session

from ssenv_core.base.errors import SsenvError
from ssenv_core.data.controls import LOUDNESS
from ssenv_core.data.tokens import TokenSet
from ssenv_core.generator.file import (
    SHIPPED,
    TrainedGenerator,
    generator_file,
    load_generator,
    require_tokens,
    save_generator,
)
from ssenv_core.generator.plans import Plans


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> TrainedGenerator:
    trained = tiny_session(tmp_path_factory.mktemp("session"), judged=False).generator
    return TrainedGenerator(
        trained.model,
        trained.class_names,
        replace(trained.format, dataset="esc50"),
        trained.training,
    )


@pytest.fixture
def tokens(generator: TrainedGenerator) -> TokenSet:
    codes = torch.zeros(1, 2, 4, dtype=torch.int64)
    one = torch.ones(1, dtype=torch.int64)
    return TokenSet(
        codes,
        one,
        one,
        torch.ones(1, 4, dtype=torch.bool),
        torch.zeros(1, 4, 2),
        ("a",),
        ("",),
        ("b", "c"),
        generator.format,
    )


def test_the_generator_is_the_study_s_own_the_shipped_one_or_a_file_in_the_project(
    tmp_path: Path,
) -> None:
    own = tmp_path / "own.safetensors"
    assert generator_file("", own, tmp_path) == own
    assert generator_file("shipped", own, tmp_path) == SHIPPED
    assert (
        generator_file("outputs/x/generator.safetensors", own, tmp_path)
        == tmp_path / "outputs" / "x" / "generator.safetensors"
    )


def test_a_generator_of_these_tokens_is_taken(
    generator: TrainedGenerator, tokens: TokenSet
) -> None:
    require_tokens(generator, tokens)


@pytest.mark.parametrize(
    ("what", "found"),
    [("dataset", "esc10"), ("codec", "encodec_24khz"), ("token_hash", "0123"), ("n_q", 16)],
    ids=lambda value: str(value),
)
def test_a_generator_of_other_tokens_is_refused_naming_what_differs(
    generator, tokens, what: str, found: object
) -> None:
    with pytest.raises(SsenvError, match=f"tokens of {what} .*, these are of {found}"):
        require_tokens(generator, replace(tokens, format=replace(tokens.format, **{what: found})))


def test_of_the_user_s_own_folders_each_copy_is_another_dataset(
    generator: TrainedGenerator, tokens: TokenSet
) -> None:
    """As its folds may be others."""
    own = replace(tokens.format, dataset="folder", dataset_fingerprint="one")
    other = replace(own, dataset_fingerprint="another")
    trained = replace(generator, format=own)
    require_tokens(trained, replace(tokens, format=own))
    with pytest.raises(SsenvError, match="tokens of dataset_fingerprint one, these are of another"):
        require_tokens(trained, replace(tokens, format=other))
    wav, ogg = (replace(form, dataset="esc50") for form in (own, other))
    require_tokens(replace(generator, format=wav), replace(tokens, format=ogg))


def test_plans_are_of_recorded_clips_that_sound_from_their_first_sound_on(tokens: TokenSet) -> None:
    active = torch.tensor(
        [[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]],
        dtype=torch.bool,
    )
    controls = torch.arange(1, 6.0).repeat(5, 1)[..., None].expand(5, 5, 2) * active[..., None]
    controls[4] = 0.0
    controls[3, 0, LOUDNESS] = 0.001  # inaudible, but not digital silence
    names = ("a", "silent", "a~1", "b~1", "faint")  # b~1 is no variation: there is no clip b
    labels, codes = torch.tensor([1, 0, 1, 0, 1]), torch.zeros(5, 2, 5, dtype=torch.int64)
    plans = Plans.of(
        replace(
            tokens,
            codes=codes,
            labels=labels,
            folds=labels,
            active=active,
            controls=controls,
            names=names,
            recordings=("",) * 5,
        )
    )
    assert plans.labels.tolist() == [1, 0]
    assert plans.controls[..., LOUDNESS].tolist() == [[2, 0, 4, 0, 0], [2, 0, 0, 0, 0]]
    assert plans.silence.tolist() == [0, 0]
    codes[0, 1, 2] = 3  # another code of a silent frame
    assert (
        Plans.of(
            replace(
                tokens, codes=codes, labels=labels, active=active, controls=controls, names=names
            )
        ).silence
        is None
    )


def test_a_generator_s_file_keeps_its_plans(generator: TrainedGenerator, tmp_path: Path) -> None:
    controls = torch.stack((torch.rand(2, 30), torch.rand(2, 30).round()), dim=-1)
    plans = Plans(torch.tensor([2, 0]), controls, torch.tensor([5, 6]))
    loaded = load_generator(
        save_generator(tmp_path / "with.safetensors", replace(generator, plans=plans)), "cpu"
    ).plans
    assert loaded.labels.tolist() == [2, 0]
    assert loaded.controls.dtype == torch.float32
    assert (loaded.controls[..., 0] - plans.controls[..., 0]).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(loaded.controls[..., 1], plans.controls[..., 1])
    assert loaded.silence.tolist() == [5, 6]
    bare = save_generator(
        tmp_path / "bare.safetensors", replace(generator, plans=plans._replace(silence=None))
    )
    assert load_generator(bare, "cpu").plans.silence is None
    assert (
        load_generator(save_generator(tmp_path / "without.safetensors", generator), "cpu").plans
        is None
    )
