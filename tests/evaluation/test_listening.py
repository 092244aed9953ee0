"""Listening tests: they are blind, ratings are safe, and the analysis finds what was put in."""

import itertools
import json
import multiprocessing
import multiprocessing.synchronize
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon
from tiny.listening import CODECS, RATE, noise, rate, recordings, tiny_test

from ssenv_core.base.audio import read_audio
from ssenv_core.base.errors import SsenvError
from ssenv_core.evaluation.listening.analysis import (
    analyse,
    compare_conditions,
    least_listeners,
    screen_listeners,
    summarise,
)
from ssenv_core.evaluation.listening.design import (
    ANCHORS,
    REFERENCE,
    SCALES,
    Coded,
    ListeningTest,
    choose_recordings,
    listener_order,
    listener_pages,
    low_pass,
    make_test,
)
from ssenv_core.evaluation.listening.hosting import write_key, write_page
from ssenv_core.evaluation.listening.ratings import (
    COLUMNS,
    append_ratings,
    collect_ratings,
    read_ratings,
    start_ratings,
)
from ssenv_core.metrics.stats import holm
from ssenv_core.plots.ratings import rating_intervals

TRUTH = {
    REFERENCE: 100,
    "codec 6 kbps": 80,
    "mid anchor 7 kHz": 60,
    "codec 1.5 kbps": 45,
    "low anchor 3.5 kHz": 20,
    "real": 85,
    "generated": 50,
}


@pytest.fixture(scope="module")
def test() -> ListeningTest:
    return tiny_test()


# What is played


def test_mushra_holds_the_reference_both_anchors_and_each_codec_once_at_their_levels(
    test: ListeningTest,
) -> None:
    for page in (page for page in (test.training, *test.pages) if page.test == "mushra"):
        by_condition = {stimulus.condition: stimulus.wavs[0] for stimulus in page.stimuli}
        assert len(by_condition) == len(page.stimuli)
        assert set(by_condition) == {REFERENCE, *ANCHORS, *CODECS}
        np.testing.assert_array_equal(by_condition[REFERENCE], page.reference.wavs[0])
        assert page.reference.name not in {stimulus.name for stimulus in page.stimuli}


def test_generated_clips_are_rated_beside_real_ones_of_their_class_without_a_reference(
    test: ListeningTest,
) -> None:
    for page in (page for page in test.pages if page.test != "mushra"):
        assert page.reference is None
        counts = Counter(stimulus.condition for stimulus in page.stimuli)
        assert counts["real"] == counts["generated"] == (2 if page.test == "fit" else 1)
        (label,) = {name.split("-")[1] for stimulus in page.stimuli for name in stimulus.clips}
        assert f"“class {label}”" in page.question


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_no_real_clip_has_two_parts_and_both_sides_of_a_class_have_equally_many(
    seed: int, items: int, each: int, clips: int
) -> None:
    real, generated = recordings("real", 5, each, 1), recordings("made", 5, 2, 2)
    choice = choose_recordings(
        real, generated, mushra_items=items, fit_classes=4, fit_clips=clips, seed=seed
    )
    drawn = [
        choice.training,
        *choice.items,
        *(one for sides in choice.classes.values() for one in sides[0]),
    ]
    assert len({one.name for one in drawn}) == len(drawn)
    assert len({one.label for one in (choice.training, *choice.items)}) == items + 1
    for label, (real_side, made) in choice.classes.items():
        assert 1 <= len(real_side) == len(made) <= clips
        assert {one.label for one in (*real_side, *made)} == {label}


def test_a_silent_real_clip_is_no_reference_and_a_silent_generated_one_is_rated() -> None:
    real = [
        one._replace(wav=np.zeros_like(one.wav)) if one.name.endswith("-0") else one
        for one in recordings("real", 3, 3, 1)
    ]
    generated = [one._replace(wav=np.zeros_like(one.wav)) for one in recordings("made", 3, 1, 2)]
    choice = choose_recordings(real, generated, mushra_items=2, fit_classes=3, fit_clips=2, seed=0)
    assert not any(
        one.name.endswith("-0")
        for one in (
            choice.training,
            *choice.items,
            *(c for s in choice.classes.values() for c in s[0]),
        )
    )
    assert sum(len(sides[1]) for sides in choice.classes.values()) == 3


