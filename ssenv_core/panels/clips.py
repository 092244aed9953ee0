"""Tables of clips to listen to: ipywidgets with a live front end, the same table as HTML without.

Loudness is never normalised. Static pages link to the audio files; live ones embed the sound of
the clips on show. The HTML has no script, style or svg element and no aria attribute: JupyterLab
would remove them from a notebook that it does not trust, such as an executed copy.
"""

import base64
import html
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import ipywidgets
import numpy as np
import soundfile
from IPython.display import HTML
from PIL import Image
from plotly.colors import sample_colorscale, unlabel_rgb

from ssenv_core.base.audio import write_audio
from ssenv_core.base.progress import live_front_end
from ssenv_core.plots.spectrograms import DB_RANGE, colour_top, extremes, mel_levels
from ssenv_core.plots.style import COLOURS

ALL = "all classes"
WIDTH, HEIGHT = 160, 48  # px of a thumbnail
LIVE_SECONDS = 120  # the most sound in a live page at once: about 5 MB


class AuditionClip(NamedTuple):
    """A row of the table: class, name, sound (S,) float in [-1, 1], and the file that holds it."""

    label: str
    name: str
    wav: np.ndarray
    path: Path


class UnwrittenClip(NamedTuple):
    """An `AuditionClip` without a file yet; `stem` will be its file's name, "" for `name`."""

    label: str
    name: str
    wav: np.ndarray
    stem: str = ""


def write_and_audition(
    folder: Path, clips: Iterable[UnwrittenClip | tuple], sample_rate: int
) -> ipywidgets.Widget | HTML:
    """`write_clips`, then show them in an `audition_table`."""
    return audition_table(write_clips(folder, clips, sample_rate), sample_rate)


def write_clips(
    folder: Path, clips: Iterable[UnwrittenClip | tuple], sample_rate: int
) -> list[AuditionClip]:
    """Write clips as wav files into a folder of a study.

    Args:
        clips: also as tuples (label, name, wav) or (label, name, wav, stem).

    Raises:
        SsenvError: a file cannot be written.
        ValueError: two clips have the same file.
    """
    written = []
    for label, name, wav, stem in (UnwrittenClip(*clip) for clip in clips):
        written.append(AuditionClip(label, name, wav, folder / f"{stem or name}.wav"))
    if len({clip.path for clip in written}) < len(written):
        raise ValueError(f"two clips have the same file in {folder}")
    for clip in written:
        write_audio(clip.path, clip.wav, sample_rate)
    return written


def versions(rows: Mapping[str, Mapping[str, np.ndarray]]) -> list[UnwrittenClip]:
    """Clips for `write_and_audition`, from waveforms by class and version as in `spectrogram_grid`.

    The clip "dog, codec" has the file dog_codec.wav; spaces become underscores, too.
    """
    return [
        UnwrittenClip(label, f"{label}, {version}", wav, f"{label}_{version}".replace(" ", "_"))
        for label, row in rows.items()
        for version, wav in row.items()
    ]


def audition_table(clips: Sequence[AuditionClip], sample_rate: int) -> ipywidgets.Widget | HTML:
    """A table of clips: class, name, waveform, spectrogram (one colour scale for all), player.

    With a live front end: a panel that shows one class, or all if they are short enough, chosen
    from a menu or with the buttons beside it. Without: all clips; the players link to the files,
    relative to the notebooks/ folder beside the clips' folder, where a study keeps its executed
    notebooks.

    Raises:
        ValueError: there is no clip.
    """
    if not clips:
        raise ValueError("an audition needs at least one clip")
    levels = [mel_levels(clip.wav, sample_rate, columns=WIDTH, bands=HEIGHT)[0] for clip in clips]
    top = colour_top(levels)
    pictures = [
        waveform_picture(clip.wav, clip.name) + " " + spectrogram_picture(level, top, clip.name)
        for clip, level in zip(clips, levels, strict=True)
    ]
    if not live_front_end():
        links = [
            quote(os.path.relpath(clip.path, clip.path.parent.parent / "notebooks"))
            for clip in clips
        ]
        return HTML(_table(clips, pictures, links))
    options = list(dict.fromkeys(clip.label for clip in clips))
    if len(options) > 1 and sum(len(clip.wav) for clip in clips) <= LIVE_SECONDS * sample_rate:
        options.append(ALL)
    menu = ipywidgets.Dropdown(options=options, description="Class:")
    table = ipywidgets.HTML()

    def show(change: dict) -> None:
        shown = [i for i, clip in enumerate(clips) if change["new"] in (clip.label, ALL)]
        sounds = [embedded(clips[i].wav, sample_rate) for i in shown]
        table.value = _table([clips[i] for i in shown], [pictures[i] for i in shown], sounds)

    menu.observe(show, names="value")
    show({"new": menu.value})
    return ipywidgets.VBox(
        [ipywidgets.HBox([_step(menu, "Previous", -1), menu, _step(menu, "Next", +1)]), table]
    )


