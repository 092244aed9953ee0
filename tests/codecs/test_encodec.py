"""EnCodec behind the Codec interface: the package's codes, frame counts and published weights.

No published weights are needed: the networks are the package's, with random weights and codebooks
drawn to fit them.
"""

import hashlib
import warnings
from dataclasses import replace

import pytest
import torch
from encodec.model import EncodecModel
from encodec.modules import SEANetDecoder, SEANetEncoder
from encodec.quantization import ResidualVectorQuantizer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ssenv_core.base.errors import SsenvError
from ssenv_core.codecs import codec_levels, encodec, load_codec
from ssenv_core.codecs.encodec import EnCodec, EnCodec48, loudness_code, rms_of
from ssenv_core.data.synthetic import load_synthetic
from ssenv_core.data.tokenizing import tokenize
from ssenv_core.data.tokens import load_tokens_file, require_codec, save_tokens

BANDWIDTHS = [1.5, 3.0, 6.0, 12.0, 24.0]


def fill(model, seed=0):
    """Random weights, and codebooks whose entries lie where this encoder's outputs do."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        latents = model.eval().encoder(noise(1, 16_000, model.channels, seed=seed))
        for layer in model.quantizer.vq.layers:
            entries = torch.randn(layer.codebook.shape, generator=generator) * latents.std(
                dim=-1
            ) + latents.mean(dim=-1)
            layer._codebook.embed.copy_(entries)
            latents = latents.std() * torch.randn(
                latents.shape, generator=generator
            )  # what a level leaves is about as large again
    return model


def small(sample_rate=24_000):
    """The package's architecture, narrow, with the sample rate's conventions."""
    shared = {"dimension": 8, "n_filters": 4}
    torch.manual_seed(0)
    if sample_rate == 24_000:
        shared |= {"channels": 1, "norm": "weight_norm", "causal": True}
        bandwidths, extra = BANDWIDTHS, {}
    else:
        shared |= {"channels": 2, "norm": "time_group_norm", "causal": False}
        bandwidths, extra = BANDWIDTHS[1:], {"normalize": True, "segment": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        encoder, decoder = SEANetEncoder(**shared), SEANetDecoder(**shared)
    quantizer = ResidualVectorQuantizer(
        dimension=8, n_q=32 if sample_rate == 24_000 else 16, bins=1024
    )
    return EncodecModel(
        encoder, decoder, quantizer, bandwidths, sample_rate, shared["channels"], **extra
    )


def noise(items, samples, channels=1, seed=0):
    return 0.1 * torch.randn(
        items, channels, samples, generator=torch.Generator().manual_seed(seed)
    )


@pytest.fixture(scope="module")
def full_size():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return fill(EncodecModel.encodec_model_24khz(pretrained=False))


@pytest.fixture(scope="module")
def narrow():
    return fill(small())


@pytest.fixture(scope="module")
def narrow48():
    return fill(small(48_000))


@torch.inference_mode()
def test_the_full_size_codec_keeps_the_contract(full_size):
    codec = EnCodec(full_size, 6.0)
    wav = noise(1, 4_001)
    codes, latents = codec.encode(wav), codec.embed(wav)
    assert (codec.name, codec.sample_rate, codec.frame_rate, codec.n_q, codec.codebook_size) == (
        "encodec_24khz",
        24_000,
        75.0,
        8,
        1024,
    )
    assert codes.shape == (1, 8, 13)
    assert codes.dtype == torch.int64
    assert latents.shape == (1, 128, 13)
    assert torch.equal(latents, full_size.encoder(wav))
    assert codec.decode(codes).shape == (1, 1, 13 * 320)


def test_an_item_gets_the_same_codes_in_every_batch(full_size, monkeypatch):
    # Pairs of entries equally far from each latent: with such ties, codes are equal only if they
    # depend on the item alone.
    codec = EnCodec(full_size, 1.5)
    wavs = noise(4, 6_000)
    with torch.inference_mode():
        latents = (
            torch.cat([full_size.encoder(wav[None]) for wav in wavs]).transpose(1, 2).flatten(0, 1)
        )
    offset = noise(len(latents), latents.shape[1], seed=1)[:, 0] * latents.std(dim=0)
    first = full_size.quantizer.vq.layers[0]._codebook
    monkeypatch.setitem(first._buffers, "embed", torch.cat([latents + offset, latents - offset]))

    batched = codec.encode(wavs)
    assert torch.equal(batched, torch.cat([codec.encode(wav[None]) for wav in wavs]))
    assert torch.equal(batched[[2, 0]], codec.encode(wavs[[2, 0]]))
    assert torch.equal(codec.embed(wavs)[2:], codec.embed(wavs[2:]))
    assert batched[:, 0].unique().numel() > 40


@pytest.mark.parametrize("samples", [12_800, 12_481, 12_799])
def test_chunks_of_a_waveform_have_the_codes_of_the_whole(full_size, samples, monkeypatch):
    codec = EnCodec(full_size, 1.5)
    wav = noise(1, samples)
    entries = codec.embed(wav)[0].T  # one for each frame
    first = full_size.quantizer.vq.layers[0]._codebook
    monkeypatch.setitem(
        first._buffers,
        "embed",
        torch.cat([entries, entries.new_full((1024 - len(entries), 128), 100.0)]),
    )

    whole = codec.encode(wav)
    assert whole[0, 0].tolist() == list(range(40))
    for frames in (8, 13):
        assert torch.equal(codec.encode_long(wav, frames / 75), whole)


@settings(deadline=None, max_examples=30)
@given(samples=st.integers(1, 8_000), frames=st.integers(8, 30))
@example(samples=7_695, frames=16)  # a tie on some machines, with two threads
def test_chunks_of_any_length_have_the_codes_of_the_whole_but_for_ties(narrow, samples, frames):
    codec = EnCodec(narrow, 3.0)
    wavs = noise(2, samples)
    whole, chunked = codec.encode(wavs), codec.encode_long(wavs, frames / 75)
    assert chunked.shape == whole.shape
    for item, frame in (whole != chunked).any(1).nonzero().tolist():
        left, codes = (
            codec.embed(wavs)[item, :, frame],
            torch.stack([whole[item, :, frame], chunked[item, :, frame]]),
        )
        level = int((codes[0] != codes[1]).nonzero()[0])
        books = [layer.codebook for layer in narrow.quantizer.vq.layers]
        left = left - sum(books[q][codes[0, q]] for q in range(level))
        entries = books[level][codes[:, level]].double()
        one, other = (left.double() - entries).square().sum(1).tolist()
        # EnCodec compares |x|^2 - 2 x e + |e|^2 in single precision: within its rounding, either
        # entry is the nearest.
        assert abs(one - other) <= 2 * torch.finfo(torch.float32).eps * float(
            left.square().sum() + entries.square().sum(1).max()
        )


def test_the_encoder_never_sees_more_than_a_chunk(narrow):
    codec, lengths = EnCodec(narrow, 3.0), []
    hook = narrow.encoder.model[0].register_forward_pre_hook(
        lambda _, given: lengths.append(given[0].shape[-1])
    )
    try:
        codec.encode_long(noise(1, 20_000), 0.2)
    finally:
        hook.remove()
    assert max(lengths) == (15 + 2) * 320
    with pytest.raises(ValueError, match="7 frames is too short: 8 is the least"):
        codec.encode_long(noise(1, 20_000), 7 / 75)


def test_48khz_codes_come_from_chunks_in_any_case(narrow48):
    codec = EnCodec48(narrow48, 3.0)
    wav = noise(1, 100_000)
    assert torch.equal(codec.encode_long(wav, 0.5), codec.encode(wav))


@settings(deadline=None, max_examples=20)
@given(samples=st.integers(1, 2_000))
def test_s_samples_give_ceil_of_s_over_320_frames(narrow, narrow48, samples):
    for codec in (EnCodec(narrow, 1.5), EnCodec48(narrow48, 3.0)):
        frames = -(-samples // 320)
        assert codec.encode(noise(1, samples)).shape == (1, codec.n_q, frames)
        assert codec.embed(noise(1, samples)).shape[-1] == frames


@torch.inference_mode()
@pytest.mark.parametrize(
    ("bandwidth", "levels"), list(zip(BANDWIDTHS, (2, 4, 8, 16, 32), strict=True))
)
def test_codes_and_sound_are_the_packages_own(narrow, bandwidth, levels):
    codec = EnCodec(narrow, bandwidth)
    wav = noise(1, 5_000)
    narrow.set_target_bandwidth(bandwidth)
    ((expected, _),) = narrow.encode(wav)
    codes = codec.encode(wav)
    assert codec.n_q == levels == codes.shape[1]
    assert torch.equal(codes, expected)
    assert codes.unique().numel() > levels
    assert torch.equal(codec.decode(codes), narrow.decode([(codes, None)]))


def test_levels_are_nested_and_fewer_decode(narrow):
    wav = noise(2, 3_200)
    coarse, fine = EnCodec(narrow, 1.5), EnCodec(narrow, 6.0)
    codes = fine.encode(wav)
    assert torch.equal(coarse.encode(wav), codes[:, :2])
    assert torch.equal(fine.decode(codes[:, :2]), coarse.decode(codes[:, :2]))
    assert not torch.equal(fine.decode(codes[:, :2]), fine.decode(codes))


def test_a_bandwidth_that_was_not_published_is_refused(narrow, narrow48):
    with pytest.raises(
        SsenvError, match=r"encodec_24khz has no 0.75 kbps: choose one of 1.5, 3, 6, 12, 24$"
    ):
        EnCodec(narrow, 0.75)
    with pytest.raises(
        SsenvError, match=r"encodec_48khz has no 1.5 kbps: choose one of 3, 6, 12, 24$"
    ):
        EnCodec48(narrow48, 1.5)


def test_the_codec_is_frozen(narrow):
    codec = EnCodec(narrow.train())
    assert not any(module.training for module in codec.model.modules())
    assert not any(parameter.requires_grad for parameter in codec.parameters())
    wav = noise(1, 640).requires_grad_()
    assert not codec.embed(wav).requires_grad
    assert not codec.decode(codec.encode(wav)).requires_grad


def test_token_hash_follows_what_decides_the_codes():
    def hash_after(change=lambda model: None, bandwidth=6.0):
        model = small()
        with torch.no_grad():
            change(model)
        return EnCodec(model, bandwidth).token_hash

    plain = hash_after()
    assert (
        plain
        == hash_after(bandwidth=1.5)
        == hash_after(lambda model: next(model.decoder.parameters()).add_(1))
    )
    assert plain != hash_after(lambda model: next(model.encoder.parameters()).add_(1))
    assert plain != hash_after(lambda model: model.quantizer.vq.layers[31].codebook.add_(1))
    assert plain != EnCodec48(small(48_000)).token_hash


@torch.inference_mode()
def test_48khz_chunks_are_coded_and_decoded_as_the_package_does(narrow48):
    codec = EnCodec48(narrow48, 6.0)
    wav = noise(1, 100_000) * torch.linspace(0.1, 1, 100_000)
    codes = codec.encode(wav)
    assert (codec.name, codec.sample_rate, codec.frame_rate, codec.n_q) == (
        "encodec_48khz",
        48_000,
        150.0,
        5,
    )
    assert codes.shape == (1, 5, 313)

    narrow48.set_target_bandwidth(6.0)
    expected, sound = [], []
    for chunk in wav.split(
        48_000, dim=-1
    ):  # each shorter than the package's own stride would cut, so coded as one frame
        codes_and_scale = narrow48._encode_frame(chunk.expand(-1, 2, -1))
        expected.append(codes_and_scale[0])
        sound.append(narrow48._decode_frame(codes_and_scale).mean(dim=1, keepdim=True))
    assert torch.equal(codes[:, 1:], torch.cat(expected, dim=-1))
    decoded, reference = codec.decode(codes), torch.cat(sound, dim=-1)
    assert decoded.shape == (1, 1, 313 * 320)
    assert torch.allclose(decoded, reference, rtol=0.006, atol=1e-6)  # 0.05 dB


def test_48khz_loudness_survives_the_codes(narrow48):
    codec = EnCodec48(narrow48, 3.0)
    wav = noise(1, 48_000)
    loud, quiet = codec.encode(wav), codec.encode(0.1 * wav)
    assert (loud[:, 0] - quiet[:, 0]).unique().tolist() == [200]  # 20 dB in steps of 0.1 dB
    ratio = codec.decode(loud).square().mean() / codec.decode(quiet).square().mean()
    assert float(ratio) == pytest.approx(100, rel=0.15)


def test_48khz_silence_decodes_to_silence(narrow48):
    codec = EnCodec48(narrow48, 3.0)
    wav = torch.cat([noise(1, 48_000), torch.zeros(1, 1, 48_000)], dim=-1)
    decoded = codec.decode(codec.encode(wav))
    assert decoded[..., :48_000].abs().max() > 0
    assert torch.equal(decoded[..., 48_000:], torch.zeros(1, 1, 48_000))


def test_48khz_a_few_stray_loudness_codes_change_nothing(narrow48):
    codec = EnCodec48(narrow48, 3.0)
    codes = codec.encode(noise(1, 48_000))
    stray = codes.clone()
    stray[0, 0, ::3] = 1023
    assert torch.equal(codec.decode(stray), codec.decode(codes))


def test_48khz_loudness_alone_decodes(narrow48):
    codec = EnCodec48(narrow48, 3.0)
    assert codec.decode(codec.encode(noise(2, 6_400))[:, :1]).shape == (2, 1, 6_400)


@settings(deadline=None)
@given(decibels=st.floats(-102, 0))
def test_loudness_codes_are_within_a_twentieth_of_a_decibel(decibels):
    rms = torch.tensor(10 ** (decibels / 20))
    assert abs(20 * float((rms_of(loudness_code(rms)) / rms).log10())) <= 0.0501


def publish(monkeypatch, name, path, sha256, build):
    """Let this file be the published one."""
    release = encodec.RELEASES[name]
    weights = replace(release.weights, sha256=sha256, url=path.as_uri())
    monkeypatch.setitem(
        encodec.RELEASES, name, replace(release, weights=weights, build=lambda pretrained: build())
    )


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder with a file of weights that counts as the published one."""
    model = fill(small(), seed=3)
    path = tmp_path / "published" / "encodec_24khz-d7cc33bc.th"
    path.parent.mkdir()
    torch.save(model.state_dict(), path)
    publish(
        monkeypatch, "encodec_24khz", path, hashlib.sha256(path.read_bytes()).hexdigest(), small
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(encodec.FOLDER_VARIABLE, raising=False)
    return path, EnCodec(model).token_hash


def assert_says_what_to_do(error):
    text = str(error.value)
    assert "\n" not in text
    for part in ("encodec_24khz-d7cc33bc.th", "SSENV_ENCODEC_DIR", "file://", "melrvq_24khz"):
        assert part in text


def test_the_published_hash_of_the_24khz_file_is_the_known_one():
    weights = encodec.RELEASES["encodec_24khz"].weights
    assert weights.sha256 == "d7cc33bcf1aad7f2dad9836f36431530744abeace3ca033005e3290ed4fa47bf"
    for weights in (release.weights for release in encodec.RELEASES.values()):
        assert weights.sha256.startswith(weights.weights[0].split("-")[1].removesuffix(".th"))
        assert weights.url == "https://dl.fbaipublicfiles.com/encodec/v0/" + weights.weights[0]


def test_weights_come_from_the_named_folder(published, monkeypatch):
    path, token_hash = published
    monkeypatch.setenv("SSENV_ENCODEC_DIR", str(path.parent))
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    codec = load_codec("encodec_24khz", 12.0)
    assert codec.n_q == 16
    assert codec.token_hash == token_hash


def test_weights_are_downloaded_into_the_packages_cache_once(published, tmp_path):
    path, token_hash = published
    assert load_codec("encodec_24khz").token_hash == token_hash
    assert (tmp_path / "home/hub/checkpoints" / path.name).is_file()
    path.unlink()
    assert load_codec("encodec_24khz").token_hash == token_hash


def test_a_folder_without_the_file_is_an_error_and_not_a_download(published, tmp_path, monkeypatch):
    monkeypatch.setenv("SSENV_ENCODEC_DIR", str(tmp_path))
    with pytest.raises(SsenvError, match=f"names {tmp_path}, which lacks them") as error:
        load_codec("encodec_24khz")
    assert_says_what_to_do(error)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("bandwidth", [3.0, 6.0, 24.0])
def test_the_codec_of_48khz_tokens_loads_by_what_their_file_says(tmp_path, monkeypatch, bandwidth):
    path = tmp_path / "encodec_48khz-7e698e3e.th"
    torch.save(fill(small(48_000)).state_dict(), path)
    publish(
        monkeypatch,
        "encodec_48khz",
        path,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        lambda: small(48_000),
    )
    monkeypatch.setenv("SSENV_ENCODEC_DIR", str(tmp_path))
    dataset = load_synthetic(clips_per_class=1, duration=0.1).subset(folds=[1])
    tokens = tokenize(dataset, load_codec("encodec_48khz", bandwidth), device="cpu")
    made = load_tokens_file(save_tokens(tmp_path / "tokens.safetensors", tokens)).format
    codec = made.load_codec()
    require_codec(made, codec)
    assert (made.bandwidth, codec.bandwidth, made.n_q) == (bandwidth, bandwidth, codec.n_q)


@pytest.mark.parametrize(("name", "levels"), [("encodec_24khz", 8), ("encodec_48khz", 5)])
def test_the_levels_are_known_without_a_network(name, levels, monkeypatch):
    release = replace(encodec.RELEASES[name], build=None)
    monkeypatch.setitem(encodec.RELEASES, name, release)
    assert codec_levels(name, 6.0) == levels
    with pytest.raises(SsenvError, match=f"{name} has no 5 kbps"):
        codec_levels(name, 5.0)


@pytest.mark.parametrize(("name", "loudness_levels"), [("encodec_24khz", 0), ("encodec_48khz", 1)])
def test_bandwidths_and_levels_are_those_of_the_package(name, loudness_levels):
    model = encodec.untrained_encodec(name).model
    assert encodec.RELEASES[name].bandwidths == tuple(model.target_bandwidths)
    for bandwidth in model.target_bandwidths:
        quantizers = model.quantizer.get_num_quantizers_for_bandwidth(model.frame_rate, bandwidth)
        assert codec_levels(name, bandwidth) == quantizers + loudness_levels


def test_a_failed_download_is_one_line(published):
    published[0].unlink()
    with pytest.raises(SsenvError, match="the download failed") as error:
        load_codec("encodec_24khz")
    assert_says_what_to_do(error)


@pytest.mark.parametrize("named_folder", [True, False])
def test_weights_with_another_hash_are_refused(published, named_folder, tmp_path, monkeypatch):
    path, _ = published
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    if named_folder:
        monkeypatch.setenv("SSENV_ENCODEC_DIR", str(path.parent))
    with pytest.raises(SsenvError, match=r"sha256|hash") as error:
        load_codec("encodec_24khz")
    assert_says_what_to_do(error)
    assert not list(tmp_path.glob("home/hub/checkpoints/*"))


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("code in a weights file was run",))


@pytest.mark.parametrize("content", [Payload(), {"encoder.model.0": torch.zeros(1)}, [1, 2]])
def test_a_file_with_the_right_hash_but_no_model_in_it_is_refused_unrun(
    published, content, monkeypatch
):
    path, _ = published
    torch.save(content, path)
    publish(
        monkeypatch, "encodec_24khz", path, hashlib.sha256(path.read_bytes()).hexdigest()[:8], small
    )
    monkeypatch.setenv("SSENV_ENCODEC_DIR", str(path.parent))
    with pytest.raises(SsenvError, match="does not hold this model") as error:
        load_codec("encodec_24khz")
    assert_says_what_to_do(error)
