"""Measurements of what codecs keep, on codecs whose loss is known."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.training_loop import EpochSettings
from ssenv_core.data import load_dataset
from ssenv_core.evaluation.ceiling import (
    available_codecs,
    by_class,
    class_traits,
    code_use,
    example_clips,
    fit_judge,
    measure_ceiling,
    summarise,
    trait_correlations,
)
from ssenv_core.metrics.acoustic import COMPARED

RATE = 24_000


@dataclass
class Gain:
    """A codec of 16-bit samples whose output is `gain` times as loud."""

    gain: float
    sample_rate: int = RATE
    stochastic: bool = False

    def encode(self, wav):
        return (wav * 32767).round().long()

    def decode(self, codes, generator=None):
        return self.gain * codes / 32767


@dataclass
class Stubborn:
    """A judge that predicts one class for everything."""

    label: int

    def probabilities(self, wav, sample_rate):
        return np.eye(10, dtype=np.float32)[self.label]


@pytest.fixture(scope="module")
def sounds():
    return load_dataset("synthetic", "", clips_per_class=5, seed=0).subset(folds=[1])


@pytest.fixture(scope="module")
def clips(sounds):
    codecs = {"same": Gain(1.0), "half": Gain(0.5)}
    return measure_ceiling(
        sounds, codecs, Stubborn(sounds.clips[0].label), sample_rate=RATE, device="cpu"
    )


def test_every_clip_is_measured_in_every_version(sounds, clips):
    assert list(clips["version"].unique()) == ["real 44.1 kHz", "real", "same", "half"]
    assert (clips.groupby("version")["clip"].nunique() == len(sounds)).all()


def test_a_transparent_codec_has_no_gap(clips):
    row = summarise(clips).loc["same"]
    assert row[[name for name in row.index if name.endswith("_percent")]].abs().max() < 0.5
    assert row["log_mel_distance"] < 0.5
    assert row["si_sdr"] > 40


def test_a_gain_moves_the_energy_alone(clips):
    row = summarise(clips).loc["half"]
    assert row["rms_percent"] == pytest.approx(-50, abs=0.1)
    assert row["rms_ks"] > 0
    assert (
        row[["zcr_percent", "spectral_centroid_percent", "spectral_rolloff_percent", "snr_percent"]]
        .abs()
        .max()
        < 0.5
    )
    assert (
        4 < row["log_mel_distance"] <= 20 * np.log10(2) + 0.1
    )  # less where a band falls below the floor
    assert row["si_sdr"] > 40


def test_errors_that_cancel_in_the_mean_do_not_cancel_clip_by_clip():
    metrics = COMPARED

    def table(version, values):
        return pd.DataFrame(
            {"version": version, "clip": list("abc"), "log_mel_distance": 1.0, "si_sdr": 0.0}
            | dict.fromkeys(metrics, values)
        )

    row = summarise(
        pd.concat([table("real", [2.0, 4.0, np.nan]), table("codec", [4.0, 2.0, np.nan])])
    ).loc["codec"]
    assert row[[f"{name}_percent" for name in metrics]].tolist() == pytest.approx(
        [0.0] * len(metrics)
    )
    assert row[[f"{name}_apart" for name in metrics]].tolist() == pytest.approx(
        [100 * 2 / 3] * len(metrics)
    )


class Silence:
    def read(self, sample_rate, duration):
        return np.zeros(round(duration * sample_rate), np.float32)

    def native_rate(self):
        return 44_100


class Hissing(Gain):
    """Adds a soft hiss, also to silence."""

    def decode(self, codes, generator=None):
        return super().decode(codes) + 1e-4 * torch.randn(
            codes.shape, generator=torch.Generator().manual_seed(0)
        )


def test_a_silent_clip_counts_on_neither_side(sounds):
    """Otherwise a codec that turns silence into sound would seem to change the means."""
    sound = sounds.clips[0]
    pair = replace(sounds, clips=(sound, replace(sound, name="silence", source=Silence())))
    clips = measure_ceiling(pair, {"hissing": Hissing(1.0)}, None, sample_rate=RATE, device="cpu")
    row = summarise(clips).loc["hissing"]
    assert row[["rms_percent", "zcr_percent", "spectral_centroid_percent"]].abs().max() < 5
    assert by_class(clips, "hissing")["rms_percent"].abs().max() < 5


def test_resampling_is_a_version_of_its_own(clips):
    table = summarise(clips)
    assert table.loc[
        "real", [f"{name}_percent" for name in ("rms", "spectral_centroid")]
    ].tolist() == [0, 0]
    assert table.loc["real 44.1 kHz", "spectral_rolloff"] > table.loc["real", "spectral_rolloff"]
    assert np.isnan(table.loc["real", "log_mel_distance"])


def test_correct_predictions_are_counted_by_version_and_class(sounds, clips):
    assert summarise(clips)["right"]["half"] == pytest.approx(1 / len(sounds.class_names))
    classes = by_class(clips, "half")
    assert classes["right"].sum() == classes["right_real"].sum() == 1
    assert classes["rms_percent"].to_numpy() == pytest.approx(-50, abs=0.5)


@dataclass
class Flaky(Gain):
    """Decodes to silence with every draw of noise but the first."""

    stochastic: bool = True

    def decode(self, codes, generator=None):
        return super().decode(codes) * (generator.initial_seed() == 0)


class Loudness:
    """A judge with probability 3/4 for class 1 of a sound, for class 0 of silence."""

    def probabilities(self, wav, sample_rate):
        return np.array([0.25, 0.75] if wav.any() else [0.75, 0.25], np.float32)


def test_the_judge_classifies_several_draws_and_the_metrics_are_of_the_first(sounds):
    only = replace(sounds, clips=[replace(sounds.clips[0], label=1)])
    row = summarise(
        measure_ceiling(
            only,
            {"flaky": Flaky(1.0), "same": Gain(1.0)},
            Loudness(),
            sample_rate=RATE,
            device="cpu",
        )
    )
    assert row["right"].to_dict() == pytest.approx(
        {"real 44.1 kHz": np.nan, "real": 1, "flaky": 1 / 4, "same": 1}, nan_ok=True
    )
    assert row["total_variation"][["flaky", "same"]].tolist() == pytest.approx([0.5 * 3 / 4, 0])
    assert row["rms_percent"]["flaky"] == pytest.approx(0, abs=0.1)


def test_the_class_that_loses_most_comes_first():
    def table(version, values):
        return pd.DataFrame(
            {
                "version": version,
                "clip": list("abc"),
                "class": list("abc"),
                "rms": 1.0,
                "right": 1.0,
                "log_mel_distance": values,
            }
        )

    clips = pd.concat([table("real", np.nan), table("codec", [1.0, 3.0, 2.0])])
    classes = by_class(clips, "codec")
    assert list(classes.index) == ["b", "c", "a"]
    traits = pd.DataFrame({"tones": [1.0, 2.0, 3.0], "clicks": [9.0, 3.0, 5.0]}, index=list("acb"))
    assert trait_correlations(classes, traits).to_dict() == pytest.approx(
        {"tones": 1.0, "clicks": -0.5}
    )


def test_traits_of_classes_are_in_their_ranges(sounds):
    table = class_traits(sounds, RATE)
    assert set(table.index) == set(sounds.class_names)
    assert table["flatness"].max() <= 0
    assert table["energy_above_8khz"].between(-60, 0).all()


def test_a_codec_without_weights_is_reported_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("SSENV_ENCODEC_DIR", str(tmp_path))
    codecs, reasons = available_codecs(["melrvq_24khz@6", "encodec_24khz@6"], "cpu")
    assert list(codecs) == ["melrvq_24khz 6 kbps"]
    assert "encodec_24khz-d7cc33bc.th" in reasons["encodec_24khz 6 kbps"]
    with pytest.raises(SsenvError, match="no 7 kbps"):
        available_codecs(["encodec_24khz@7"], "cpu")


def test_dead_codes_and_entropy_are_counted_per_level():
    codes = torch.stack([torch.arange(8), torch.arange(8) % 2], dim=1)
    use = code_use(codes.numpy(), 8)
    assert use["dead"].tolist() == [0, 0.75]
    assert use["entropy"].tolist() == [3, 1]
    with pytest.raises(ValueError, match="do not fit a codebook of 7"):
        code_use(codes.numpy(), 7)


def test_recordings_are_measured_at_their_own_rate(sounds):
    class Slow(Silence):
        def native_rate(self):
            return 16_000

    slow = replace(sounds, clips=tuple(replace(clip, source=Slow()) for clip in sounds.clips))
    assert "real 16 kHz" in set(
        measure_ceiling(slow, {}, None, sample_rate=RATE, device="cpu")["version"]
    )


def test_clips_of_one_class_give_no_judge_and_remove_an_old_one(sounds, tmp_path):
    path, state = tmp_path / "judge.safetensors", tmp_path / "judge.state.safetensors"
    two = replace(sounds, clips=sounds.clips[:2])
    judge = fit_judge(two, EpochSettings(1, batch_size=2), path, state, "cpu")
    assert judge.metadata["clips"] == 2
    assert path.exists()
    assert fit_judge(replace(sounds, clips=sounds.clips[:1]), None, path, state, "cpu") is None
    assert not path.exists()


def test_examples_are_the_first_clip_of_each_class_in_every_version(sounds):
    names = [sounds.class_names[sounds.clips[i].label] for i in (3, 1)]
    examples = example_clips(sounds, names, {"half": Gain(0.5)}, RATE, "cpu")
    assert list(examples) == names
    for name, i in zip(names, (3, 1), strict=True):
        real = sounds.read(sounds.clips[i], RATE)
        np.testing.assert_array_equal(examples[name]["real"], real)
        np.testing.assert_allclose(examples[name]["half"], real / 2, atol=2**-15)
