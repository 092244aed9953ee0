"""The loaders: official folds and labels, every file layout, and one line for every fault."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ssenv_core.base.errors import SsenvError
from ssenv_core.data import DATASETS, load_dataset
from ssenv_core.data.recordings import with_variations

RATE = 8000


def write_audio(path, seconds=0.5, rate=RATE, level=0.25):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path,
        np.full(round(seconds * rate), level, dtype=np.float32),
        rate,
        subtype="FLOAT" if path.suffix == ".wav" else None,
    )


def write_table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


ESC50_ROWS = [
    ["1-1-A-0.wav", 1, 0, "dog", True, "1", "A"],
    ["2-2-A-1.wav", 2, 1, "rooster", False, "2", "A"],
    ["2-3-A-10.wav", 2, 2, "rain", True, "3", "A"],
    ["5-4-A-0.wav", 5, 0, "dog", True, "4", "A"],
]
ESC50_HEADER = "filename,fold,target,category,esc10,src_file,take"


def write_esc50(root, suffix=".wav"):
    write_table(root / "meta" / "esc50.csv", ESC50_HEADER, ESC50_ROWS)
    for row in ESC50_ROWS:
        write_audio(root / "audio" / Path(row[0]).with_suffix(suffix))
    return root


URBAN_HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class"
URBAN_ROWS = [
    ["100-3-0-0.wav", 100, 0, 4, 1, 1, 3, "dog_bark"],
    ["101-8-0-0.wav", 101, 0, 4, 1, 2, 8, "siren"],
    ["102-8-0-0.wav", 102, 0, 4, 1, 7, 8, "siren"],
]


def write_urbansound8k(root, folds=(1, 2, 7)):
    write_table(root / "metadata" / "UrbanSound8K.csv", URBAN_HEADER, URBAN_ROWS)
    for row in URBAN_ROWS:
        if row[5] in folds:
            write_audio(root / "audio" / f"fold{row[5]}" / row[0])
    return root


def one_line(call, *parts):
    with pytest.raises(SsenvError) as error:
        call()
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_esc50_keeps_official_labels_folds_and_order(tmp_path):
    dataset = load_dataset("esc50", write_esc50(tmp_path))
    assert dataset.class_names == ("dog", "rooster", "rain")
    assert [(clip.name, clip.label, clip.fold) for clip in dataset.clips] == [
        ("1-1-A-0", 0, 1),
        ("2-2-A-1", 1, 2),
        ("2-3-A-10", 2, 2),
        ("5-4-A-0", 0, 5),
    ]


def test_esc10_holds_its_classes_relabelled_in_order(tmp_path):
    dataset = load_dataset("esc10", write_esc50(tmp_path))
    assert dataset.class_names == ("dog", "rain")
    assert [(clip.name, clip.label) for clip in dataset.clips] == [
        ("1-1-A-0", 0),
        ("2-3-A-10", 1),
        ("5-4-A-0", 0),
    ]


@pytest.mark.parametrize("suffix", [".ogg", ".flac", ".WAV"])
def test_esc50_takes_whatever_encoding_is_there(tmp_path, suffix):
    dataset = load_dataset("esc50", write_esc50(tmp_path, suffix))
    assert len(dataset) == 4
    assert np.abs(dataset.read(dataset.clips[0], RATE)[: RATE // 4]).mean() == pytest.approx(
        0.25, abs=0.02
    )


@pytest.mark.parametrize("folder", ["", "ESC-50-master", "esc50"])
def test_esc50_is_found_in_the_layouts_of_archive_and_soundata(tmp_path, folder):
    write_esc50(tmp_path / folder)
    assert len(load_dataset("esc50", tmp_path)) == 4


def test_urbansound8k_names_missing_folds_and_reshuffles_nothing(tmp_path):
    dataset = load_dataset("urbansound8k", write_urbansound8k(tmp_path, folds=(2, 7)))
    assert [(clip.name, clip.label, clip.fold) for clip in dataset.clips] == [
        ("101-8-0-0", 8, 2),
        ("102-8-0-0", 8, 7),
    ]
    assert dataset.missing_folds == (1, 3, 4, 5, 6, 8, 9, 10)
    assert dataset.folds == (2, 7)
    assert len(dataset.class_names) == 10


def test_urbansound8k_refuses_a_fold_with_holes(tmp_path):
    write_urbansound8k(tmp_path)
    (tmp_path / "audio" / "fold2" / "101-8-0-0.wav").unlink()
    one_line(
        lambda: load_dataset("urbansound8k", tmp_path), "1 of the 3 clips", "fold2/101-8-0-0.wav"
    )


@pytest.mark.parametrize(
    ("name", "write", "seconds"),
    [("esc50", write_esc50, 5), ("urbansound8k", write_urbansound8k, 4)],
)
def test_clips_are_zero_padded_at_the_end_to_the_nominal_duration(tmp_path, name, write, seconds):
    dataset = load_dataset(name, write(tmp_path))
    wav = dataset.read(dataset.clips[0], RATE)
    assert wav.shape == (seconds * RATE,)
    assert wav.dtype == np.float32
    assert wav[: RATE // 2] == pytest.approx(0.25)
    assert not wav[RATE // 2 :].any()


@given(rate=st.sampled_from([8000, 11025, 16000]), duration=st.floats(0.01, 0.9))
def test_every_clip_has_the_asked_number_of_samples(tmp_path_factory, rate, duration):
    root = tmp_path_factory.mktemp("clips")
    write_audio(root / "a.wav")
    dataset = replace(load_dataset("folder", root), duration=duration)
    assert dataset.read(dataset.clips[0], rate).shape == (round(duration * rate),)


def test_folder_labels_come_from_sub_folders_else_unlabelled(tmp_path):
    for name in ("rain/a.wav", "rain/deep/b.flac", "wind/a.wav", "loose.wav"):
        write_audio(tmp_path / name)
    dataset = load_dataset("folder", tmp_path)
    assert dataset.class_names == ("rain", "unlabelled", "wind")
    assert {clip.name: dataset.class_names[clip.label] for clip in dataset.clips} == {
        "loose.wav": "unlabelled",
        "rain/a.wav": "rain",
        "rain/deep/b.flac": "rain",
        "wind/a.wav": "wind",
    }


def test_folder_labels_and_folds_come_from_the_table_first(tmp_path):
    for name in ("x/a.wav", "x/b.wav", "x/unlisted.wav"):
        write_audio(tmp_path / name)
    write_table(
        tmp_path / "labels.csv",
        "filename,label,fold",
        [["x/b.wav", "surf", 3], ["x/a.wav", "gull", ""]],
    )
    dataset = load_dataset("folder", tmp_path)
    assert [(clip.name, dataset.class_names[clip.label]) for clip in dataset.clips] == [
        ("x/a.wav", "gull"),
        ("x/b.wav", "surf"),
    ]
    assert dataset.clips[1].fold == 3


def test_a_folder_clips_fold_does_not_depend_on_its_neighbours(tmp_path):
    for index in range(40):
        write_audio(tmp_path / f"{index}.wav", seconds=0.01)
    before = {clip.name: clip.fold for clip in load_dataset("folder", tmp_path).clips}
    assert set(before.values()) == {1, 2, 3, 4, 5}
    for index in range(20):
        (tmp_path / f"{index}.wav").unlink()
    write_audio(tmp_path / "00.wav", seconds=0.01)
    after = {clip.name: clip.fold for clip in load_dataset("folder", tmp_path).clips}
    assert all(before[name] == fold for name, fold in after.items() if name in before)


def test_subset_keeps_labels_names_and_order(tmp_path):
    dataset = load_dataset("esc50", write_esc50(tmp_path))
    assert [clip.name for clip in dataset.subset(folds=[2, 5]).clips] == [
        "2-2-A-1",
        "2-3-A-10",
        "5-4-A-0",
    ]
    assert dataset.subset(exclude_folds=[1]).clips == dataset.subset(folds=[2, 5]).clips
    assert dataset.subset(folds=[1]).class_names == dataset.class_names
    assert dataset.subset().clips == dataset.clips


def test_clips_of_one_recording_are_never_on_both_sides(tmp_path):
    esc50 = load_dataset("esc50", write_esc50(tmp_path / "esc50"))
    assert [clip.recording for clip in esc50.clips] == ["1", "2", "3", "4"]
    urban = load_dataset("urbansound8k", write_urbansound8k(tmp_path / "urban"))
    assert [clip.recording for clip in urban.clips] == ["100", "101", "102"]
    first, second, third, fourth = esc50.clips
    shared = with_variations(
        replace(esc50, clips=(first, second, replace(third, recording="4"), fourth)), 1, [5], seed=0
    )
    assert [clip.name for clip in shared.subset(exclude_folds=[5]).clips] == [
        "1-1-A-0",
        "2-2-A-1",
        "1-1-A-0~1",
        "2-2-A-1~1",
    ]
    assert [clip.name for clip in shared.subset(exclude_folds=[1]).clips] == [
        "2-2-A-1",
        "2-3-A-10",
        "5-4-A-0",
        "2-2-A-1~1",
        "2-3-A-10~1",
    ]
    alone = replace(esc50, clips=tuple(replace(clip, recording="") for clip in esc50.clips))
    assert len(alone.subset(exclude_folds=[5])) == 3


def test_subset_refuses_folds_that_are_not_there(tmp_path):
    dataset = load_dataset("esc50", write_esc50(tmp_path))
    one_line(lambda: dataset.subset(folds=[3]), "no fold 3", "1, 2, 5")
    one_line(lambda: dataset.subset(exclude_folds=[4]), "no fold 4")
    one_line(lambda: dataset.subset(folds=[1], exclude_folds=[1]), "no clip")


def test_fingerprint_changes_with_content_and_with_nothing_else(tmp_path):
    first, second = write_esc50(tmp_path / "one"), write_esc50(tmp_path / "two")
    original = load_dataset("esc50", first)
    assert load_dataset("esc50", second).fingerprint == original.fingerprint
    prints = {
        original.fingerprint,
        original.subset(folds=[2]).fingerprint,
        replace(original, duration=4.0).fingerprint,
    }
    prints.add(load_dataset("esc10", first).fingerprint)
    write_audio(second / "audio" / ESC50_ROWS[0][0], seconds=0.6)
    prints.add(load_dataset("esc50", second).fingerprint)
    write_table(
        first / "meta" / "esc50.csv",
        ESC50_HEADER,
        [[*ESC50_ROWS[0][:1], 3, *ESC50_ROWS[0][2:]], *ESC50_ROWS[1:]],
    )
    prints.add(load_dataset("esc50", first).fingerprint)
    assert len(prints) == 6


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("esc5", "esc50"),
        ("ESC10", "esc10"),
        ("urbansound", "urbansound8k"),
        ("syntetic", "synthetic"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name, nearest):
    one_line(lambda: load_dataset(name), repr(name), f"did you mean {nearest!r}?")


@pytest.mark.parametrize("name", ["esc50", "esc10", "urbansound8k"])
@pytest.mark.parametrize("root", [None, "nowhere"])
def test_missing_data_names_the_folder_and_both_ways_out(name, root):
    download_name = name.replace("esc10", "esc50")
    one_line(
        lambda: load_dataset(name, root),
        root or "data_root",
        f"`ssenv download {download_name}`",
        "dataset synthetic",
    )


def test_missing_or_empty_folder_is_one_line(tmp_path):
    one_line(lambda: load_dataset("folder"), "data_root")
    one_line(lambda: load_dataset("folder", tmp_path / "nowhere"), "nowhere")
    one_line(lambda: load_dataset("folder", tmp_path), str(tmp_path), "no audio")


def test_missing_clips_are_counted_and_named(tmp_path):
    write_esc50(tmp_path)
    (tmp_path / "audio" / "2-2-A-1.wav").unlink()
    one_line(
        lambda: load_dataset("esc50", tmp_path), "1 of the 4", "2-2-A-1.wav", "ssenv download esc50"
    )
    assert len(load_dataset("esc10", tmp_path)) == 3  # which does not need that clip


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no column filename"),
        ("filename,label\n", "lists no clip"),
        ("file,label\na.wav,rain\n", "no column filename"),
        ("filename,label\na.wav\n", "row 2: label is empty"),
        ("filename,label\nb.wav,rain\n", "lists b.wav, which is not in"),
        ("filename,label\na.wav,rain\na.wav,wind\n", "lists a.wav twice"),
        ("filename,label,fold\na.wav,rain,one\n", "fold 'one' is not a whole number"),
        ("filename,label,fold\na.wav,rain,0\n", "fold 0 of a.wav must be 1 or more"),
        (b"filename,label\na.wav,\xff\xfe\n", "cannot read the table"),
    ],
)
def test_a_damaged_table_is_one_line(tmp_path, text, part):
    write_audio(tmp_path / "a.wav")
    (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    one_line(lambda: load_dataset("folder", tmp_path), str(tmp_path / "labels.csv"), part)


def test_a_class_out_of_range_is_refused(tmp_path):
    write_urbansound8k(tmp_path)
    write_table(
        tmp_path / "metadata" / "UrbanSound8K.csv",
        URBAN_HEADER,
        [["100-3-0-0.wav", 100, 0, 4, 1, 1, 10, "dog_bark"]],
    )
    one_line(lambda: load_dataset("urbansound8k", tmp_path), "classID 10", "100-3-0-0.wav")


def test_a_clip_that_is_not_audio_is_one_line(tmp_path):
    write_esc50(tmp_path)
    (tmp_path / "audio" / "2-2-A-1.wav").write_bytes(b"<html>not found</html>")
    dataset = load_dataset("esc50", tmp_path)
    one_line(lambda: dataset.read(dataset.clips[1], RATE), "2-2-A-1.wav")


def test_every_name_is_known_to_the_loader(tmp_path):
    write_esc50(tmp_path)
    write_urbansound8k(tmp_path)
    for name in DATASETS:
        dataset = load_dataset(name, tmp_path, clips_per_class=1)
        assert dataset.name == name
        assert all(
            0 <= clip.label < len(dataset.class_names) and clip.fold >= 1 for clip in dataset.clips
        )


def test_real_esc50_has_its_published_shape(recordings):
    dataset = load_dataset("esc50", recordings)
    assert (len(dataset), len(dataset.class_names)) == (2000, 50)
    assert [len(dataset.subset(folds=[fold])) for fold in range(1, 6)] == [400] * 5
    assert all(clip.name.endswith(f"-{clip.label}") for clip in dataset.clips)
    esc10 = load_dataset("esc10", recordings)
    assert np.bincount([clip.label for clip in esc10.clips]).tolist() == [40] * 10
    assert esc10.read(esc10.clips[0], 24000).shape == (120000,)


def test_real_urbansound8k_has_its_published_folds(recordings):
    dataset = load_dataset("urbansound8k", recordings)
    assert (len(dataset), dataset.folds) == (1761, (1, 2))
    assert dataset.missing_folds == tuple(range(3, 11))
    assert all(clip.name.split("-")[1] == str(clip.label) for clip in dataset.clips)
    assert dataset.read(dataset.clips[0], 24000).shape == (96000,)


def varied_noise(count=2, seed=0):
    sounds = load_dataset("synthetic", clips_per_class=5)
    return sounds, with_variations(sounds, count, [1], seed)


def test_variations_are_of_training_clips_alone_and_come_behind_the_clips():
    sounds, more = varied_noise()
    training = [clip for clip in sounds.clips if clip.fold != 1]
    assert more.clips[: len(sounds)] == sounds.clips
    assert [clip.name for clip in more.clips[len(sounds) :]] == [
        f"{clip.name}~{number}" for number in (1, 2) for clip in training
    ]
    assert [(clip.label, clip.fold) for clip in more.clips[len(sounds) :]] == [
        (clip.label, clip.fold) for clip in training
    ] * 2
    assert varied_noise(0)[1] == sounds


def test_a_variation_is_another_sound_of_the_same_length_and_always_the_same():
    _, more = varied_noise()
    (one, *_), (two, *_) = (
        [clip for clip in more.clips if clip.name.endswith(f"~{number}")] for number in (1, 2)
    )
    original = next(clip for clip in more.clips if clip.name == one.name[:-2])
    sounds = [more.read(clip, RATE) for clip in (original, one, two)]
    assert {len(sound) for sound in sounds} == {round(more.duration * RATE)}
    assert all(
        np.isfinite(sound).all() and sound.any() and np.abs(sound).max() <= 1 for sound in sounds
    )
    assert not any(
        np.array_equal(a, b) for a, b in ((sounds[0], sounds[1]), (sounds[1], sounds[2]))
    )
    assert np.array_equal(more.read(one, RATE), sounds[1])


def test_the_identity_of_a_variation_is_that_of_its_clip_and_its_seed():
    (sounds, one), (_, other) = varied_noise(1, seed=0), varied_noise(1, seed=1)
    assert one.clips[-1].source.identity() != other.clips[-1].source.identity()
    assert one.fingerprint == other.fingerprint == sounds.fingerprint  # still the same sounds
    assert one.clips[-1].source.identity()[:-2] == one.clips[-1].source.source.identity()


def test_the_native_rate_is_what_most_files_have_and_the_highest_of_equally_many(tmp_path):
    for name, rate in (("a", 8000), ("b", 8000), ("c", 16_000)):
        write_audio(tmp_path / f"{name}.wav", rate=rate)
    assert load_dataset("folder", tmp_path).native_rate == 8000
    (tmp_path / "b.wav").unlink()
    sounds = load_dataset("folder", tmp_path)
    assert sounds.native_rate == 16_000
    assert with_variations(sounds, 2, (), 0).native_rate == 16_000
    assert load_dataset("synthetic", clips_per_class=1).native_rate == 44_100
