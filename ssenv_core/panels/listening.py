"""A listening test in a notebook: a panel for rating, or, without a live front end, a table.

It is as blind as the hosted page, with the same order of pages and sounds for every listener.
Ratings are added to a CSV file page by page.
"""

import html
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import ipywidgets
from IPython.display import HTML

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import live_front_end
from ssenv_core.evaluation.listening.design import (
    LETTERS,
    SCALES,
    WORDS,
    ListeningTest,
    Page,
    Stimulus,
    listener_order,
    listener_pages,
)
from ssenv_core.evaluation.listening.ratings import LISTENER, append_ratings, read_ratings
from ssenv_core.panels.clips import embedded
from ssenv_core.panels.widgets import Slider

START = 50  # initial value of a slider


def listening_panel(test: ListeningTest, audio: Path, ratings: Path) -> ipywidgets.Widget | HTML:
    """Show a test, to be taken.

    With a live front end: a panel that asks for a name, then shows page after page and adds each
    finished one to the file `ratings`. A listener who has rated some pages goes on with the others.
    Without: a blind table of the pages, in the order of the file names. Its players link to the
    files in `audio`, relative to the study's notebooks/ folder with the executed notebooks.
    """
    return ListeningPanel(test, ratings).box if live_front_end() else HTML(_table(test, audio))


def _table(test: ListeningTest, audio: Path) -> str:
    base = audio.parents[2] / "notebooks"  # of outputs/<study>/listening/test/audio

    def players(stimulus: Stimulus, name: str) -> str:
        sources = [quote(os.path.relpath(audio / file, base)) for file in stimulus.files]
        return " ".join(
            f'<audio controls preload="none" src="{source}" title="play {name}"></audio>'
            for source in sources
        )

    rows = []
    for page in test.pages:
        named = [("reference", page.reference)] if page.reference else []
        named += zip(LETTERS, page.stimuli, strict=False)
        for i, (letter, stimulus) in enumerate(named):
            about = (
                f"<td>{page.name}</td><td>{html.escape(page.question)}</td>"
                if i == 0
                else "<td></td><td></td>"
            )
            rows.append(
                f"<tr>{about}<td>{letter}</td>"
                f"<td>{players(stimulus, f'{letter} of {page.name}')}</td></tr>"
            )
    head = "<tr><th>page</th><th>question</th><th>sound</th><th>listen</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


class ListeningPanel:
    """The live panel.

    Attributes:
        box: the widget to display; its content changes from page to page.
        name: the field for the listener's name.
        sliders: those of the current page, by stimulus and scale.
        forward: the button that begins, and then goes on.
        message: what is still to be rated, or what went wrong.
    """

    def __init__(self, test: ListeningTest, ratings: Path) -> None:
        self.test, self.ratings = test, ratings
        self.name = ipywidgets.Text(
            description="Your name",
            placeholder="letters and digits",
            style={"description_width": "initial"},
        )
        self.forward = ipywidgets.Button(description="Begin", button_style="primary")
        self.forward.on_click(lambda _: self._go_on())
        self.message = ipywidgets.HTML()
        self.sliders: dict[tuple[str, str], Slider] = {}
        self._pages: list[Page] = []
        self._trial, self._moved, self._opened = 0, set(), 0.0
        words = (
            "The first page is for practice and is not counted. Set the volume there and do not "
            "change it afterwards: differences in loudness are intended. A slider counts once it "
            "has been moved. With the same name you go on where you stopped."
        )
        self.box = ipywidgets.VBox(
            [ipywidgets.HTML(f"<p>{words}</p>"), self.name, self.forward, self.message]
        )

    def _go_on(self) -> None:
        self.message.value = ""
        try:
            if not self._pages:
                self._begin()
            elif self._is_complete():
                self._keep()
                self._trial += 1
                self._show()
        except SsenvError as error:
            self._say(str(error))

    def _begin(self) -> None:
        listener = self.name.value.strip()
        if not re.fullmatch(LISTENER, listener):
            raise SsenvError("A name is 1 to 32 letters, digits, dots, hyphens or underscores.")
        rated = read_ratings([self.ratings])
        done = set(
            rated.loc[
                (rated["listener"] == listener) & (rated["version"] == self.test.version), "page"
            ]
        )
        self._listener = listener
        self._pages = [self.test.training, *listener_pages(self.test, listener)]
        left = [i for i, page in enumerate(self._pages) if i and page.name not in done]
        self._trial = min(left, default=len(self._pages)) if done else 0
        self._show()

    def _show(self) -> None:
        if self._trial == len(self._pages):
            self.box.children = [
                ipywidgets.HTML(
                    f"<p>Thank you. Your ratings are in {html.escape(str(self.ratings))}.</p>"
                )
            ]
            return
        page = self._pages[self._trial]
        title = f"Page {self._trial} of {len(self._pages) - 1}" if self._trial else "Practice page"
        words = "<br>".join(
            f"{scale}: 0 {', '.join(WORDS[scale])} 100" for scale in SCALES[page.test]
        )
        rows: list[ipywidgets.Widget] = [
            ipywidgets.HTML(f"<h3>{title}</h3><p>{html.escape(page.question)}</p><p>{words}</p>")
        ]
        if page.reference:
            rows.append(self._players("reference", page.reference))
        stimuli = {stimulus.name: stimulus for stimulus in page.stimuli}
        self.sliders, self._moved = {}, set()
        for letter, name in zip(
            LETTERS, listener_order(self.test.seed, self._listener, stimuli), strict=False
        ):
            sliders = [self._slider(name, letter, scale) for scale in SCALES[page.test]]
            row = [self._players(letter, stimuli[name]), ipywidgets.VBox(sliders)]
            rows.append(ipywidgets.HBox(row, layout={"align_items": "center"}))
        self.forward.description = "Next"
        self.box.children = [*rows, self.forward, self.message]
        self._opened = time.monotonic()

    def _players(self, letter: str, stimulus: Stimulus) -> ipywidgets.HTML:
        sounds = [embedded(wav, self.test.sample_rate) for wav in stimulus.wavs]
        style = 'style="vertical-align: middle; width: 18em"'
        audio = " ".join(
            f'<audio controls {style} src="{sound}" title="play {letter}"></audio>'
            for sound in sounds
        )
        return ipywidgets.HTML(f"<b>{letter}</b> {audio}")

    def _slider(self, name: str, letter: str, scale: str) -> Slider:
        slider = Slider(
            value=START, description=f"{scale} of {letter}", width="36em", name_width="8em"
        )
        slider.observe(lambda _: self._moved.add((name, scale)), names="value")
        self.sliders[name, scale] = slider
        return slider

    def _is_complete(self) -> bool:
        left = [
            slider.description for key, slider in self.sliders.items() if key not in self._moved
        ]
        if left:
            self._say(f"Still to rate: {', '.join(left)}.")
        return not left

    def _keep(self) -> None:
        if not self._trial:
            return
        page = self._pages[self._trial]
        about = {
            "listener": self._listener,
            "test": page.test,
            "version": self.test.version,
            "page": page.name,
            "trial": self._trial,
        }
        about |= {
            "seconds": round(time.monotonic() - self._opened, 1),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        scores = [
            {"stimulus": name, "scale": scale, "score": round(slider.value)}
            for (name, scale), slider in self.sliders.items()
        ]
        append_ratings(self.ratings, [about | score for score in scores])

    def _say(self, text: str) -> None:
        self.message.value = f"<p>{html.escape(text)}</p>"
