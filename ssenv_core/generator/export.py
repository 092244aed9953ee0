"""A trained generator with its codec as one file that runs with PyTorch alone.

`torch.export.load(FILE).module()(label)` gives the codes and the waveform of a clip of that class.
Its random numbers follow from `torch.manual_seed`. The number of frames and the settings of
decoding, guidance included, are part of the program.
"""

import json
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import atomic_path
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.tokens import require_codec
from ssenv_core.generator.canvas import frames_of
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.soundstorm.decoding import decode, fill_in
from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.model import SoundStorm
from ssenv_core.soundstorm.sampling import Sampling

DESCRIPTION = "ssenv.json"
WITHIN = 1e-4  # of the waveform's peak: exported convolutions may sum in another order


class GlobalNoise:
    """Noise of one item from PyTorch's global generator."""

    def uniform(self, counts: list[int]) -> torch.Tensor:
        return torch.rand(sum(counts))

    def gumbel(self, counts: list[int]) -> torch.Tensor:
        return -torch.empty(sum(counts)).exponential_().log()


class Program(nn.Module):
    """Generates one clip of a class, with no given tokens and no controls."""

    def __init__(self, model: SoundStorm, codec: Codec, sampling: Sampling, n_frames: int) -> None:
        super().__init__()
        self.model = model
        self.codec = codec
        self.sampling = sampling
        self.n_frames = n_frames

    def forward(self, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """label (1,) int64 -> codes (1, Q, T) int64 and waveform (1, 1, S) float32."""
        n_q = self.model.config.n_q
        inputs = Inputs(torch.zeros(1, n_q, self.n_frames, dtype=torch.int64), label)
        free = torch.ones_like(inputs.codes, dtype=torch.bool)
        totals = [[self.n_frames]] * n_q
        codes = fill_in(self.model, inputs, free, totals, self.sampling, GlobalNoise()).codes
        return codes, self.codec.decode(codes)


def export_generator(
    path: str | Path, generator: TrainedGenerator, codec: Codec, sampling: Sampling, duration: float
) -> Path:
    """Write the program after checking its codes and sounds on two classes.

    Beside the program the file holds `ssenv.json`: class_names, the token format, the sampling, the
    frames and the sample_rate.

    Args:
        generator, codec: on the CPU.

    Raises:
        SsenvError: the codec, the duration or the steps do not fit, or the program gives other
            codes or sounds than this package; then nothing is written.
    """
    require_codec(generator.format, codec)
    n_frames = frames_of(generator, duration)
    longest = generator.format.duration
    if n_frames > frames_of(generator, longest):
        raise SsenvError(
            f"a program makes clips of at most {longest:g} s, as in training: `ssenv generate` "
            "makes longer ones"
        )
    if len(sampling.steps) != generator.model.config.n_q:
        raise SsenvError(
            f"steps {sampling.steps} must name the iterations of each of the generator's "
            f"{generator.model.config.n_q} levels"
        )
    original = Program(generator.model, codec, sampling, n_frames)
    program = torch.export.export(original, (torch.tensor([0]),))
    described = {
        "class_names": generator.class_names,
        "tokens": asdict(generator.format),
        "sampling": sampling.settings(),
        "frames": n_frames,
        "sample_rate": codec.sample_rate,
    }
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # PyTorch warns of its own files.
        for message in ("The given buffer is not writable", "No complete tensor found"):
            warnings.filterwarnings("ignore", message=message)
        torch.export.save(program, temporary, extra_files={DESCRIPTION: json.dumps(described)})
        loaded = torch.export.load(temporary).module()
        for label in range(min(2, len(generator.class_names))):
            codes, wav = run_program(loaded, label, seed=label)
            _, expected = run_program(original, label, seed=label)
            name = generator.class_names[label]
            if not torch.equal(
                codes, plain_codes(generator, sampling, n_frames, label, seed=label)
            ):
                raise SsenvError(
                    f"the exported program gives other codes than the generator for {name}: "
                    "not written"
                )
            if not torch.allclose(wav, expected, rtol=0, atol=WITHIN * float(expected.abs().max())):
                raise SsenvError(
                    f"the exported program gives another sound than the codec for {name}: "
                    "not written"
                )
    return Path(path)


def run_program(program: nn.Module, label: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (1, Q, T) and waveform (1, 1, S) of a program.

    PyTorch's global generator is left unchanged.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return program(torch.tensor([label]))


def plain_codes(
    generator: TrainedGenerator, sampling: Sampling, n_frames: int, label: int, seed: int
) -> torch.Tensor:
    """Codes (1, Q, T) of `decode` with that seed."""
    codes = torch.zeros(1, generator.model.config.n_q, n_frames, dtype=torch.int64)
    given = torch.zeros_like(codes, dtype=torch.bool)
    inputs = Inputs(codes, torch.tensor([label]))
    return decode(generator.model, inputs, given, sampling, seeds=[seed]).codes
