"""The Descript Audio Codec behind the Codec interface: the package's codes and frame counts.

Tests that need the package are skipped without it. No published weights are needed: the networks
are the package's, with random weights.
"""

import hashlib
import math
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssenv_core.base.audio import active_frames
from ssenv_core.base.errors import SsenvError
from ssenv_core.codecs import codec_levels, dac, load_codec
from ssenv_core.codecs.dac import KBPS_PER_LEVEL, DescriptCodec, dac_levels, untrained_dac

SMALL = {"encoder_dim": 4, "decoder_dim": 32}


def small(seed=0):
    """The package's architecture, narrow: same strides, kernels and codebooks."""
    pytest.importorskip("dac", reason="the extra `dac` (descript-audio-codec) is not installed")
    torch.manual_seed(seed)
    return untrained_dac(**SMALL)


@pytest.fixture(scope="module")
def narrow():
    return small().eval()


def noise(items, samples, seed=0):
    return 0.1 * torch.randn(items, 1, samples, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_the_full_size_codec_keeps_the_contract():
    pytest.importorskip("dac", reason="the extra `dac` (descript-audio-codec) is not installed")
    torch.manual_seed(0)
    codec = DescriptCodec(untrained_dac())
    wav = noise(1, 1_025)
    codes, latents = codec.encode(wav), codec.embed(wav)
    assert (codec.name, codec.sample_rate, codec.n_q, codec.codebook_size) == (
        "dac_44khz",
        44_100,
        9,
        1024,
    )
    assert (codec.model.sample_rate, codec.model.hop_length, codec.model.n_codebooks) == (
        44_100,
        512,
        9,
    )
    assert codec.frame_rate == 44_100 / 512
    numbers = sum(tensor.numel() for tensor in codec.model.state_dict().values())
    assert 4 * numbers == 306_607_560  # of the 306,717,287 bytes of the published file
    assert codes.shape == (1, 9, 3)
    assert codes.dtype == torch.int64
    assert latents.shape == (1, 1024, 3)
    assert codec.decode(codes).shape == (1, 1, 3 * 512)


@torch.inference_mode()
@pytest.mark.parametrize("bandwidth", [0.86, 4.31, 8.0])
def test_codes_and_sound_are_the_packages_own(narrow, bandwidth):
    codec, wav = DescriptCodec(narrow, bandwidth), noise(1, 5_000)
    _, expected, _, _, _ = narrow.encode(narrow.preprocess(wav, 44_100), codec.n_q)
    codes = codec.encode(wav)
    assert codes.shape == (1, codec.n_q, 10)
    assert torch.equal(codes, expected)
    assert codes.unique().numel() > codec.n_q
    assert torch.equal(codec.decode(codes), narrow.decode(narrow.quantizer.from_codes(codes)[0]))


def test_codebooks_hold_what_each_code_adds(narrow):
    codec = DescriptCodec(narrow, 2.58)
    codes = codec.encode(noise(1, 2_000))
    added = sum(codec.codebooks[level, codes[0, level]] for level in range(3)).T[None]
    assert codec.codebooks.shape == (3, 1024, 64)
    assert torch.allclose(added, narrow.quantizer.from_codes(codes)[0], atol=1e-5)


@pytest.mark.parametrize("samples", [20_480, 20_481, 20_991])
def test_chunks_of_a_waveform_have_the_codes_of_the_whole(narrow, samples):
    codec, wavs = DescriptCodec(narrow), noise(2, samples)
    whole = codec.encode(wavs)
    assert whole.unique().numel() > 100
    for frames in (8, 13, 41):
        assert torch.equal(codec.encode_long(wavs, frames * 512 / 44_100), whole)


def test_a_frame_sees_eight_frames_on_either_side(narrow):
    wav = noise(1, 21 * 512).requires_grad_()
    narrow.encoder(wav)[0, :, 10].sum().backward()
    seen = wav.grad[0, 0].nonzero()[:, 0]
    assert (10 * 512 - seen.min(), seen.max() - 11 * 512 + 1) == (3733, 3733)
    assert math.ceil(3733 / 512) == dac.FRAMES_SEEN


@settings(deadline=None, max_examples=15)
@given(samples=st.integers(1, 3_000))
def test_s_samples_give_ceil_of_s_over_512_frames_each_with_its_activity(narrow, samples):
    codec, wav = DescriptCodec(narrow, 1.72), noise(1, samples)
    frames = -(-samples // 512)
    assert frames == math.ceil(samples * codec.frame_rate / codec.sample_rate)
    assert codec.encode(wav).shape == (1, 2, frames)
    assert codec.embed(wav).shape[-1] == frames
    assert active_frames(wav[0], round(codec.sample_rate / codec.frame_rate), frames).all()


def test_an_item_gets_the_same_codes_in_every_batch(narrow):
    codec, wavs = DescriptCodec(narrow), noise(4, 6_000)
    batched = codec.encode(wavs)
    assert torch.equal(batched, torch.cat([codec.encode(wav[None]) for wav in wavs]))
    assert torch.equal(batched[[2, 0]], codec.encode(wavs[[2, 0]]))


def test_levels_are_nested_and_fewer_decode(narrow):
    coarse, fine, wav = DescriptCodec(narrow, 1.72), DescriptCodec(narrow, 8.0), noise(2, 3_200)
    codes = fine.encode(wav)
    assert torch.equal(coarse.encode(wav), codes[:, :2])
    assert torch.equal(fine.decode(codes[:, :2]), coarse.decode(codes[:, :2]))
    assert not torch.equal(fine.decode(codes[:, :2]), fine.decode(codes))


def test_the_codec_is_frozen():
    codec = DescriptCodec(small().train())
    assert not any(module.training for module in codec.model.modules())
    assert not any(parameter.requires_grad for parameter in codec.parameters())


def test_token_hash_follows_what_decides_the_codes():
    def hash_after(change=lambda model: None, bandwidth=8.0):
        model = small()
        with torch.no_grad():
            change(model)
        return DescriptCodec(model, bandwidth).token_hash

    plain = hash_after()
    assert (
        plain
        == hash_after(bandwidth=0.86)
        == hash_after(lambda model: next(model.decoder.parameters()).add_(1))
    )
    assert plain != hash_after(lambda model: next(model.encoder.parameters()).add_(1))
    assert plain != hash_after(lambda model: model.quantizer.quantizers[8].codebook.weight.add_(1))


@pytest.mark.parametrize("levels", range(1, 10))
def test_a_bandwidth_is_its_levels_to_two_decimals(levels):
    exact = levels * KBPS_PER_LEVEL
    assert (
        dac_levels(exact)
        == dac_levels(round(exact, 2))
        == codec_levels("dac_44khz", exact)
        == levels
    )


def test_eight_kbps_is_the_published_name_of_nine_levels():
    assert dac_levels(8.0) == dac_levels(8) == 9
    assert 9 * KBPS_PER_LEVEL == 7.751953125


@pytest.mark.parametrize("bandwidth", [6.0, 0.5, 8.61, 16.0])
def test_another_bandwidth_is_refused(bandwidth):
    choices = r"0\.86, 1\.72, 2\.58, 3\.45, 4\.31, 5\.17, 6\.03, 6\.89, 7\.75, 8$"
    with pytest.raises(
        SsenvError, match=rf"^dac_44khz has no {bandwidth:g} kbps: choose one of {choices}"
    ):
        load_codec("dac_44khz", bandwidth)


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dac", None)
    with pytest.raises(
        SsenvError,
        match=r"^dac_44khz needs the package descript-audio-codec \(.*\): "
        r"in ssenv's folder, pip install -e '\.\[dac\]'$",
    ):
        load_codec("dac_44khz", 8.0)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder with a file of weights that counts as the published one."""
    model = small(seed=3)
    path = tmp_path / "published" / "weights_44khz_8kbps_0.0.1.pth"
    path.parent.mkdir()
    model.save(path, package=False)
    publish(monkeypatch, path)
    monkeypatch.setattr(dac, "untrained_dac", small)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSENV_DAC_DIR", raising=False)
    return path, DescriptCodec(model).token_hash


def publish(monkeypatch, path):
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(dac, "WEIGHTS", replace(dac.WEIGHTS, sha256=sha256, url=path.as_uri()))


def assert_says_what_to_do(error):
    text = str(error.value)
    assert "\n" not in text
    for part in ("weights_44khz_8kbps_0.0.1.pth", "SSENV_DAC_DIR", "file://", "melrvq_24khz"):
        assert part in text


def test_weights_come_from_the_named_folder(published, monkeypatch):
    path, token_hash = published
    monkeypatch.setenv("SSENV_DAC_DIR", str(path.parent))
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    codec = load_codec("dac_44khz", 4.31)
    assert (codec.n_q, codec.bandwidth, codec.token_hash) == (5, 4.31, token_hash)


def test_weights_are_downloaded_into_the_packages_cache_once(published, tmp_path):
    path, token_hash = published
    assert load_codec("dac_44khz", 8.0).token_hash == token_hash
    assert (tmp_path / "home/.cache/descript/dac" / path.name).is_file()
    path.unlink()
    assert load_codec("dac_44khz", 8.0).token_hash == token_hash


def test_weights_with_another_hash_are_refused(published, monkeypatch):
    path, _ = published
    monkeypatch.setenv("SSENV_DAC_DIR", str(path.parent))
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(SsenvError, match="has the sha256") as error:
        load_codec("dac_44khz", 8.0)
    assert_says_what_to_do(error)


@pytest.mark.parametrize(
    "content", [{"state_dict": {"encoder.block.0.bias": torch.zeros(1)}}, {}, [1, 2]]
)
def test_a_file_without_the_model_is_refused(published, content, monkeypatch):
    path, _ = published
    torch.save(content, path)
    publish(monkeypatch, path)
    monkeypatch.setenv("SSENV_DAC_DIR", str(path.parent))
    with pytest.raises(SsenvError, match="does not hold this model") as error:
        load_codec("dac_44khz", 8.0)
    assert_says_what_to_do(error)
