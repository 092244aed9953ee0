"""The rating panel: blind, complete pages only, ratings saved per page; static: a table."""

import re
from pathlib import Path

import ipywidgets
import pytest
from IPython.display import HTML
from tiny.listening import rate, tiny_test
from tiny.pages import Page

from ssenv_core.evaluation.listening.design import REFERENCE, SCALES, listener_pages
from ssenv_core.evaluation.listening.hosting import write_page
from ssenv_core.evaluation.listening.ratings import append_ratings, read_ratings, start_ratings
from ssenv_core.panels.listening import ListeningPanel, listening_panel

TEST = tiny_test()
TRUTH = dict.fromkeys(
    (
        REFERENCE,
        "codec 6 kbps",
        "mid anchor 7 kHz",
        "codec 1.5 kbps",
        "low anchor 3.5 kHz",
        "real",
        "generated",
    ),
    70,
)


@pytest.fixture
def ratings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JPY_SESSION_NAME", "1")
    return start_ratings(tmp_path / "ratings.csv")


def begun(ratings: Path, listener: str = "anna") -> ListeningPanel:
    panel = ListeningPanel(TEST, ratings)
    panel.name.value = listener
    panel.forward.click()
    return panel


def text(panel: ListeningPanel) -> str:
    found, boxes = [], [panel.box]
    while boxes:
        widget = boxes.pop()
        boxes += getattr(widget, "children", ())
        found.append(widget.value if isinstance(widget, ipywidgets.HTML) else "")
    return " ".join(found)


def move_all(panel: ListeningPanel, score: int) -> None:
    for slider in panel.sliders.values():
        slider.value = score


def test_headless_every_page_is_in_a_table_whose_players_find_the_hosted_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    study = tmp_path / "outputs" / "demo"
    folder = write_page(study / "listening" / "test", TEST)
    shown = listening_panel(TEST, folder / "audio", study / "listening" / "ratings.csv")
    assert isinstance(shown, HTML)
    elements = Page(shown.data).elements
    kept = {
        "table": set(),
        "tr": set(),
        "th": set(),
        "td": set(),
        "audio": {"src", "title", "controls", "preload"},
    }
    assert all(set(attributes) <= kept[tag] for tag, attributes in elements)
    players = [attributes for tag, attributes in elements if tag == "audio"]
    sounds = sum(
        len(stimulus.wavs)
        for page in TEST.pages
        for stimulus in (page.reference, *page.stimuli)
        if stimulus
    )
    assert len(players) == sounds
    assert all((study / "notebooks" / player["src"]).resolve().is_file() for player in players)
    assert all(
        re.fullmatch(r"play (reference|[A-L]) of (mushra|fit|diversity)-\d", player["title"])
        for player in players
    )
    assert not any(condition in shown.data for condition in ("codec", "anchor", "generated"))


def test_live_a_whole_test_is_in_the_file_page_by_page_and_says_nothing_of_conditions(
    ratings: Path,
) -> None:
    panel = begun(ratings)
    expected = 0
    for page in [TEST.training, *listener_pages(TEST, "anna")]:
        assert page.question.split("“")[0] in text(panel)
        assert len(panel.sliders) == len(page.stimuli) * len(SCALES[page.test])
        assert not any(condition in text(panel) for condition in ("codec", "anchor", "generated"))
        assert all(slider.description for slider in panel.sliders.values())
        move_all(panel, 70)
        panel.forward.click()
        expected += 0 if page is TEST.training else len(page.stimuli) * len(SCALES[page.test])
        assert len(read_ratings([ratings])) == expected
    assert "Thank you" in text(panel)
    table = read_ratings([ratings])
    wanted = [{**row, "time": 0, "seconds": 0} for row in rate(TEST, "anna", TRUTH)]
    got = table.assign(time=0, seconds=0).to_dict("records")
    assert sorted(got, key=lambda row: (row["trial"], row["stimulus"], row["scale"])) == sorted(
        wanted, key=lambda row: (row["trial"], row["stimulus"], row["scale"])
    )


def test_live_a_page_is_not_left_before_every_slider_was_moved(ratings: Path) -> None:
    panel = begun(ratings)
    move_all(panel, 70)
    panel.forward.click()
    first, *others = panel.sliders.values()
    for slider in others:
        slider.value = 10
    panel.forward.click()
    assert panel.message.value == f"<p>Still to rate: {first.description}.</p>"
    assert read_ratings([ratings]).empty
    first.value = 10
    panel.forward.click()
    assert len(read_ratings([ratings])) == 1 + len(others)
    assert panel.message.value == ""


def test_live_who_comes_back_goes_on_with_the_pages_that_are_left(ratings: Path) -> None:
    pages = listener_pages(TEST, "anna")
    append_ratings(ratings, [row for row in rate(TEST, "anna", TRUTH) if row["trial"] <= 2])
    panel = begun(ratings)
    assert {name for name, _ in panel.sliders} == {stimulus.name for stimulus in pages[2].stimuli}
    assert f"Page 3 of {len(pages)}" in text(panel)
    append_ratings(ratings, [row for row in rate(TEST, "anna", TRUTH) if row["trial"] > 2])
    assert "Thank you" in text(begun(ratings))
    assert "Practice page" in text(begun(ratings, "bert"))


@pytest.mark.parametrize("name", ["", " ", "<b>anna</b>", "a" * 33, "=anna"])
def test_live_a_name_that_no_row_could_hold_is_asked_for_again(ratings: Path, name: str) -> None:
    panel = begun(ratings, name)
    assert (
        panel.message.value
        == "<p>A name is 1 to 32 letters, digits, dots, hyphens or underscores.</p>"
    )
    assert not panel.sliders


def test_live_a_file_that_cannot_be_written_is_said_and_the_page_stays(ratings: Path) -> None:
    panel = begun(ratings)
    move_all(panel, 70)
    panel.forward.click()
    ratings.write_text("something else\n")
    move_all(panel, 70)
    panel.forward.click()
    assert "holds no ratings" in panel.message.value
    assert "Page 1 of" in text(panel)
