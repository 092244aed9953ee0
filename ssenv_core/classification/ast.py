"""AST, the Audio Spectrogram Transformer (Gong, Chung and Glass 2021), the paper's baseline, through `transformers`, the extra `ast`.

It hears waveforms, not tokens. Pretrained on AudioSet it is fine-tuned on the training folds; where its weights are not to be had its row
says so, and a small AST that begins at random stands in, under its own name. Masks over time and frequency and the rate are those of its
authors' recipe for ESC-50, features those of the pretraining, whose statistics normalize them too; the schedule is one cycle. Positions
beyond a clip's length are cut off.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchaudio.transforms import FrequencyMasking, TimeMasking

from ssenv_core.base.code import code_of
from ssenv_core.base.devices import autocast, resolve_device
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_json
from ssenv_core.base.pretrained import TransformersWeights
from ssenv_core.base.progress import track
from ssenv_core.base.training_loop import EpochSettings, one_cycle, train_epochs
from ssenv_core.classification.probes import Classification
from ssenv_core.codecs.protocol import weights_hash
from ssenv_core.data.recordings import Dataset

if TYPE_CHECKING:
    from transformers import ASTForAudioClassification

AST = TransformersWeights(
    name="AST",
    folder_variable="SSENV_AST_DIR",
    url="https://huggingface.co/MIT/ast-finetuned-audioset-10-10-0.4593",
    extra="ast",
    otherwise="do without the pretrained AST",
)
SAMPLE_RATE, WINDOW, HOP, NUM_MELS = 16_000, 400, 160, 128
PRETRAINED, SCRATCH = "AST, pretrained", "small AST, from scratch"
RATES = {PRETRAINED: 1e-5, SCRATCH: 5e-4}
SMALL = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 768,
}
STRIDE = {
    "frequency_stride": 16,
    "time_stride": 16,
}  # of the small one, whose patches of 16 x 16 do not overlap
BATCH = 16  # of naming


def ast_baseline(
    sounds: Dataset, fold: int, settings: EpochSettings, state_file: Path, device: str = "auto"
) -> tuple[dict[str, Classification], dict[str, str]]:
    """AST trained on all folds but one and asked about that one, at the rate of RATES.

    Returns:
        Results by row, "AST, pretrained" or "small AST, from scratch"; and why a row is missing, by what to call it in a table.

    Raises:
        SsenvError: the folder that SSENV_AST_DIR names does not hold the weights, the loss is not finite, or the state is of another,
            interrupted training.
    """
    frames, missing = 1 + (round(sounds.duration * SAMPLE_RATE) - WINDOW) // HOP, {}
    try:
        AST.package()
    except SsenvError as error:
        return {}, {"AST: transformers is not installed": str(error)}
    row, classes = PRETRAINED, len(sounds.class_names)
    try:
        network = pretrained_ast(classes, frames, settings.seed)
    except SsenvError as error:
        if os.environ.get(AST.folder_variable):
            raise
        missing[f"{PRETRAINED}: weights not here"] = str(error)
        row, network = SCRATCH, small_ast(classes, frames, settings.seed)
    training, heldout = sounds.subset(exclude_folds=[fold]), sounds.subset(folds=[fold])
    return {
        row: fine_tune_ast(network, training, heldout, settings, RATES[row], state_file, device)
    }, missing


def pretrained_ast(num_classes: int, frames: int, seed: int) -> "ASTForAudioClassification":
    """The published network with a new, random last layer, for clips of `frames` frames (10 ms each; at most the 1024 it was made for).

    Raises:
        SsenvError: `transformers` is not installed, or the weights are not to be had or not whole.
    """
    network, _ = AST.load("ASTForAudioClassification")
    torch.manual_seed(seed)
    network.classifier.dense = nn.Linear(network.config.hidden_size, num_classes)
    network.config.num_labels = num_classes
    return shorten(network, frames)


def small_ast(num_classes: int, frames: int, seed: int) -> "ASTForAudioClassification":
    """An AST of 2 M random weights, which two cores can train. Raises as `pretrained_ast` does."""
    transformers = AST.package()
    torch.manual_seed(seed)
    return transformers.ASTForAudioClassification(
        transformers.ASTConfig(**SMALL, **STRIDE, max_length=frames, num_labels=num_classes)
    )


def shorten(network: "ASTForAudioClassification", frames: int) -> "ASTForAudioClassification":
    """The network, changed in place to hear `frames` frames: the positions in the middle of its own are kept.

    Raises:
        SsenvError: it hears fewer.
    """
    config, embeddings = network.config, network.audio_spectrogram_transformer.embeddings
    if frames > config.max_length:
        raise SsenvError(
            f"AST hears {config.max_length} frames of 10 ms, and the clips have {frames}: shorten them"
        )
    bands, columns = embeddings.get_shape(config)
    config.max_length = frames
    _, kept = embeddings.get_shape(config)
    first, positions = (columns - kept) // 2, embeddings.position_embeddings.detach()
    grid = positions[:, 2:].unflatten(1, (bands, columns))[:, :, first : first + kept].flatten(1, 2)
    embeddings.position_embeddings = nn.Parameter(torch.cat([positions[:, :2], grid], dim=1))
    return network


def fine_tune_ast(
    network: "ASTForAudioClassification",
    training: Dataset,
    heldout: Dataset,
    settings: EpochSettings,
    learning_rate: float,
    state_file: Path,
    device: str = "auto",
) -> Classification:
    """Train all of the network: Adam, one cycle that peaks at `learning_rate`, cross-entropy. No choice looks at the held-out clips.

    Resumes where `state_file` is of the same training; what the network started from is part of that.

    Raises:
        SsenvError: the loss is not finite, or the state is of another, interrupted training.
    """
    started, device = time.monotonic(), resolve_device(device)
    data = {"learning_rate": learning_rate, "start": weights_hash("AST", network)}
    data["clips"] = sha256_json([training.fingerprint, heldout.fingerprint])
    images, labels = (
        spectrograms(training, network.config.max_length),
        torch.tensor([clip.label for clip in training.clips]),
    )
    asked, truth = (
        spectrograms(heldout, network.config.max_length),
        np.array([clip.label for clip in heldout.clips]),
    )
    network.to(device)
    longest = network.config.max_length * 3 // 16  # 96 of 512 frames, as in the recipe
    masks = nn.Sequential(
        FrequencyMasking(24, iid_masks=True), TimeMasking(longest, iid_masks=True)
    )

    def loss(index: torch.Tensor, _: int) -> torch.Tensor:
        logits = network(masks(images[index].to(device).float().mT).mT).logits
        return F.cross_entropy(logits.float(), labels[index].to(device))

    rows, started = train_epochs(
        network,
        loss,
        len(images),
        one_cycle(
            torch.optim.Adam(network.parameters(), learning_rate),
            learning_rate,
            settings.steps(len(images)),
            0.1,
        ),
        settings,
        state_file,
        name="AST",
        remedy="train it with another seed, or in fp32",
        data={"code": code_of(__name__), **data},
        started=started,
    )
    network.eval()
    with torch.inference_mode(), autocast(settings.precision, device):
        logits = torch.cat(
            [network(part.to(device).float()).logits.float().cpu() for part in asked.split(BATCH)]
        )
    recordings = tuple(clip.recording for clip in heldout.clips)
    return Classification(
        truth, logits.double().softmax(1).numpy(), recordings, rows, time.monotonic() - started
    )


def spectrograms(sounds: Dataset, frames: int) -> torch.Tensor:
    """What AST sees of clips: (N, frames, 128) float16, Kaldi's log-mel frames of 10 ms at 16 kHz, normalized as those of AudioSet."""
    extractor = AST.package().ASTFeatureExtractor(max_length=frames)
    heard = (
        sounds.read(clip, SAMPLE_RATE)
        for clip in track(sounds.clips, len(sounds), "AST spectrograms", "clip")
    )
    return torch.stack(
        [extractor(wav, SAMPLE_RATE, return_tensors="pt").input_values[0].half() for wav in heard]
    )
