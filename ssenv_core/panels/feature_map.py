"""A map of clips to listen to: click a point, and its clip plays.

Without a live front end the map does not play; it shows class, clip and prediction on hover.
"""

import html
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from IPython.display import HTML

from ssenv_core.base.audio import write_audio
from ssenv_core.base.progress import live_front_end
from ssenv_core.data.recordings import Dataset
from ssenv_core.panels.clips import AuditionClip, audition_table, embedded, player
from ssenv_core.plots.finding import Finding

PROMPT = "Click a point, or choose a clip from the menu, to play it."


def playable_map(finding: Finding, sounds: Dataset) -> tuple[Finding, ipywidgets.Widget | None]:
    """Make the points of a map play their clips.

    Args:
        finding: its figure is from `plots.classes.clip_map`: scatter traces whose `customdata`
            begins with the clip's name.
        sounds: a dataset with clips of these names.

    Returns:
        With a live front end, the finding with a figure that can be clicked, and what belongs below
        it: a menu of the clips, and a player that a click or a choice starts, at the clip's own
        sampling rate and level. Without, the finding as it is, and None.

    Raises:
        ValueError: a point's clip is not among the sounds.
    """
    clips = {clip.name: clip for clip in sounds.clips}
    classes = {
        point[0]: (trace.name, point[1])
        for trace in finding.figure.data
        for point in trace.customdata
    }
    if unknown := classes.keys() - clips.keys():
        raise ValueError(
            f"{len(unknown)} points of the map are other clips than {sounds.name}'s, "
            f"such as {min(unknown)}"
        )
    if not live_front_end():
        return finding, None
    figure = go.FigureWidget(finding.figure)
    menu = ipywidgets.Dropdown(
        options=[("", None), *((name, name) for name in sorted(classes))], description="Clip:"
    )
    sound = ipywidgets.HTML(PROMPT)

    def play(name: str) -> None:
        clip = clips[name]
        rate = clip.source.native_rate()
        true, predicted = map(html.escape, classes[name])
        caption = f"{true}, {html.escape(name)}"
        if predicted != true:
            caption += f", taken for {predicted}"
        source = embedded(sounds.read(clip, rate), rate)
        sound.value = ""  # an unchanged value would not play the same clip again
        sound.value = f"{player(source, name, autoplay=True)} {caption}"

    def choose(change: dict) -> None:
        if change["new"] is None:
            sound.value = PROMPT
        else:
            play(change["new"])

    def click(trace: go.Scatter, points: object, _: object) -> None:
        for index in points.point_inds[:1]:  # empty if the click was on another class
            name = trace.customdata[index][0]
            if menu.value == name:
                play(name)
            else:
                menu.value = name

    menu.observe(choose, names="value")
    for trace in figure.data:
        trace.on_click(click)
    return replace(finding, figure=figure), ipywidgets.HBox([menu, sound])


def confused_panel(
    folder: Path, clips: Sequence[tuple[str, str, np.ndarray, str]], sample_rate: int
) -> ipywidgets.Widget | HTML | None:
    """Write confused clips as the only wav files of a study's folder, and show them in a table.

    Args:
        folder: made if it is missing.
        clips: as `classification.findings.confused_clips` returns them.
        sample_rate: in Hz.

    Returns:
        See `audition_table`; None without clips.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.wav"):
        stale.unlink()
    rows = [
        AuditionClip(label, name, wav, write_audio(folder / f"{stem}.wav", wav, sample_rate))
        for label, name, wav, stem in clips
    ]
    return audition_table(rows, sample_rate) if rows else None
