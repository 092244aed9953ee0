"""The mask explorer: the mask and the sound after every iteration of a recorded decoding.

With a live front end a slider goes through the iterations; without, a table shows some of them.
"""

from collections.abc import Sequence
from pathlib import Path

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import torch
from IPython.display import HTML
from scipy.ndimage import uniform_filter1d

from ssenv_core.base.audio import write_folder
from ssenv_core.base.progress import live_front_end, track
from ssenv_core.codecs.protocol import Codec
from ssenv_core.generator.generation import decode_clip
from ssenv_core.panels.clips import (
    AuditionClip,
    audition_table,
    embedded,
    player,
    spectrogram_picture,
)
from ssenv_core.panels.widgets import Slider
from ssenv_core.plots.masks import mask_stages, stage_name, stages
from ssenv_core.plots.spectrograms import colour_top, mel_levels
from ssenv_core.soundstorm.decoding import Iteration

WIDTH, HEIGHT = 640, 120  # px of a spectrogram
LEFT, RIGHT = 80, 165  # px beside the mask, which is as wide


def explore_mask(
    codec: Codec, trace: Sequence[Iteration], folder: Path, class_name: str, *, seed: int
) -> ipywidgets.Widget | HTML:
    """Decode and write the sound after each iteration, and show the `mask_explorer` of it.

    Args:
        folder: where the files iteration_1.wav and so on go.
        class_name: of the clip.
        seed: of the noise that the codec draws.
    """
    wavs = sounds_so_far(codec, trace, seed=seed)
    named = ((f"iteration_{i}", wav) for i, wav in enumerate(wavs, 1))
    paths = write_folder(folder, named, codec.sample_rate)
    rates = {"sample_rate": codec.sample_rate, "frame_rate": codec.frame_rate}
    return mask_explorer(trace, wavs, paths, class_name, **rates)


def sounds_so_far(
    codec: Codec, trace: Sequence[Iteration], *, seed: int, item: int = 0
) -> list[np.ndarray]:
    """Decode one item after each iteration: every frame has the levels decided by then.

    Frames without a decided level are silent. The codec needs some code at a masked token and gets
    that of the nearest decided frame, but its sound is faded, over one frame, to that of the levels
    below, or to silence at level 1.

    Args:
        seed: of the noise that the codec draws.

    Returns:
        One waveform (S,) float32 at the codec's rate per iteration.
    """
    return [
        _sound(codec, iteration, item, seed)
        for iteration in track(trace, len(trace), "decode", "iteration")
    ]


def _sound(codec: Codec, iteration: Iteration, item: int, seed: int) -> np.ndarray:
    codes = iteration.codes[item]
    level = iteration.level
    decided = ~iteration.masked[item].cpu().numpy()
    frames = np.arange(len(decided))
    hop = round(codec.sample_rate / codec.frame_rate)
    if level:
        below = decode_clip(codec, codes[:level], seed=seed, index=item)
    else:
        below = np.zeros(len(frames) * hop, np.float32)
    known = np.flatnonzero(decided)
    if not len(known):
        return below
    whole = codes[: level + 1].clone()
    nearest = known[np.abs(frames[:, None] - known).argmin(1)]
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
    """Show the iterations of a decoding with their sounds.

    With a live front end: a slider (pointer or arrow keys) with the mask, the spectrogram and a
    player that starts when the slider moves. Without: a table of the `stages`, whose players link
    to the files like those of `audition_table`.

    Args:
        wavs: of `sounds_so_far`.
        paths: the files that hold them, in the same order.
        class_name: of the item.
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
        playing = player(embedded(wavs[at], sample_rate), names[at], autoplay=play)
        picture = spectrogram_picture(levels[at], top, names[at], WIDTH, HEIGHT)
        sound.value = f'<div style="margin-left: {LEFT}px">{picture}<br>{playing}</div>'

    slider.observe(lambda change: show(round(change["new"]) - 1, play=True), names="value")
    show(0, play=False)
    return ipywidgets.VBox([slider, figure, sound])
