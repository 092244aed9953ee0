"""Widgets that ipywidgets lacks: named slider, envelope drawing, time span, switch player.

Each works by pointer and by keyboard, and needs a live front end; browser/ holds their JavaScript.
"""

from pathlib import Path

import anywidget
import traitlets

BROWSER = Path(__file__).parent / "browser"


class Slider(anywidget.AnyWidget):
    """A number in steps between two bounds."""

    _esm = BROWSER / "slider.js"
    value = traitlets.Float().tag(sync=True)
    min = traitlets.Float(0.0).tag(sync=True)
    max = traitlets.Float(100.0).tag(sync=True)
    step = traitlets.Float(1.0).tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)
    """Its name."""
    width = traitlets.Unicode("26em").tag(sync=True)
    name_width = traitlets.Unicode("11em").tag(sync=True)
    """CSS lengths, of the whole and of the name."""


class EnvelopeDrawing(anywidget.AnyWidget):
    """A loudness over time, to be drawn. Arrow keys move along it and change it."""

    _esm = BROWSER / "envelope.js"
    levels = traitlets.List(traitlets.Float(), default_value=[-30.0] * 40).tag(sync=True)
    """dB re full scale, from -80 to 0, evenly spaced over the clip."""
    duration = traitlets.Float(5.0).tag(sync=True)
    """Seconds of the clip, for the scale alone."""


class SpanPicker(anywidget.AnyWidget):
    """A spectrogram on which to drag a time span; two number fields do the same."""

    _esm = BROWSER / "span.js"
    picture = traitlets.Unicode().tag(sync=True)
    """A URL."""
    name = traitlets.Unicode().tag(sync=True)
    """Of the sound, for its labels."""
    duration = traitlets.Float(5.0).tag(sync=True)
    """Seconds."""
    span = traitlets.List(traitlets.Float(), default_value=[0.0, 0.0]).tag(sync=True)
    """From and to, seconds."""


class SwitchPlayer(anywidget.AnyWidget):
    """Plays one of several sounds in a loop: a key switches to each, space stops and starts."""

    _esm = BROWSER / "switch.js"
    sounds = traitlets.List(default_value=[]).tag(sync=True)
    """Dictionaries of key (one lower-case letter), name and url, of sounds of equal length; any
    change in them stops what plays."""
