"""The embedded codec: shapes, alignment, nesting, silence, and its training, on tiny fits to synthetic sound."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from ssenv_core.codec_training import (
    CodecTraining,
    SpectralDistance,
    audible_features,
    fit_codec,
    quantization_error,
    read_pcm,
    train_decoder,
)
from ssenv_core.codecs.melrvq import FLOOR, HOP, MAX_LEVELS, DecoderConfig, Features, MelRVQ
from ssenv_core.datasets.synthetic import load_synthetic
from ssenv_core.errors import SsenvError

TINY = DecoderConfig(dim=16, intermediate_dim=32, num_layers=1)


@pytest.fixture(scope="module")
def wavs() -> torch.Tensor:
    return read_pcm(load_synthetic(clips_per_class=2, duration=3.0))


@pytest.fixture(scope="module")
def codec(wavs: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> MelRVQ:
    torch.manual_seed(0)
    codec = MelRVQ(TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct residuals than codes
        fit_codec(codec, wavs, frames=4000, iterations=2, seed=0)
    return MelRVQ.load(codec.save(tmp_path_factory.mktemp("codec") / "tiny.safetensors"))


def as_float(wavs: torch.Tensor) -> torch.Tensor:
    return wavs.float()[:, None] / 32768


@pytest.mark.parametrize("samples", [HOP, HOP + 1, 24_000, 24_000 + 319])
def test_frames_are_the_samples_over_the_hop_rounded_up(codec: MelRVQ, samples: int) -> None:
    codes = codec.encode(torch.randn(2, 1, samples) * 0.1)
    assert codes.shape == (2, 8, -(-samples // HOP))
    assert codes.dtype == torch.int64
    assert codec.decode(codes).shape == (2, 1, codes.shape[2] * HOP)


def test_a_click_excites_the_transient_bands_of_its_own_sub_frame_most() -> None:
    wav = torch.zeros(1, 20 * HOP)
    wav[0, 10 * HOP + 2 * 80 + 40] = 1.0  # frame 10, the middle of sub-frame 2
    transient = Features()(wav)[0, :, 128:].unflatten(1, (4, 8)).mean(2)
    assert transient.flatten().argmax() == 10 * 4 + 2


def test_a_sinusoid_peaks_in_its_band_and_twice_the_amplitude_adds_ln_2() -> None:
    tone = 0.25 * torch.sin(2 * torch.pi * 3000 * torch.arange(24_000) / 24_000)
    single, double = (Features()(wav[None])[0, 20:50, :128] for wav in (tone, 2 * tone))
    peak = single.mean(0).argmax()
    assert 0.60 * 128 < peak < 0.66 * 128  # 3 kHz lies at (15 + 27 log 3 / log 6.4) of 51.1 slaney mels
    assert torch.allclose(double[:, peak] - single[:, peak], torch.tensor(2.0).log(), atol=1e-4)


def test_levels_are_nested_and_each_lowers_the_error(codec: MelRVQ, wavs: torch.Tensor) -> None:
    features = codec.features(as_float(wavs)[:, 0])
    assert torch.equal(codec.quantizer.encode(features, MAX_LEVELS)[:, :5], codec.quantizer.encode(features, 5))
    errors = quantization_error(codec.quantizer, audible_features(codec, wavs))[:6]  # so few frames are soon learned by heart
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))


def test_a_batch_encodes_to_the_codes_of_its_clips_alone(codec: MelRVQ, wavs: torch.Tensor) -> None:
    together = codec.encode(as_float(wavs[:4]))
    assert all(torch.equal(codec.encode(as_float(wavs[i : i + 1]))[0], together[i]) for i in range(4))


def test_silence_encodes_to_code_zero_and_decodes_to_exact_silence(codec: MelRVQ) -> None:
    codes = codec.encode(torch.zeros(1, 1, 24_000))
    assert not codes.any()
    assert not codec.decode(codes).any()


def test_the_same_generator_seed_gives_the_same_waveform(codec: MelRVQ, wavs: torch.Tensor) -> None:
    codes = codec.encode(as_float(wavs[:1]))
    draw = [codec.decode(codes, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


def test_an_untrained_decoder_already_follows_the_level(codec: MelRVQ) -> None:
    noise = torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(0))
    loud, quiet = (codec.decoder.synthesize(*codec.decoder.spectra(codec.features(noise[:, 0] * gain))).std() for gain in (0.1, 0.01))
    assert loud / quiet == pytest.approx(10, rel=0.2)


def test_what_is_saved_loads_to_the_same_codes_and_sound(codec: MelRVQ, wavs: torch.Tensor, tmp_path) -> None:
    again = MelRVQ.load(codec.save(tmp_path / "again.safetensors"))
    assert again.token_hash == codec.token_hash
    codes = codec.encode(as_float(wavs[:1]))
    assert torch.equal(again.decode(codes), codec.decode(codes))


def test_a_bandwidth_it_does_not_have_is_refused_in_one_line() -> None:
    with pytest.raises(SsenvError, match=r"no 7 kbps.*multiple of 0\.75 up to 12"):
        MelRVQ(TINY, bandwidth=7.0)


def test_the_distance_of_equal_sounds_is_least() -> None:
    distance = SpectralDistance()
    x, y = (torch.randn(2, 8000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    a, b = distance.spectrograms(x), distance.spectrograms(y)
    scale = [s.mean((1, 2), keepdim=True) for s in a]
    assert (distance(a, a, scale) < 1e-3).all()
    assert (distance(a, b, scale) > 0.1).all()


def test_a_killed_training_resumes_to_the_same_losses_and_weights(wavs: torch.Tensor, codec: MelRVQ, tmp_path) -> None:
    def run(steps: list[int], name: str) -> tuple[list[float], torch.Tensor]:
        losses: list[float] = []
        for stop in steps:
            torch.manual_seed(0)
            fresh = MelRVQ(TINY)
            fresh.quantizer, fresh.decoder.mean, fresh.decoder.std = codec.quantizer, codec.decoder.mean, codec.decoder.std
            settings = CodecTraining(steps=6, batch_size=2, segment_frames=24, checkpoint_minutes=0.0, log_every=1)

            def report(row: dict, stop: int = stop) -> None:
                losses.append(row["loss"])
                if row["step"] == stop:
                    raise KeyboardInterrupt

            try:
                train_decoder(fresh, wavs[:4], settings, tmp_path / name, report=report)
            except KeyboardInterrupt:
                continue
        return losses, fresh.decoder.head.weight

    straight, interrupted = run([99], "straight.safetensors"), run([3, 99], "killed.safetensors")
    # the third step was logged but not yet saved, so it is taken twice
    assert interrupted[0] == straight[0][:3] + straight[0][2:]
    assert torch.equal(straight[1], interrupted[1])
    assert np.isfinite(straight[0]).all()


def test_a_state_of_other_settings_is_refused_while_its_training_is_unfinished_and_replaced_after(
    wavs: torch.Tensor, codec: MelRVQ, tmp_path
) -> None:
    def run(steps: int, stop: bool = False) -> None:
        def report(row: dict) -> None:
            if stop and row["step"] == 2:
                raise KeyboardInterrupt

        fresh = MelRVQ(TINY)
        fresh.quantizer = codec.quantizer
        settings = CodecTraining(steps=steps, batch_size=1, segment_frames=24, checkpoint_minutes=0.0, log_every=1)
        train_decoder(fresh, wavs[:4], settings, tmp_path / "s.safetensors", report=report)

    with pytest.raises(KeyboardInterrupt):
        run(3, stop=True)
    with pytest.raises(SsenvError, match="interrupted training with other settings"):
        run(4)
    run(3)
    run(1)


def test_the_floor_is_what_silence_reads() -> None:
    assert torch.allclose(Features()(torch.zeros(1, HOP)), torch.tensor(float(np.log(FLOOR))))
