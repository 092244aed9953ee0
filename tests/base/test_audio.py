"""Audio files: sound survives a round trip, and unusable files are refused in one line."""

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ssenv_core.base.audio import (
    file_rate,
    fit_length,
    list_audio,
    read_audio,
    read_channels,
    resample,
    write_audio,
    write_folder,
)
from ssenv_core.base.errors import SsenvError

RATE = 24_000


def noise(samples=RATE, channels=1):
    return (
        0.1
        * np.random.default_rng(0).standard_normal((samples, channels)).astype(np.float32).squeeze()
    )


def tone(rate, seconds=0.5, hertz=1_000):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def assert_refused(path, reason):
    with pytest.raises(SsenvError, match=reason) as error:
        read_audio(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def with_bytes(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".aiff", ".mp3"])
def test_whole_files_are_read_whole(tmp_path, suffix):
    soundfile.write(path := tmp_path / f"whole{suffix}", noise(), RATE)
    wav, rate = read_audio(path)
    assert rate == RATE
    assert wav.dtype == np.float32
    assert len(wav) == RATE


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".aiff", ".mp3"])
@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    soundfile.write(path := tmp_path / f"cut{suffix}", noise(), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    assert_refused(path, "truncated|cannot be read as audio")


def test_an_ogg_without_its_last_bytes_is_truncated(tmp_path):
    soundfile.write(path := tmp_path / "cut.OGG", noise(), RATE, format="OGG")
    path.write_bytes(path.read_bytes()[:-1])
    assert_refused(path, "truncated")


@pytest.mark.parametrize("declared", [0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_declares_no_length_and_is_read(tmp_path, declared):
    soundfile.write(path := tmp_path / "piped.wav", noise(), RATE)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", declared)
    assert len(read_audio(with_bytes(path, data))[0]) == RATE


def test_what_is_not_audio_is_refused(tmp_path):
    assert_refused(
        with_bytes(tmp_path / "text.wav", b"no sound in here\n" * 100), "cannot be read as audio"
    )
    assert_refused(with_bytes(tmp_path / "empty.wav", b""), "cannot be read as audio")
    assert_refused(tmp_path / "missing.wav", "no audio file at")
    assert_refused(tmp_path, "no audio file at")


def test_a_file_without_samples_is_refused(tmp_path):
    soundfile.write(path := tmp_path / "none.wav", np.zeros(0), RATE)
    assert_refused(path, "holds no samples")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path, value):
    wav = noise()
    wav[100] = value
    soundfile.write(path := tmp_path / "bad.wav", wav, RATE, subtype="FLOAT")
    assert_refused(path, "not finite")


def test_channels_are_averaged(tmp_path):
    stereo = noise(channels=2)
    soundfile.write(path := tmp_path / "stereo.wav", stereo, RATE, subtype="FLOAT")
    assert np.allclose(read_audio(path)[0], stereo.mean(axis=1), atol=1e-7)


def test_resampling_keeps_the_duration_and_the_sound(tmp_path):
    soundfile.write(path := tmp_path / "tone.wav", tone(44_100), 44_100, subtype="FLOAT")
    wav, rate = read_audio(path, RATE)
    assert rate == RATE
    assert len(wav) == RATE // 2
    assert wav.dtype == np.float32
    middle = slice(1_000, -1_000)
    assert np.abs(wav[middle] - tone(RATE)[middle]).max() < 1e-3


@settings(deadline=None, max_examples=30)
@given(
    samples=st.integers(1, 5_000), rates=st.permutations([8_000, 22_050, 24_000, 44_100, 48_000])
)
def test_resampled_length_is_the_duration_times_the_rate(samples, rates):
    source, target = rates[:2]
    assert (
        abs(
            len(resample(np.zeros(samples, np.float32), source, target)) - samples * target / source
        )
        <= 1
    )


def test_a_duration_cuts_or_pads_at_the_end(tmp_path):
    wav = noise()
    soundfile.write(path := tmp_path / "second.wav", wav, RATE, subtype="FLOAT")
    assert np.array_equal(read_audio(path, duration=0.5)[0], wav[: RATE // 2])
    longer = read_audio(path, duration=1.5)[0]
    assert np.array_equal(longer[:RATE], wav)
    assert len(longer) == 36_000
    assert not longer[RATE:].any()


@given(samples=st.integers(0, 50), wanted=st.integers(0, 50))
def test_fit_length_keeps_what_fits(samples, wanted):
    wav = np.arange(1, samples + 1, dtype=np.float32)
    fitted = fit_length(wav, wanted)
    assert len(fitted) == wanted
    kept = min(samples, wanted)
    assert np.array_equal(fitted[:kept], wav[:kept])
    assert not fitted[kept:].any()


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_written_sound_is_read_back_clipped_and_never_rescaled(tmp_path, suffix):
    wav = np.array([0.0, 0.25, -0.5, 1.7, -3.0], np.float32)
    back, rate = read_audio(write_audio(tmp_path / f"deep/er/sound{suffix}", wav, RATE))
    assert rate == RATE
    assert np.abs(back - np.clip(wav, -1, 1)).max() <= 1 / 32768


def test_a_folder_is_listed_in_order_and_without_other_files(tmp_path):
    names = [
        path.name for path in write_folder(tmp_path, [("b", noise(100)), ("a", noise(50))], RATE)
    ]
    (tmp_path / "notes.txt").write_text("x")
    write_audio(tmp_path / "sub" / "c.FLAC", noise(10), RATE)
    assert names == ["b.wav", "a.wav"]
    assert [path.name for path in list_audio(tmp_path)] == ["a.wav", "b.wav", "c.FLAC"]


def test_folders_that_links_lead_to_are_listed_once(tmp_path):
    write_folder(tmp_path / "elsewhere", [("c", noise(10))], RATE)
    (path,) = write_folder(tmp_path / "sounds", [("a", noise(10))], RATE)
    (tmp_path / "sounds" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "sounds" / "up").symlink_to(tmp_path / "sounds", target_is_directory=True)
    assert list_audio(tmp_path / "sounds") == [path, tmp_path / "sounds" / "linked" / "c.wav"]


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(SsenvError, match=r"^no folder at .*nowhere$"):
        list_audio(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SsenvError, match=r"holds no audio file \(\.wav"):
        list_audio(tmp_path)


def test_channels_are_read_as_they_are_and_a_rate_without_the_sound(tmp_path):
    stereo = noise(channels=2)
    soundfile.write(tmp_path / "a.wav", stereo, RATE, subtype="FLOAT")
    wav, rate = read_channels(tmp_path / "a.wav")
    assert np.array_equal(wav, stereo)
    assert rate == file_rate(tmp_path / "a.wav") == RATE
    (tmp_path / "b.wav").write_text("no sound at all")
    with pytest.raises(SsenvError, match=r"b\.wav cannot be read as audio"):
        file_rate(tmp_path / "b.wav")
