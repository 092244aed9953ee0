"""Panels to listen with: ipywidgets where a live front end is attached, the same table as plain HTML where none is.

A clip is never loudness-normalised. Static pages link to the audio files, live ones carry the sound of the clips on show.
"""

import base64
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ipywidgets
import numpy as np
import soundfile
from IPython.display import HTML
from PIL import Image
from plotly.colors import sample_colorscale, unlabel_rgb

from ssenv_core.plots import COLOURS, DB_RANGE, colour_top, extremes, mel_levels
from ssenv_core.progress import live_front_end

ALL = "all classes"
WIDTH, HEIGHT = 160, 48  # px of a thumbnail


class AuditionClip(NamedTuple):
    """One row of an audition: a class, a name, the sound (S,) float in [-1, 1], and the file that holds it."""

    label: str
    name: str
    wav: np.ndarray
    path: Path


def audition_table(clips: Sequence[AuditionClip], sample_rate: int) -> ipywidgets.Widget | HTML:
    """Clips to look at and listen to: class, name, waveform, spectrogram (all on one colour scale), player.

    Live: a panel that shows one class at a time, chosen from a menu. Headless: a table of all clips whose players link to the files,
    relative to the notebooks/ folder beside their own, which is where a study keeps its executed notebooks.

    Raises:
        ValueError: there is no clip.
    """
    if not clips:
        raise ValueError("an audition needs at least one clip")
    levels = [mel_levels(clip.wav, sample_rate, columns=WIDTH, bands=HEIGHT)[0] for clip in clips]
    top = colour_top(levels)
    pictures = [
        _waveform_svg(clip.wav, clip.name) + _spectrogram_png(level, top, clip.name) for clip, level in zip(clips, levels, strict=True)
    ]
    if not live_front_end():
        links = [os.path.relpath(clip.path, clip.path.parent.parent / "notebooks") for clip in clips]
        return HTML(_table(clips, pictures, links))
    labels = list(dict.fromkeys(clip.label for clip in clips))
    menu = ipywidgets.Dropdown(options=[*labels, ALL] if len(labels) > 1 else labels, description="Class:")
    table = ipywidgets.HTML()

    def show(change: dict) -> None:
        shown = [i for i, clip in enumerate(clips) if change["new"] in (clip.label, ALL)]
        sounds = [_embedded(clips[i].wav, sample_rate) for i in shown]
        table.value = _table([clips[i] for i in shown], [pictures[i] for i in shown], sounds)

    menu.observe(show, names="value")
    show({"new": menu.value})
    return ipywidgets.VBox([menu, table])


def _table(clips: Sequence[AuditionClip], pictures: Sequence[str], sources: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(clip.label.replace('_', ' '))}</td><td>{html.escape(clip.name)}</td><td>{picture}</td>"
        f'<td><audio controls preload="metadata" src="{html.escape(source)}" aria-label="play {html.escape(clip.name)}"></audio></td></tr>'
        for clip, picture, source in zip(clips, pictures, sources, strict=True)
    )
    return f"<table><tr><th>class</th><th>clip</th><th>waveform, spectrogram</th><th>listen</th></tr>{rows}</table>"


def _waveform_svg(wav: np.ndarray, name: str) -> str:
    """The envelope of a clip on the scale from -1 to 1."""
    low, high = (np.clip(side, -1, 1) for side in extremes(wav, WIDTH))
    middle = HEIGHT / 2
    lines = "".join(f"M{x} {middle * (1 - b):.1f}V{middle * (1 - a) + 0.5:.1f}" for x, (a, b) in enumerate(zip(low, high, strict=True)))
    label = f'role="img" aria-label="waveform of {html.escape(name)}"'
    return f'<svg width="{WIDTH}" height="{HEIGHT}" {label}><path d="{lines}" stroke="{COLOURS["real"]}"/></svg> '


def _spectrogram_png(levels: np.ndarray, top: int, name: str) -> str:
    """Log-mel levels (bands, T) in dB as a small picture, low frequencies at the bottom."""
    palette = np.array([unlabel_rgb(colour) for colour in sample_colorscale("Magma", np.linspace(0, 1, 256))], np.uint8)
    index = np.clip((levels - (top - DB_RANGE)) / DB_RANGE * 255, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(palette[index[::-1]]).quantize(64).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img width="{WIDTH}" height="{HEIGHT}" alt="spectrogram of {html.escape(name)}" src="data:image/png;base64,{data}">'


def _embedded(wav: np.ndarray, sample_rate: int) -> str:
    file = io.BytesIO()
    soundfile.write(file, np.clip(wav, -1, 1), sample_rate, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"
