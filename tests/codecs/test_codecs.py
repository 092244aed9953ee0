"""Codecs by name: verified weights, one line for a wrong name, unchanged length."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_codec

from ssenv_core import codecs
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_file
from ssenv_core.codecs import CODECS, WEIGHTS, codec_levels, load_codec, was_fitted_on
from ssenv_core.codecs.encodec import untrained_encodec
from ssenv_core.codecs.melrvq.codec import CONFIGS, MelRVQ
from ssenv_core.codecs.reconstruction import reconstruct, reconstructions
from ssenv_core.codecs.vocos_encodec import VocosEnCodec, untrained_vocos


def noise(items, samples, seed=0):
    return 0.1 * torch.randn(items, 1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def small_codec():
    return tiny_codec()


@pytest.fixture
def shipped(small_codec, tmp_path, monkeypatch):
    """A weights folder as the package ships one, with a small codec in it."""
    path = small_codec.save(tmp_path / "melrvq_24khz.safetensors")
    path.with_suffix(".json").write_text(json.dumps({"sha256": sha256_file(path)}))
    monkeypatch.setattr(codecs, "WEIGHTS", tmp_path)
    return path


@pytest.mark.parametrize(
    ("dataset", "fold", "fitted"),
    [
        ("esc50", 1, False),
        ("esc50", 5, True),
        ("esc10", 2, True),
        ("esc10", 1, False),
        ("urbansound8k", 2, False),
    ],
)
def test_the_embedded_codec_names_the_folds_that_it_was_fitted_on(dataset, fold, fitted):
    assert was_fitted_on(load_codec("melrvq_24khz"), dataset, fold) == fitted
    assert not was_fitted_on(untrained_encodec("encodec_24khz"), dataset, fold)
    assert not was_fitted_on(tiny_codec(), dataset, fold)


def test_the_names_are_the_documented_ones():
    page = (Path(__file__).parents[2] / "docs" / "own-sounds.md").read_text()
    assert [name for name in CODECS if f"`{name}" not in page] == []


def test_the_sizes_of_the_shipped_codecs_are_those_of_their_files():
    for name, config in CONFIGS.items():
        codec = MelRVQ.load(WEIGHTS / f"{name}.safetensors")
        assert (codec.name, codec.config) == (name, config)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        SsenvError,
        match=r"^unknown codec 'encodec24khz': did you mean 'encodec_24khz'\?.*melrvq_24khz",
    ):
        load_codec("encodec24khz")
    with pytest.raises(
        SsenvError, match=r"^unknown codec 'opus': there are \(melrvq_24khz, .*, dac_44khz.*\)$"
    ):
        load_codec("opus")


def test_the_embedded_codec_loads_as_it_was_saved(shipped, small_codec):
    codec = load_codec("melrvq_24khz", 3.0)
    wav = torch.randn(1, 1, 3_200, generator=torch.Generator().manual_seed(1))
    assert (codec.n_q, codec.bandwidth) == (4, 3.0)
    assert codec_levels("melrvq_24khz", 3.0) == 4
    assert codec.token_hash == small_codec.token_hash
    assert torch.equal(codec.encode(wav), small_codec.encode(wav)[:, :4])
    assert not codec.training


def test_a_damaged_embedded_codec_is_refused(shipped):
    data = bytearray(shipped.read_bytes())
    data[-1] ^= 1
    shipped.write_bytes(data)
    with pytest.raises(
        SsenvError, match=r"melrvq_24khz\.safetensors is damaged .*reinstall ssenv$"
    ):
        load_codec("melrvq_24khz")


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_missing_file_of_the_embedded_codec_is_named(shipped, suffix):
    missing = shipped.with_suffix(suffix)
    missing.unlink()
    with pytest.raises(SsenvError, match=rf"{missing.name} is missing: reinstall ssenv$"):
        load_codec("melrvq_24khz")


def test_an_impossible_bandwidth_is_refused(shipped):
    with pytest.raises(SsenvError, match=r"^melrvq_24khz has no 5 kbps"):
        load_codec("melrvq_24khz", 5.0)


def test_the_shipped_codec_hears_the_difference_between_noise_and_silence():
    codec = load_codec("melrvq_24khz")
    noise = 0.1 * np.random.default_rng(0).standard_normal(12_000).astype(np.float32)
    decoded = reconstruct(codec, noise)
    assert 0.05 < np.sqrt(np.mean(decoded**2)) < 0.2
    assert not reconstruct(codec, np.zeros(12_000, np.float32)).any()


@settings(deadline=None, max_examples=20)
@given(samples=st.integers(1, 2_000))
def test_reconstruction_keeps_the_length(small_codec, samples):
    wav = 0.1 * np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    decoded = reconstruct(small_codec, wav)
    assert decoded.shape == wav.shape
    assert decoded.dtype == np.float32


def test_draws_of_the_noise_are_seeds_of_which_the_first_is_the_reconstruction(small_codec):
    wav = 0.1 * np.random.default_rng(0).standard_normal(1_000).astype(np.float32)
    first, second = reconstructions(small_codec, wav, "cpu", 2)
    assert np.array_equal(first, reconstruct(small_codec, wav))
    assert not np.array_equal(first, second)


def test_reconstruction_is_what_the_codec_decodes(small_codec):
    wav = 0.1 * np.random.default_rng(0).standard_normal(1_000).astype(np.float32)
    codes = small_codec.encode(torch.from_numpy(wav)[None, None])
    expected = small_codec.decode(codes, torch.Generator().manual_seed(0))[0, 0, :1_000]
    assert np.array_equal(reconstruct(small_codec, wav), expected.numpy())
    assert expected.abs().max() > 0


def torn_codec(wavs: torch.Tensor, margin: float = 0.0) -> MelRVQ:
    """A codec with two codings of each frame of `wavs`, the second worse by `margin`.

    Almost any change of a latent changes its codes.
    """
    codec = tiny_codec()
    latents = codec.embed(wavs).transpose(1, 2).flatten(0, 1)
    offset = noise(1, latents.numel(), seed=1).view_as(latents) * latents.std(dim=0)
    entries = torch.cat([latents + offset, latents - (1 + margin) * offset])
    codebooks = codec.encoder.codebooks
    codebooks[0, 1:] = 100.0
    codebooks[0, 1 : len(entries) + 1] = entries
    codebooks[1:] *= offset.std(dim=0)
    codebooks[1:, 1:512] = -codebooks[
        1:, 513:
    ]  # what one way leaves, the other leaves with its sign reversed
    return codec


@pytest.mark.parametrize("samples", [12_800, 12_801, 13_119])
def test_chunks_of_a_waveform_have_the_codes_of_the_whole(samples):
    wavs = noise(2, samples) * torch.linspace(0.2, 1, samples)
    codec = torn_codec(
        wavs, margin=3e-4
    )  # more than rounding, less than the furthest frame seen makes of a latent
    whole = codec.encode(wavs)
    assert whole.unique().numel() > 100
    for frames in (8, 13, 41):
        assert torch.equal(codec.encode_long(wavs, frames / 75), whole)
    with pytest.raises(ValueError, match="7 frames is too short"):
        codec.encode_long(wavs, 7 / 75)


def test_an_item_gets_the_same_codes_in_every_batch():
    wavs = noise(4, 8_000)
    codec = torn_codec(
        wavs
    )  # only codes that depend on nothing but the item itself survive such ties
    batched = codec.encode(wavs)
    assert torch.equal(batched, torch.cat([codec.encode(wav[None]) for wav in wavs]))
    assert torch.equal(batched[[2, 0]], codec.encode(wavs[[2, 0]]))
    assert batched[:, 0].unique().numel() > 40


@pytest.mark.parametrize(
    "name", ["encodec_24khz", "encodec_48khz", "vocos_encodec_24khz", "melrvq_24khz"]
)
def test_every_tensor_is_made_where_the_codec_is(small_codec, name):
    if name == small_codec.name:
        codec = small_codec
    elif name == "vocos_encodec_24khz":
        codec = VocosEnCodec(untrained_encodec("encodec_24khz").model, untrained_vocos())
    else:
        codec = untrained_encodec(name)
    wav = noise(1, 4_000)
    with torch.device(
        "meta"
    ):  # what is made without naming a device is made there, and cannot be mixed with what is not
        codes = codec.encode(wav)
        made = [
            codes,
            codec.encode_long(wav, 0.12),
            codec.embed(wav),
            codec.codebooks,
            codec.decode(codes),
        ]
    assert {tensor.device.type for tensor in made} == {"cpu"}
