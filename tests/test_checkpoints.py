"""Which generator a study reads, and that one of other tokens is refused by name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_generator import tiny_session

from ssenv_core.checkpoints import SHIPPED, TrainedGenerator, generator_file, require_tokens
from ssenv_core.errors import SsenvError
from ssenv_core.tokens import TokenSet


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> TrainedGenerator:
    trained = tiny_session(tmp_path_factory.mktemp("session"), judged=False).generator
    return TrainedGenerator(trained.model, trained.class_names, {**trained.metadata, "dataset": "esc50"}, trained.training)


@pytest.fixture
def tokens(generator: TrainedGenerator) -> TokenSet:
    codes = torch.zeros(1, 2, 4, dtype=torch.int64)
    one = torch.ones(1, dtype=torch.int64)
    return TokenSet(
        codes, one, one, torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, 2), ("a",), ("",), ("b", "c"), dict(generator.metadata)
    )


def test_the_generator_is_the_study_s_own_the_shipped_one_or_a_file_in_the_project(tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    assert generator_file("", own, tmp_path) == own
    assert generator_file("shipped", own, tmp_path) == SHIPPED
    assert generator_file("outputs/x/generator.safetensors", own, tmp_path) == tmp_path / "outputs" / "x" / "generator.safetensors"


def test_a_generator_of_these_tokens_is_taken(generator: TrainedGenerator, tokens: TokenSet) -> None:
    require_tokens(generator, tokens)


@pytest.mark.parametrize(
    ("what", "found"), [("dataset", "esc10"), ("codec", "encodec_24khz"), ("token_hash", "0123"), ("n_q", 16)], ids=lambda value: str(value)
)
def test_a_generator_of_other_tokens_is_refused_naming_what_differs(generator, tokens, what: str, found: object) -> None:
    with pytest.raises(SsenvError, match=f"tokens of {what} .*, these are of {found}"):
        require_tokens(generator, replace(tokens, metadata={**tokens.metadata, what: found}))
