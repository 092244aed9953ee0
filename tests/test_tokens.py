"""Token files: what is read once must be the codec's codes, tell silence from sound, and never be read with another codec."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssenv_core.artifacts import save_tensors, sha256_file
from ssenv_core.codecs.melrvq import DecoderConfig, MelRVQ
from ssenv_core.datasets.base import Clip, Dataset
from ssenv_core.errors import SsenvError
from ssenv_core.tokens import active_frames, load_tokens_file, require_codec, save_tokens, tokenize

HOP, FRAMES = 320, 12


@dataclass(frozen=True)
class Sound:
    wav: tuple[float, ...]

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        return np.array(self.wav, dtype=np.float32)

    def identity(self) -> list:
        return [hash(self.wav)]


@dataclass(frozen=True)
class Unreadable:
    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        raise SsenvError("broken.wav is truncated: fetch it again or remove it")

    def identity(self) -> list:
        return []


def sound(seed: int, frames: str) -> Sound:
    """Noise where `frames` has a #, digital silence where it has a dot."""
    loud = np.repeat(np.array(list(frames)) == "#", HOP)
    return Sound(tuple(np.where(loud, np.random.default_rng(seed).uniform(-0.5, 0.5, len(loud)), 0).tolist()))


PATTERNS = ("############", "..###..##...", "............", "#...........", "...........#")


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    codec = MelRVQ(DecoderConfig(16, 16, 1)).eval()
    codec.quantizer.codebooks.normal_()
    return codec


@pytest.fixture(scope="module")
def dataset():
    clips = tuple(Clip(f"clip-{i}", i % 2, i % 3 + 1, sound(i, pattern)) for i, pattern in enumerate(PATTERNS))
    return Dataset("tiny", ("dog", "rain"), clips, FRAMES * HOP / 24_000)


@pytest.fixture(scope="module")
def tokens(dataset, codec):
    return tokenize(dataset, codec, device="cpu", batch_size=2)


def test_codes_are_the_codecs_codes_of_each_clip_in_the_datasets_order(dataset, codec, tokens):
    assert tokens.codes.shape == (5, 8, FRAMES)
    for i, clip in enumerate(dataset.clips):
        wav = torch.from_numpy(dataset.read(clip, 24_000))[None, None]
        assert torch.equal(tokens.codes[i], codec.encode(wav)[0])
    assert tokens.names == tuple(clip.name for clip in dataset.clips)
    assert tokens.labels.tolist() == [clip.label for clip in dataset.clips]
    assert tokens.folds.tolist() == [clip.fold for clip in dataset.clips]


def test_active_frames_are_those_with_sound(tokens):
    assert tokens.active.tolist() == [[frame == "#" for frame in pattern] for pattern in PATTERNS]


def test_inner_silence_is_content_and_outer_silence_is_padding(tokens):
    spans = ["############", "..#######...", "............", "#...........", "...........#"]
    assert (~tokens.padding).tolist() == [[frame == "#" for frame in span] for span in spans]


