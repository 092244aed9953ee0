"""Codes and waveforms from a trained generator: clips of any length, continuations, inpaintings, variations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from ssenv_core.base.audio import read_audio
from ssenv_core.base.devices import autocast, resolve_device
from ssenv_core.base.progress import Progress, track
from ssenv_core.base.seeds import Purpose, derive_seed
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.tokens import require_codec
from ssenv_core.generator.canvas import Canvas, frames_of
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.soundstorm.decoding import Iteration, decode
from ssenv_core.soundstorm.sampling import Sampling


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
    told, alike = (
        (canvas.controls, canvas.padding),
        {},
    )  # clips by the windows that they are made in
    for i, one in enumerate(canvas.given.cpu()):
        alike.setdefault(tuple(_spans(generator, one)), []).append(i)
    parts = [
        (spans, items)
        for spans, clips in alike.items()
        for items in torch.tensor(clips).split(batch_size)
    ]
    done, total = 0, sum(len(spans) for spans, _ in parts)
    progress = Progress(len(labels), "generate", "clip") if watch is None else None
    with progress or nullcontext(), autocast(precision, device):
        for spans, items in parts:
            codes, fixed = canvas.codes[items], canvas.given[items]
            batch = torch.tensor([labels[i] for i in items], device=device)
            for number, (start, stop) in enumerate(spans):
                seeds = [derive_seed(seed, int(i), number, Purpose.CODES) for i in items]
                asked, hidden = (None if part is None else part[items, start:stop] for part in told)
                window, kept = codes[..., start:stop], fixed[..., start:stop]
                share = watch and _part_of(watch, done, total)
                decoded = decode(
                    model,
                    window,
                    kept,
                    batch,
                    sampling,
                    seeds=seeds,
                    padding=hidden,
                    controls=asked,
                    watch=share,
                )
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
    model, canvas, batch = (
        generator.model.to(device),
        canvas.on(device),
        torch.tensor(labels, device=device),
    )
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


def generate_waveforms(
    generator: TrainedGenerator, codec: Codec, codes: torch.Tensor, *, seed: int
) -> list[np.ndarray]:
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
    wavs = [
        decode_clip(codec, clip, seed=seed, index=i)
        for i, clip in enumerate(track(codes, len(codes), "decode", "clip"))
    ]
    beyond = sum(bool(np.abs(wav).max() > 1) for wav in wavs)
    if beyond:
        print(
            f"decode: {beyond} of {len(wavs)} clips peak beyond full scale; 16-bit files will clip them",
            flush=True,
        )
    return wavs


def decode_clip(codec: Codec, codes: torch.Tensor, *, seed: int, index: int) -> np.ndarray:
    """The waveform (S,) float32 that clip `index` of a call has, from its codes (Q, T) int64, on any device; see `generate_waveforms`."""
    codes = codes.to(codec.codebooks.device)
    noise = torch.Generator(codes.device).manual_seed(derive_seed(seed, index, Purpose.WAVEFORM))
    return codec.decode(codes[None], noise)[0, 0].float().cpu().numpy()