def test_equal_sounds_of_a_page_are_still_rated_one_by_one() -> None:
    generated = [one._replace(wav=np.zeros_like(one.wav)) for one in recordings("made", 3, 2, 2)]
    choice = choose_recordings(
        recordings("real", 3, 4, 1), generated, mushra_items=1, fit_classes=2, fit_clips=2, seed=0
    )
    items = [choice.training, *choice.items]
    made = make_test(
        choice,
        {"codec": Coded("a codec", {item.name: 0.5 * item.wav for item in items})},
        sample_rate=RATE,
        seed=0,
    )
    for page in (page for page in made.pages if page.test == "fit"):
        assert len({stimulus.name for stimulus in page.stimuli}) == len(page.stimuli) == 4
    assert len(made.sounds()) == len(
        {
            file
            for page in (made.training, *made.pages)
            for one in page.stimuli
            for file in one.files
        }
    ) + len(items)


def test_too_few_classes_or_too_many_sounds_on_a_page_are_one_line() -> None:
    real, generated = recordings("real", 3, 1, 1), recordings("made", 3, 1, 2)
    with pytest.raises(
        SsenvError, match=r"\Amushra_items = 3, and one for practice: only 3 classes [^\n]*\Z"
    ):
        choose_recordings(real, generated, mushra_items=3, fit_classes=1, fit_clips=1, seed=0)
    with pytest.raises(
        SsenvError,
        match=r"\Ano class has a generated clip and a real one beside the 3 of mushra[^\n]*\Z",
    ):
        choose_recordings(real, generated, mushra_items=2, fit_classes=1, fit_clips=1, seed=0)
    choice = choose_recordings(real, generated, mushra_items=1, fit_classes=1, fit_clips=1, seed=0)
    wavs = {one.name: one.wav for one in (choice.training, *choice.items)}
    many = {f"codec {i}": Coded("", wavs) for i in range(10)}
    with pytest.raises(SsenvError, match=r"\Apage [^\n]* 13 sounds to rate, more than 12[^\n]*\Z"):
        make_test(choice, many, RATE, 0)


def test_a_class_with_one_clip_a_side_has_no_page_about_its_variety() -> None:
    choice = choose_recordings(
        recordings("real", 4, 2, 1),
        recordings("made", 4, 1, 2),
        mushra_items=1,
        fit_classes=2,
        fit_clips=2,
        seed=0,
    )
    made = make_test(choice, {}, RATE, 0)
    assert Counter(page.test for page in made.pages) == {"mushra": 1, "fit": 2}


def test_length_does_not_tell_generated_from_real() -> None:
    choice = choose_recordings(
        recordings("real", 4, 3, 1, 0.3),
        recordings("made", 4, 3, 2, 0.2),
        mushra_items=1,
        fit_classes=2,
        fit_clips=2,
        seed=0,
    )
    made = make_test(choice, {}, RATE, 0)
    for page in (page for page in made.pages if page.test != "mushra"):
        assert {len(wav) for stimulus in page.stimuli for wav in stimulus.wavs} == {
            round(0.2 * RATE)
        }


@pytest.mark.parametrize("rate", [16_001, 22_050, 24_000, 44_100])
@pytest.mark.parametrize("cutoff", ANCHORS.values())
def test_an_anchor_is_flat_to_its_cutoff_and_falls_as_the_recommendation_asks(
    rate: int, cutoff: float
) -> None:
    impulse = np.zeros(8192, np.float32)
    impulse[4096] = 1
    response = low_pass(impulse, rate, cutoff)
    assert response.dtype == np.float32
    assert abs(response).argmax() == 4096  # no delay
    frequencies, level = (
        np.fft.rfftfreq(8192, 1 / rate),
        20 * np.log10(abs(np.fft.rfft(response)) + 1e-9),
    )
    assert abs(level[frequencies <= cutoff]).max() < 0.1
    assert level[frequencies >= cutoff * 4 / 3.5].max() < -25
    assert level[frequencies >= cutoff * 4.5 / 3.5].max(initial=-99) < -50


