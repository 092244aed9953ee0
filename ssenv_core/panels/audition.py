"""The panel to make sounds in and to work on them: a form, a card for each take, and a comparison by ear. Without a front end a table.

What it does is `audition`'s. Takes are made in a thread of their own, so that the kernel goes on to hear the Stop button.
"""

import base64
import html
import io
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ipywidgets
import numpy as np
import soundfile
from IPython.display import HTML

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import live_front_end
from ssenv_core.panels.abx import AbxPanel
from ssenv_core.panels.clips import (
    AuditionClip,
    embedded,
    player,
    spectrogram_picture,
    spectrogram_url,
    waveform_picture,
)
from ssenv_core.panels.session import AuditionSession, Envelope, Stopped, Take, Watch
from ssenv_core.panels.widgets import EnvelopeDrawing, Slider, SpanPicker
from ssenv_core.plots.spectrograms import colour_top, mel_levels

WIDTH, HEIGHT = 320, 96  # px of a picture
NAMED = 3  # classes with their probabilities on a card
NOTHING, PLANNED, DRAWN = "none", "of a training clip, with its onsets", "drawn here"
WIDE = {"style": {"description_width": "11em"}, "layout": {"width": "26em"}}


def audition_panel(
    session: AuditionSession,
    takes: Sequence[Take],
    clips: Sequence[AuditionClip],
    folder: Path,
    settings: Mapping[str, Any],
    seed: int,
) -> ipywidgets.Widget | HTML:
    """Takes to listen to, and, live, the means to make more.

    Live: the panel, which begins with these takes. Headless: a table of them, whose players link to the files in `folder`, relative to the
    notebooks/ folder beside it, which is where a study keeps its executed notebooks.

    Args:
        takes: to begin with, kept in `folder` already.
        clips: recordings and what the codec makes of them: envelopes to take, and sounds to compare with.
        folder: where takes that are kept go.
        settings: of the decoding to begin with, as `Sampling.of` takes them.
        seed: the first one.
    """
    if live_front_end():
        return AuditionPanel(session, takes, clips, folder, settings, seed).box
    return HTML(_table(session, takes, folder))


