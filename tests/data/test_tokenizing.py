"""Tokenizing: a clip's codes depend neither on other clips, nor on cores, nor on runs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_codec

from ssenv_core.base.audio import active_frames, write_audio
from ssenv_core.base.errors import SsenvError
from ssenv_core.codecs.encodec import untrained_encodec
from ssenv_core.data import tokenizing, tokens
from ssenv_core.data.controls import measure_controls
from ssenv_core.data.recordings import AudioFile, Clip, Dataset
from ssenv_core.data.tokenizing import tokenize
from ssenv_core.data.tokens import parts_folder, save_tokens

HOP, FRAMES, CLIPS_PER_PART = 320, 12, 2
PATTERNS = ("############", "..###..##...", "............", "#...........", "...........#")


@dataclass(frozen=True)
class Sound:
    wav: tuple[float, ...]

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        return np.array(self.wav, dtype=np.float32)

    def identity(self) -> list:
        return [hash(self.wav)]

    @property
    def modified(self) -> int:
        return 0


@dataclass(frozen=True)
class Failing:
    """A sound whose reading ends the run."""

    sound: Sound
    error: BaseException

    def read(self, sample_rate: int, duration: float) -> np.ndarray:
        raise self.error

    def identity(self) -> list:
        return self.sound.identity()

    @property
    def modified(self) -> int:
        return 0


class Watched:
    """A codec that records the number of items and of torch's threads of every `encode`."""

    def __init__(self, codec, pause=0.0):
        self.codec, self.calls, self.pause = codec, [], pause

    def __getattr__(self, name):
        return getattr(self.codec, name)

    def encode(self, wav):
        self.calls.append((len(wav), torch.get_num_threads()))
        time.sleep(self.pause)
        return self.codec.encode(wav)


def sound(seed: int, frames: str) -> Sound:
    """Noise where `frames` has a #, digital silence where it has a dot."""
    loud = np.repeat(np.array(list(frames)) == "#", HOP)
    return Sound(
        tuple(np.where(loud, np.random.default_rng(seed).uniform(-0.5, 0.5, len(loud)), 0).tolist())
    )


def encodec():
    torch.manual_seed(0)
    codec = untrained_encodec("encodec_24khz")
    for layer in codec.model.quantizer.vq.layers:
        layer._codebook.embed.normal_(std=0.01)
    return codec


def with_source(dataset: Dataset, number: int, source) -> Dataset:
    clips = list(dataset.clips)
    clips[number] = replace(clips[number], source=source)
    return replace(dataset, clips=tuple(clips))


@pytest.fixture(scope="module")
def codec():
    return tiny_codec()


@pytest.fixture(scope="module")
def dataset():
    clips = tuple(
        Clip(f"clip-{i}", i % 2, i % 3 + 1, sound(i, pattern)) for i, pattern in enumerate(PATTERNS)
    )
    return Dataset("tiny", ("dog", "rain"), clips, FRAMES * HOP / 24_000)


@pytest.fixture(scope="module")
def whole(dataset, codec):
    return tokenize(dataset, codec, device="cpu")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where a token file goes whose parts are of two clips."""
    monkeypatch.setattr(tokenizing, "CLIPS_PER_PART", CLIPS_PER_PART)
    return tmp_path / "tokens.safetensors"


@pytest.fixture
def torch_threads():
    """torch.set_num_threads, undone afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_codes_are_the_codecs_codes_of_each_clip_in_the_datasets_order(dataset, codec, whole):
    assert whole.codes.shape == (5, 8, FRAMES)
    assert whole.codes.dtype == torch.int64
    for i, clip in enumerate(dataset.clips):
        wav = torch.from_numpy(dataset.read(clip, 24_000))[None, None]
        assert torch.equal(whole.codes[i], codec.encode(wav)[0])
    assert whole.names == tuple(clip.name for clip in dataset.clips)
    assert whole.labels.tolist() == [clip.label for clip in dataset.clips]
    assert whole.folds.tolist() == [clip.fold for clip in dataset.clips]
    assert whole.class_names == dataset.class_names
    for i, clip in enumerate(dataset.clips):
        expected = measure_controls(dataset.read(clip, 24_000), 24_000, FRAMES, 75)
        assert torch.equal(whole.controls[i], expected.half().float())