def test_an_anchor_that_would_leave_nothing_out_is_refused_and_a_short_clip_keeps_its_length() -> (
    None
):
    with pytest.raises(
        SsenvError,
        match=r"\Aan anchor at 7000 Hz needs sound at more than 16000 Hz, not 16000 Hz\Z",
    ):
        low_pass(noise(0), 16_000, 7000)
    assert [len(low_pass(noise(0)[:n], RATE, 3500)) for n in (1, 2, 50)] == [1, 2, 50]


# Blindness and order


def test_the_version_changes_with_the_sounds_and_only_with_them(test: ListeningTest) -> None:
    assert tiny_test().version == test.version
    assert tiny_test(seed=1).version != test.version
    assert tiny_test(seconds=0.21).version != test.version
    assert tiny_test(codec="other weights").version != test.version


@settings(max_examples=50, deadline=None)
@given(st.from_regex(r"[A-Za-z0-9]{1,8}", fullmatch=True), st.integers(0, 2**31 - 1))
def test_a_listener_meets_every_page_once_test_after_test_in_an_order_that_is_always_theirs(
    listener: str, seed: int
) -> None:
    test = ListeningTest(seed, RATE, TINY.training, TINY.pages)
    pages = listener_pages(test, listener)
    assert Counter(page.name for page in pages) == Counter(page.name for page in test.pages)
    assert [page.test for page in pages] == sorted(
        (page.test for page in pages), key=list(SCALES).index
    )
    assert pages == listener_pages(test, listener)


TINY = tiny_test()


def test_over_listeners_every_condition_is_as_often_in_every_place(test: ListeningTest) -> None:
    page = test.pages[0]
    conditions = {stimulus.name: stimulus.condition for stimulus in page.stimuli}
    orders = [
        [conditions[name] for name in listener_order(test.seed, f"listener{i}", conditions)]
        for i in range(2000)
    ]
    for place in range(len(conditions)):
        counts = Counter(order[place] for order in orders)
        assert all(
            abs(counts[condition] - 400) < 5 * np.sqrt(400 * 0.8)
            for condition in conditions.values()
        )


def test_nothing_in_the_hosted_folder_says_which_sound_is_which(
    test: ListeningTest, tmp_path: Path
) -> None:
    folder = write_page(tmp_path / "test", test)
    files = [path for path in folder.rglob("*") if path.is_file()]
    audio = sorted(folder.glob("audio/*"))
    written = sorted(audio, key=lambda path: path.stat().st_mtime_ns)
    assert written == audio
    assert all(re.fullmatch(r"[0-9a-f]{12}(-\d)?\.wav", path.name) for path in audio)
    text = "".join(path.read_text() for path in files if path.suffix != ".wav")
    secret = [
        word
        for page in test.pages
        for stimulus in page.stimuli
        for word in (stimulus.condition, *stimulus.clips)
        if word != REFERENCE
    ]
    config = (folder / "config.json").read_text()
    assert not [
        word
        for word in secret
        if word in config or (word not in ("real", "generated") and word in text)
    ]
    for page in json.loads(config)["pages"]:
        names = [stimulus["name"] for stimulus in page["stimuli"]]
        assert names == sorted(names)
        sizes = {
            (folder / file).stat().st_size
            for stimulus in page["stimuli"]
            for file in stimulus["files"]
        }
        assert len(sizes) == 1


def test_the_hosted_folder_is_complete_and_plays_what_the_test_holds(
    test: ListeningTest, tmp_path: Path
) -> None:
    folder = write_page(tmp_path / "test", test)
    page = (folder / "index.html").read_text()
    assert all((folder / name).is_file() for name in re.findall(r'(?:src|href)="([\w.]+)"', page))
    assert not re.search(
        r"https?://",
        page + (folder / "listening.js").read_text() + (folder / "listening.css").read_text(),
    )
    config = json.loads((folder / "config.json").read_text())
    named = [
        file
        for page in (config["training"], *config["pages"])
        for files in (page["reference"] or [], *(stimulus["files"] for stimulus in page["stimuli"]))
        for file in files
    ]
    assert Counter(named) == Counter(f"audio/{path.name}" for path in folder.glob("audio/*"))
    for name, wav in test.sounds().items():
        read, sample_rate = read_audio(folder / "audio" / name)
        assert sample_rate == RATE
        np.testing.assert_allclose(read, wav.clip(-1, 1), atol=2**-15)


