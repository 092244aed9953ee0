"""The codec's training repeats, resumes and lowers its losses, on tiny networks."""

import itertools
import warnings
from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from tiny import TINY

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.training_loop import Training
from ssenv_core.classification.judge import LogMel, LogMelCNN
from ssenv_core.codecs.melrvq.codec import MelRVQ, MelRVQConfig
from ssenv_core.codecs.melrvq.encoder import EncoderConfig
from ssenv_core.codecs.melrvq.features import HOP
from ssenv_core.codecs.melrvq.training import decoder as decoder_module
from ssenv_core.codecs.melrvq.training import encoder as module
from ssenv_core.codecs.melrvq.training import sounds as sounds_module
from ssenv_core.codecs.melrvq.training.codebooks import fit_codebooks, spread_use
from ssenv_core.codecs.melrvq.training.decoder import (
    SpectralDistance,
    encode_all,
    energy,
    match_loudness,
    train_decoder,
)
from ssenv_core.codecs.melrvq.training.encoder import feature_error, train_encoder
from ssenv_core.codecs.melrvq.training.hearing import Hearing
from ssenv_core.codecs.melrvq.training.sounds import Sounds, of_pcm, read_sounds
from ssenv_core.data.synthetic import load_synthetic

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning"
)  # fewer distinct residuals than codes

LEVELS = TINY.encoder.levels


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    dataset = load_synthetic(clips_per_class=1, duration=3.0)
    return read_sounds(dataset.clips, dataset.read, HOP)


def encoder_training(steps: int, **changes) -> Training:
    return Training(
        steps=steps, batch_size=4, learning_rate=3e-3, segment_seconds=0.64, log_every=1, **changes
    )


def fitted(
    sounds: Sounds, path, steps: int = 4, report=None, **changes
) -> tuple[MelRVQ, list[dict]]:
    torch.manual_seed(0)
    codec = MelRVQ(TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        rows = train_encoder(codec, sounds, encoder_training(steps, **changes), path, report=report)
    return codec, rows


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_module, "SEGMENTS", 8)
        patch.setattr(module, "FIRST_TOKENS", 2000)
        patch.setattr(module, "FIRST_ITERATIONS", 1)
        yield


@pytest.fixture(scope="module")
def codec(sounds: Sounds, quick, tmp_path_factory) -> MelRVQ:
    return fitted(sounds, tmp_path_factory.mktemp("codec") / "encoder.safetensors", steps=200)[0]


def one_sound() -> Sounds:
    """One frame of one clip of three is not silent."""
    wavs = torch.zeros(3, 100 * HOP, dtype=torch.int16)
    wavs[1, 70 * HOP : 71 * HOP] = torch.arange(1000, 1000 + HOP)
    return of_pcm(wavs, HOP)


def test_segments_lie_around_frames_that_are_not_silent() -> None:
    sounds = one_sound()
    assert sounds.live.nonzero().tolist() == [[1, 70]]
    clip, frame = sounds.segments(50, 20, torch.Generator().manual_seed(0))
    assert (clip == 1).all()
    assert ((frame == 70).sum(1) == 1).all()
    assert len(frame[:, 0].unique()) > 10
    wav = sounds.waveforms(clip, frame)
    assert wav.shape == (50, 20 * HOP)
    expected = torch.arange(1000, 1000 + HOP) / 32768
    for row, frames in zip(wav, frame, strict=True):
        start = HOP * (70 - int(frames[0]))
        assert torch.equal(row[start : start + HOP], expected)
        assert (row != 0).sum() == HOP


def test_varied_segments_have_a_margin_with_zeros_beyond_the_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sounds_module, "AT_ANOTHER_SPEED", 0.0)
    monkeypatch.setattr(sounds_module, "vary", lambda wavs, rng: wavs)
    monkeypatch.setattr(sounds_module, "mix", lambda wavs, rng: wavs)
    wavs = torch.randint(100, 1000, (1, 10 * HOP), dtype=torch.int16)
    wav = of_pcm(wavs, HOP).draw(3, 10, 2, torch.Generator().manual_seed(0))
    assert torch.equal(wav[0, 2 * HOP : -2 * HOP], wavs[0] / 32768)
    assert not wav[:, : 2 * HOP].any()
    assert not wav[:, -2 * HOP :].any()


def test_varied_segments_are_other_sounds_of_sixteen_bits() -> None:
    sounds = of_pcm(torch.randint(-9000, 9000, (1, 20 * HOP), dtype=torch.int16), HOP)
    rng = torch.Generator().manual_seed(0)
    drawn = torch.cat([sounds.draw(20, 20, 0, rng) for _ in range(5)])
    assert not (drawn == sounds.wavs[0] / 32768).all(1).any()
    assert torch.equal(drawn * 32768, (drawn * 32768).round())
    assert drawn.abs().max() <= 1
    assert len(drawn.unique(dim=0)) == 100


