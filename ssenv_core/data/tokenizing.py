"""Encode a dataset into tokens on all cores, resuming an interrupted run.

Each clip is read and encoded alone and on one thread, as many clips at once as torch may use
threads: the codes of a clip depend neither on other clips nor on the number of cores. Finished
parts of a token file are kept beside it until the file is written.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch

from ssenv_core.base.audio import active_frames
from ssenv_core.base.code import code_of
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_json
from ssenv_core.base.progress import Progress
from ssenv_core.base.tensors import load_tensors, save_tensors
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.controls import measure_controls
from ssenv_core.data.recordings import Clip, Dataset
from ssenv_core.data.tokens import TokenFormat, TokenSet, parts_folder

PART_KIND = "part of soundstorm tokens with controls"
CLIPS_PER_PART = 64
PER_CLIP = ("codes", "active", "controls")


def tokenize(
    dataset: Dataset,
    codec: Codec,
    *,
    device: torch.device | str,
    path: str | Path | None = None,
    report: Callable[[dict[str, float]], object] | None = None,
) -> TokenSet:
    """Encode every clip: one per core, or on a GPU one at a time while the cores read the next.

    Clips that are silent throughout are kept, with no active frame, and named in the log.

    Args:
        device: where the codec is.
        path: the token file that `save_tokens` will write. Until then every 64 finished clips are
            kept beside it. Those of an interrupted run are not encoded again, unless they are
            damaged or belong to other clips, another codec, code or device.
        report: called at the end with the "clips", "seconds", "clips/s" and "x real time" of this
            run.

    Raises:
        SsenvError: a clip cannot be read, or finished ones cannot be written.
    """
    device = torch.device(device)
    token_format = TokenFormat.of(dataset, codec)
    parts = [
        dataset.clips[start : start + CLIPS_PER_PART]
        for start in range(0, len(dataset), CLIPS_PER_PART)
    ]
    # Without the dataset's fingerprint, repairing one clip leaves the parts of others usable.
    settings = {**asdict(token_format), "dataset_fingerprint": None, "device": device.type}
    settings["code"] = code_of(__name__)
    store = None if path is None else PartStore(parts_folder(path), parts, settings)
    finished = store.load() if store else {}
    left = [number for number in range(len(parts)) if number not in finished]
    done = len(dataset) - sum(len(parts[number]) for number in left)
    with (
        Progress(len(dataset), "tokenize", "clip", done, dataset.duration) as progress,
        _single_threads() as pool,
    ):
        encoded = pool.map(
            _encoder(dataset, codec, device), [clip for number in left for clip in parts[number]]
        )
        for number in left:
            clips = []
            for clip in islice(encoded, len(parts[number])):
                clips.append(clip)
                progress.update()
            finished[number] = {
                name: torch.stack([clip[name] for clip in clips]) for name in PER_CLIP
            }
            if store:
                store.save(number, finished[number])
    tensors = {
        name: torch.cat([finished[number][name] for number in range(len(parts))])
        for name in PER_CLIP
    }
    audible = tensors["active"].any(1).tolist()
    silent = [
        clip.name for clip, any_active in zip(dataset.clips, audible, strict=True) if not any_active
    ]
    if silent:
        print(f"tokenize: {len(silent)} silent throughout: {', '.join(silent)}", flush=True)
    if report:
        report(
            {
                "clips": len(dataset) - done,
                "seconds": progress.elapsed,
                "clips/s": progress.rate,
                "x real time": progress.rate * dataset.duration,
            }
        )
    return TokenSet(
        codes=tensors["codes"].to(torch.int64),
        labels=torch.tensor([clip.label for clip in dataset.clips]),
        folds=torch.tensor([clip.fold for clip in dataset.clips]),
        active=tensors["active"],
        controls=tensors["controls"].float(),
        names=tuple(clip.name for clip in dataset.clips),
        recordings=tuple(clip.recording for clip in dataset.clips),
        class_names=dataset.class_names,
        format=token_format,
    )


def _encoder(
    dataset: Dataset, codec: Codec, device: torch.device
) -> Callable[[Clip], dict[str, torch.Tensor]]:
    """Clip -> its codes (Q, T) uint16, active frames (T,) bool and controls (T, 2) float16."""
    hop = round(codec.sample_rate / codec.frame_rate)
    lock = nullcontext() if device.type == "cpu" else threading.Lock()

    def encode(clip: Clip) -> dict[str, torch.Tensor]:
        sound = dataset.read(clip, codec.sample_rate)
        wav = torch.tensor(sound)[None]
        with lock:
            codes = codec.encode(wav[None].to(device))[0].to("cpu", torch.uint16)
        n_frames = codes.shape[-1]
        controls = measure_controls(sound, codec.sample_rate, n_frames, codec.frame_rate).half()
        return {
            "codes": codes,
            "active": active_frames(wav, hop, n_frames)[0],
            "controls": controls,
        }

    return encode


@contextmanager
def _single_threads() -> Iterator[ThreadPoolExecutor]:
    """A pool of as many threads as torch may use, in each of which torch uses one thread.

    Work that has not begun when the block ends is dropped.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class PartStore:
    """Finished parts of a token file, one file per part: the tensors of PER_CLIP of its clips.

    Attributes:
        folder: the folder of the files.
        parts: the clips of every part.
        settings: JSON-able, what decides the codes besides the clips.
    """

    folder: Path
    parts: list[tuple[Clip, ...]]
    settings: dict

    def save(self, number: int, tensors: dict[str, torch.Tensor]) -> None:
        save_tensors(
            self._file(number),
            tensors,
            {"kind": PART_KIND, "of": self._identity(number), "sha256": _digest(tensors)},
        )

    def load(self) -> dict[int, dict[str, torch.Tensor]]:
        """The finished parts by number; prints how many clips they hold and what is not used."""
        finished = {}
        others = 0
        for number in range(len(self.parts)):
            file = self._file(number)
            if not file.exists():
                continue
            try:
                tensors, metadata = load_tensors(file, PART_KIND)
                if metadata["sha256"] != _digest(tensors):
                    raise SsenvError(f"{file} is damaged")
            except SsenvError as error:
                print(f"tokenize: {error}: its clips are encoded again", flush=True)
                continue
            if metadata["of"] == self._identity(number):
                finished[number] = tensors
            else:
                others += 1
        if others:
            print(
                f"tokenize: {others} parts in {self.folder} are of other clips, another codec, "
                "code or device: not used",
                flush=True,
            )
        if finished:
            clips = sum(len(self.parts[number]) for number in finished)
            print(f"tokenize: {clips} clips are there from an interrupted run", flush=True)
        return finished

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"

    def _identity(self, number: int) -> str:
        clips = [
            [clip.name, *clip.source.identity(), clip.source.modified]
            for clip in self.parts[number]
        ]
        return sha256_json([self.settings, clips])


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    return hashlib.sha256(
        b"".join(tensors[name].numpy().tobytes() for name in PER_CLIP)
    ).hexdigest()
