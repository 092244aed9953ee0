"""Codes and waveforms from a trained generator: clips of any length, parts of clips, variations."""

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
from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.sampling import Sampling


def encode_file(
    generator: TrainedGenerator, codec: Codec, path: str | Path, device: str | torch.device = "cpu"
) -> tuple[torch.Tensor, float]:
    """Encode a recording as codes (1, Q, T) int64 of the generator, on the CPU.

    Returns:
        The codes, and the seconds of the recording.

    Raises:
        SsenvError: the file cannot be read, or the generator was trained on another codec's tokens.
    """
    require_codec(generator.format, codec)
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
    """Generate what a canvas does not give, one clip per label.

    Args:
        labels: N classes, each in [0, num_classes]; num_classes is "no class", which training
            combines with no controls.
        canvas: of N clips.
        seed: 0 or more; clip i is decoded with seeds derived from (seed, i).
        precision: auto, bf16 or fp32; they give different codes.
        watch: called after every iteration with the share done, in (0, 1], instead of a progress
            bar; an exception that it raises ends the generation.

    Returns:
        Codes (N, Q, T) int64 on `device`, to which the model is moved.

    Raises:
        SsenvError: the number of steps is not the number of levels.
        ValueError: a label is out of range, or the canvas does not fit.
    """
    device = resolve_device(device)
    config = generator.model.config
    if not all(0 <= label <= config.null_label for label in labels):
        raise ValueError(f"labels must lie in [0, {config.null_label}]: {list(labels)}")
    if len(labels) != len(canvas):
        raise ValueError(f"{len(labels)} labels for a canvas of {len(canvas)} clips")
    model = generator.model.to(device)
    canvas = canvas.on(device)
    padding = canvas.padding
    clips_by_windows = {}
    for i, given in enumerate(canvas.given.cpu()):
        clips_by_windows.setdefault(tuple(_spans(generator, given)), []).append(i)
    parts = [
        (spans, items)
        for spans, clips in clips_by_windows.items()
        for items in torch.tensor(clips).split(batch_size)
    ]
    done = 0
    total = sum(len(spans) for spans, _ in parts)
    progress = Progress(len(labels), "generate", "clip") if watch is None else None
    with progress or nullcontext(), autocast(precision, device):
        for spans, items in parts:
            codes = canvas.codes[items]
            given = canvas.given[items]
            batch = torch.tensor([labels[i] for i in items], device=device)
            for number, (start, stop) in enumerate(spans):
                inputs = Inputs(
                    codes[..., start:stop],
                    batch,
                    None if padding is None else padding[items, start:stop],
                    None if canvas.controls is None else canvas.controls[items, start:stop],
                )
                seeds = [derive_seed(seed, int(i), number, Purpose.CODES) for i in items]
                share = watch and _part_of(watch, done, total)
                decoded = decode(
                    model, inputs, given[..., start:stop], sampling, seeds=seeds, watch=share
                )
                codes[..., start:stop] = decoded.codes
                given[..., start:stop] = True
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
    """Every iteration of decoding a canvas of N clips in one window of any length, in fp32.

    Args:
        labels: N classes, each in [0, num_classes].
        seeds: N, see `decode`.
    """
    model = generator.model.to(device)
    canvas = canvas.on(device)
    batch = torch.tensor(labels, device=device)
    inputs = Inputs(canvas.codes, batch, canvas.padding, canvas.controls)
    return decode(model, inputs, canvas.given, sampling, seeds=seeds, record=True).trace


def _part_of(watch: Callable[[float], None], number: int, total: int) -> Callable[[float], None]:
    """A watch of part `number` of `total` equal parts, which calls `watch` with the whole share."""
    return lambda share: watch((number + share) / total)


def windows(first: int, last: int, n_frames: int, length: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the windows in which frames [first, last) of n_frames are generated.

    One window around them if they fit in half of its length. Otherwise windows that overlap by half
    (the last one may overlap by more), from half a window before them to half a window after.
    """
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
    """The windows in which a clip with given (Q, T) tokens is generated; none if all are given."""
    free = (~given).any(dim=0).nonzero()[:, 0].tolist()
    length = frames_of(generator, generator.format.duration)
    return list(windows(free[0], free[-1] + 1, given.shape[1], length)) if free else []


def joints(generator: TrainedGenerator, duration: float) -> list[float]:
    """The moments (s) of a clip of `duration` seconds at which a window takes over from another."""
    spans = _spans(generator, Canvas.blank(generator, 1, duration).given[0])
    return [stop / generator.format.frame_rate for _, stop in spans[:-1]]


def generate_waveforms(
    generator: TrainedGenerator, codec: Codec, codes: torch.Tensor, *, seed: int
) -> list[np.ndarray]:
    """Decode codes to waveforms, one clip at a time; the codec's noise follows from (seed, i).

    Peaks beyond full scale stay, and are counted in the log: writing 16-bit files clips them.

    Args:
        codes: (N, Q, T) int64.

    Returns:
        N waveforms (S,) float32 at the codec's rate.

    Raises:
        SsenvError: the generator was trained on another codec's tokens.
    """
    require_codec(generator.format, codec)
    wavs = [
        decode_clip(codec, clip, seed=seed, index=i)
        for i, clip in enumerate(track(codes, len(codes), "decode", "clip"))
    ]
    beyond = sum(bool(np.abs(wav).max() > 1) for wav in wavs)
    if beyond:
        print(
            f"decode: {beyond} of {len(wavs)} clips peak beyond full scale, where a 16-bit file "
            "clips them",
            flush=True,
        )
    return wavs


def decode_clip(codec: Codec, codes: torch.Tensor, *, seed: int, index: int) -> np.ndarray:
    """The waveform (S,) float32 of clip `index` of a call; see `generate_waveforms`.

    `codes` (Q, T) int64 may be on any device.
    """
    codes = codes.to(codec.codebooks.device)
    noise = torch.Generator(codes.device).manual_seed(derive_seed(seed, index, Purpose.WAVEFORM))
    return codec.decode(codes[None], noise)[0, 0].float().cpu().numpy()
