"""How a clip comes about, to be looked at and listened to: the mask after every iteration of a decoding, and the sound of what is decided.

Live a slider goes through the iterations; headless there is a table of some of them. All is read from what a recorded decoding left.
"""

from collections.abc import Sequence
from pathlib import Path

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import torch
from IPython.display import HTML
from scipy.ndimage import uniform_filter1d

from ssenv_core.base.progress import live_front_end, track
from ssenv_core.codecs.protocol import Codec
from ssenv_core.generator.generation import decode_clip
from ssenv_core.metrics.diversity import evenly
from ssenv_core.panels.clips import (
    AuditionClip,
    audition_table,
    embedded,
    player,
    spectrogram_picture,
)
from ssenv_core.panels.widgets import Slider
from ssenv_core.plots.masks import mask_stages, stage_name
from ssenv_core.plots.spectrograms import colour_top, mel_levels
from ssenv_core.soundstorm.decoding import Iteration

STAGES = 6  # that stand for all where there is no slider
WIDTH, HEIGHT = 640, 120  # px of a spectrogram
LEFT, RIGHT = 80, 165  # px beside the mask, which is as wide


def stages(trace: Sequence[Iteration]) -> list[int]:
    """The places in a trace of at most STAGES iterations, the first and the last among them."""
    return evenly(len(trace), min(STAGES, len(trace))).tolist()


def sounds_so_far(
    codec: Codec, trace: Sequence[Iteration], *, seed: int, item: int = 0
) -> list[np.ndarray]:
    """What one item sounds like after each iteration: of every frame the levels decided until then, silence where none is.

    A masked token takes no part: the codec needs some code there, and gets that of the nearest decided frame, but what it makes of it is
    faded out, over one frame, to the sound of the levels below, or to silence at the first. `seed` is of what the codec draws.

    Returns:
        For each iteration (S,) float32 at the codec's rate.
    """
    return [
        _sound(codec, iteration, item, seed)
        for iteration in track(trace, len(trace), "decode", "iteration")
    ]


def _sound(codec: Codec, iteration: Iteration, item: int, seed: int) -> np.ndarray:
    codes, decided, level = (
        iteration.codes[item],
        ~iteration.masked[item].cpu().numpy(),
        iteration.level,
    )
    frames, hop = np.arange(len(decided)), round(codec.sample_rate / codec.frame_rate)
    below = (
        decode_clip(codec, codes[:level], seed=seed, index=item)
        if level
        else np.zeros(len(frames) * hop, np.float32)
    )
    known = np.flatnonzero(decided)
    if not len(known):
        return below
    whole, nearest = codes[: level + 1].clone(), known[np.abs(frames[:, None] - known).argmin(1)]
    whole[level] = whole[level, torch.from_numpy(nearest).to(whole.device)]
    share = uniform_filter1d(decided.repeat(hop).astype(np.float32), hop, mode="nearest")
    return share * decode_clip(codec, whole, seed=seed, index=item) + (1 - share) * below


def mask_explorer(
    trace: Sequence[Iteration],
    wavs: Sequence[np.ndarray],
    paths: Sequence[Path],
    class_name: str,
    *,
    sample_rate: int,
    frame_rate: float,
    item: int = 0,
) -> ipywidgets.Widget | HTML:
    """The iterations of a decoding, with what can be heard after each.

    Live: a slider, by pointer or arrow keys, through all of them, with the mask, the spectrogram and a player that starts as it moves.
    Headless: a table of `stages`, whose players link to the files as those of `audition_table` do.

    Args:
        wavs: of `sounds_so_far`.
        paths: the files that hold them, in their order.
        class_name: that the item was to be of.
    """
    names = [stage_name(trace, at) for at in range(len(trace))]
    if not live_front_end():
        clips = [AuditionClip(class_name, names[at], wavs[at], paths[at]) for at in stages(trace)]
        return audition_table(clips, sample_rate)
    levels = [mel_levels(wav, sample_rate, columns=WIDTH, bands=HEIGHT)[0] for wav in wavs]
    top = colour_top(levels)
    figure = go.FigureWidget(mask_stages(trace, frame_rate, [0], item))
    figure.update_layout(width=LEFT + WIDTH + RIGHT, margin={"l": LEFT, "r": RIGHT})
    figure.update_yaxes(automargin=False)
    slider = Slider(
        value=1,
        min=1,
        max=len(trace),
        description="Iteration (arrow keys move it)",
        width="48em",
        name_width="auto",
    )
    sound = ipywidgets.HTML()

    def show(at: int, play: bool) -> None:
        stage = mask_stages(trace, frame_rate, [at], item)
        with figure.batch_update():
            figure.data[0].update(z=stage.data[0].z, text=stage.data[0].text)
            figure.layout.annotations[0].text = names[at]
        heard = player(embedded(wavs[at], sample_rate), names[at], autoplay=play)
        picture = spectrogram_picture(levels[at], top, names[at], WIDTH, HEIGHT)
        sound.value = f'<div style="margin-left: {LEFT}px">{picture}<br>{heard}</div>'

    slider.observe(lambda change: show(round(change["new"]) - 1, play=True), names="value")
    show(0, play=False)
    return ipywidgets.VBox([slider, figure, sound])
