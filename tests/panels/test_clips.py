"""The audition table: complete without a front end, a panel with one."""

import io
import re
from base64 import b64decode
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import ipywidgets
import numpy as np
import pytest
import soundfile
from IPython.display import HTML
from tiny.pages import Page

from ssenv_core.panels.clips import (
    ALL,
    LIVE_SECONDS,
    AuditionClip,
    audition_table,
    versions,
    write_and_audition,
)


@pytest.fixture
def clips(tmp_path: Path) -> list[AuditionClip]:
    noise = np.random.default_rng(0).standard_normal((3, 8000)).astype(np.float32) * 0.1
    names = [("dog", "dog_1"), ("dog", "dog_2"), ("rain", "rain & <wind>")]
    return [
        AuditionClip(label, name, wav, tmp_path / "generated" / f"{i}.wav")
        for i, ((label, name), wav) in enumerate(zip(names, noise, strict=True))
    ]


@pytest.fixture(params=["JPY_SESSION_NAME", "VSCODE_PID"])
def live(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(request.param, "1")


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)


def players(page: str) -> list[tuple[str, str]]:
    return [
        (audio["src"], audio["title"]) for audio in Page(page).all("audio") if "controls" in audio
    ]


def panel(
    clips: list[AuditionClip],
) -> tuple[ipywidgets.Button, ipywidgets.Dropdown, ipywidgets.Button, ipywidgets.HTML]:
    controls, table = audition_table(clips, 16_000).children
    return *controls.children, table


@pytest.mark.usefixtures("headless")
def test_headless_every_clip_has_a_labelled_player_that_links_from_the_notebooks_folder(
    clips: list[AuditionClip],
) -> None:
    shown = audition_table(clips, 16_000)
    assert isinstance(shown, HTML)
    assert players(shown.data)[:2] == [
        ("../generated/0.wav", "play dog_1"),
        ("../generated/1.wav", "play dog_2"),
    ]
    assert [image["alt"] for image in Page(shown.data).all("img")][:2] == [
        "waveform of dog_1",
        "spectrogram of dog_1",
    ]


@pytest.mark.usefixtures("headless")
def test_headless_nothing_is_used_that_jupyterlab_strips_from_a_notebook_it_does_not_trust(
    clips: list[AuditionClip],
) -> None:
    kept = {
        "table": set(),
        "tr": set(),
        "th": set(),
        "td": set(),
        "img": {"src", "alt", "width", "height", "style"},
        "audio": {"src", "title", "controls", "preload"},
    }
    for tag, attributes in Page(audition_table(clips, 16_000).data).elements:
        assert set(attributes) <= kept[tag]


@pytest.mark.usefixtures("headless")
def test_a_waveform_is_drawn_at_its_own_level(clips: list[AuditionClip]) -> None:
    square = np.tile(np.float32([0.5, -0.5]), 4000)
    heights = []
    for wav in (square, square / 4):
        source = Page(audition_table([clips[0]._replace(wav=wav)], 16_000).data).all("img")[0][
            "src"
        ]
        svg = ElementTree.fromstring(unquote(source.removeprefix("data:image/svg+xml,")))
        top, bottom = map(float, re.match(r"M0 ([\d.]+)V([\d.]+)", svg[0].get("d")).groups())
        heights.append(bottom - top - 0.5)
    assert heights == [24, 6]


@pytest.mark.usefixtures("headless")
def test_a_link_names_its_file_whatever_the_characters(clips: list[AuditionClip]) -> None:
    path = clips[0].path.with_name("50 % rain #1 & <wind>.wav")
    ((source, _),) = players(audition_table([clips[0]._replace(path=path)], 16_000).data)
    assert unquote(source) == f"../generated/{path.name}"
    assert not set("#&<> ") & set(source)


@pytest.mark.usefixtures("headless")
def test_names_cannot_break_the_page(clips: list[AuditionClip]) -> None:
    assert "<wind>" not in audition_table(clips, 16_000).data