def test_active_frames_are_those_with_sound(whole):
    assert whole.active.tolist() == [[frame == "#" for frame in pattern] for pattern in PATTERNS]


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


def test_the_format_identifies_dataset_and_codec(dataset, codec, whole):
    assert asdict(whole.format) == {
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
    made = tokenize(dataset, tiny_codec(bandwidth), device="cpu").format
    assert (made.bandwidth, made.n_q) == (bandwidth, round(bandwidth / 0.75))


def test_every_clip_is_encoded_alone_and_on_one_thread(dataset, codec, torch_threads):
    torch_threads(2)
    watched = Watched(codec)
    tokenize(dataset, watched, device="cpu")
    assert watched.calls == [(1, 1)] * len(dataset)
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2


def test_as_many_clips_are_encoded_at_once_as_torch_has_threads(dataset, codec, torch_threads):
    torch_threads(2)
    meeting, watched = threading.Barrier(2, timeout=60), Watched(codec)

    def encode(wav):
        meeting.wait()  # for a second clip
        return codec.encode(wav)

    watched.encode = encode
    tokenize(replace(dataset, clips=dataset.clips[:4]), watched, device="cpu")


@pytest.mark.parametrize("make", [tiny_codec, encodec])
def test_codes_do_not_depend_on_the_number_of_threads(dataset, make, torch_threads):
    codec, codes = make(), []
    for threads in (1, 2):
        torch_threads(threads)
        codes.append(tokenize(dataset, codec, device="cpu").codes)
    assert torch.equal(*codes)
    assert codes[0].unique().numel() > 10


def test_an_unreadable_clip_is_one_line_and_leaves_the_clips_behind_it(codec, dataset):
    broken = with_source(
        dataset,
        0,
        Failing(dataset.clips[0].source, SsenvError("broken.wav is truncated: fetch it again")),
    )
    watched = Watched(codec, pause=0.02)
    with pytest.raises(SsenvError, match=r"^broken\.wav is truncated: fetch it again$"):
        tokenize(replace(broken, clips=broken.clips * 40), watched, device="cpu")
    assert len(watched.calls) < 100


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SsenvError("gone")])
@pytest.mark.parametrize("number", range(5))
def test_interrupted_and_resumed_tokens_equal_uninterrupted_ones(
    dataset, codec, whole, path, number, error, capsys
):
    with pytest.raises(type(error)):
        tokenize(
            with_source(dataset, number, Failing(dataset.clips[number].source, error)),
            codec,
            device="cpu",
            path=path,
        )
    finished = number // CLIPS_PER_PART * CLIPS_PER_PART
    watched, did = Watched(codec), {}
    save_tokens(path, tokenize(dataset, watched, device="cpu", path=path, report=did.update))
    assert len(watched.calls) == did["clips"] == len(dataset) - finished
    assert (f"{finished} clips are there from an interrupted run" in capsys.readouterr().out) == (
        finished > 0
    )

    expected = save_tokens(path.with_name("uninterrupted.safetensors"), whole)
    assert path.read_bytes() == expected.read_bytes()
    assert path.with_suffix(".json").read_bytes() == expected.with_suffix(".json").read_bytes()
    assert not parts_folder(path).exists()


@pytest.mark.parametrize("other", [{"seed": 1}, {"bandwidth": 3.0}])
def test_parts_of_another_codec_are_not_used(dataset, codec, path, other, capsys):
    tokenize(dataset, tiny_codec(**other), device="cpu", path=path)
    assert "not used" not in capsys.readouterr().out
    watched = Watched(codec)
    found = tokenize(dataset, watched, device="cpu", path=path)
    assert len(watched.calls) == len(dataset)
    assert torch.equal(found.codes, tokenize(dataset, codec, device="cpu").codes)
    out = capsys.readouterr().out
    assert (
        f"tokenize: 3 parts in {parts_folder(path)} are of other clips, another codec, "
        "code or device: not used\n" in out
    )
    assert "interrupted" not in out


