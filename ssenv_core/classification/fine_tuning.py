"""Fine-tuning: head and model of a classifier trained together.

It starts from the head that a linear probe fitted (LP-FT, Kumar et al. 2022), with the paper's Adam
and cosine annealing.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ssenv_core.base.devices import resolve_device
from ssenv_core.base.training_loop import Clock, EpochSettings, one_cycle, train_epochs
from ssenv_core.classification.classifier import BATCH, Classifier
from ssenv_core.classification.probes import Classification
from ssenv_core.codecs.protocol import weights_hash
from ssenv_core.data.batches import Clips
from ssenv_core.data.tokens import TokenSet
from ssenv_core.soundstorm.inputs import Inputs


@dataclass(frozen=True)
class ClassifierSettings(EpochSettings):
    """How to fine-tune; the defaults are the paper's.

    Attributes:
        learning_rate: the peak; a cosine anneals it to 0.
        warmup: share of the steps in which the rate rises.
        weight_decay: of matrices, decoupled (AdamW).
        label_smoothing: share of the target spread evenly over all classes.
        crop_frames: train on this many frames of each clip, from a random start; None: whole clips.
        token_masking: mean share of each training clip's frames to hide, in one span; at most 0.5.
        level_masking: share of the training clips that show only their first 1 to Q levels, the
            number drawn at random.
        mixup: alpha of Beta(alpha, alpha), the weights with which two clips are mixed; 0: none.
    """

    epochs: int = 50
    learning_rate: float = 5e-5
    warmup: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    crop_frames: int | None = None
    token_masking: float = 0.0
    level_masking: float = 0.0
    mixup: float = 0.0


def fine_tune(
    classifier: Classifier,
    train: TokenSet,
    test: TokenSet,
    settings: ClassifierSettings,
    state_file: Path,
    device: str = "auto",
) -> Classification:
    """Train head and model together, from their present weights, and classify the test clips.

    Adam, cosine annealing to 0, cross-entropy. An interrupted training resumes from `state_file`;
    its identity includes the model that the classifier starts from.

    Raises:
        SsenvError: the loss is not finite, or the state is of another, interrupted training.
    """
    clock, device = Clock(), resolve_device(device)
    identity = {**asdict(classifier.reading), "start": weights_hash("classifier", classifier.model)}
    identity |= {"train_tokens": train.digest, "test_tokens": test.digest}
    classifier.to(device)
    train_clips, test_clips = Clips(train, device), Clips(test, device)
    steps = settings.steps(len(train_clips))
    matrices = [p for p in classifier.parameters() if p.ndim > 1]
    others = [p for p in classifier.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, settings.learning_rate)

    def loss(index: torch.Tensor, _: int) -> torch.Tensor:
        batch = train_clips.batch(index, settings.crop_frames)
        return _training_loss(classifier, batch, settings)

    rows = train_epochs(
        classifier,
        loss,
        len(train_clips),
        one_cycle(optimizer, settings.learning_rate, steps, settings.warmup),
        settings,
        state_file,
        name="classifier",
        module=__name__,
        identity=identity,
        clock=clock,
    )
    return Classification(
        labels=test_clips.labels.cpu().numpy(),
        probabilities=_probabilities(classifier, test_clips),
        recordings=test_clips.recordings,
        rows=rows,
        seconds=clock.seconds,
    )


def _training_loss(
    classifier: Classifier, batch: Inputs, settings: ClassifierSettings
) -> torch.Tensor:
    """Cross-entropy in nat of one batch whose clips are masked and mixed."""
    codes, padding, labels = batch.codes, batch.padding, batch.labels
    lengths = torch.full_like(labels, codes.shape[2]) if padding is None else (~padding).sum(1)
    hidden = (
        _span(lengths, codes.shape[2], settings.token_masking)[:, None]
        | _finer_levels(codes, settings.level_masking)[..., None]
    )
    embedded = classifier.embed(codes.masked_fill(hidden, classifier.model.config.mask_token))
    smoothing = settings.label_smoothing
    if settings.mixup == 0:
        logits = classifier.classify(classifier.pool(embedded, padding)).float()
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    beta = torch.distributions.Beta(settings.mixup, settings.mixup)
    share = beta.sample((len(codes),)).to(codes.device)
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(len(codes), device=codes.device)
    if padding is not None:
        embedded = embedded * ~padding[..., None]
    mixed = torch.lerp(embedded[other], embedded, share[:, None, None].to(embedded.dtype))
    logits = classifier.classify(classifier.pool(mixed, padding)).float()
    losses = [
        F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
        for target in (labels[other], labels)
    ]
    return torch.lerp(*losses, share).mean()


def _span(lengths: torch.Tensor, n_frames: int, share: float) -> torch.Tensor:
    """Draw one random span per item: (B, n_frames) bool.

    A span covers up to 2 `share` of the item's frames, lengths (B,).
    """
    size, start = torch.rand(2, len(lengths), device=lengths.device)
    size = (2 * share * lengths * size).round()
    first = (start * (lengths - size + 1)).floor()
    frame = torch.arange(n_frames, device=lengths.device)
    return (frame >= first[:, None]) & (frame < (first + size)[:, None])


def _finer_levels(codes: torch.Tensor, share: float) -> torch.Tensor:
    """Draw the levels to hide in codes (B, Q, T): (B, Q) bool.

    A `share` of the items keep their first 1 to Q levels, each number equally likely.
    """
    items, n_q, _ = codes.shape
    chosen = torch.rand(items, device=codes.device) < share
    first = torch.randint(1, n_q + 1, (items,), device=codes.device)
    return chosen[:, None] & (torch.arange(n_q, device=codes.device) >= first[:, None])


@torch.inference_mode()
def _probabilities(classifier: Classifier, clips: Clips) -> np.ndarray:
    """Class probabilities (N, C) of the clips."""
    classifier.eval()
    batches = (clips.batch(index) for index in torch.arange(len(clips)).split(BATCH))
    logits = torch.cat([classifier(batch.codes, batch.padding).cpu() for batch in batches])
    return logits.double().softmax(1).numpy()