def test_codebooks_repeat_and_each_level_lowers_the_error() -> None:
    latents = torch.randn(3000, 4, generator=torch.Generator().manual_seed(0))
    books = [fit_codebooks(latents, levels=2, iterations=2, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(books[0], books[1])
    assert not torch.equal(books[0], books[2])
    assert books[0].shape == (2, 1023, 4)
    left, errors = latents, [1.0]
    for book in books[0]:
        left = left - book[torch.cdist(left, book).argmin(1)]
        errors.append(float(left.square().mean()))
    assert errors[2] < errors[1] / 2 < errors[0] / 4


def test_training_rebuilds_the_features_better_than_quantized_components_do(
    sounds: Sounds, codec: MelRVQ, quick, tmp_path
) -> None:
    start, _ = fitted(sounds, tmp_path / "start.safetensors", steps=1)
    dataset = load_synthetic(clips_per_class=1, duration=3.0, seed=1)
    others = read_sounds(dataset.clips, dataset.read, HOP)
    before, after = feature_error(start, others), feature_error(codec, others)
    print(before, after)
    assert after[7] < 0.95 * before[7]
    assert all(later < earlier for earlier, later in itertools.pairwise(after[:4]))


def test_the_encoder_is_final_in_the_precision_it_is_stored_in(codec: MelRVQ, tmp_path) -> None:
    assert MelRVQ.load(codec.save(tmp_path / "codec.safetensors")).token_hash == codec.token_hash


def test_a_killed_encoder_training_resumes_to_the_same_losses_and_tokens(
    sounds: Sounds, quick, tmp_path
) -> None:
    def stop(row: dict) -> None:
        if row["step"] == 3:
            raise KeyboardInterrupt

    straight, rows = fitted(sounds, tmp_path / "straight.safetensors", checkpoint_minutes=0.0)
    with pytest.raises(KeyboardInterrupt):
        fitted(sounds, tmp_path / "killed.safetensors", checkpoint_minutes=0.0, report=stop)
    resumed, again = fitted(sounds, tmp_path / "killed.safetensors", checkpoint_minutes=0.0)
    assert [row["loss"] for row in again] == [row["loss"] for row in rows]
    assert resumed.token_hash == straight.token_hash


def test_tokens_of_several_frames_are_trained_too(quick, tmp_path) -> None:
    dataset = load_synthetic(clips_per_class=1, duration=4.5)
    config = MelRVQConfig(EncoderConfig(8, 16, 1, levels=4, frames_per_token=3), TINY.decoder)
    torch.manual_seed(0)
    codec = MelRVQ(config)
    sounds = read_sounds(dataset.clips, dataset.read, codec.hop)
    assert sounds.wavs.shape[1] == 113 * codec.hop  # padded to whole tokens
    rows = train_encoder(codec, sounds, encoder_training(60), tmp_path / "encoder.safetensors")
    assert rows[-1]["loss"] < rows[0]["loss"]
    errors = feature_error(codec, sounds)
    assert errors == sorted(errors, reverse=True)
    codes = encode_all(codec, sounds)
    assert codes.shape == (len(sounds), 113, 4)
    rows = train_decoder(
        codec, sounds, codes, decoder_training(3), tmp_path / "decoder.safetensors"
    )
    assert np.isfinite([row["loss"] for row in rows]).all()


def test_the_distance_is_least_for_draws_as_loud_as_the_sounds() -> None:
    """Half of the sounds are ten times as loud as the others, and the codes do not tell which."""
    distance, count = SpectralDistance(), 3000

    def draw(seed: int, gain: float = 1.0) -> list[torch.Tensor]:
        rng = torch.Generator().manual_seed(seed)
        loud = torch.where(torch.rand(count, 1, generator=rng) < 0.5, 0.02, 0.2)
        return distance.spectrograms(gain * loud * torch.randn(count, 2048, generator=rng))

    real = draw(0)
    amplitudes = torch.stack([a.mean((1, 2)) for a in real], dim=-1)
    latents = torch.ones(count, 1, 2)
    scale = decoder_module.CodedLevel(latents[:, 0], amplitudes)(latents, torch.ones(count, 1) > 0)
    scores = [
        energy(lambda a, b: distance(a, b, scale), real, draw(1, gain), draw(2, gain)).mean()
        for gain in (0.7, 1.0, 1.4)
    ]
    assert scores[1] < min(scores[0], scores[2])


def test_entries_that_nothing_uses_are_moved_to_where_latents_are(sounds: Sounds, quick) -> None:
    torch.manual_seed(0)
    codec = MelRVQ(TINY)
    (book, *_) = module._start(codec, sounds, encoder_training(1)).train()
    wavs, live = next(sounds.batches())
    latents = codec.encoder(codec.features(wavs))[live].detach()[:200]
    book.embed[:500] += 1000.0
    book.embed_avg[:500] += 1000.0 * book.cluster_size[:500, None]
    for _ in range(200):
        module.quantize_and_learn([book], latents)
    assert book.embed.abs().max() < 100


def test_entries_that_the_clips_never_use_share_what_the_most_used_ones_hold(
    sounds: Sounds, codec: MelRVQ
) -> None:
    def use_and_error(of: MelRVQ) -> tuple[int, float]:
        wavs, live = next(sounds.batches())
        latents = of.encoder(of.features(wavs))
        codes = of.encoder.quantize(latents, ~live, 1)
        return len(codes[:, 0][live].unique()), float(
            (latents - of.encoder.dequantize(codes))[live].square().mean()
        )

    spread = twin(codec).eval().requires_grad_(False)
    spread.encoder.codebooks[:, 24:] = (
        1000.0 + torch.arange(1000.0)[:, None]
    )  # too far from everything
    (used, error), untouched = use_and_error(spread), spread.encoder.codebooks[:, 0].clone()
    spread_use(spread, sounds)
    spread_used, spread_error = use_and_error(spread)
    assert used <= 23
    assert spread_used > 1.5 * used
    assert spread_error < error
    assert torch.equal(spread.encoder.codebooks[:, 0], untouched)  # silence


def test_the_codec_starts_as_quantized_components_of_its_features(sounds: Sounds, quick) -> None:
    codec = MelRVQ(TINY)
    module._start(codec, sounds, encoder_training(1))
    wavs, live = next(sounds.batches())
    features = codec.features(wavs)[live]
    rebuilt = codec.decoder.features(codec.encoder(features[None]))[0].detach()
    assert float((rebuilt - features).square().mean()) < 0.3 * float(features.var(0).mean())


def test_the_distance_of_equal_sounds_is_least() -> None:
    distance = SpectralDistance()
    x, y = (torch.randn(2, 8000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    a, b = distance.spectrograms(x), distance.spectrograms(y)
    scale = [s.mean((1, 2), keepdim=True) for s in a]
    assert (distance(a, a, scale) < 1e-3).all()
    assert (distance(a, b, scale) > 0.1).all()


def decoder_training(steps: int) -> Training:
    return Training(
        steps=steps,
        batch_size=2,
        learning_rate=1e-3,
        segment_seconds=0.32,
        checkpoint_minutes=0.0,
        log_every=1,
    )


def twin(codec: MelRVQ) -> MelRVQ:
    torch.manual_seed(0)
    twin = MelRVQ(TINY)
    twin.load_state_dict(codec.state_dict())
    return twin


def test_a_killed_decoder_training_resumes_to_the_same_losses_and_weights(
    sounds: Sounds, codec: MelRVQ, tmp_path
) -> None:
    def run(stops: list[int], name: str) -> tuple[list[float], MelRVQ]:
        losses: list[float] = []
        for stop in stops:
            fresh = twin(codec)

            def report(row: dict, stop: int = stop) -> None:
                losses.append(row["loss"])
                if row["step"] == stop:
                    raise KeyboardInterrupt

            try:
                train_decoder(
                    fresh,
                    sounds,
                    encode_all(codec, sounds),
                    decoder_training(6),
                    tmp_path / name,
                    report=report,
                )
            except KeyboardInterrupt:
                continue
        return losses, fresh

    straight, interrupted = run([99], "straight.safetensors"), run([3, 99], "killed.safetensors")
    # the third step was logged but not yet saved, so it is taken twice
    assert interrupted[0] == straight[0][:3] + straight[0][2:]
    assert torch.equal(straight[1].decoder.head.weight, interrupted[1].decoder.head.weight)
    assert np.isfinite(straight[0]).all()
    assert straight[1].token_hash == codec.token_hash


@pytest.fixture(scope="module")
def hearing(sounds: Sounds) -> Hearing:
    torch.manual_seed(0)
    network = LogMelCNN(5)
    with torch.no_grad():
        network.head[-1].weight.mul_(10)  # untrained, its logits would hardly vary
    return Hearing(LogMel(), network, next(sounds.batches())[0])


def test_equal_sounds_have_equal_activations_and_the_gradient_reaches_the_waveform(
    hearing: Hearing, sounds: Sounds
) -> None:
    wavs = next(sounds.batches())[0][:2].requires_grad_()
    parts, others = hearing(wavs), hearing(wavs.detach().flip(0))
    assert hearing.distance(parts, hearing(wavs)).max() < 1e-3
    assert hearing.distance(parts, others).min() > 0.1
    assert all(0.1 < float(part.detach().std((0, 2)).square().mean().sqrt()) < 3 for part in parts)
    hearing.distance(parts, others).sum().backward()
    assert wavs.grad.isfinite().all()
    assert wavs.grad.abs().amax(1).min() > 0


def test_a_finish_lowers_the_distance_of_activations(
    sounds: Sounds, codec: MelRVQ, hearing: Hearing, tmp_path
) -> None:
    codes = encode_all(codec, sounds)
    real, live = next(sounds.batches())
    chosen = codes[: len(real), :, :8].transpose(1, 2).long()

    def score(of: MelRVQ) -> float:
        draws = [of.decode(chosen, torch.Generator().manual_seed(seed))[:, 0] for seed in range(2)]
        wavs = (real * live.float().repeat_interleave(HOP, dim=1), *draws)
        return float(energy(hearing.distance, *map(hearing, wavs)).mean())

    loud = deepcopy(hearing)
    loud.scales = [
        scale / 100 for scale in hearing.scales
    ]  # counts a hundred times as much as the spectra
    finished, plain = twin(codec), twin(codec)
    train_decoder(
        finished, sounds, codes, decoder_training(40), tmp_path / "finish.safetensors", hearing=loud
    )
    train_decoder(plain, sounds, codes, decoder_training(40), tmp_path / "plain.safetensors")
    assert score(finished) < 0.95 * score(plain) < 0.95 * score(codec)
    assert all(parameter.grad is None for parameter in loud.parameters())


def test_loudness_is_matched_at_every_number_of_levels(
    sounds: Sounds, codec: MelRVQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_module, "SEGMENTS", 64)
    matched = twin(codec).eval().requires_grad_(False)
    matched.decoder.gain.fill_(7.0)  # however loud it was before
    match_loudness(matched, sounds, decoder_training(1))
    assert len(matched.decoder.gain[1:].unique()) == LEVELS
    rng = torch.Generator().manual_seed(5)
    wavs = torch.cat([sounds.draw(16, 24, 0, rng) for _ in range(12)])[:, None]
    codes = matched.encode(wavs)
    for levels in (1, 8, 16):
        real, through = (
            x.unflatten(-1, (-1, HOP)).square().mean(-1).sqrt().mean()
            for x in (wavs, matched.decode(codes[:, :levels]))
        )
        assert abs(float(through / real) - 1) < 0.25


def test_a_state_of_other_settings_is_refused_while_its_training_is_unfinished_and_replaced_after(
    sounds: Sounds, codec: MelRVQ, tmp_path
) -> None:
    def run(steps: int, stop: bool = False) -> None:
        def report(row: dict) -> None:
            if stop and row["step"] == 2:
                raise KeyboardInterrupt

        train_decoder(
            twin(codec),
            sounds,
            encode_all(codec, sounds),
            decoder_training(steps),
            tmp_path / "s.safetensors",
            report=report,
        )

    with pytest.raises(KeyboardInterrupt):
        run(3, stop=True)
    with pytest.raises(SsenvError, match="interrupted training with other steps: remove it"):
        run(4)
    run(3)
    run(1)


def test_a_training_that_ended_is_not_taken_for_that_of_as_many_other_sounds(
    sounds: Sounds, codec: MelRVQ, tmp_path
) -> None:
    """Holding out another fold leaves equally many clips; the old codec must not be resumed."""
    other = Sounds(sounds.wavs.flip(0), sounds.live.flip(0), HOP)
    losses = [
        [
            row["loss"]
            for row in train_decoder(
                twin(codec), some, encode_all(codec, some), decoder_training(2), path
            )
        ]
        for some, path in (
            (sounds, tmp_path / "s"),
            (other, tmp_path / "s"),
            (other, tmp_path / "o"),
        )
    ]
    assert losses[0] != losses[1]
    assert losses[1] == losses[2]


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_state(
    sounds: Sounds, codec: MelRVQ, tmp_path
) -> None:
    broken = twin(codec)
    with torch.no_grad():
        broken.decoder.head.bias.fill_(float("nan"))
    with pytest.raises(
        SsenvError,
        match=r"decoder's loss or gradient is not finite at step 1 .*: there is no checkpoint",
    ):
        train_decoder(
            broken,
            sounds,
            encode_all(codec, sounds),
            decoder_training(2),
            tmp_path / "s.safetensors",
        )


@pytest.mark.parametrize("favoured", [(8,), (8, 16)])
def test_levels_are_each_favoured_number_as_often_as_any(favoured: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = torch.tensor([module.draw_levels(rng, LEVELS, favoured, 0.6) for _ in range(2000)])
    for levels in favoured:
        expected = 0.6 / len(favoured) + 0.4 / LEVELS
        assert (drawn == levels).float().mean() == pytest.approx(expected, abs=0.03)
    assert set(drawn.tolist()) == set(range(1, LEVELS + 1))