@settings(deadline=None)
@given(st.integers(0, 5 * HOP - 1), st.floats(1.01 / 32768, 1.0))
def test_one_sample_above_a_16_bit_step_makes_exactly_its_frame_active(position, level):
    wav = torch.full((1, 5 * HOP - 7), 1 / 32768)  # a last frame that is not full
    assert not active_frames(wav, HOP, 5).any()
    position = min(position, wav.shape[1] - 1)
    wav[0, position] = -level
    assert active_frames(wav, HOP, 5)[0].nonzero().tolist() == [[position // HOP]]


def test_silent_clips_are_kept_and_named(dataset, codec, capsys):
    assert len(tokenize(dataset, codec, device="cpu")) == len(dataset)
    assert "1 silent throughout: clip-2" in capsys.readouterr().out


def test_batch_size_does_not_matter(dataset, codec, tokens):
    for batch_size in (1, 16):
        assert torch.equal(tokenize(dataset, codec, device="cpu", batch_size=batch_size).codes, tokens.codes)


def test_metadata_identifies_dataset_and_codec(dataset, codec, tokens):
    assert tokens.metadata == {
        "dataset": "tiny",
        "dataset_fingerprint": dataset.fingerprint,
        "codec": "melrvq_24khz",
        "bandwidth": 6.0,
        "token_hash": codec.token_hash,
        "sample_rate": 24_000,
        "frame_rate": 75.0,
        "n_q": 8,
        "codebook_size": 1024,
        "duration": 0.16,
    }


@pytest.mark.parametrize("bandwidth", [0.75, 3.0, 6.0, 12.0])
def test_the_bandwidth_of_the_embedded_codec_is_that_of_its_levels(dataset, bandwidth):
    metadata = tokenize(dataset, MelRVQ(DecoderConfig(16, 16, 1), bandwidth).eval(), device="cpu").metadata
    assert (metadata["bandwidth"], metadata["n_q"]) == (bandwidth, round(bandwidth / 0.75))


def test_an_unreadable_clip_is_one_line(codec, dataset):
    broken = Dataset("tiny", ("dog",), (*dataset.clips, Clip("broken", 0, 1, Unreadable())), 0.16)
    with pytest.raises(SsenvError, match=r"broken\.wav is truncated"):
        tokenize(broken, codec, device="cpu", batch_size=2)


def test_file_gives_back_what_was_saved(tmp_path, tokens):
    loaded = load_tokens_file(save_tokens(tmp_path / "tokens.safetensors", tokens))
    for name in ("codes", "labels", "folds", "active"):
        assert torch.equal(getattr(loaded, name), getattr(tokens, name))
        assert getattr(loaded, name).dtype == getattr(tokens, name).dtype
    assert (loaded.names, loaded.class_names, loaded.metadata) == (tokens.names, tokens.class_names, tokens.metadata)


def test_sidecar_has_the_identities_and_the_hash_of_the_file(tmp_path, tokens):
    path = save_tokens(tmp_path / "tokens.safetensors", tokens)
    sidecar = json.loads((tmp_path / "tokens.json").read_text())
    assert sidecar["sha256"] == sha256_file(path)
    assert sidecar["clips"] == 5
    assert sidecar | tokens.metadata == sidecar


def test_a_file_of_another_kind_and_a_cut_one_are_refused_by_name(tmp_path, tokens):
    other = save_tensors(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {"kind": "soundstorm generator"})
    with pytest.raises(SsenvError, match=r"other\.safetensors holds 'soundstorm generator', not a soundstorm tokens"):
        load_tokens_file(other)
    whole = save_tokens(tmp_path / "cut.safetensors", tokens)
    whole.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(SsenvError, match=r"cut\.safetensors is not a readable"):
        load_tokens_file(whole)


def test_folds_split_the_clips_without_loss_or_overlap(tokens):
    held, rest = tokens.where(folds=[2]), tokens.without(2)
    assert set(held.folds.tolist()) == {2}
    assert set(rest.folds.tolist()) == {1, 3}
    assert sorted(held.names + rest.names) == sorted(tokens.names)
    for i, name in enumerate(rest.names):
        original = tokens.names.index(name)
        assert torch.equal(rest.codes[i], tokens.codes[original])
        assert torch.equal(rest.active[i], tokens.active[original])
        assert rest.labels[i] == tokens.labels[original]


def test_an_unknown_fold_and_an_only_fold_are_refused(tokens):
    with pytest.raises(SsenvError, match="no fold 9: there are 1, 2, 3"):
        tokens.without(9)
    with pytest.raises(SsenvError, match="no fold but 2"):
        tokens.where(folds=[2]).without(2)


def test_another_codec_is_refused_in_one_line(tokens, codec):
    require_codec(tokens, codec)
    torch.manual_seed(1)
    other = MelRVQ(DecoderConfig(16, 16, 1))
    other.quantizer.codebooks.normal_()
    with pytest.raises(SsenvError, match=r"the tokens are of melrvq_24khz .*load the codec that made them") as error:
        require_codec(tokens, other)
    assert "\n" not in str(error.value)


def test_a_codec_with_too_few_levels_is_refused(tokens, codec):
    coarse = MelRVQ(DecoderConfig(16, 16, 1), bandwidth=1.5)
    coarse.load_state_dict(codec.state_dict())
    with pytest.raises(SsenvError, match="8 levels, melrvq_24khz here 2: load it at 6 kbps"):
        require_codec(tokens, coarse)