def test_parts_of_other_clips_are_not_used_and_those_of_the_same_are(dataset, codec, path):
    tokenize(dataset, codec, device="cpu", path=path)
    repaired, watched = with_source(dataset, 3, sound(9, PATTERNS[0])), Watched(codec)
    found = tokenize(repaired, watched, device="cpu", path=path)
    assert len(watched.calls) == CLIPS_PER_PART
    assert torch.equal(found.codes, tokenize(repaired, codec, device="cpu").codes)
    assert found.format.dataset_fingerprint == repaired.fingerprint != dataset.fingerprint


def test_parts_of_a_file_that_was_replaced_by_one_as_large_are_not_used(
    dataset, codec, path, tmp_path
):
    files = [
        write_audio(tmp_path / f"{i}.wav", clip.source.read(24_000, 0), 24_000)
        for i, clip in enumerate(dataset.clips)
    ]
    sources = [AudioFile(file, file.stat().st_size) for file in files]
    recorded = replace(
        dataset,
        clips=tuple(
            replace(clip, source=source)
            for clip, source in zip(dataset.clips, sources, strict=True)
        ),
    )
    tokenize(recorded, codec, device="cpu", path=path)
    write_audio(files[4], np.array(sound(9, PATTERNS[0]).wav), 24_000)
    assert files[4].stat().st_size == sources[4].size
    watched = Watched(codec)
    found = tokenize(recorded, watched, device="cpu", path=path)
    assert len(watched.calls) == 1
    assert torch.equal(found.codes, tokenize(recorded, codec, device="cpu").codes)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: b""],
)
def test_a_damaged_part_is_named_and_encoded_again(dataset, codec, whole, path, damage, capsys):
    tokenize(dataset, codec, device="cpu", path=path)
    part, watched = sorted(parts_folder(path).iterdir())[1], Watched(codec)
    part.write_bytes(damage(part.read_bytes()))
    found = tokenize(dataset, watched, device="cpu", path=path)
    assert len(watched.calls) == CLIPS_PER_PART
    assert torch.equal(found.codes, whole.codes)
    assert torch.equal(found.active, whole.active)
    line = next(line for line in capsys.readouterr().out.splitlines() if part.name in line)
    assert line.startswith(f"tokenize: {part} is ")
    assert line.endswith("its clips are encoded again")


def test_parts_stay_until_tokens_and_sidecar_are_written(dataset, codec, path, monkeypatch):
    found = tokenize(dataset, codec, device="cpu", path=path)

    def refuse(*_):
        raise SsenvError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(tokens, "write_json", refuse)
        with pytest.raises(SsenvError, match="the disk is full"):
            save_tokens(path, found)
    watched = Watched(codec)
    tokenize(dataset, watched, device="cpu", path=path)
    assert not watched.calls
    save_tokens(path, found)
    assert not parts_folder(path).exists()


def test_a_part_that_cannot_be_written_is_one_line_and_ends_the_run_there(dataset, codec, path):
    parts_folder(path).write_text("no folder")
    watched = Watched(codec, pause=0.02)
    with pytest.raises(SsenvError, match=r"^cannot write .*tokens\.parts"):
        tokenize(replace(dataset, clips=dataset.clips * 40), watched, device="cpu", path=path)
    assert len(watched.calls) < 100


def test_the_log_ends_with_what_this_run_did(dataset, codec, path, capsys):
    with pytest.raises(KeyboardInterrupt):
        tokenize(
            with_source(dataset, 4, Failing(dataset.clips[4].source, KeyboardInterrupt())),
            codec,
            device="cpu",
            path=path,
        )
    capsys.readouterr()
    did = {}
    tokenize(dataset, codec, device="cpu", path=path, report=did.update)
    assert did["clips"] == 1
    assert did["clips/s"] == pytest.approx(1 / did["seconds"], rel=0.5)
    assert did["x real time"] == pytest.approx(did["clips/s"] * dataset.duration)
    line = next(line for line in capsys.readouterr().out.splitlines() if "5/5 clip" in line)
    assert "clip/s, done in " in line
    assert line.endswith(" x real time")
