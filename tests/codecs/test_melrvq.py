"""The embedded codec: shapes, alignment, nesting, silence, determinism, tones and noise."""

import itertools
import math

import numpy as np
import pytest
import torch
from tiny import TINY, tiny_codec

from ssenv_core.base.errors import SsenvError
from ssenv_core.codecs.melrvq.codec import MelRVQ, MelRVQConfig
from ssenv_core.codecs.melrvq.decoder import DecoderConfig, Oscillators, Resolution
from ssenv_core.codecs.melrvq.encoder import EncoderConfig
from ssenv_core.codecs.melrvq.features import (
    FLOOR,
    HOP,
    NUM_FEATURES,
    NUM_MELS,
    Features,
    interpolation,
    silent_frames,
)

LEVELS = TINY.encoder.levels
THREE_FRAMES = MelRVQConfig(EncoderConfig(8, 16, 1, levels=4, frames_per_token=3), TINY.decoder)


@pytest.fixture(scope="module")
def codec() -> MelRVQ:
    return tiny_codec()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("samples", [HOP, HOP + 1, 24_000, 24_000 + 319])
def test_frames_are_the_samples_over_the_hop_rounded_up(codec: MelRVQ, samples: int) -> None:
    codes = codec.encode(noise(2, 1, samples))
    assert codes.shape == (2, 8, -(-samples // HOP))
    assert codes.dtype == torch.int64
    assert codec.decode(codes).shape == (2, 1, codes.shape[2] * HOP)
    assert codec.embed(noise(2, 1, samples)).shape == (2, 8, codes.shape[2])


def test_a_click_excites_the_transient_bands_of_its_own_sub_frame_most() -> None:
    wav = torch.zeros(1, 20 * HOP)
    wav[0, 10 * HOP + 2 * 80 + 40] = 1.0  # frame 10, the middle of sub-frame 2
    transient = Features()(wav)[0, :, NUM_MELS:].unflatten(1, (4, 8)).mean(2)
    assert transient.flatten().argmax() == 10 * 4 + 2


def test_a_sinusoid_peaks_in_its_band_and_twice_the_amplitude_adds_ln_2() -> None:
    tone = 0.25 * torch.sin(2 * torch.pi * 3000 * torch.arange(24_000) / 24_000)
    single, double = (Features()(wav[None])[0, 20:50, :NUM_MELS] for wav in (tone, 2 * tone))
    peak = single.mean(0).argmax()
    assert (
        0.60 * 128 < peak < 0.66 * 128
    )  # 3 kHz lies at (15 + 27 log 3 / log 6.4) of 51.1 slaney mels
    assert torch.allclose(double[:, peak] - single[:, peak], torch.tensor(2.0).log(), atol=1e-4)


def test_the_floor_is_what_silence_reads() -> None:
    assert torch.allclose(Features()(torch.zeros(1, HOP)), torch.tensor(float(np.log(FLOOR))))


def test_band_levels_are_read_off_linearly_between_their_centres() -> None:
    weights = interpolation(NUM_MELS, 129)
    assert torch.allclose(weights.sum(0), torch.ones(129))
    assert ((weights > 0).sum(0) <= 2).all()
    assert weights.argmax(0).diff().min() >= 0


def test_levels_are_nested(codec: MelRVQ) -> None:
    finest = tiny_codec(bandwidth=12.0)
    wav = noise(1, 1, 24_000)
    assert torch.equal(finest.encode(wav)[:, :8], codec.encode(wav))
    assert finest.token_hash == codec.token_hash


@pytest.mark.parametrize("levels", [8, 16])
def test_the_search_is_never_worse_than_taking_the_nearest_level_by_level(
    codec: MelRVQ, levels: int
) -> None:
    latents, loud = (
        4 * torch.randn(1, 600, 8, generator=torch.Generator().manual_seed(0)),
        torch.zeros(1, 600, dtype=torch.bool),
    )
    left = latents[0]
    for codebook in codec.encoder.codebooks[:levels]:
        left = left - codebook[1 + torch.cdist(left, codebook[1:]).argmin(1)]
    searched = (latents - codec.encoder.dequantize(codec.encoder.quantize(latents, loud, levels)))[
        0
    ]
    assert searched.square().sum() < 0.9 * left.square().sum()


@pytest.mark.parametrize("levels", [1, 3, 9, 12])
def test_fewer_levels_are_the_first_of_more(codec: MelRVQ, levels: int) -> None:
    latents, loud = (
        torch.randn(1, 50, 8, generator=torch.Generator().manual_seed(0)),
        torch.zeros(1, 50, dtype=torch.bool),
    )
    assert torch.equal(
        codec.encoder.quantize(latents, loud, levels),
        codec.encoder.quantize(latents, loud, 16)[:, :levels],
    )


def test_silence_is_code_zero_and_nothing_else_is(codec: MelRVQ) -> None:
    wav = noise(1, 1, 20 * HOP)
    wav[..., 5 * HOP : 9 * HOP] = 1 / 32768  # one step of 16 bits
    codes = codec.encode(wav)
    assert torch.equal(codes[0] == 0, (silent_frames(wav[:, 0])[0]).expand(8, -1))
    assert silent_frames(wav[:, 0])[0].nonzero()[:, 0].tolist() == [5, 6, 7, 8]
    decoded = codec.decode(codes)[0, 0].unflatten(0, (-1, HOP)).abs().amax(1)
    assert (decoded == 0).nonzero()[:, 0].tolist() == [5, 6, 7, 8]


def test_the_same_generator_seed_gives_the_same_waveform(codec: MelRVQ) -> None:
    codes = codec.encode(noise(1, 1, 8_000))
    draw = [codec.decode(codes, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    torch.manual_seed(1)
    assert torch.equal(codec.decode(codes), draw[0])  # without one, PyTorch's own


def test_every_number_of_levels_decodes_and_says_so_to_the_network(codec: MelRVQ) -> None:
    codes = tiny_codec(bandwidth=12.0).encode(noise(1, 1, 8_000))
    sounds = [
        codec.decode(codes[:, :levels], torch.Generator().manual_seed(0))
        for levels in range(1, LEVELS + 1)
    ]
    assert all(sound.isfinite().all() for sound in sounds)
    norm = codec.decoder.backbone.norm
    told = norm.scale.weight.clone()
    norm.scale.weight[3] += 1.0
    again = [
        codec.decode(codes[:, :levels], torch.Generator().manual_seed(0)) for levels in (2, 3, 4)
    ]
    changed = [
        not torch.equal(sound, sounds[levels - 1])
        for levels, sound in zip((2, 3, 4), again, strict=True)
    ]
    norm.scale.weight.copy_(told)
    assert changed == [False, True, False]


@pytest.mark.parametrize("gain", [0.3, 0.03])
def test_both_resolutions_make_half_of_the_noise_that_the_bands_say_they_should(
    gain: float,
) -> None:
    bands = Features()(
        gain * torch.randn(1, 200 * HOP, generator=torch.Generator().manual_seed(0))
    )[..., :NUM_MELS]
    for resolution, repeats in ((Oscillators(2048, HOP), 1), (Resolution(256, 80), 4)):
        envelope = (bands @ resolution.bands_to_bins).repeat_interleave(repeats, dim=1)
        spectrum = resolution(envelope, torch.zeros(1, 200 * repeats, 3, resolution.bins))
        silent_tones = spectrum._replace(deterministic=torch.zeros_like(spectrum.deterministic))
        power = resolution.draw(silent_tones, torch.Generator().manual_seed(1)).square().mean()
        assert power == pytest.approx(gain**2 / 2, rel=0.1)


@pytest.mark.parametrize(("bin_", "deviation"), [(200, 0.0), (200, 0.4), (331, -0.3)])
def test_an_oscillator_is_one_steady_tone_of_the_frequency_it_is_set_to(
    bin_: int, deviation: float
) -> None:
    """Neighbouring bins that agree on a frequency make one sinusoid."""
    frames, long = 60, Oscillators(2048, HOP)
    magnitude, phase = torch.full((1, frames, long.bins), -30.0), torch.zeros(1, frames, long.bins)
    for offset in (-1, 0, 1):
        magnitude[..., bin_ + offset] = 0.0 if offset == 0 else -np.log(2)
        phase[..., bin_ + offset] = np.arctanh((deviation - offset) / 2)
    spectrum = long(
        torch.zeros(1, frames, long.bins),
        torch.stack([magnitude, phase, torch.full_like(phase, -40.0)], dim=2),
    )
    wav = long.draw(spectrum, torch.Generator().manual_seed(0))[0, 10 * HOP : 50 * HOP].numpy()
    frequency = (bin_ + deviation) * 24_000 / 2048
    t = np.arange(len(wav)) / 24_000
    basis = np.stack([np.cos(2 * np.pi * frequency * t), np.sin(2 * np.pi * frequency * t)], axis=1)
    rest = wav - basis @ np.linalg.lstsq(basis, wav, rcond=None)[0]
    assert np.sum(rest**2) < 1e-3 * np.sum(wav**2)


def test_an_oscillator_keeps_its_phase_for_minutes() -> None:
    """Ten minutes on, at the highest bin, a product of float32 would be off by half a turn."""
    long, frames = Oscillators(2048, HOP), 45_000
    phase = long.phase(torch.zeros(1, frames, 1).expand(-1, -1, long.bins))[0, -1].double() / (
        2 * math.pi
    )
    exact = torch.arange(long.bins).double() * ((frames - 1) * HOP % 2048) / 2048 + 0.5 * (
        torch.arange(long.bins) % 2
    )
    apart = (phase - exact) % 1
    assert torch.minimum(apart, 1 - apart).max() < 1e-4


def test_an_untrained_decoder_already_follows_the_level() -> None:
    torch.manual_seed(0)
    codec = (
        MelRVQ(MelRVQConfig(EncoderConfig(NUM_FEATURES, 16, 1), TINY.decoder))
        .eval()
        .requires_grad_(False)
    )
    codec.encoder.projection.weight.copy_(torch.eye(NUM_FEATURES))
    codec.decoder.projection.weight.copy_(torch.eye(NUM_FEATURES))
    wav = noise(1, 24_000)
    levels = []
    for gain in (1.0, 0.1):
        latents = codec.encoder(codec.features(gain * wav))
        levels.append(
            codec.decoder.synthesize(
                codec.decoder.spectra(latents, 0), torch.Generator().manual_seed(0)
            ).std()
        )
    assert levels[0] / wav.std() == pytest.approx(1, rel=0.3)
    assert levels[0] / levels[1] == pytest.approx(10, rel=0.2)


def test_what_is_saved_loads_to_the_same_codes_and_sound(codec: MelRVQ, tmp_path) -> None:
    again = MelRVQ.load(codec.save(tmp_path / "again.safetensors"), 6.0)
    assert again.token_hash == codec.token_hash
    codes = codec.encode(noise(1, 1, 8_000))
    assert torch.equal(again.encode(noise(1, 1, 8_000)), codes)
    assert torch.equal(
        *(one.decode(codes, torch.Generator().manual_seed(0)) for one in (again, codec))
    )


def test_tokens_outlive_the_decoder_but_not_the_encoder() -> None:
    codec, same = tiny_codec(), tiny_codec()
    same.decoder.head.weight.zero_()
    assert same.token_hash == codec.token_hash
    same.encoder.projection.weight[0, 0] += 1
    assert same.token_hash != codec.token_hash


@pytest.mark.parametrize(("name", "value"), [("codec.BEAM", 1), ("encoder.SETTLED", 4)])
def test_another_search_makes_other_tokens(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    codec = tiny_codec()
    before = codec.token_hash
    monkeypatch.setattr(f"ssenv_core.codecs.melrvq.{name}", value)
    assert codec.token_hash != before


def test_a_codec_of_another_version_is_refused_in_one_line(
    codec: MelRVQ, tmp_path, monkeypatch
) -> None:
    path = codec.save(tmp_path / "codec.safetensors")
    monkeypatch.setattr("ssenv_core.codecs.melrvq.encoder.NUM_FEATURES", 4)
    with pytest.raises(SsenvError, match="another codec than this version") as error:
        MelRVQ.load(path)
    assert "\n" not in str(error.value)


def test_a_bandwidth_it_does_not_have_is_refused_in_one_line() -> None:
    with pytest.raises(SsenvError, match=r"no 7 kbps: choose one of 0\.75, 1\.5, .*, 12$"):
        MelRVQ(TINY, bandwidth=7.0)


def test_decoder_sizes_are_as_configured() -> None:
    sizes = [
        sum(p.numel() for p in MelRVQ(MelRVQConfig(decoder=DecoderConfig(dim=dim))).parameters())
        for dim in (64, 128, 256)
    ]
    assert all(later > earlier for earlier, later in itertools.pairwise(sizes))


def test_a_token_of_three_frames_is_a_third_as_frequent_and_decodes_to_as_many_samples() -> None:
    codec = tiny_codec(bandwidth=1.0, config=THREE_FRAMES)
    assert (codec.frame_rate, codec.hop, codec.n_q) == (25.0, 3 * HOP, 4)
    assert set(THREE_FRAMES.bandwidths) == {0.25, 0.5, 0.75, 1.0}
    wav = noise(1, 1, 40 * HOP + 1)
    wav[..., 6 * HOP : 11 * HOP] = 0.0  # the third token is silent, of the fourth two frames are
    codes = codec.encode(wav)
    assert codes.shape == (1, 4, 14)
    assert (codes == 0).all(1)[0].nonzero()[:, 0].tolist() == [2]
    assert codec.decode(codes).shape == (1, 1, 14 * 3 * HOP)
    long = noise(1, 1, 300 * HOP)
    assert torch.equal(codec.encode_long(long, 10 / 25), codec.encode(long))


def test_old_and_new_searches_keep_the_best_path_after_eight_levels_and_after_all() -> None:
    assert EncoderConfig().settled == (8, 16)
    assert EncoderConfig(levels=8).settled == (8,)
    assert THREE_FRAMES.encoder.settled == (4,)