def _table(session: AuditionSession, takes: Sequence[Take], folder: Path) -> str:
    rows = []
    for take in takes:
        file = quote(os.path.relpath(folder / f"{take.name}.wav", folder.parent / "notebooks"))
        recipe = f'<a href="{file.removesuffix(".wav")}.json">recipe</a>'
        about = "<br>".join([_about(take), *_likeliest(take)])
        cells = (
            about,
            _pictures(take, session.codec.sample_rate),
            f"{player(file, take.name)} {recipe}",
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    heads = "".join(f"<th>{head}</th>" for head in ("take", "waveform, spectrogram", "listen"))
    return f"<table><tr>{heads}</tr>{''.join(rows)}</table>"


def _about(take: Take) -> str:
    """The class, the seed and where it came from, in words."""
    recipe = take.recipe
    words = f"<b>{html.escape(recipe['class'].replace('_', ' '))}</b>, seed {recipe['seed']}, {recipe['duration']:g} s"
    for made, what in (
        ("vary", "a variation of"),
        ("inpaint", "made anew in part:"),
        ("continue", "goes on from"),
    ):
        if made in recipe:
            parent = recipe["parent"]
            words += f"<br>{what} {html.escape(parent['class'].replace('_', ' '))}, seed {parent['seed']}"
    return words


def _likeliest(take: Take) -> list[str]:
    """What the judge takes it for, if there is one, a line for each of the first classes."""
    words = [
        f"{html.escape(name.replace('_', ' '))} {share:.0%}"
        for name, share in list((take.probabilities or {}).items())[:NAMED]
    ]
    return [f"taken for {words[0]}", *(f"or {others}" for others in words[1:])] if words else []


def _levels(wav: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    levels = mel_levels(wav, sample_rate, columns=WIDTH, bands=HEIGHT)[0]
    return levels, colour_top([levels])


def _pictures(take: Take, sample_rate: int) -> str:
    drawn = waveform_picture(take.wav, take.name, WIDTH, HEIGHT)
    return f"{drawn}<br>{spectrogram_picture(*_levels(take.wav, sample_rate), take.name, WIDTH, HEIGHT)}"


class AuditionPanel:
    """The live form.

    Attributes:
        box: the widget on show.
        cards: of the takes on show, newest first, by their names.
        worker: the thread that makes a take, or the last that did.
    """

    def __init__(
        self,
        session: AuditionSession,
        takes: Sequence[Take],
        clips: Sequence[AuditionClip],
        folder: Path,
        settings: Mapping[str, Any],
        seed: int,
    ) -> None:
        self.session, self.folder, self.settings = session, folder, dict(settings)
        self.clips = {clip.name: clip for clip in clips}
        self.worker: threading.Thread | None = None
        self._stop = threading.Event()
        self.form = self._form(seed)
        self.drawing = EnvelopeDrawing()
        self.generate = ipywidgets.Button(
            description="Generate",
            button_style="primary",
            tooltip="make a take; the seed goes on by one",
        )
        self.stop = ipywidgets.Button(
            description="Stop", disabled=True, tooltip="make no more of it"
        )
        self.progress = ipywidgets.FloatProgress(max=1, description="Progress:")
        self.message = ipywidgets.HTML()
        self.share = Slider(
            value=0.3, min=0.05, max=1, step=0.05, description="More like this: share"
        )
        self.seconds = Slider(value=2, min=0.5, max=10, step=0.5, description="Extend: seconds")
        self.generate.on_click(lambda _: self._generate())
        self.stop.on_click(lambda _: self._stop.set())
        self.abx = AbxPanel(
            session.codec.sample_rate, {name: clip.wav for name, clip in self.clips.items()}
        )
        self.cards: dict[str, ipywidgets.Widget] = {}
        self._list = ipywidgets.VBox()
        drawn = ipywidgets.VBox(
            [ipywidgets.HTML("Loudness: drag, or use the arrow keys"), self.drawing]
        )
        self.form["envelope"].observe(
            lambda change: self._show_drawing(drawn, change["new"]), names="value"
        )
        self.form["envelope"].observe(
            lambda change: change["new"] == PLANNED and self.form["onsets"].set_trait("value", ""),
            names="value",
        )
        self.form["onsets"].observe(
            lambda change: change["new"].strip() and self._unplan(), names="value"
        )
        self.form["duration"].observe(
            lambda change: setattr(self.drawing, "duration", change["new"]), names="value"
        )
        self.drawing.duration = self.form["duration"].value
        self._show_drawing(drawn, self.form["envelope"].value)
        left = ipywidgets.VBox(
            [self.form[name] for name in ("class", "seed", "duration", "onsets", "envelope")]
        )
        right = ipywidgets.VBox(
            [self.form[name] for name in ("steps", "temperature", "guidance")]
            + [self.share, self.seconds]
        )
        buttons = ipywidgets.HBox([self.generate, self.stop, self.progress])
        self.box = ipywidgets.VBox(
            [ipywidgets.HBox([left, right]), drawn, buttons, self.message, self._list, self.abx.box]
        )
        for take in takes:
            self._add(take)

    def _form(self, seed: int) -> dict[str, ipywidgets.Widget]:
        """The controls, by what they ask for."""
        told, names = self.settings, self.session.generator.class_names
        steps, temperature = told["steps"], told["temperature"]
        asked = self.session.takes_controls
        envelopes = [
            *([PLANNED] if self.session.has_plans else []),
            NOTHING,
            *([DRAWN, *self.clips] if asked else []),
        ]
        begun = PLANNED if self.session.has_plans and told.get("plan", True) else NOTHING
        first = temperature if isinstance(temperature, int | float) else temperature[0]
        options = [(name.replace("_", " "), name) for name in names]
        length = self.session.generator.format.duration
        return {
            "class": ipywidgets.Dropdown(options=options, description="Class", **WIDE),
            "seed": ipywidgets.BoundedIntText(
                seed, min=0, max=2**31 - 1, description="Seed", **WIDE
            ),
            "duration": Slider(
                value=length, min=0.1, max=4 * length, step=0.1, description="Duration (s)"
            ),
            "onsets": ipywidgets.Text(
                placeholder="any: 0.5, 1.2", description="Onsets (s)", **WIDE, disabled=not asked
            ),
            "envelope": ipywidgets.Dropdown(
                options=envelopes, value=begun, description="Envelope", **WIDE
            ),
            "steps": Slider(value=steps[0], min=1, max=64, description="Steps, first level"),
            "temperature": Slider(
                value=first,
                max=2,
                step=0.05,
                description="Temperature" if first is temperature else "Temperature, first level",
            ),
            "guidance": Slider(value=told["guidance"], max=8, step=0.25, description="Guidance"),
        }

    def _unplan(self) -> None:
        """Onsets are asked for: a training clip's are not."""
        if self.form["envelope"].value == PLANNED:
            self.form["envelope"].value = NOTHING

    def _show_drawing(self, drawn: ipywidgets.Widget, envelope: str) -> None:
        drawn.layout.display = "" if envelope == DRAWN else "none"

    def _asked(self) -> dict[str, Any]:
        """The settings with what the form says of them."""
        steps, temperature = self.settings["steps"], self.form["temperature"].value
        if not isinstance(self.settings["temperature"], int | float):
            temperature = (
                temperature,
                *self.settings["temperature"][1:],
            )  # as of the steps, the first level's
        told = {"steps": (round(self.form["steps"].value), *steps[1:]), "temperature": temperature}
        return {**self.settings, **told, "guidance": self.form["guidance"].value}

    def _onsets(self) -> list[float] | None:
        text = self.form["onsets"].value.strip()
        try:
            return [float(part) for part in text.split(",")] if text else None
        except ValueError:
            raise SsenvError(
                f"Onsets are seconds with commas between them, such as 0.5, 1.2, not {text!r}."
            ) from None

    def _envelope(self) -> Envelope | None:
        chosen = self.form["envelope"].value
        return (
            None
            if chosen in (NOTHING, PLANNED)
            else list(self.drawing.levels)
            if chosen == DRAWN
            else self.clips[chosen].path
        )

    def _generate(self) -> None:
        try:
            asked = {
                "settings": self._asked(),
                "onsets": self._onsets(),
                "envelope": self._envelope(),
            }
            asked["plan"] = self.form["envelope"].value == PLANNED
        except SsenvError as error:
            return self._say(str(error))
        name, asked["duration"] = self.form["class"].value, self.form["duration"].value
        self._make(lambda seed, watch: self.session.generate(name, seed=seed, watch=watch, **asked))

    def _make(self, make: Callable[[int, Watch], Take]) -> None:
        """Have a take made in the background, with the seed of the form, which goes on by one."""
        if not self.stop.disabled:
            return self._say("One take at a time: stop this one first.")
        self._stop.clear()
        self.generate.disabled, self.stop.disabled = True, False
        self.progress.value = 0
        self._say("")
        seed = self.form["seed"].value
        self.worker = threading.Thread(target=self._work, args=(make, seed), daemon=True)
        self.worker.start()

    def _work(self, make: Callable[[int, Watch], Take], seed: int) -> None:
        try:
            self._add(make(seed, self._watch))
            if self.form["seed"].value == seed:  # and none was typed meanwhile
                self.form["seed"].value = seed + 1
        except Stopped:
            self._say("Stopped: there is no take of it.")
        except SsenvError as error:
            self._say(str(error))
        except Exception as error:  # nobody else would hear of it in this thread
            self._say(f"This went wrong: {type(error).__name__}: {error}")
        finally:
            self.generate.disabled, self.stop.disabled = False, True

    def _watch(self, share: float) -> None:
        if self._stop.is_set():
            raise Stopped
        self.progress.value = share

    def _add(self, take: Take) -> None:
        """A card for a take, before the others; one of a take that is there already takes its place."""
        self.cards = {take.name: self._card(take)} | {
            name: card for name, card in self.cards.items() if name != take.name
        }
        self.abx.offer(
            take.name,
            take.wav,
            next(
                (name for name, clip in self.clips.items() if clip.label == take.recipe["class"]),
                None,
            ),
        )
        self._list.children = list(self.cards.values())

    def _reject(self, take: Take) -> None:
        self.cards.pop(take.name)
        self.abx.withdraw(take.name)
        self._list.children = list(self.cards.values())

    def _keep(self, take: Take) -> None:
        try:
            self._say(f"Kept: {self.session.keep(take, self.folder)}, and its recipe beside it.")
        except SsenvError as error:
            self._say(str(error))

    def _card(self, take: Take) -> ipywidgets.Widget:
        rate, name = self.session.codec.sample_rate, take.name
        sound = player(embedded(take.wav, rate), name)
        about = ipywidgets.HTML(
            "<br>".join([_about(take), *_likeliest(take), sound, _downloads(take, rate)]),
            layout={"width": "320px"},
        )
        waveform = ipywidgets.HTML(
            waveform_picture(take.wav, name, WIDTH, HEIGHT // 2), layout={"margin": "0"}
        )
        picker = SpanPicker(
            picture=spectrogram_url(*_levels(take.wav, rate)),
            name=name,
            duration=take.recipe["duration"],
        )
        acts: dict[str, Callable[[], None]] = {
            "Keep": lambda: self._keep(take),
            "Reject": lambda: self._reject(take),
            "More like this": lambda: self._make(
                lambda seed, watch: self.session.vary(
                    take, self.share.value, seed=seed, watch=watch
                )
            ),
            "Extend": lambda: self._make(
                lambda seed, watch: self.session.extend(
                    take, self.seconds.value, seed=seed, watch=watch
                )
            ),
            "Make part anew": lambda: self._inpaint(take, *picker.span),
        }
        buttons = []
        for words, act in acts.items():
            button = ipywidgets.Button(
                description=words, tooltip=f"{words}: {name}", layout={"width": "11em"}
            )
            button.on_click(lambda _, act=act: act())
            buttons.append(button)
        border = {
            "border_top": "1px solid #8A8A8A",
            "padding": "6px 0",
            "grid_gap": "12px",
            "flex_flow": "row wrap",
        }
        return ipywidgets.HBox(
            [about, ipywidgets.VBox([waveform, picker]), ipywidgets.VBox(buttons)], layout=border
        )

    def _inpaint(self, take: Take, start: float, stop: float) -> None:
        if not stop > start:
            return self._say(
                "Drag over the spectrogram first, to say which part is to be made anew."
            )
        self._make(
            lambda seed, watch: self.session.inpaint(take, start, stop, seed=seed, watch=watch)
        )

    def _say(self, text: str) -> None:
        self.message.value = f"<p>{html.escape(text)}</p>" if text else ""


def _downloads(take: Take, sample_rate: int) -> str:
    """Links that save the sound as wav and its recipe as json, without the kernel."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(take.wav, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
    files = (
        ("wav", "audio/wav", file.getvalue()),
        ("json", "application/json", json.dumps(take.recipe, indent=2).encode()),
    )
    name, line = html.escape(take.name), 'style="text-decoration: underline"'
    links = (
        f'<a {line} download="{name}.{kind}" href="data:{mime};base64,{base64.b64encode(data).decode()}">download {kind}</a>'
        for kind, mime, data in files
    )
    return " · ".join(links)