@pytest.mark.usefixtures("live")
def test_live_the_menu_chooses_which_clips_are_on_show_with_their_sound(
    clips: list[AuditionClip],
) -> None:
    _, menu, _, table = panel(clips)
    assert isinstance(menu, ipywidgets.Dropdown)
    assert menu.description
    assert len(players(table.value)) == 2
    menu.value = "rain"
    ((source, label),) = players(table.value)
    assert source.startswith("data:audio/flac;base64,")
    assert label.startswith("play rain")
    menu.value = ALL
    assert len(players(table.value)) == 3


@pytest.mark.usefixtures("live")
def test_live_the_buttons_step_through_the_menu_and_around_its_ends(
    clips: list[AuditionClip],
) -> None:
    previous, menu, following, table = panel(clips)
    seen = []
    for button in (following, following, following, previous):
        button.click()
        seen.append((menu.value, len(players(table.value))))
    assert seen == [("rain", 1), (ALL, 3), ("dog", 2), (ALL, 3)]
    assert all(button.description and button.tooltip for button in (previous, following))


@pytest.mark.usefixtures("live")
def test_live_a_clip_sounds_as_loud_as_it_is(clips: list[AuditionClip]) -> None:
    *_, table = panel([clips[0]])
    ((source, _),) = players(table.value)
    wav, rate = soundfile.read(
        io.BytesIO(b64decode(source.removeprefix("data:audio/flac;base64,")))
    )
    assert rate == 16_000
    np.testing.assert_allclose(wav, clips[0].wav, atol=2**-15)


@pytest.mark.usefixtures("live")
def test_live_more_sound_than_a_page_bears_is_offered_class_by_class_only(
    clips: list[AuditionClip],
) -> None:
    long = [clip._replace(wav=np.zeros(16_000 * LIVE_SECONDS // 2, np.float32)) for clip in clips]
    _, menu, *_ = panel(long)
    assert list(menu.options) == ["dog", "rain"]


@pytest.mark.usefixtures("headless")
def test_a_silent_clip_is_shown_like_any_other(clips: list[AuditionClip]) -> None:
    silent = clips[0]._replace(wav=np.zeros(8000, np.float32))
    assert len(players(audition_table([silent], 16_000).data)) == 1


def test_an_audition_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one clip"):
        audition_table([], 16_000)


@pytest.mark.usefixtures("headless")
def test_written_clips_are_the_files_that_the_players_link_to(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 8000)).astype(np.float32)
    rows = {"vacuum cleaner": {"real": noise[0], "melrvq 6 kbps": noise[1]}}
    shown = write_and_audition(tmp_path / "start", versions(rows), 16_000)
    files = ["vacuum_cleaner_real.wav", "vacuum_cleaner_melrvq_6_kbps.wav"]
    assert players(shown.data) == [
        (f"../start/{files[0]}", "play vacuum cleaner, real"),
        (f"../start/{files[1]}", "play vacuum cleaner, melrvq 6 kbps"),
    ]
    for file, wav in zip(files, noise, strict=True):
        read, rate = soundfile.read(tmp_path / "start" / file)
        assert rate == 16_000
        np.testing.assert_allclose(read, wav, atol=2**-15)


@pytest.mark.usefixtures("headless")
def test_a_clip_without_a_stem_has_a_file_of_its_name(tmp_path: Path) -> None:
    shown = write_and_audition(tmp_path / "start", [("dog", "dog_1", np.zeros(8000))], 16_000)
    assert players(shown.data) == [("../start/dog_1.wav", "play dog_1")]
    assert (tmp_path / "start" / "dog_1.wav").exists()


def test_two_clips_never_share_a_file(tmp_path: Path) -> None:
    clips = [("dog", "a", np.zeros(8000)), ("cat", "b", np.zeros(8000), "a")]
    with pytest.raises(ValueError, match="same file"):
        write_and_audition(tmp_path, clips, 16_000)
    assert list(tmp_path.iterdir()) == []