def test_a_new_version_leaves_no_sound_of_the_last_and_keeps_its_key(
    test: ListeningTest, tmp_path: Path
) -> None:
    first = write_key(tmp_path, test)
    write_page(tmp_path / "test", test)
    other = tiny_test(seed=5)
    write_key(tmp_path, other)
    folder = write_page(tmp_path / "test", other)
    assert {path.name for path in folder.glob("audio/*")} == set(other.sounds())
    assert first.is_file()
    assert {path.name for path in tmp_path.iterdir()} == {
        "test",
        first.name,
        f"key-{other.version}.csv",
    }


# Ratings


def test_ratings_come_back_as_they_were_given_with_their_conditions(
    test: ListeningTest, tmp_path: Path
) -> None:
    rows = rate(test, "anna", TRUTH)
    path = start_ratings(tmp_path / "ratings.csv")
    assert path.read_text() == ",".join(COLUMNS) + "\n"
    append_ratings(path, rows[:5])
    append_ratings(path, rows[5:])
    assert start_ratings(path).read_text().count("listener") == 1
    collected, others = collect_ratings([path], write_key(tmp_path, test))
    assert others == 0
    assert collected["score"].tolist() == [TRUTH[condition] for condition in collected["condition"]]
    assert collected[["stimulus", "scale"]].to_numpy().tolist() == [
        [row["stimulus"], row["scale"]] for row in rows
    ]


def _append_one_by_one(
    path: Path, rows: list[dict], together: multiprocessing.synchronize.Barrier
) -> None:
    for row in rows:
        together.wait(60)
        append_ratings(path, [row])


def test_two_processes_that_append_at_once_lose_nothing(
    test: ListeningTest, tmp_path: Path
) -> None:
    path = tmp_path / "ratings.csv"
    sides = [rate(test, listener, TRUTH) for listener in ("anna", "bert")]
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    writers = [
        context.Process(target=_append_one_by_one, args=(path, rows, together)) for rows in sides
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    table = read_ratings([path])
    assert len(table) == sum(map(len, sides))
    for listener, rows in zip(("anna", "bert"), sides, strict=True):
        assert table.loc[table["listener"] == listener, "stimulus"].tolist() == [
            row["stimulus"] for row in rows
        ]
    assert [other.name for other in tmp_path.iterdir()] == ["ratings.csv"]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("listener", "", "pattern"),
        ("listener", "=cmd()", "pattern"),
        ("listener", "two\nlines", "pattern"),
        ("test", "abx", "'mushra', 'fit' or 'diversity'"),
        ("version", "new", "pattern"),
        ("trial", 0, "greater than or equal to 1"),
        ("stimulus", "reference", "pattern"),
        ("scale", "fit", "mushra is rated for quality"),
        ("score", 101, "less than or equal to 100"),
        ("score", -1, "greater than or equal to 0"),
        ("score", "good", "valid integer"),
        ("score", 50.5, "valid integer"),
        ("seconds", float("nan"), "finite"),
        ("time", "yesterday", "datetime"),
        ("time", "2026-01-01T00:00:00", "timezone"),
    ],
)
def test_a_bad_rating_is_one_line_and_nothing_of_its_page_is_written(
    test: ListeningTest, tmp_path: Path, name: str, value: object, why: str
) -> None:
    path = start_ratings(tmp_path / "ratings.csv")
    rows = [row for row in rate(test, "anna", TRUTH) if row["test"] == "mushra"][:3]
    with pytest.raises(SsenvError, match=rf"\Arating: {name} = [^\n]*{why}[^\n]*\Z"):
        append_ratings(path, [*rows[:2], rows[2] | {name: value}])
    assert read_ratings([path]).empty


