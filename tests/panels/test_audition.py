"""The audition panel: complete without a front end; live it makes, stops, keeps, changes takes."""

import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import soundfile
from IPython.display import HTML
from tiny.generator import SETTINGS, tiny_session
from tiny.pages import Page

from ssenv_core.base.audio import write_audio
from ssenv_core.panels.audition import DRAWN, NOTHING, PLANNED, AuditionPanel, audition_panel
from ssenv_core.panels.clips import AuditionClip
from ssenv_core.panels.session import AuditionSession
from ssenv_core.panels.widgets import Slider, SpanPicker

RATE = 24_000


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> AuditionSession:
    return tiny_session(tmp_path_factory.mktemp("session"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "demo" / "audition"


@pytest.fixture
def clips(tmp_path: Path) -> list[AuditionClip]:
    wav = (0.3 * np.random.default_rng(0).standard_normal(9600)).clip(-1, 1).astype(np.float32)
    return [AuditionClip("dog", "dog (real)", wav, write_audio(tmp_path / "dog.wav", wav, RATE))]


@pytest.fixture
def panel(
    session: AuditionSession,
    clips: list[AuditionClip],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[AuditionPanel]:
    monkeypatch.setenv("JPY_SESSION_NAME", "1")
    made = AuditionPanel(session, [], clips, folder, SETTINGS, 5)
    made.form["duration"].value = 0.4
    yield made
    if made.worker:
        made.worker.join()


def within(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from within(child)


def press(panel: AuditionPanel, words: str, card: int = 0) -> None:
    """A button of a card, and what it starts."""
    (button,) = [
        one
        for one in within(list(panel.cards.values())[card])
        if isinstance(one, ipywidgets.Button) and one.description == words
    ]
    button.click()
    panel.worker.join()


def made(panel: AuditionPanel, number: int = 1) -> None:
    for _ in range(number):
        panel.generate.click()
        panel.worker.join()


def test_headless_every_take_is_on_disk_and_has_a_player_pictures_probabilities_and_its_recipe(
    session, folder, monkeypatch
) -> None:
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    first = session.generate("rain", seed=1, duration=0.4, settings=SETTINGS)
    takes = [first, session.vary(first, 0.3, seed=2)]
    for take in takes:
        session.keep(take, folder)
    shown = audition_panel(session, takes, [], folder, SETTINGS, 3)
    assert isinstance(shown, HTML)
    page = Page(shown.data)
    kept = {
        "table": set(),
        "tr": set(),
        "th": set(),
        "td": set(),
        "b": set(),
        "br": set(),
        "a": {"href"},
        "img": {"src", "alt", "width", "height", "style"},
        "audio": {"src", "title", "controls", "preload"},
    }
    assert all(set(attributes) <= kept[tag] for tag, attributes in page.elements)
    linked = [one["src"] for one in page.all("audio")] + [one["href"] for one in page.all("a")]
    assert len(linked) == 4
    assert all((folder.parent / "notebooks" / link).resolve().is_file() for link in linked)
    assert len(page.all("img")) == 4
    assert shown.data.count("%<") == 6
    assert "a variation of rain, seed 1" in shown.data


@pytest.mark.usefixtures("folder")
def test_live_the_form_reaches_the_take_and_the_seed_goes_on(
    panel: AuditionPanel, folder: Path
) -> None:
    panel.form["class"].value = "sea_waves"
    panel.form["guidance"].value = 3.0
    panel.form["temperature"].value = 0.5
    panel.form["steps"].value = 4
    made(panel)
    assert panel.form["seed"].value == 6
    assert panel.progress.value == pytest.approx(1)
    press(panel, "Keep")
    (path,) = folder.glob("*.json")
    recipe = json.loads(path.read_text())
    assert {
        name: recipe[name]
        for name in ("class", "seed", "guidance", "temperature", "steps", "duration")
    } == {
        "class": "sea_waves",
        "seed": 5,
        "guidance": 3.0,
        "temperature": 0.5,
        "steps": [4, 2],
        "duration": 0.4,
    }
    assert path.with_suffix(".wav").is_file()
    assert str(path.with_suffix(".wav")) in panel.message.value


def test_live_a_take_goes_as_a_training_clip_does_unless_told_otherwise(
    panel: AuditionPanel, folder: Path
) -> None:
    made(panel)
    panel.form["onsets"].value = "0.1"
    assert panel.form["envelope"].value == NOTHING
    made(panel)
    panel.form["onsets"].value = ""
    made(panel)
    panel.form["onsets"].value, panel.form["envelope"].value = "0.1", PLANNED
    assert panel.form["onsets"].value == ""
    made(panel)
    for card in range(4):
        press(panel, "Keep", card)
    recipes = sorted(
        (json.loads(path.read_text()) for path in folder.glob("*.json")),
        key=lambda recipe: recipe["seed"],
    )
    assert [(recipe["plan"], recipe["onsets"]) for recipe in recipes] == [
        (True, None),
        (False, "0.1"),
        (False, None),
        (True, None),
    ]


def test_live_the_form_asks_of_the_first_level_where_each_has_a_temperature_of_its_own(
    panel: AuditionPanel,
) -> None:
    panel.settings = {**panel.settings, "temperature": [1.0, 0.0]}
    panel.form["temperature"].value = 0.5
    assert panel._chosen()["temperature"] == (0.5, 0.0)


def test_live_stop_ends_a_take_that_is_being_made_and_another_can_be_made_then(
    panel: AuditionPanel, monkeypatch
) -> None:
    begun, may_go_on = threading.Event(), threading.Event()
    watch = panel._watch

    def slow(share: float) -> None:
        begun.set()
        assert may_go_on.wait(10)
        watch(share)

    monkeypatch.setattr(panel, "_watch", slow)
    panel.generate.click()
    assert begun.wait(10)
    assert (panel.generate.disabled, panel.stop.disabled) == (True, False)
    panel._generate()
    assert "One take at a time" in panel.message.value
    panel.stop.click()
    may_go_on.set()
    panel.worker.join()
    assert not panel.cards
    assert "Stopped" in panel.message.value
    assert (panel.generate.disabled, panel.stop.disabled) == (False, True)
    assert panel.form["seed"].value == 5
    made(panel)
    assert len(panel.cards) == 1


def test_live_a_take_is_varied_extended_made_anew_in_part_and_rejected(
    panel: AuditionPanel,
) -> None:
    made(panel)
    press(panel, "More like this", 0)
    press(panel, "Extend", 1)
    press(panel, "Regenerate part", 2)
    assert "Drag over the spectrogram first" in panel.message.value
    (picker,) = [
        one for one in within(list(panel.cards.values())[2]) if isinstance(one, SpanPicker)
    ]
    assert picker.duration == 0.4
    picker.span = [0.1, 0.3]
    press(panel, "Regenerate part", 2)
    text = " ".join(one.value for one in within(panel.box) if isinstance(one, ipywidgets.HTML))
    assert len(panel.cards) == 4
    for words in (
        "a variation of dog, seed 5",
        "continues dog, seed 5",
        "a part generated again of dog, seed 5",
        "2.4 s",
    ):
        assert words in text
    name = next(iter(panel.cards))
    assert name in panel.abx.menus[0].options
    press(panel, "Reject", 0)
    assert name not in panel.cards
    assert name not in panel.abx.menus[0].options


def test_live_an_envelope_is_drawn_or_taken_from_a_clip(
    panel: AuditionPanel, folder: Path, clips: list[AuditionClip]
) -> None:
    panel.form["envelope"].value = DRAWN
    panel.drawing.levels = [-60.0, -10.0]
    made(panel)
    press(panel, "Keep")
    panel.form["envelope"].value = clips[0].name
    made(panel)
    press(panel, "Keep")
    envelopes = {
        json.dumps(json.loads(path.read_text())["envelope"]) for path in folder.glob("*.json")
    }
    assert envelopes == {"[-60.0, -10.0]", json.dumps(str(clips[0].path))}


def test_live_onsets_are_written_with_commas_and_anything_else_is_refused_in_one_line(
    panel: AuditionPanel, folder: Path
) -> None:
    panel.form["onsets"].value = "0.1, soon"
    panel.generate.click()
    assert panel.worker is None
    assert "not &#x27;0.1, soon&#x27;" in panel.message.value
    panel.form["onsets"].value = "0.1, 3"
    made(panel)
    assert "onsets 0.1, 3 s must lie within the 0.40 s of the clip" in panel.message.value
    panel.form["onsets"].value = "0.1,  0.3"
    made(panel)
    press(panel, "Keep")
    (path,) = folder.glob("*.json")
    assert json.loads(path.read_text())["onsets"] == "0.1,0.3"


def test_live_a_card_plays_the_sound_and_saves_it_with_its_recipe(panel: AuditionPanel) -> None:
    made(panel)
    page = Page(
        next(
            one.value
            for one in within(next(iter(panel.cards.values())))
            if isinstance(one, ipywidgets.HTML)
        )
    )
    (sound,) = page.all("audio")
    wav, rate = soundfile.read(BytesIO(b64decode(sound["src"].partition(",")[2])))
    assert (len(wav), rate) == (9600, RATE)
    saved = {
        link["download"].rpartition(".")[2]: b64decode(link["href"].partition(",")[2])
        for link in page.all("a")
    }
    np.testing.assert_allclose(soundfile.read(BytesIO(saved["wav"]))[0], wav, atol=2**-14)
    assert json.loads(saved["json"])["seed"] == 5


def test_live_what_goes_wrong_is_said_and_the_panel_goes_on(
    panel: AuditionPanel, monkeypatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of <memory>")

    with monkeypatch.context() as patched:
        patched.setattr(panel.session, "generate", broken)
        made(panel)
    assert "RuntimeError: out of &lt;memory&gt;" in panel.message.value
    assert not panel.generate.disabled
    made(panel)
    assert len(panel.cards) == 1


def test_live_every_control_is_named(panel: AuditionPanel) -> None:
    made(panel)
    controls = [
        one
        for one in within(panel.box)
        if isinstance(one, ipywidgets.ValueWidget | ipywidgets.Button | Slider)
    ]
    unnamed = [
        one for one in controls if not isinstance(one, ipywidgets.HTML) and not one.description
    ]
    assert not unnamed
    assert (
        len({one.tooltip for one in controls if isinstance(one, ipywidgets.Button) and one.tooltip})
        >= 8
    )
