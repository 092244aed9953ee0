"""A map of clips to listen to: click a point, hear the clip. Where no live front end is attached, the map alone, with what the pointer
shows: a page without a kernel has nobody to fetch a sound.
"""

import html

import ipywidgets
import plotly.graph_objects as go

from ssenv_core.base.progress import live_front_end
from ssenv_core.data.recordings import Dataset
from ssenv_core.panels.clips import embedded, player

PROMPT = "Click a point, or choose a clip from the menu, to hear it."


def feature_map_panel(figure: go.Figure, sounds: Dataset) -> ipywidgets.Widget | go.Figure:
    """A map whose points play.

    Live: the map, a menu of its clips for those who do not point, and a player, which a click or a choice fills and starts: the clip at
    its own sampling rate and level. Headless: the figure as it was given.

    Args:
        figure: of `plots.clip_map`: scatter traces whose `customdata` begins with the clip's name.
        sounds: a dataset with clips of these names.

    Raises:
        ValueError: a point's clip is not among the sounds.
    """
    clips = {clip.name: clip for clip in sounds.clips}
    told = {point[0]: (trace.name, point[1]) for trace in figure.data for point in trace.customdata}
    if unknown := told.keys() - clips.keys():
        raise ValueError(
            f"{len(unknown)} points of the map are of other clips than {sounds.name}'s, such as {min(unknown)}"
        )
    if not live_front_end():
        return figure
    shown = go.FigureWidget(figure)
    menu = ipywidgets.Dropdown(
        options=[("", None), *((name, name) for name in sorted(told))], description="Clip:"
    )
    heard = ipywidgets.HTML(PROMPT)

    def play(name: str) -> None:
        clip = clips[name]
        rate, (true, named) = clip.source.native_rate(), map(html.escape, told[name])
        about = f"{true}, {html.escape(name)}" + ("" if named == true else f", taken for {named}")
        source = embedded(sounds.read(clip, rate), rate)
        heard.value = ""  # or the same clip, clicked again, would change nothing and not play
        heard.value = f"{player(source, name, autoplay=True)} {about}"

    def choose(change: dict) -> None:
        if change["new"] is None:
            heard.value = PROMPT
        else:
            play(change["new"])

    def click(trace: go.Scatter, points: object, _: object) -> None:
        for index in points.point_inds[:1]:  # none where the click was on another class
            name = trace.customdata[index][0]
            if menu.value == name:
                play(name)
            else:
                menu.value = name

    menu.observe(choose, names="value")
    for trace in shown.data:
        trace.on_click(click)
    return ipywidgets.VBox([shown, ipywidgets.HBox([menu, heard])])
