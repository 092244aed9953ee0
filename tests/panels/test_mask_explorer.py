"""The mask explorer shows the recorded masks and plays decided codes only; static: a table."""

from pathlib import Path

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from IPython.display import HTML
from tiny.generator import SETTINGS, tiny_session
from tiny.pages import Page

from ssenv_core.base.audio import write_folder
from ssenv_core.generator.canvas import Canvas
from ssenv_core.generator.generation import decode_clip
from ssenv_core.panels.mask_explorer import mask_explorer, sounds_so_far
from ssenv_core.panels.session import AuditionSession
from ssenv_core.plots.masks import mask_stages, stage_name, stages
from ssenv_core.plots.pictures import save_figure
from ssenv_core.soundstorm.decoding import Iteration, decode
from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.sampling import Sampling

RATE, FRAME, FRAMES = 24_000, 320, 30
STEPS = (6, 2)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> AuditionSession:
    return tiny_session(tmp_path_factory.mktemp("session"), judged=False)


@pytest.fixture(scope="module")
def trace(session: AuditionSession) -> list[Iteration]:
    blank = Canvas.blank(session.generator, 1, 0.4)
    sampling = Sampling.of({**SETTINGS, "steps": STEPS})
    label = torch.tensor([1])
    return decode(
        session.generator.model,
        Inputs(blank.codes, label),
        blank.given,
        sampling,
        seeds=[3],
        record=True,
    ).trace


@pytest.fixture(scope="module")
def wavs(session: AuditionSession, trace: list[Iteration]) -> list[np.ndarray]:
    return sounds_so_far(session.codec, trace, seed=0)


@pytest.fixture
def paths(wavs: list[np.ndarray], tmp_path: Path) -> list[Path]:
    return write_folder(
        tmp_path / "outputs" / "demo" / "iterations",
        ((str(i), wav) for i, wav in enumerate(wavs)),
        RATE,
    )


def explorer(trace, wavs, paths) -> ipywidgets.Widget | HTML:
    return mask_explorer(trace, wavs, paths, "rain", sample_rate=RATE, frame_rate=75.0)


def test_stages_begin_and_end_with_the_decoding_and_are_no_more_than_its_iterations(
    trace: list[Iteration],
) -> None:
    assert stages(trace) == [0, 1, 2, 4, 5, 7]
    assert stages(trace[:3]) == [0, 1, 2]
    assert [stage_name(trace, at) for at in (0, 5, 7)] == [
        "iteration 1: level 1, 1 of 6",
        "iteration 6: level 1, 6 of 6",
        "iteration 8: level 2, 2 of 2",
    ]


def test_the_mask_closes_as_recorded_and_what_is_new_is_marked(trace: list[Iteration]) -> None:
    figure = mask_stages(trace, 75.0, range(len(trace)))
    before = np.zeros((2, FRAMES), bool)
    for iteration, drawn in zip(trace, figure.data, strict=True):
        decided = before.copy()
        decided[iteration.level] = ~iteration.masked[0].numpy()
        np.testing.assert_array_equal(
            drawn.z, np.where(decided & ~before, 2, np.where(decided, 1, 0))
        )
        before = decided
    assert before.all()
    assert set(figure.data[-1].text.ravel()) == {"decided before", "decided now"}


def test_the_figure_has_a_picture(trace: list[Iteration], tmp_path: Path) -> None:
    png, _ = save_figure(mask_stages(trace, 75.0, stages(trace)), tmp_path / "stages")
    assert png.read_bytes().startswith(b"\x89PNG")


def test_frames_without_a_decided_token_are_silent_and_the_last_sound_is_that_of_the_codes(
    session, trace, wavs
) -> None:
    masked = trace[0].masked[0].numpy()
    away = np.array(
        [masked[max(0, i - 1) : i + 2].all() for i in range(FRAMES)]
    )  # from any frame that is decided
    assert away.any()
    assert not away.all()
    heard = np.square(wavs[0]).reshape(FRAMES, FRAME).max(1)
    assert not heard[away].any()
    assert heard[~masked].all()
    np.testing.assert_array_equal(
        wavs[-1], decode_clip(session.codec, trace[-1].codes[0], seed=0, index=0)
    )


def test_what_is_heard_does_not_depend_on_codes_that_are_masked(session, trace, wavs) -> None:
    one = trace[6]
    assert one.masked.any()
    assert not one.masked.all()
    codes = one.codes.clone()
    codes[:, one.level].masked_fill_(one.masked, 7)
    (heard,) = sounds_so_far(session.codec, [one._replace(codes=codes)], seed=0)
    np.testing.assert_array_equal(heard, wavs[6])


def test_an_iteration_that_decides_nothing_sounds_like_the_levels_below(
    session, trace, wavs
) -> None:
    nothing = torch.ones_like(trace[0].masked)
    silent, coarse = sounds_so_far(
        session.codec,
        [trace[0]._replace(masked=nothing), trace[6]._replace(masked=nothing)],
        seed=0,
    )
    assert not silent.any()
    np.testing.assert_array_equal(coarse, wavs[5])


def test_headless_the_stages_are_a_table_whose_players_find_their_files(
    trace, wavs, paths, monkeypatch
) -> None:
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    shown = explorer(trace, wavs, paths)
    assert isinstance(shown, HTML)
    links = [one["src"] for one in Page(shown.data).all("audio")]
    notebooks = paths[0].parent.parent / "notebooks"
    assert [(notebooks / link).resolve() for link in links] == [
        paths[at].resolve() for at in stages(trace)
    ]


def test_live_the_slider_moves_mask_sound_and_words_and_only_then_the_sound_starts(
    trace, wavs, paths, monkeypatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "1")
    slider, figure, sound = explorer(trace, wavs, paths).children
    assert isinstance(figure, go.FigureWidget)
    (audio,) = Page(sound.value).all("audio")
    assert "autoplay" not in audio
    assert (slider.min, slider.max) == (1, len(trace))
    assert slider.description
    for value in (len(trace), 2):
        slider.value = value
        np.testing.assert_array_equal(
            figure.data[0].z, mask_stages(trace, 75.0, [value - 1]).data[0].z
        )
        assert figure.layout.annotations[0].text == stage_name(trace, value - 1)
        (audio,) = Page(sound.value).all("audio")
        assert "autoplay" in audio
        assert stage_name(trace, value - 1) in audio["title"]
