"""What 07 says of its test and its ratings is what they hold."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny.listening import CODECS, RATE, rate, recordings, tiny_test

from ssenv_core.evaluation.listening.analysis import Verdict, analyse
from ssenv_core.evaluation.listening.design import (
    REFERENCE,
    Coded,
    ListeningTest,
    choose_recordings,
    make_test,
)
from ssenv_core.evaluation.listening.findings import (
    differences_finding,
    listeners_finding,
    preparation_finding,
    ratings_finding,
)
from ssenv_core.evaluation.listening.hosting import write_key
from ssenv_core.evaluation.listening.preparation import CodedItems
from ssenv_core.evaluation.listening.ratings import append_ratings, collect_ratings, start_ratings
from ssenv_core.plots.finding import Number

TEST = tiny_test()
TRUTH = dict.fromkeys(
    (REFERENCE, *CODECS, "mid anchor 7 kHz", "low anchor 3.5 kHz", "real", "generated"), 60
)
TRUTH |= {REFERENCE: 100, "real": 90}


def verdict(folder: Path, listeners: dict[str, dict], test: ListeningTest = TEST) -> Verdict:
    """The verdict on listeners who give conditions these scores."""
    path = start_ratings(folder / "ratings.csv")
    rows = [rate(test, name, scores) for name, scores in listeners.items()]
    append_ratings(path, itertools.chain(*rows))
    return analyse(collect_ratings([path], write_key(folder, test))[0], seed=0)


def test_what_listeners_will_rate_is_counted() -> None:
    real = recordings("real", 4, 3, 1)
    loud = [real[0]._replace(wav=np.full_like(real[0].wav, 2)), *real[1:]]
    choice = choose_recordings(
        loud, recordings("made", 4, 3, 2), mushra_items=3, fit_classes=2, fit_clips=1, seed=0
    )
    items = [choice.training, *choice.items]
    loudest = sum(abs(item.wav).max() > 1 for item in items)
    coded = Coded("a hash", {item.name: 0.1 * item.wav for item in items})
    test = make_test(choice, {"codec": coded}, RATE, 0)
    finding = preparation_finding(test, choice, CodedItems({"codec": coded}, {"dac": "No file."}))
    missing, counts = finding.sentence.split("\n")
    assert missing == "Left out: dac. No file."
    assert f"5 pages with 16 stimuli to rate, version {test.version}: " in counts
    assert "3 clips through 1 codec, 2 classes with 2 generated clips." in counts
    clipped = sum(abs(wav).max() > 1 for wav in test.sounds().values())
    assert clipped >= loudest
    assert f"{clipped} of {len(test.sounds())} sounds exceed full scale" in counts
    assert finding.numbers == {"pages": Number(5), "sounds": Number(len(test.sounds()))}


def test_without_ratings_one_sentence_says_so_and_empty_tables_are_written(tmp_path: Path) -> None:
    empty = verdict(tmp_path, {})
    shown = (listeners_finding(empty, 0), ratings_finding(empty), differences_finding(empty))
    assert shown[0].sentence == "Nobody has rated anything yet, so the test has no result."
    assert shown[0].numbers == {"listeners": Number(0)}
    assert all(finding.figure is finding.table is None for finding in shown)
    assert [[*finding.tables] for finding in shown] == [
        ["listening_screening"],
        ["listening_summary"],
        ["listening_differences"],
    ]


def test_ratings_of_other_versions_are_counted(tmp_path: Path) -> None:
    rated = verdict(tmp_path, {"anna": TRUTH})
    assert listeners_finding(rated, 1).sentence.startswith("1 rating of other versions of this te")
    assert "2 ratings of other versions of this test are" in listeners_finding(rated, 2).sentence
    assert "version" not in listeners_finding(rated, 0).sentence


def test_excluded_listeners_are_named(tmp_path: Path) -> None:
    rated = verdict(tmp_path, {"anna": TRUTH, "bert": TRUTH | {REFERENCE: 10}})
    finding = listeners_finding(rated, 0)
    assert finding.sentence.startswith(
        "2 listeners; 1 of the 2 in mushra excluded (bert) for rating"
    )
    assert finding.table is rated.screening
    assert finding.numbers == {"listeners": Number(2)}
    kept = replace(rated, screening=rated.screening.drop("bert"), listeners=1)
    sentence = listeners_finding(kept, 0).sentence
    assert sentence == "1 listener; 0 of the 1 in mushra excluded."


def test_listeners_without_mushra_are_not_screened(tmp_path: Path) -> None:
    rated = verdict(tmp_path, {"anna": TRUTH})
    rated = replace(rated, screening=rated.screening.iloc[:0])
    assert listeners_finding(rated, 0).sentence == "1 listener; nobody has rated mushra."


def test_every_median_is_a_number_that_is_neither_better_nor_worse(tmp_path: Path) -> None:
    rated = verdict(tmp_path, {"anna": TRUTH})
    finding = ratings_finding(rated)
    assert finding.name == "ratings"
    assert len(finding.numbers) == len(rated.summary)
    assert finding.numbers[f"mushra quality: {REFERENCE}"] == Number(100)
    assert finding.numbers["fit quality: generated"] == Number(60)
    assert finding.tables["listening_summary"] is rated.summary


@pytest.mark.parametrize(
    ("listeners", "generated", "end"),
    [
        (1, 60, ": too few listeners to test 1 difference, which takes 6."),
        (6, 60, ": 1 of 1 difference between conditions with p < 0.05 after Holm."),
        (6, 90, ": 0 of 1 difference between conditions with p < 0.05 after Holm."),
    ],
)
def test_differences_are_significant_if_enough_listeners_hear_them(
    tmp_path: Path, listeners: int, generated: int, end: str
) -> None:
    scores = TRUTH | {"generated": generated}
    rated = verdict(tmp_path, {f"l{i}": scores for i in range(listeners)})
    finding = differences_finding(rated)
    (line,) = (line for line in finding.sentence.split("\n") if line.startswith("fit, fit "))
    raters = "1 listener" if listeners == 1 else f"{listeners} listeners"
    assert line == f"fit, fit ({raters}, 2 pages){end}"
    assert len(finding.sentence.split("\n")) == 4
    assert finding.tables["listening_differences"] is rated.differences
