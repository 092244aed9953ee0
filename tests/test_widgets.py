"""The audition table: complete and self-explaining without a front end, a panel with one."""

import re
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
from IPython.display import HTML

from ssenv_core.widgets import ALL, AuditionClip, audition_table


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
    return re.findall(r'<audio controls preload="metadata" src="([^"]*)" aria-label="([^"]*)"', page)


@pytest.mark.usefixtures("headless")
def test_headless_every_clip_has_a_labelled_player_that_links_from_the_notebooks_folder(clips: list[AuditionClip]) -> None:
    shown = audition_table(clips, 16_000)
    assert isinstance(shown, HTML)
    assert players(shown.data)[:2] == [("../generated/0.wav", "play dog_1"), ("../generated/1.wav", "play dog_2")]
    assert shown.data.count("data:image/png") == shown.data.count("<svg") == len(clips)


@pytest.mark.usefixtures("headless")
def test_names_cannot_break_the_page(clips: list[AuditionClip]) -> None:
    assert "<wind>" not in audition_table(clips, 16_000).data


@pytest.mark.usefixtures("live")
def test_live_the_menu_chooses_which_clips_are_on_show_with_their_sound(clips: list[AuditionClip]) -> None:
    menu, table = audition_table(clips, 16_000).children
    assert isinstance(menu, ipywidgets.Dropdown)
    assert menu.description
    assert len(players(table.value)) == 2
    menu.value = "rain"
    ((source, label),) = players(table.value)
    assert source.startswith("data:audio/flac;base64,")
    assert label.startswith("play rain")
    menu.value = ALL
    assert len(players(table.value)) == 3


@pytest.mark.usefixtures("headless")
def test_a_silent_clip_is_shown_like_any_other(clips: list[AuditionClip]) -> None:
    silent = clips[0]._replace(wav=np.zeros(8000, np.float32))
    assert len(players(audition_table([silent], 16_000).data)) == 1


def test_an_audition_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one clip"):
        audition_table([], 16_000)
