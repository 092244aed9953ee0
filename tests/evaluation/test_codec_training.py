"""The findings of a codec's training follow from its numbers; a finish needs several classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY

from ssenv_core.base.training_loop import EpochSettings
from ssenv_core.codecs.melrvq.codec import MelRVQ
from ssenv_core.codecs.melrvq.training.sounds import Sounds, read_sounds
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.synthetic import load_synthetic
from ssenv_core.evaluation import codec_training
from ssenv_core.evaluation.codec_training import HeldOut
from ssenv_core.plots.finding import Number

RATE = 24_000


@pytest.fixture(scope="module")
def clips() -> Dataset:
    dataset = load_synthetic(clips_per_class=1, duration=2.0)
    return replace(dataset, clips=dataset.clips[:3])


@pytest.fixture(scope="module")
def sounds(clips: Dataset) -> Sounds:
    return read_sounds(clips.clips, clips.read, 320)


def held_out(gain: float) -> HeldOut:
    real = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 24_000)).astype(np.float32)
    codes = torch.tensor([[[0, 1, 2, 3], [1, 1, 1, 1]]]).expand(2, 2, 4)
    return HeldOut(real, np.float32(gain) * real, codes, levels=8)


def test_clips_are_counted(sounds: Sounds) -> None:
    assert codec_training.clips_finding(sounds, sounds, 2).sentence == (
        "3 clips train the codec; the 3 clips of fold 2 are held out."
    )


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        ([3.0], "The mean loss of all 100 steps is 3.000."),
        ([3.0, 2.0], "The loss fell: 3.000 up to step 100, 2.000 from step 100 to 200 (means)."),
        (
            [2.0, 3.0],
            "The loss did not fall: 2.000 up to step 100, 3.000 from step 100 to 200 (means).",
        ),
    ],
)
def test_a_loss_falls_only_if_the_last_mean_is_lower(losses: list[float], sentence: str) -> None:
    rows = [{"step": 100 * i, "loss": loss} for i, loss in enumerate(losses, 1)]
    finding = codec_training.decoder_finding(rows)
    assert finding.sentence == codec_training.encoder_finding(rows).sentence == sentence
    assert finding.numbers == {"loss": Number(losses[-1], "lower")}


def test_a_level_that_does_not_lower_the_error_is_named() -> None:
    errors = [5.0 - 0.1 * level for level in range(16)]
    finding = codec_training.quantizer_finding(errors, main=8)
    assert finding.sentence == (
        "The error on held-out clips is 5.00 dB after level 1, 4.30 dB after level 8 and 3.50 dB "
        "after level 16: every level lowers it."
    )
    assert finding.numbers == {"error after 8 levels (dB)": Number(4.3, "lower")}
    errors[11] = errors[10]
    sentence = codec_training.quantizer_finding(errors, main=8).sentence
    assert sentence.endswith(": not lowered by level 12.")


def test_clips_of_one_class_have_no_finish(clips: Dataset, sounds: Sounds, tmp_path) -> None:
    alike = replace(clips, clips=tuple(replace(clip, label=0) for clip in clips.clips))
    settings = EpochSettings(1, batch_size=3)
    state = tmp_path / "hearing.safetensors"
    assert codec_training.train_hearing(sounds, alike, settings, state, "cpu") is None
    hearing = codec_training.train_hearing(sounds, clips, settings, state, "cpu")
    assert hearing.network.head[-1].out_features == len(clips.class_names)
    assert "one class" in codec_training.finish_finding(None, 50).sentence
    assert "finish_steps is 0" in codec_training.finish_finding(None, 0).sentence
    assert "A judge therefore favours" in codec_training.finish_finding(hearing, 50).sentence


def test_held_out_clips_are_decoded_from_eight_of_all_levels(sounds: Sounds) -> None:
    torch.manual_seed(0)
    codec = MelRVQ(TINY, bandwidth=12.0).eval()
    decoded = codec_training.decode_heldout(codec, sounds, seed=3)
    assert decoded.codes.shape[:2] == (3, 16)
    assert decoded.real.shape == decoded.decoded.shape
    np.testing.assert_array_equal(decoded.real, sounds.wavs.numpy() / np.float32(32768))
    noise = torch.Generator().manual_seed(3)
    expected = codec.decode(decoded.codes[2:, :8], noise)[0, 0]
    np.testing.assert_array_equal(decoded.decoded[2], expected.numpy())


@pytest.mark.parametrize(("gain", "percent"), [(0.5, -50.0), (1.5, 50.0)])
def test_a_gain_changes_the_energy_with_its_sign(gain: float, percent: float) -> None:
    finding = codec_training.metrics_finding(held_out(gain), RATE)
    assert f"the mean RMS energy changes most: by {percent:+.1f} %" in finding.sentence
    assert finding.sentence.endswith("that of RMS energy: 1.00.")
    assert finding.numbers["rms %"] == Number(percent)
    assert finding.numbers["zcr %"] == Number(0.0)


def test_unused_entries_are_counted_in_frames_that_are_not_silent() -> None:
    live = torch.tensor([[True, True, False, False], [True, True, False, False]])
    finding = codec_training.use_finding(held_out(1.0), live, 4)
    assert finding.sentence == (
        "In 4 frames of held-out clips, level 2 leaves the most of its 4 entries unused: 75.0%."
    )
    assert finding.numbers == {"dead codes %": Number(75.0, "lower")}


def test_the_first_held_out_clips_are_drawn_real_and_decoded() -> None:
    finding = codec_training.examples_finding(held_out(1.0), RATE)
    assert len(finding.figure.data) == 2 * 2
