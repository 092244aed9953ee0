"""Turns a dataset into tokens on all cores, and goes on where an interrupted run stopped.

Each clip is read and encoded alone and on one thread, as many clips at once as torch may use threads: the codes of a clip depend neither on
the clips beside it nor on the number of cores. Of token files it knows only where their finished parts wait for the rest.
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
    """Encode every clip: one on each core at a time, or on a GPU one at a time while the cores read the next.

    Clips that are silent throughout are kept, with no active frame, and named in the log.

    Args:
        device: where the codec is.
        path: the token file that `save_tokens` will write. Until then every 64 finished clips are kept beside it, and those that an
            interrupted run left there are not encoded again, unless they are damaged or of other clips, another codec, code or device.
        report: is given at the end what this run did: its "clips", "seconds", "clips/s" and "x real time".

    Raises:
        SsenvError: a clip cannot be read, or finished ones cannot be written.
    """
    device = torch.device(device)
    token_format = TokenFormat.of(dataset, codec)
    parts = [
        dataset.clips[start : start + CLIPS_PER_PART]
        for start in range(0, len(dataset), CLIPS_PER_PART)
    ]
    settings = {
        **asdict(token_format),
        "dataset_fingerprint": None,
        "device": device.type,
    }  # repairing one clip leaves the parts of others usable
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
    made = {
        name: torch.cat([finished[number][name] for number in range(len(parts))])
        for name in PER_CLIP
    }
    silent = [
        clip.name
        for clip, any_active in zip(dataset.clips, made["active"].any(1).tolist(), strict=True)
        if not any_active
    ]
    if silent:
        print(f"tokenize: {len(silent)} silent throughout: {', '.join(silent)}", flush=True)
    if report:
        seconds, rate = progress.elapsed, progress.rate
        report(
            {
                "clips": len(dataset) - done,
                "seconds": seconds,
                "clips/s": rate,
                "x real time": rate * dataset.duration,
            }
        )
    return TokenSet(
        codes=made["codes"].to(torch.int64),
        labels=torch.tensor([clip.label for clip in dataset.clips]),
        folds=torch.tensor([clip.fold for clip in dataset.clips]),
        active=made["active"],
        controls=made["controls"].float(),
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
    turn = nullcontext() if device.type == "cpu" else threading.Lock()

    def encode(clip: Clip) -> dict[str, torch.Tensor]:
        sound = dataset.read(clip, codec.sample_rate)
        wav = torch.tensor(sound)[None]
        with turn:
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
    """As many threads as torch may use, in each of which it uses that one alone; work not begun when the block ends is dropped."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class PartStore:
    """Finished parts of a token file, as one file per part: what PER_CLIP names, stacked over its n clips.

    Attributes:
        folder: where the files lie.
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
        """The parts at hand, by number. Says how many clips that is, and which files are not used."""
        found, others = {}, 0
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
                found[number] = tensors
            else:
                others += 1
        if others:
            print(
                f"tokenize: {others} parts in {self.folder} are of other clips, another codec, code or device: not used",
                flush=True,
            )
        if found:
            print(
                f"tokenize: {sum(len(self.parts[number]) for number in found)} clips are there from an interrupted run",
                flush=True,
            )
        return found

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"

    def _identity(self, number: int) -> str:
        return sha256_json(
            [
                self.settings,
                [
                    [clip.name, *clip.source.identity(), clip.source.modified]
                    for clip in self.parts[number]
                ],
            ]
        )


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    return hashlib.sha256(
        b"".join(tensors[name].numpy().tobytes() for name in PER_CLIP)
    ).hexdigest()
