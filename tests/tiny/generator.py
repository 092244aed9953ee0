"""A generator of a few thousand random weights for the tiny codec, and a session with it."""

from pathlib import Path

import torch

from ssenv_core.classification.judge import Judge, LogMelCNN
from ssenv_core.generator.file import TrainedGenerator, load_generator, save_generator
from ssenv_core.generator.plans import Plans
from ssenv_core.panels.session import AuditionSession
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig
from tiny import tiny_codec, token_format

CLASSES = ("dog", "rain", "sea_waves")
SETTINGS = {
    "steps": (3, 2),
    "temperature": 1.0,
    "guidance": 2.0,
    "guidance_schedule": "constant",
    "top_k": None,
    "top_p": None,
    "sampler": "confidence",
    "choice_temperature": 4.5,
}


def tiny_session(folder: Path, *, controls: bool = True, judged: bool = True) -> AuditionSession:
    """A session of 0.4 s clips, with its generator read back from a file in `folder`."""
    torch.manual_seed(0)
    codec = tiny_codec(bandwidth=1.5)
    config = SoundStormConfig(
        n_q=2,
        codebook_size=1024,
        num_classes=3,
        dim=16,
        depth=1,
        heads=2,
        kernel_size=3,
        dropout=0.0,
        controls=controls,
    )
    model = SoundStorm(config).eval()
    for head in model.heads:  # so that the class and what is asked for matter
        torch.nn.init.normal_(head.weight, std=0.5)
    plans = Plans(torch.tensor([0, 1, 1, 2]), torch.rand(4, 30, 2).round()) if controls else None
    path = save_generator(
        folder / "generator.safetensors",
        TrainedGenerator(model, CLASSES, token_format(codec), {"folds": [2]}, plans),
    )
    judge = Judge(LogMelCNN(3), CLASSES, {}, "cpu") if judged else None
    return AuditionSession(path, load_generator(path, "cpu"), codec, judge, device="cpu")
