"""The audition panel: a form, a card per take, and blind comparison; a table without a front end.

The session (session.py) makes the sounds. The panel runs it in a thread of its own, so that the
kernel still receives the Stop button.
"""

import html
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
from IPython.display import HTML

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import live_front_end
from ssenv_core.panels.abx import AbxPanel
from ssenv_core.panels.clips import (
    AuditionClip,
    embedded,
    player,
    spectrogram_url,
    waveform_picture,
)
from ssenv_core.panels.session import AuditionSession, Envelope, Stopped, Take, Watch
from ssenv_core.panels.takes import (
    HEIGHT,
    WIDTH,
    about,
    downloads,
    likeliest,
    picture_levels,
    takes_table,
)
from ssenv_core.panels.widgets import EnvelopeDrawing, Slider, SpanPicker

NOTHING, PLANNED, DRAWN = "none", "of a training clip, with its onsets", "drawn here"
CARD = {
    "border_top": "1px solid #8A8A8A",
    "padding": "6px 0",
    "grid_gap": "12px",
    "flex_flow": "row wrap",
}
WIDE = {"style": {"description_width": "11em"}, "layout": {"width": "26em"}}


def audition_panel(
    session: AuditionSession,
    takes: Sequence[Take],
    clips: Sequence[AuditionClip],
    folder: Path,
    settings: Mapping[str, Any],
    seed: int,
) -> ipywidgets.Widget | HTML:
    """Show takes and, with a live front end, the panel to make more.

    Without a front end: a table whose players link to the files in `folder`, relative to the
    notebooks/ folder beside it, where a study keeps its executed notebooks.

    Args:
        takes: the first takes, already kept in `folder`.
        clips: recordings and their coded versions: envelopes to follow, sounds to compare with.
        folder: where kept takes are written.
        settings: of the sampling at the start, as `Sampling.of` reads them.
        seed: of the next take.
    """
    if live_front_end():
        return AuditionPanel(session, takes, clips, folder, settings, seed).box
    return HTML(takes_table(session, takes, folder))


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
            tooltip="make a take; the seed increases by one",
        )
        self.stop = ipywidgets.Button(
            description="Stop", disabled=True, tooltip="stop making this take"
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
        """The form's widgets by name."""
        settings = self.settings
        names = self.session.generator.class_names
        temperature = settings["temperature"]
        controls = self.session.takes_controls
        envelopes = [
            *([PLANNED] if self.session.has_plans else []),
            NOTHING,
            *([DRAWN, *self.clips] if controls else []),
        ]
        planned = self.session.has_plans and settings.get("plan", True)
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
                placeholder="any: 0.5, 1.2", description="Onsets (s)", **WIDE, disabled=not controls
            ),
            "envelope": ipywidgets.Dropdown(
                options=envelopes,
                value=PLANNED if planned else NOTHING,
                description="Envelope",
                **WIDE,
            ),
            "steps": Slider(
                value=settings["steps"][0], min=1, max=64, description="Steps, first level"
            ),
            "temperature": Slider(
                value=first,
                max=2,
                step=0.05,
                description="Temperature" if first is temperature else "Temperature, first level",
            ),
            "guidance": Slider(
                value=settings["guidance"], max=8, step=0.25, description="Guidance"
            ),
        }

    def _unplan(self) -> None:
        """Deselect the plan, because onsets were typed."""
        if self.form["envelope"].value == PLANNED:
            self.form["envelope"].value = NOTHING

    def _show_drawing(self, drawn: ipywidgets.Widget, envelope: str) -> None:
        drawn.layout.display = "" if envelope == DRAWN else "none"

    def _chosen(self) -> dict[str, Any]:
        """The settings, with those of the form in place of theirs."""
        steps = (round(self.form["steps"].value), *self.settings["steps"][1:])
        temperature = self.form["temperature"].value
        if not isinstance(self.settings["temperature"], int | float):
            temperature = (temperature, *self.settings["temperature"][1:])
        chosen = {"temperature": temperature, "guidance": self.form["guidance"].value}
        return {**self.settings, "steps": steps, **chosen}

    def _onsets(self) -> list[float] | None:
        text = self.form["onsets"].value.strip()
        try:
            return [float(part) for part in text.split(",")] if text else None
        except ValueError:
            raise SsenvError(
                f"Onsets are seconds separated by commas, such as 0.5, 1.2, not {text!r}."
            ) from None

    def _envelope(self) -> Envelope | None:
        chosen = self.form["envelope"].value
        if chosen in (NOTHING, PLANNED):
            return None
        return list(self.drawing.levels) if chosen == DRAWN else self.clips[chosen].path

    def _generate(self) -> None:
        try:
            options = {
                "duration": self.form["duration"].value,
                "settings": self._chosen(),
                "onsets": self._onsets(),
                "envelope": self._envelope(),
                "plan": self.form["envelope"].value == PLANNED,
            }
        except SsenvError as error:
            return self._say(str(error))
        name = self.form["class"].value
        generate = partial(self.session.generate, name, **options)
        self._make(lambda seed, watch: generate(seed=seed, watch=watch))

    def _make(self, make: Callable[[int, Watch], Take]) -> None:
        """Make a take in the background with the form's seed, and increase the seed by one."""
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
            if self.form["seed"].value == seed:  # none was typed meanwhile
                self.form["seed"].value = seed + 1
        except Stopped:
            self._say("Stopped: no take was made.")
        except SsenvError as error:
            self._say(str(error))
        except Exception as error:  # in this thread nobody else would report it
            self._say(f"This went wrong: {type(error).__name__}: {error}")
        finally:
            self.generate.disabled, self.stop.disabled = False, True

    def _watch(self, share: float) -> None:
        if self._stop.is_set():
            raise Stopped
        self.progress.value = share

    def _add(self, take: Take) -> None:
        """Put a take's card first, in place of an older card of the same take."""
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
        text = ipywidgets.HTML(
            "<br>".join([about(take), *likeliest(take), sound, downloads(take, rate)]),
            layout={"width": "320px"},
        )
        waveform = ipywidgets.HTML(
            waveform_picture(take.wav, name, WIDTH, HEIGHT // 2), layout={"margin": "0"}
        )
        picker = SpanPicker(
            picture=spectrogram_url(*picture_levels(take.wav, rate)),
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
            "Regenerate part": lambda: self._inpaint(take, *picker.span),
        }
        buttons = []
        for words, act in acts.items():
            button = ipywidgets.Button(
                description=words, tooltip=f"{words}: {name}", layout={"width": "11em"}
            )
            button.on_click(lambda _, act=act: act())
            buttons.append(button)
        parts = [text, ipywidgets.VBox([waveform, picker]), ipywidgets.VBox(buttons)]
        return ipywidgets.HBox(parts, layout=CARD)

    def _inpaint(self, take: Take, start: float, stop: float) -> None:
        if not stop > start:
            return self._say("Drag over the spectrogram first, to choose the part.")
        self._make(
            lambda seed, watch: self.session.inpaint(take, start, stop, seed=seed, watch=watch)
        )

    def _say(self, text: str) -> None:
        self.message.value = f"<p>{html.escape(text)}</p>" if text else ""
