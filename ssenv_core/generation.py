"""Generates codes with a trained SoundStorm, and waveforms from codes: batches, long clips, seeds, progress and the checks on what fits.

How tokens are sampled is `soundstorm.decoding`'s. Clip i of a call follows from (seed, i) alone, whatever is generated with it. A clip
longer than those of the training is made in windows of their length, each of which is given the second half of the one before; a hole in
it in one window around the hole, or from such windows that begin before it and end after it.
"""

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ssenv_core.audio import read_audio
from ssenv_core.checkpoints import TrainedGenerator, silent_where
from ssenv_core.codecs.base import Codec
from ssenv_core.controls import LOUDNESS, ONSET, as_asked, ask
from ssenv_core.devices import autocast, resolve_device
from ssenv_core.errors import SsenvError
from ssenv_core.progress import Progress, track
from ssenv_core.soundstorm import Iteration, Sampling, decode, keep_outside, keep_prompt, keep_random
from ssenv_core.tokens import TokenSet, require_codec
from ssenv_core.validation import derive_seed

CODES, WAVEFORM, VARIATION, PLAN = 1, 2, 3, 4  # what a derived seed is for


@dataclass(frozen=True, eq=False)
class Canvas:
    """What clips start from.

    Attributes:
        codes: (N, Q, T) int64, read where given.
        given: (N or 1, Q, T) bool, True = kept verbatim.
        controls: (N or 1, T, 2) float, what is asked of each frame (see `controls`); None asks nothing.
        silence: (N or 1, T) bool, given frames that were asked to be silent; None: there are none.
    """

    codes: torch.Tensor
    given: torch.Tensor
    controls: torch.Tensor | None = None
    silence: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def on(self, device: torch.device) -> "Canvas":
        """The same on a device, and nothing of it shared by its N clips."""
        parts = {name: part for name in ("codes", "given", "controls", "silence") if (part := getattr(self, name)) is not None}
        return Canvas(**{name: part.expand(len(self), *part.shape[1:]).to(device, copy=True) for name, part in parts.items()})

    @property
    def padding(self) -> torch.Tensor | None:
        """(N or 1, T) bool, the silence behind the last sound, which the model is not shown, as in training; None where there is none."""
        behind = None if self.silence is None else self.silence.flip(1).cumprod(1).flip(1).bool()
        return behind if behind is not None and behind.any() else None

    def asking(self, generator: TrainedGenerator, *, onsets: Sequence[float] | None = None, level: np.ndarray | None = None) -> "Canvas":
        """The same, with onsets (s) and a loudness (dB) asked for; see `controls.ask`.

        Raises:
            SsenvError: the generator was trained without controls, or they do not fit the clips.
        """
        if not generator.model.config.controls:
            raise SsenvError("this generator was trained without controls: it cannot be asked for onsets or loudness")
        asked = ask(self.codes.shape[2], generator.metadata["frame_rate"], onsets=onsets, level=level)
        return replace(self, controls=asked[None])

    def planned(self, generator: TrainedGenerator, labels: Sequence[int], seed: int) -> "Canvas":
        """The same, with each clip asked for what happens when in a training clip of its class: its loudness and its onsets.

        Which clip that is of clip i, follows from (seed, i); where it ends, another goes on.

        Raises:
            SsenvError: the generator's file holds no plans, or none of a class.
        """
        plans, n_frames = generator.plans, self.codes.shape[2]
        if plans is None:
            raise SsenvError("this generator has no plans to ask for, as one without controls or of an earlier version: ask for none")
        controls = []
        for i, label in enumerate(labels):
            own, draw = (plans.labels == label).nonzero()[:, 0], torch.Generator().manual_seed(derive_seed(seed, i, PLAN))
            if not len(own):
                name = (*generator.class_names, "no class")[label]
                raise SsenvError(f"no clip of {name} was in the training: ask for no plan")
            picked = own[torch.randint(len(own), (-(-n_frames // plans.controls.shape[1]),), generator=draw)]
            controls.append(plans.controls[picked].flatten(0, 1)[:n_frames])
        return self.told(generator, torch.stack(controls))

    def told(self, generator: TrainedGenerator, controls: torch.Tensor) -> "Canvas":
        """The same, with controls (N, T, 2) asked for. Where these are silent and the codec has codes for silence, those are given."""
        if generator.plans is None or generator.plans.silence is None:
            return replace(self, controls=controls)
        silent = silent_where(controls)
        codes = torch.where(silent[:, None] & ~self.given, generator.plans.silence[:, None], self.codes)
        return Canvas(codes, self.given | silent[:, None], controls, silent)

    @classmethod
    def blank(cls, generator: TrainedGenerator, clips: int, duration: float) -> "Canvas":
        """Nothing is given of `clips` clips of `duration` seconds; a part of a frame counts as a whole one.

        Raises:
            SsenvError: the duration is not more than 0.
        """
        codes = torch.zeros(clips, generator.model.config.n_q, frames_of(generator, duration), dtype=torch.int64)
        return cls(codes, torch.zeros_like(codes[:1], dtype=torch.bool))

    @classmethod
    def continuing(cls, generator: TrainedGenerator, codes: torch.Tensor, duration: float) -> "Canvas":
        """codes (N, Q, T), to be continued until `duration` seconds.

        Raises:
            SsenvError: they are as long already.
        """
        n_frames = frames_of(generator, duration)
        _, n_q, n_given = codes.shape
        if n_frames <= n_given:
            rate = generator.metadata["frame_rate"]
            raise SsenvError(f"the sound to continue has {n_given / rate:.2f} s: a duration of {duration:g} s leaves nothing to generate")
        return cls(torch.nn.functional.pad(codes, (0, n_frames - n_given)), keep_prompt(n_q, n_frames, n_given))

    @classmethod
    def inpainting(cls, generator: TrainedGenerator, codes: torch.Tensor, start: float, stop: float) -> "Canvas":
        """codes (N, Q, T), to be made anew from `start` to `stop` seconds.

        Raises:
            SsenvError: no frame of them lies there.
        """
        rate, (_, n_q, n_frames) = generator.metadata["frame_rate"], codes.shape
        first, last = (round(min(moment * rate, n_frames)) for moment in (start, stop)) if 0 <= start < stop else (0, 0)
        if first == last:
            raise SsenvError(f"no part of the sound's {n_frames / rate:.2f} s lies from {start:g} to {stop:g} s")
        return cls(codes, keep_outside(n_q, n_frames, first, last))

    @classmethod
    def varying(cls, codes: torch.Tensor, share: float, seed: int) -> "Canvas":
        """codes (N, Q, T), a random `share` of whose tokens is to be made anew, in every clip another.

        Raises:
            SsenvError: the share does not lie in (0, 1], or is not half a frame.
        """
        if not 0 < share <= 1:
            raise SsenvError(f"the share of a sound to vary must lie in (0, 1], not {share:g}")
        _, n_q, n_frames = codes.shape
        if round((1 - share) * n_frames) == n_frames:
            raise SsenvError(f"a share of {share:g} leaves nothing of the sound's {n_frames} frames to vary")
        draws = (torch.Generator().manual_seed(derive_seed(seed, i, VARIATION)) for i in range(len(codes)))
        return cls(codes, torch.cat([keep_random(n_q, n_frames, 1 - share, draw) for draw in draws]))


def frames_of(generator: TrainedGenerator, duration: float) -> int:
    """Frames in `duration` seconds, a part of one counted as a whole.

    Raises:
        SsenvError: the duration is not more than 0, or endless.
    """
    if not 0 < duration < math.inf:
        raise SsenvError(f"duration {duration} must be more than 0 seconds, and finite")
    return max(1, math.ceil(duration * generator.metadata["frame_rate"] - 1e-9))


def encode_file(
    generator: TrainedGenerator, codec: Codec, path: str | Path, device: str | torch.device = "cpu"
) -> tuple[torch.Tensor, float]:
    """A recording as the codes (1, Q, T) int64, on the CPU, that a generator fills in; and its seconds.

    Raises:
        SsenvError: the file cannot be read, or the codec is not the one whose tokens the generator was trained on.
    """
    require_codec(generator, codec)
    wav, rate = read_audio(path, codec.sample_rate)
    codes = codec.encode_long(torch.from_numpy(wav)[None, None].to(device))
    return codes[:, : generator.model.config.n_q].cpu(), len(wav) / rate


def generate_codes(
    generator: TrainedGenerator,
    labels: Sequence[int],
    sampling: Sampling,
    canvas: Canvas,
    *,
    seed: int,
    device: str | torch.device = "auto",
    precision: str = "auto",
    batch_size: int = 8,
    watch: Callable[[float], None] | None = None,
) -> torch.Tensor:
    """Fill in a canvas, one clip for each label.

    Args:
        labels: N classes, each in [0, num_classes]; num_classes is "no class", which training never asks for anything.
        canvas: of as many clips.
        seed: 0 or more; clip i is decoded with seeds derived from (seed, i).
        precision: auto, bf16 or fp32, which do not give the same codes.
        watch: told after every iteration which share is done, in (0, 1], in place of a bar or lines; what it raises ends it all.

    Returns:
        Codes (N, Q, T) int64 on `device`, where the model is moved.

    Raises:
        SsenvError: the steps are of another number of levels.
        ValueError: a label is out of range, or the canvas does not fit.
    """
    device, config = resolve_device(device), generator.model.config
    if not all(0 <= label <= config.null_label for label in labels):
        raise ValueError(f"labels must lie in [0, {config.null_label}]: {list(labels)}")
    if len(labels) != len(canvas):
        raise ValueError(f"{len(labels)} labels for a canvas of {len(canvas)} clips")
    model, canvas = generator.model.to(device), canvas.on(device)
    told, alike = (canvas.controls, canvas.padding), {}  # clips by the windows that they are made in
    for i, one in enumerate(canvas.given.cpu()):
        alike.setdefault(tuple(_spans(generator, one)), []).append(i)
    parts = [(spans, items) for spans, clips in alike.items() for items in torch.tensor(clips).split(batch_size)]
    done, total = 0, sum(len(spans) for spans, _ in parts)
    progress = Progress(len(labels), "generate", "clip") if watch is None else None
    with progress or nullcontext(), autocast(precision, device):
        for spans, items in parts:
            codes, fixed = canvas.codes[items], canvas.given[items]
            batch = torch.tensor([labels[i] for i in items], device=device)
            for number, (start, stop) in enumerate(spans):
                seeds = [derive_seed(seed, int(i), number, CODES) for i in items]
                asked, hidden = (None if part is None else part[items, start:stop] for part in told)
                window, kept = codes[..., start:stop], fixed[..., start:stop]
                share = watch and _part_of(watch, done, total)
                decoded = decode(model, window, kept, batch, sampling, seeds=seeds, padding=hidden, controls=asked, watch=share)
                codes[..., start:stop], fixed[..., start:stop] = decoded.codes, True
                done += 1
            canvas.codes[items] = codes
            if progress:
                progress.update(len(items))
    return canvas.codes


def record_decoding(
    generator: TrainedGenerator,
    labels: Sequence[int],
    sampling: Sampling,
    canvas: Canvas,
    *,
    seeds: Sequence[int],
    device: str | torch.device,
) -> list[Iteration]:
    """Every iteration in which a canvas of N clips is filled in, at once, however long it is, and in fp32.

    Args:
        labels: N classes, each in [0, num_classes].
        seeds: N, see `decode`.
    """
    model, canvas, batch = generator.model.to(device), canvas.on(device), torch.tensor(labels, device=device)
    told = {"seeds": seeds, "padding": canvas.padding, "controls": canvas.controls, "record": True}
    return decode(model, canvas.codes, canvas.given, batch, sampling, **told).trace


def _part_of(watch: Callable[[float], None], number: int, total: int) -> Callable[[float], None]:
    """What tells `watch` of the part `number` of `total` equal ones."""
    return lambda share: watch((number + share) / total)


def windows(first: int, last: int, n_frames: int, length: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the windows in which frames [first, last) of n_frames are filled in: one around them if they fit in half of its
    length, else windows that overlap by half, or by more for the last, from half a window before them to half a window after."""
    hop = -(-length // 2)
    around = length - hop
    if last - first <= hop:
        start = max(0, min((first + last - length) // 2, n_frames - length))
        yield start, min(start + length, n_frames)
        return
    begin, end = max(0, first - around), min(n_frames, last + around)
    for start in range(begin, max(begin + 1, end - around), hop):
        start = max(begin, min(start, end - length))
        yield start, min(start + length, end)


def _spans(generator: TrainedGenerator, given: torch.Tensor) -> list[tuple[int, int]]:
    """The windows in which a clip of which given (Q, T) is there is made; none where nothing is to be filled in."""
    free = (~given).any(dim=0).nonzero()[:, 0].tolist()
    length = frames_of(generator, generator.metadata["duration"])
    return list(windows(free[0], free[-1] + 1, given.shape[1], length)) if free else []


def joints(generator: TrainedGenerator, duration: float) -> list[float]:
    """The moments (s) of a clip of `duration` seconds at which another window begins to be filled in; none where it needs one only."""
    spans = _spans(generator, Canvas.blank(generator, 1, duration).given[0])
    return [stop / generator.metadata["frame_rate"] for _, stop in spans[:-1]]


def generate_waveforms(generator: TrainedGenerator, codec: Codec, codes: torch.Tensor, *, seed: int) -> list[np.ndarray]:
    """Codes to sound, one clip at a time; what the codec draws for clip i follows from (seed, i).

    Peaks beyond full scale are left as they are, and counted in the log: writing 16-bit files clips them.

    Args:
        codes: (N, Q, T) int64.

    Returns:
        N waveforms (S,) float32 at the codec's rate.

    Raises:
        SsenvError: the codec is not the one whose tokens the generator was trained on.
    """
    require_codec(generator, codec)
    wavs = [decode_clip(codec, clip, seed=seed, index=i) for i, clip in enumerate(track(codes, len(codes), "decode", "clip"))]
    beyond = sum(bool(np.abs(wav).max() > 1) for wav in wavs)
    if beyond:
        print(f"decode: {beyond} of {len(wavs)} clips peak beyond full scale; 16-bit files will clip them", flush=True)
    return wavs


def decode_clip(codec: Codec, codes: torch.Tensor, *, seed: int, index: int) -> np.ndarray:
    """The waveform (S,) float32 that clip `index` of a call has, from its codes (Q, T) int64, on any device; see `generate_waveforms`."""
    codes = codes.to(codec.codebooks.device)
    noise = torch.Generator(codes.device).manual_seed(derive_seed(seed, index, WAVEFORM))
    return codec.decode(codes[None], noise)[0, 0].float().cpu().numpy()


def control_scores(
    generator: TrainedGenerator,
    codec: Codec,
    tokens: TokenSet,
    sampling: Sampling,
    *,
    seed: int,
    device: str | torch.device = "auto",
    precision: str = "auto",
) -> pd.DataFrame:
    """Does a generator with controls do as asked? It is told what the clips of `tokens` do, of the same classes, or a part of it, and told
    nothing. Where they are silent, it is given silence, as by a plan, and the loudness there is not scored: that much would be had for
    nothing.

    Returns:
        Columns "asked", "loudness alone", "onsets alone" and "not asked", with the same seeds, and "recording", the clips' own codes
        decoded, which is the most that this codec lets a generator reach: the mean scores of `controls.as_asked`, one per row.

    Raises:
        SsenvError: as `generate_codes` and `generate_waveforms`.
    """
    blank, means, scored = Canvas.blank(generator, len(tokens), tokens.metadata["duration"]), {}, tokens.controls.clone()
    scored[..., LOUDNESS].masked_fill_(silent_where(scored), torch.nan)
    canvases = {}
    for name, hidden in (("asked", []), ("loudness alone", [ONSET]), ("onsets alone", [LOUDNESS])):
        controls = tokens.controls.clone()
        controls[..., hidden] = torch.nan
        canvases[name] = blank.told(generator, controls)
    for name, canvas in (canvases | {"not asked": blank, "recording": None}).items():
        codes = tokens.codes.to(resolve_device(device))
        if canvas is not None:
            codes = generate_codes(generator, tokens.labels.tolist(), sampling, canvas, seed=seed, device=device, precision=precision)
        wavs = generate_waveforms(generator, codec, codes, seed=seed)
        scores = [as_asked(asked, wav, codec.sample_rate, codec.frame_rate) for asked, wav in zip(scored, wavs, strict=True)]
        means[name] = pd.DataFrame(scores).mean()
    return pd.DataFrame(means)


def class_index(class_names: Sequence[str], name: str) -> int:
    """The label of a class.

    Raises:
        SsenvError: there is no such class; the line names the nearest ones, and all.
    """
    if name not in class_names:
        nearest = difflib.get_close_matches(name, class_names, n=3, cutoff=0)
        asked = f"no class {name!r} among the {len(class_names)} of this generator: did you mean {' or '.join(nearest)}?"
        raise SsenvError(f"{asked} There are {', '.join(class_names)}")
    return class_names.index(name)
