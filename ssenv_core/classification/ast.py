"""AST, the Audio Spectrogram Transformer (Gong, Chung and Glass 2021), the paper's baseline.

It reads waveforms, not tokens, and needs `transformers`, the extra `ast`. Pretrained on AudioSet,
it is fine-tuned on the training folds. Where its weights are unavailable, the result says so, and a
small AST with random initial weights is trained instead, in a row of its own name. Learning rate
and masks over time and frequency are those of its authors' recipe for ESC-50; features and the
statistics that normalize them are those of the pretraining; the schedule is one cycle. Positions
beyond a clip's length are cut off.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchaudio.transforms import FrequencyMasking, TimeMasking

from ssenv_core.base.devices import autocast, resolve_device
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_json
from ssenv_core.base.pretrained import TransformersWeights
from ssenv_core.base.progress import track
from ssenv_core.base.training_loop import Clock, EpochSettings, one_cycle, train_epochs
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
# Of the small AST, whose patches of 16 x 16 do not overlap.
STRIDE = {"frequency_stride": 16, "time_stride": 16}
BATCH = 16  # clips classified at once


def ast_baseline(
    sounds: Dataset, fold: int, settings: EpochSettings, state_file: Path, device: str = "auto"
) -> tuple[dict[str, Classification], dict[str, str]]:
    """Train AST on all folds but one and classify that one, at the learning rate of RATES.

    Returns:
        Results by row, "AST, pretrained" or "small AST, from scratch"; and the reasons why rows are
        missing, by their names in a table.

    Raises:
        SsenvError: the folder in SSENV_AST_DIR does not hold the weights, the loss is not finite,
            or the state is of another, interrupted training.
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
    """Load the published network and replace its last layer by a random one.

    Args:
        frames: of a clip, 10 ms each; at most 1024, as in the pretraining.

    Raises:
        SsenvError: `transformers` is not installed, or the weights are unavailable or incomplete.
    """
    network, _ = AST.load("ASTForAudioClassification")
    torch.manual_seed(seed)
    network.classifier.dense = nn.Linear(network.config.hidden_size, num_classes)
    network.config.num_labels = num_classes
    return shorten(network, frames)


def small_ast(num_classes: int, frames: int, seed: int) -> "ASTForAudioClassification":
    """Make an AST of 2 M random weights, which two cores can train.

    Raises:
        SsenvError: `transformers` is not installed.
    """
    transformers = AST.package()
    torch.manual_seed(seed)
    return transformers.ASTForAudioClassification(
        transformers.ASTConfig(**SMALL, **STRIDE, max_length=frames, num_labels=num_classes)
    )


def shorten(network: "ASTForAudioClassification", frames: int) -> "ASTForAudioClassification":
    """Shorten the network's input to `frames` frames, in place; its middle positions are kept.

    Raises:
        SsenvError: its input is shorter already.
    """
    config, embeddings = network.config, network.audio_spectrogram_transformer.embeddings
    if frames > config.max_length:
        raise SsenvError(
            f"AST takes {config.max_length} frames of 10 ms, and the clips have {frames}: "
            "shorten them"
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
    """Train the whole network, and classify the held-out clips.

    Adam, one cycle that peaks at `learning_rate`, cross-entropy; no choice depends on the held-out
    clips. An interrupted training resumes from `state_file`; its identity includes the weights that
    the network starts from.

    Raises:
        SsenvError: the loss is not finite, or the state is of another, interrupted training.
    """
    clock, device = Clock(), resolve_device(device)
    identity = {"learning_rate": learning_rate, "start": weights_hash("AST", network)}
    identity["clips"] = sha256_json([training.fingerprint, heldout.fingerprint])
    images = spectrograms(training, network.config.max_length)
    labels = torch.tensor([clip.label for clip in training.clips])
    heldout_images = spectrograms(heldout, network.config.max_length)
    network.to(device)
    longest = network.config.max_length * 3 // 16  # 96 of 512 frames, as in the recipe
    masks = nn.Sequential(
        FrequencyMasking(24, iid_masks=True), TimeMasking(longest, iid_masks=True)
    )

    def loss(index: torch.Tensor, _: int) -> torch.Tensor:
        logits = network(masks(images[index].to(device).float().mT).mT).logits
        return F.cross_entropy(logits.float(), labels[index].to(device))

    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    rows = train_epochs(
        network,
        loss,
        len(images),
        one_cycle(optimizer, learning_rate, settings.steps(len(images)), 0.1),
        settings,
        state_file,
        name="AST",
        module=__name__,
        identity=identity,
        clock=clock,
    )
    network.eval()
    with torch.inference_mode(), autocast(settings.precision, device):
        batches = (part.to(device).float() for part in heldout_images.split(BATCH))
        logits = torch.cat([network(batch).logits.float().cpu() for batch in batches])
    return Classification(
        labels=np.array([clip.label for clip in heldout.clips]),
        probabilities=logits.double().softmax(1).numpy(),
        recordings=tuple(clip.recording for clip in heldout.clips),
        rows=rows,
        seconds=clock.seconds,
    )


def spectrograms(sounds: Dataset, frames: int) -> torch.Tensor:
    """Compute AST's input (N, frames, 128) float16 from clips.

    Kaldi's log-mel frames of 10 ms at 16 kHz, normalized by the statistics of AudioSet.
    """
    extractor = AST.package().ASTFeatureExtractor(max_length=frames)
    clips = track(sounds.clips, len(sounds), "AST spectrograms", "clip")
    wavs = (sounds.read(clip, SAMPLE_RATE) for clip in clips)
    return torch.stack(
        [extractor(wav, SAMPLE_RATE, return_tensors="pt").input_values[0].half() for wav in wavs]
    )