def _step(menu: ipywidgets.Dropdown, name: str, by: int) -> ipywidgets.Button:
    """A button that moves a menu by a number of entries, past its ends to the other end."""
    button = ipywidgets.Button(
        description=name, tooltip=f"{name} class", disabled=len(menu.options) == 1
    )
    button.on_click(lambda _: setattr(menu, "index", (menu.index + by) % len(menu.options)))
    return button


def _table(clips: Sequence[AuditionClip], pictures: Sequence[str], sources: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(clip.label.replace('_', ' '))}</td>"
        f"<td>{html.escape(clip.name)}</td><td>{picture}</td>"
        f"<td>{player(source, clip.name)}</td></tr>"
        for clip, picture, source in zip(clips, pictures, sources, strict=True)
    )
    titles = ("class", "clip", "waveform, spectrogram", "listen")
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f"<table><tr>{head}</tr>{rows}</table>"


def player(source: str, name: str, *, autoplay: bool = False) -> str:
    """An audio element, as HTML, that plays a URL; it starts by itself if `autoplay`."""
    start = "autoplay " if autoplay else ""
    return (
        f'<audio controls {start}preload="metadata" src="{html.escape(source)}" '
        f'title="play {html.escape(name)}"></audio>'
    )


def waveform_picture(wav: np.ndarray, name: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The envelope of a clip (S,) from -1 to 1, as an img element of `width` x `height` px."""
    low, high = (np.clip(side, -1, 1) for side in extremes(wav, width))
    middle = height / 2
    lines = "".join(
        f"M{x} {middle * (1 - b):.1f}V{middle * (1 - a) + 0.5:.1f}"
        for x, (a, b) in enumerate(zip(low, high, strict=True))
    )
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}'>"
        f"<path d='{lines}' stroke='{COLOURS['real']}'/></svg>"
    )
    return _picture("waveform", name, f"data:image/svg+xml,{quote(svg)}", width, height)


def spectrogram_picture(
    levels: np.ndarray, top: int, name: str, width: int = WIDTH, height: int = HEIGHT
) -> str:
    """Log-mel levels (bands, T) in dB as an img element of `width` x `height` px.

    The brightest colour is at `top`; low frequencies are at the bottom.
    """
    return _picture("spectrogram", name, spectrogram_url(levels, top), width, height)


def spectrogram_url(levels: np.ndarray, top: int) -> str:
    """The spectrogram as the data URL of a PNG, one pixel per level."""
    palette = np.array(
        [unlabel_rgb(colour) for colour in sample_colorscale("Magma", np.linspace(0, 1, 256))],
        np.uint8,
    )
    index = np.clip((levels - (top - DB_RANGE)) / DB_RANGE * 255, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(palette[index[::-1]]).quantize(64).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _picture(kind: str, name: str, source: str, width: int, height: int) -> str:
    size = f'width="{width}" height="{height}" style="background: #fff"'
    return f'<img {size} alt="{kind} of {html.escape(name)}" src="{source}">'


def embedded(wav: np.ndarray, sample_rate: int) -> str:
    """A sound (S,) float in [-1, 1] as the data URL of a FLAC file, for a `player`."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(wav, -1, 1), sample_rate, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"
