"""Takes as HTML: class, seed and origin, pictures, players and download links."""

import base64
import html
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from ssenv_core.panels.clips import player, spectrogram_picture, waveform_picture
from ssenv_core.panels.session import AuditionSession, Take
from ssenv_core.plots.spectrograms import colour_top, mel_levels

WIDTH, HEIGHT = 320, 96  # px of a picture
TOP_CLASSES = 3  # classes with their probabilities on a card


def takes_table(session: AuditionSession, takes: Sequence[Take], folder: Path) -> str:
    """A table of takes whose players link to their files in `folder`."""
    rows = []
    for take in takes:
        file = quote(os.path.relpath(folder / f"{take.name}.wav", folder.parent / "notebooks"))
        recipe = f'<a href="{file.removesuffix(".wav")}.json">recipe</a>'
        text = "<br>".join([about(take), *likeliest(take)])
        cells = (
            text,
            _pictures(take, session.codec.sample_rate),
            f"{player(file, take.name)} {recipe}",
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    heads = "".join(f"<th>{head}</th>" for head in ("take", "waveform, spectrogram", "listen"))
    return f"<table><tr>{heads}</tr>{''.join(rows)}</table>"


def about(take: Take) -> str:
    """The class and seed of a take, and the take that it was made from."""
    recipe = take.recipe
    words = f"<b>{_class_of(recipe)}</b>, seed {recipe['seed']}, {recipe['duration']:g} s"
    for made, what in (
        ("vary", "a variation of"),
        ("inpaint", "a part generated again of"),
        ("continue", "continues"),
    ):
        if made in recipe:
            parent = recipe["parent"]
            words += f"<br>{what} {_class_of(parent)}, seed {parent['seed']}"
    return words


def _class_of(recipe: dict) -> str:
    return html.escape(recipe["class"].replace("_", " "))


def likeliest(take: Take) -> list[str]:
    """The judge's most likely classes, one line each; none without a judge."""
    words = [
        f"{html.escape(name.replace('_', ' '))} {share:.0%}"
        for name, share in list((take.probabilities or {}).items())[:TOP_CLASSES]
    ]
    return [f"judge: {words[0]}", *(f"or {others}" for others in words[1:])] if words else []


def picture_levels(wav: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
    """Log-mel levels of a picture, and the level of its brightest colour."""
    levels = mel_levels(wav, sample_rate, columns=WIDTH, bands=HEIGHT)[0]
    return levels, colour_top([levels])


def _pictures(take: Take, sample_rate: int) -> str:
    drawn = waveform_picture(take.wav, take.name, WIDTH, HEIGHT)
    levels = picture_levels(take.wav, sample_rate)
    return f"{drawn}<br>{spectrogram_picture(*levels, take.name, WIDTH, HEIGHT)}"


def downloads(take: Take, sample_rate: int) -> str:
    """Links that save a take as wav and its recipe as json, without the kernel."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(take.wav, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
    files = (
        ("wav", "audio/wav", file.getvalue()),
        ("json", "application/json", json.dumps(take.recipe, indent=2).encode()),
    )
    name = html.escape(take.name)
    line = 'style="text-decoration: underline"'
    links = []
    for kind, mime, data in files:
        url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
        links.append(f'<a {line} download="{name}.{kind}" href="{url}">download {kind}</a>')
    return " · ".join(links)
