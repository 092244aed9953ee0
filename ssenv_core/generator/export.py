"""A trained generator as one file that PyTorch alone runs: sampling, guidance and the codec included, nothing of this package needed.

`torch.export.load(FILE).module()(label)` gives the codes and the waveform of a clip of that class; what it draws follows from
`torch.manual_seed`. The number of frames and the settings of the decoding are part of the program.
"""

import json
import warnings
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
from ssenv_core.soundstorm.model import SoundStorm
from ssenv_core.soundstorm.sampling import Sampling

DESCRIPTION = "ssenv.json"
WITHIN = 1e-4  # of the waveform's peak: exported convolutions may add up in another order


class GlobalNoise:
    """Noise from PyTorch's own generator, of one item."""

    def uniform(self, counts: list[int]) -> torch.Tensor:
        return torch.rand(sum(counts))

    def gumbel(self, counts: list[int]) -> torch.Tensor:
        return -torch.empty(sum(counts)).exponential_().log()


class Program(nn.Module):
    """Plain generation of one clip."""

    def __init__(self, model: SoundStorm, codec: Codec, sampling: Sampling, n_frames: int) -> None:
        super().__init__()
        self.model, self.codec, self.sampling, self.n_frames = model, codec, sampling, n_frames

    def forward(self, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """label (1,) int64 -> codes (1, Q, T) int64 and their waveform (1, 1, S) float32 at the codec's rate."""
        codes = torch.zeros(1, self.model.config.n_q, self.n_frames, dtype=torch.int64)
        totals = [[self.n_frames]] * self.model.config.n_q
        filled = fill_in(
            self.model,
            codes,
            torch.ones_like(codes, dtype=torch.bool),
            totals,
            label,
            self.sampling,
            GlobalNoise(),
        )
        return filled.codes, self.codec.decode(filled.codes)


def export_generator(
    path: str | Path, generator: TrainedGenerator, codec: Codec, sampling: Sampling, duration: float
) -> Path:
    """Write the program, and check on two classes that it gives the generator's own codes and the codec's own sound.

    Beside the program the file holds `ssenv.json`: class_names, the tokens' metadata, the sampling, the frames and the sample_rate.

    Args:
        generator, codec: on the CPU.

    Raises:
        SsenvError: the codec, the duration or the steps do not fit, or the program gives something else; then nothing is written.
    """
    require_codec(generator, codec)
    n_frames = frames_of(generator, duration)
    longest = generator.metadata["duration"]
    if n_frames > frames_of(generator, longest):
        raise SsenvError(
            f"a program makes clips of at most {longest:g} s, as the training's are: `ssenv generate` makes longer ones"
        )
    if len(sampling.steps) != generator.model.config.n_q:
        raise SsenvError(
            f"steps {sampling.steps} must name the iterations of each of the generator's {generator.model.config.n_q} levels"
        )
    original = Program(generator.model, codec, sampling, n_frames)
    program = torch.export.export(original, (torch.tensor([0]),))
    described = {
        "class_names": generator.class_names,
        "tokens": generator.metadata,
        "sampling": sampling.settings(),
    }
    described |= {"frames": n_frames, "sample_rate": codec.sample_rate}
    with atomic_path(path) as temporary, warnings.catch_warnings():
        for message in (
            "The given buffer is not writable",
            "No complete tensor found",
        ):  # of PyTorch's own files
            warnings.filterwarnings("ignore", message=message)
        torch.export.save(program, temporary, extra_files={DESCRIPTION: json.dumps(described)})
        loaded = torch.export.load(temporary).module()
        for label in range(min(2, len(generator.class_names))):
            (codes, wav), (_, expected) = (
                run_program(made, label, seed=label) for made in (loaded, original)
            )
            if not torch.equal(
                codes, plain_codes(generator, sampling, n_frames, label, seed=label)
            ):
                raise SsenvError(
                    f"the exported program gives other codes than the generator for {generator.class_names[label]}: not written"
                )
            if not torch.allclose(wav, expected, rtol=0, atol=WITHIN * float(expected.abs().max())):
                raise SsenvError(
                    f"the exported program sounds otherwise than the codec for {generator.class_names[label]}: not written"
                )
    return Path(path)


def run_program(program: nn.Module, label: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (1, Q, T) and waveform (1, 1, S) of a program; PyTorch's own generator is left as it was."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return program(torch.tensor([label]))


def plain_codes(
    generator: TrainedGenerator, sampling: Sampling, n_frames: int, label: int, seed: int
) -> torch.Tensor:
    """Codes (1, Q, T) of `decode` with that seed."""
    codes = torch.zeros(1, generator.model.config.n_q, n_frames, dtype=torch.int64)
    return decode(
        generator.model,
        codes,
        torch.zeros_like(codes, dtype=torch.bool),
        torch.tensor([label]),
        sampling,
        seeds=[seed],
    ).codes
