"""A trained generator as one file that PyTorch alone runs: masks, guidance and sampling included, nothing of this package needed.

`torch.export.load(FILE).module()(label)` gives the codes of a clip of that class; what it draws follows from `torch.manual_seed`. The
number of frames and the settings of the decoding are part of the program.
"""

import json
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from ssenv_core.artifacts import atomic_path
from ssenv_core.checkpoints import TrainedGenerator
from ssenv_core.errors import SsenvError
from ssenv_core.generation import frames_of
from ssenv_core.soundstorm import Sampling, SoundStorm, decode, fill_in

DESCRIPTION = "ssenv.json"


class GlobalNoise:
    """Noise from PyTorch's own generator, of one item."""

    def uniform(self, counts: list[int]) -> torch.Tensor:
        return torch.rand(sum(counts))

    def gumbel(self, counts: list[int], *width: int) -> torch.Tensor:
        return -torch.empty(sum(counts), *width).exponential_().log()


class Program(nn.Module):
    """Plain generation of one clip."""

    def __init__(self, model: SoundStorm, sampling: Sampling, n_frames: int) -> None:
        super().__init__()
        self.model, self.sampling, self.n_frames = model, sampling, n_frames

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        """label (1,) int64 -> codes (1, Q, T) int64."""
        codes = torch.zeros(1, self.model.config.n_q, self.n_frames, dtype=torch.int64)
        totals = [[self.n_frames]] * self.model.config.n_q
        return fill_in(self.model, codes, torch.ones_like(codes, dtype=torch.bool), totals, label, self.sampling, GlobalNoise()).codes


def export_generator(path: str | Path, generator: TrainedGenerator, sampling: Sampling, duration: float) -> Path:
    """Write the program, and check that it gives the generator's own codes, class by class.

    Beside the program the file holds `ssenv.json`: class_names, the tokens' metadata, the sampling and the frames.

    Args:
        generator: on the CPU.

    Raises:
        SsenvError: the duration or the steps do not fit, or the program's codes are not those of the generator; then nothing is written.
    """
    n_frames = frames_of(generator, duration)
    if len(sampling.steps) != generator.model.config.n_q:
        raise SsenvError(f"steps {sampling.steps} must name the iterations of each of the generator's {generator.model.config.n_q} levels")
    program = torch.export.export(Program(generator.model, sampling, n_frames), (torch.tensor([0]),))
    described = {"class_names": generator.class_names, "tokens": generator.metadata, "sampling": asdict(sampling), "frames": n_frames}
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")  # of PyTorch's own reading
        torch.export.save(program, temporary, extra_files={DESCRIPTION: json.dumps(described)})
        loaded = torch.export.load(temporary).module()
        for label in range(min(2, len(generator.class_names))):
            if not torch.equal(run_program(loaded, label, seed=label), plain_codes(generator, sampling, n_frames, label, seed=label)):
                raise SsenvError(
                    f"the exported program gives other codes than the generator for {generator.class_names[label]}: not written"
                )
    return Path(path)


def run_program(program: nn.Module, label: int, seed: int) -> torch.Tensor:
    """Codes (1, Q, T) of a loaded program; PyTorch's own generator is left as it was."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return program(torch.tensor([label]))


def plain_codes(generator: TrainedGenerator, sampling: Sampling, n_frames: int, label: int, seed: int) -> torch.Tensor:
    """Codes (1, Q, T) of `decode` with that seed."""
    codes = torch.zeros(1, generator.model.config.n_q, n_frames, dtype=torch.int64)
    return decode(generator.model, codes, torch.zeros_like(codes, dtype=torch.bool), torch.tensor([label]), sampling, seeds=[seed]).codes
