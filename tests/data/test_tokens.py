"""Token files: they read back as written, and only with the codec that made them."""

import json
from dataclasses import asdict

import pytest
import torch
from tiny import tiny_codec, token_format

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_file
from ssenv_core.base.tensors import save_tensors
from ssenv_core.data.tokens import TokenSet, load_tokens_file, require_codec, save_tokens

FRAMES = 12
PATTERNS = ("############", "..###..##...", "............", "#...........", "...........#")


@pytest.fixture(scope="module")
def codec():
    return tiny_codec()


@pytest.fixture(scope="module")
def tokens(codec):
    """Five clips, active where their pattern has a #."""
    return TokenSet(
        codes=torch.randint(0, 1024, (5, 8, FRAMES), generator=torch.Generator().manual_seed(0)),
        labels=torch.arange(5) % 2,
        folds=torch.arange(5) % 3 + 1,
        active=torch.tensor([[frame == "#" for frame in pattern] for pattern in PATTERNS]),
        controls=torch.rand(5, FRAMES, 2, generator=torch.Generator().manual_seed(0))
        .half()
        .float(),
        names=tuple(f"clip-{i}" for i in range(5)),
        recordings=("", "", "7", "9", "7"),
        class_names=("dog", "rain"),
        format=token_format(codec, dataset="tiny"),
    )


def test_inner_silence_is_content_and_outer_silence_is_padding(tokens):
    spans = ["############", "..#######...", "............", "#...........", "...........#"]
    assert (~tokens.padding).tolist() == [[frame == "#" for frame in span] for span in spans]


def test_file_gives_back_what_was_saved(tmp_path, tokens):
    loaded = load_tokens_file(save_tokens(tmp_path / "tokens.safetensors", tokens))
    for name in ("codes", "labels", "folds", "active", "controls"):
        assert torch.equal(getattr(loaded, name), getattr(tokens, name))
        assert getattr(loaded, name).dtype == getattr(tokens, name).dtype
    for name in ("names", "recordings", "class_names", "format"):
        assert getattr(loaded, name) == getattr(tokens, name)


def test_sidecar_has_the_identities_and_the_hash_of_the_file(tmp_path, tokens):
    path = save_tokens(tmp_path / "tokens.safetensors", tokens)
    sidecar = json.loads((tmp_path / "tokens.json").read_text())
    assert sidecar["sha256"] == sha256_file(path)
    assert sidecar["clips"] == 5
    assert sidecar | asdict(tokens.format) == sidecar


def test_a_file_of_another_kind_and_a_cut_one_are_refused_by_name(tmp_path, tokens):
    other = save_tensors(
        tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {"kind": "soundstorm generator"}
    )
    with pytest.raises(
        SsenvError,
        match=r"other\.safetensors holds 'soundstorm generator', not a soundstorm tokens",
    ):
        load_tokens_file(other)
    whole = save_tokens(tmp_path / "cut.safetensors", tokens)
    whole.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(SsenvError, match=r"cut\.safetensors is not a readable"):
        load_tokens_file(whole)


def test_folds_split_the_clips_without_loss_or_overlap(tokens):
    held, rest = tokens.where(folds=[1]), tokens.without(1)
    assert set(held.folds.tolist()) == {1}
    assert set(rest.folds.tolist()) == {2, 3}
    assert sorted(held.names + rest.names) == sorted(tokens.names)
    for i, name in enumerate(rest.names):
        original = tokens.names.index(name)
        assert torch.equal(rest.codes[i], tokens.codes[original])
        assert torch.equal(rest.active[i], tokens.active[original])
        assert rest.labels[i] == tokens.labels[original]


def test_clips_of_one_recording_are_never_on_both_sides(tokens):
    """Clips 2 and 4 are, of folds 3 and 2; clips 0 and 1 are recordings of their own."""
    assert tokens.without(2).names == ("clip-0", "clip-3")
    assert tokens.without(3).names == ("clip-0", "clip-1", "clip-3")
    assert tokens.without(1).names == ("clip-1", "clip-2", "clip-4")


def test_an_unknown_fold_and_an_only_fold_are_refused(tokens):
    with pytest.raises(SsenvError, match="no fold 9: there are 1, 2, 3"):
        tokens.without(9)
    with pytest.raises(SsenvError, match="no fold but 2"):
        tokens.where(folds=[2]).without(2)


def test_another_codec_is_refused_in_one_line(tokens, codec):
    require_codec(tokens.format, codec)
    with pytest.raises(
        SsenvError, match=r"the tokens are of melrvq_24khz .*load the codec that made them"
    ) as error:
        require_codec(tokens.format, tiny_codec(seed=1))
    assert "\n" not in str(error.value)


def test_a_codec_with_too_few_levels_is_refused(tokens):
    with pytest.raises(SsenvError, match="8 levels, melrvq_24khz here 2: load it at 6 kbps"):
        require_codec(tokens.format, tiny_codec(bandwidth=1.5))