def test_a_bad_row_of_a_file_is_named_by_file_and_line(test: ListeningTest, tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    append_ratings(path, rate(test, "anna", TRUTH))
    lines = path.read_text().splitlines(keepends=True)
    for broken, message in (
        (
            re.sub(r",\d+,30.5,", ",101,30.5,", lines[2]),
            r"row 3: score = '101': input should be less than or equal to 100",
        ),
        (lines[2][:20] + "\n", r"row 3: needs the 10 values listener,"),
        (lines[2].rstrip() + ",more\n", r"row 3: needs the 10 values listener,"),
    ):
        path.write_text("".join([*lines[:2], broken, *lines[3:]]))
        with pytest.raises(SsenvError, match=rf"\A{re.escape(str(path))}, {message}[^\n]*\Z"):
            read_ratings([path])
        with pytest.raises(SsenvError, match="row 3"):
            append_ratings(path, rate(test, "bert", TRUTH)[:1])
    path.write_text("name,score\nanna,3\n")
    with pytest.raises(
        SsenvError,
        match=r"\A[^\n]* holds no ratings: its columns are name,score, not listener,[^\n]*\Z",
    ):
        read_ratings([path])


def test_who_has_rated_a_thing_cannot_rate_it_again_and_a_file_sent_twice_counts_once(
    test: ListeningTest, tmp_path: Path
) -> None:
    rows = rate(test, "anna", TRUTH)
    path, copy = tmp_path / "ratings.csv", tmp_path / "copy.csv"
    append_ratings(path, rows)
    with pytest.raises(SsenvError, match=r"\A[^\n]*listener anna has rated [^\n]* twice[^\n]*\Z"):
        append_ratings(path, rows[:1])
    copy.write_text(path.read_text())
    assert len(read_ratings([path, copy])) == len(rows)
    copy.write_text(copy.read_text().replace(",100,", ",99,"))
    with pytest.raises(SsenvError, match="twice"):
        read_ratings([path, copy])


def test_ratings_of_another_version_are_counted_and_left_out_and_of_an_unknown_sound_refused(
    test: ListeningTest, tmp_path: Path
) -> None:
    path, key = tmp_path / "ratings.csv", write_key(tmp_path, test)
    append_ratings(path, [*rate(test, "anna", TRUTH), *rate(tiny_test(seed=5), "bert", TRUTH)])
    collected, others = collect_ratings([path], key)
    assert set(collected["listener"]) == {"anna"}
    assert others == len(rate(tiny_test(seed=5), "bert", TRUTH))
    append_ratings(path, [rate(test, "carl", TRUTH)[0] | {"stimulus": "0" * 12}])
    with pytest.raises(
        SsenvError,
        match=r"\Alistener carl has rated 000000000000 on page [^\n]* which is not in key-[^\n]*\Z",
    ):
        collect_ratings([path], key)


def test_a_full_disk_leaves_the_ratings_as_they_were(
    test: ListeningTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ratings.csv"
    append_ratings(path, rate(test, "anna", TRUTH))
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        SsenvError, match=r"\Acannot write [^\n]*ratings.csv: No space left on device\Z"
    ):
        append_ratings(path, rate(test, "bert", TRUTH))
    assert path.read_bytes() == before
    assert [other.name for other in tmp_path.iterdir()] == ["ratings.csv"]


# What they say


def collected(test: ListeningTest, folder: Path, listeners: dict[str, list[dict]]) -> pd.DataFrame:
    path = start_ratings(folder / "ratings.csv")
    append_ratings(path, itertools.chain(*listeners.values()))
    return collect_ratings([path], write_key(folder, test))[0]


def test_the_medians_of_many_listeners_are_the_truth_and_their_intervals_hold_it(
    test: ListeningTest, tmp_path: Path
) -> None:
    table = collected(
        test, tmp_path, {f"l{i}": rate(test, f"l{i}", TRUTH, spread=8, seed=i) for i in range(16)}
    )
    verdict = analyse(table, seed=0)
    for (_, _, condition), row in verdict.summary.iterrows():
        assert row["listeners"] == 16
        assert row["low"] <= row["median"] <= row["high"]
        assert row["median"] == pytest.approx(TRUTH[condition], abs=5)
        assert row["high"] - row["low"] < 16
    mushra = (
        verdict.summary.sort_index().loc["mushra", "quality"].sort_values("median", ascending=False)
    )
    assert list(mushra.index) == sorted(mushra.index, key=lambda name: -TRUTH[name])
    found = verdict.differences
    assert (found["n"] == 16).all()
    assert (found["p_holm"] < 0.05).all()
    assert (found["difference"] > 0).all()
    assert verdict.listeners == 16
    assert verdict.rated["listeners"].eq(16).all()


def test_of_conditions_that_sound_alike_hardly_any_pair_is_told_apart(
    test: ListeningTest, tmp_path: Path
) -> None:
    alarms = 0
    for run in range(20):
        folder = tmp_path / str(run)
        alike = dict.fromkeys(TRUTH, 50) | {REFERENCE: 100}
        table = collected(
            test,
            folder,
            {f"l{i}": rate(test, f"l{i}", alike, spread=15, seed=100 * run + i) for i in range(10)},
        )
        mushra = table[(table["test"] == "mushra") & (table["condition"] != REFERENCE)]
        alarms += int((compare_conditions(mushra)["p_holm"] < 0.05).any())
    assert alarms <= 4  # 1 is expected; more than 4 have a chance of 0.3 %


def test_rating_the_reference_below_90_on_over_15_percent_excludes_from_mushra_alone(
    tmp_path: Path,
) -> None:
    test = tiny_test(classes=9, items=7)
    rows = {name: rate(test, name, TRUTH) for name in ("good", "once", "twice")}
    names = {stimulus.name: stimulus.condition for page in test.pages for stimulus in page.stimuli}
    for listener, count in (("once", 1), ("twice", 2)):
        references = [row for row in rows[listener] if names[row["stimulus"]] == REFERENCE]
        for row in references[:count]:
            row["score"] = 89
    table = collected(test, tmp_path, rows)
    screening = screen_listeners(table[table["test"] == "mushra"])
    assert screening.to_dict("index") == {
        "good": {"pages": 7, "below": 0, "kept": True},
        "once": {"pages": 7, "below": 1, "kept": True},  # 14 %
        "twice": {"pages": 7, "below": 2, "kept": False},
    }
    verdict = analyse(table, seed=0)
    assert verdict.summary.loc["mushra"]["listeners"].eq(2).all()
    assert verdict.summary.loc["fit"]["listeners"].eq(3).all()
    assert verdict.listeners == 3
    assert verdict.rated["listeners"].to_dict() == {
        ("diversity", "diversity"): 3,
        ("fit", "fit"): 3,
        ("fit", "quality"): 3,
        ("mushra", "quality"): 2,
    }


def test_90_is_not_below_90(test: ListeningTest, tmp_path: Path) -> None:
    table = collected(test, tmp_path, {"anna": rate(test, "anna", TRUTH | {REFERENCE: 90})})
    assert screen_listeners(table[table["test"] == "mushra"])["kept"].all()


def test_without_ratings_all_tables_are_empty(test: ListeningTest, tmp_path: Path) -> None:
    verdict = analyse(collected(test, tmp_path, {}), seed=0)
    assert verdict.listeners == 0
    assert verdict.rated.empty
    assert verdict.screening.empty
    assert verdict.summary.empty
    assert verdict.differences.empty


def test_one_listener_has_medians_and_an_interval_over_pages_and_no_test(
    test: ListeningTest, tmp_path: Path
) -> None:
    verdict = analyse(
        collected(test, tmp_path, {"anna": rate(test, "anna", TRUTH, spread=5)}), seed=0
    )
    assert (verdict.summary["listeners"] == 1).all()
    assert np.isfinite(verdict.summary[["median", "low", "high"]]).all(axis=None)
    assert verdict.differences["p"].isna().all()
    assert verdict.differences["p_holm"].isna().all()


def test_all_listeners_excluded_leaves_the_other_test(test: ListeningTest, tmp_path: Path) -> None:
    verdict = analyse(
        collected(test, tmp_path, {"anna": rate(test, "anna", TRUTH | {REFERENCE: 10})}), seed=0
    )
    assert not verdict.screening["kept"].any()
    assert set(verdict.summary.index.get_level_values("test")) == {"fit", "diversity"}


def test_a_single_rating_has_no_interval_and_a_page_left_out_is_no_zero(
    test: ListeningTest, tmp_path: Path
) -> None:
    rows = {name: rate(test, name, TRUTH) for name in ("anna", "bert")}
    rows["bert"] = [row for row in rows["bert"] if row["page"] != "mushra-1"]
    table = collected(test, tmp_path, rows)
    mushra = table[table["test"] == "mushra"]
    both = summarise(mushra, seed=0)
    assert both["ratings"].eq(3).all()
    assert (
        both["low"].tolist()
        == both["high"].tolist()
        == both["median"].tolist()
        == [TRUTH[name] for name in both.index]
    )
    alone = summarise(mushra[(mushra["listener"] == "bert")], seed=0)
    assert alone[["low", "high"]].isna().all(axis=None)


def test_an_interval_over_listeners_is_wider_than_one_that_takes_their_ratings_for_independent(
    tmp_path: Path,
) -> None:
    test = tiny_test(classes=9, items=7)
    rows = {
        f"l{i}": rate(test, f"l{i}", TRUTH | {"codec 6 kbps": 40 + 5 * i}) for i in range(8)
    }  # each is sure, and they disagree
    table = collected(test, tmp_path, rows)
    mushra = table[table["test"] == "mushra"]
    low, high = summarise(mushra, seed=0).loc["codec 6 kbps", ["low", "high"]]
    scores = mushra.loc[mushra["condition"] == "codec 6 kbps", "score"].to_numpy()
    rng = np.random.default_rng(0)
    independent = np.quantile(
        [np.median(rng.choice(scores, len(scores))) for _ in range(2000)], (0.025, 0.975)
    )
    assert high - low >= 2 * (independent[1] - independent[0])


def test_six_listeners_who_agree_reach_the_least_p_there_is_and_equal_scores_are_no_difference(
    test: ListeningTest, tmp_path: Path
) -> None:
    table = collected(
        test,
        tmp_path,
        {f"l{i}": rate(test, f"l{i}", TRUTH | {"generated": 50 + i}) for i in range(6)},
    )
    fit = table[(table["test"] == "fit") & (table["scale"] == "fit")]
    (row,) = compare_conditions(fit).to_dict("records")
    assert (row["first"], row["second"], row["n"]) == ("real", "generated", 6)
    assert row["p"] == row["p_holm"] == pytest.approx(2 / 2**6)
    (row,) = compare_conditions(fit.assign(score=50)).to_dict("records")
    assert (row["difference"], row["p"]) == (0, 1)


def test_listeners_who_hear_no_difference_leave_the_test_of_the_others_exact(
    test: ListeningTest, tmp_path: Path
) -> None:
    table = collected(
        test,
        tmp_path,
        {f"l{i}": rate(test, f"l{i}", TRUTH | {"generated": 50 + i}) for i in range(14)},
    )
    fit = table[(table["test"] == "fit") & (table["scale"] == "fit")]
    nine = fit["listener"].isin([f"l{i}" for i in range(9)])
    (row,) = compare_conditions(fit.assign(score=fit["score"].where(~nine, 50))).to_dict("records")
    assert (row["n"], row["p"]) == (14, pytest.approx(2 / 2**5))


@pytest.mark.parametrize("tests", [1, 3, 6, 10, 21, 66])
def test_one_listener_fewer_than_the_least_could_not_tell_anything_apart(tests: int) -> None:
    least = least_listeners(tests)
    agreed = [wilcoxon(np.arange(1.0, n + 1)).pvalue for n in (least - 1, least)]
    smallest = [holm(np.array([p, *np.ones(tests - 1)]))[0] for p in agreed]
    assert smallest[1] < 0.05 <= smallest[0]


def test_the_figure_has_every_median_and_interval_on_the_whole_scale(
    test: ListeningTest, tmp_path: Path
) -> None:
    verdict = analyse(
        collected(
            test,
            tmp_path,
            {f"l{i}": rate(test, f"l{i}", TRUTH, spread=8, seed=i) for i in range(4)},
        ),
        seed=0,
    )
    figure = rating_intervals(verdict.summary)
    drawn = [
        (condition, median, median - minus, median + plus)
        for trace in figure.data
        for condition, median, minus, plus in zip(
            trace.y, trace.x, trace.error_x.arrayminus, trace.error_x.array, strict=True
        )
    ]
    expected = [
        (key[2], *row)
        for key, row in zip(
            verdict.summary.index,
            verdict.summary[["median", "low", "high"]].to_numpy(),
            strict=True,
        )
    ]
    assert [one[0] for one in drawn] == [one[0] for one in expected]
    np.testing.assert_allclose([one[1:] for one in drawn], [one[1:] for one in expected])
    low, high = figure.layout.xaxis.range
    assert low <= 0
    assert high >= 100
