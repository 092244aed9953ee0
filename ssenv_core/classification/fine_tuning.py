"""Fine-tuning: head and model of a classifier trained together, from the head that a probe left (LP-FT, Kumar et al. 2022), with the
paper's Adam and cosine annealing.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ssenv_core.base.code import code_of
from ssenv_core.base.devices import resolve_device
from ssenv_core.base.training_loop import EpochSettings, one_cycle, train_epochs
from ssenv_core.classification.classifier import BATCH, Classifier
from ssenv_core.classification.probes import Classification
from ssenv_core.codecs.protocol import weights_hash
from ssenv_core.data.batches import Clips
from ssenv_core.data.tokens import TokenSet
from ssenv_core.soundstorm.inputs import Inputs


@dataclass(frozen=True)
class ClassifierSettings(EpochSettings):
    """How to fine-tune; the defaults are the paper's."""

    epochs: int = 50
    learning_rate: float = 5e-5  # the highest; annealed to 0 by a cosine
    warmup: float = 0.0  # share of the steps in which it rises
    weight_decay: float = 0.0  # of matrices, decoupled (AdamW)
    label_smoothing: float = 0.0  # share of the target that all classes have alike
    crop_frames: int | None = (
        None  # train on this many frames of each clip, from a random start; None: on whole clips
    )
    token_masking: float = 0.0  # of each training clip's frames a span, this share of them on average, is hidden; at most 0.5
    level_masking: float = 0.0  # share of the training clips of which a random number of levels is shown, from the first alone to all
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), in whose shares a clip and a lesser part of another are mixed; 0 mixes none


def fine_tune(
    classifier: Classifier,
    train: TokenSet,
    test: TokenSet,
    settings: ClassifierSettings,
    state_file: Path,
    device: str = "auto",
) -> Classification:
    """Train head and model together from where they are: Adam, cosine annealing to 0, cross-entropy. The test clips are named at the end.

    Resumes where `state_file` is of the same training, which the model that the classifier started from and this code are part of.

    Raises:
        SsenvError: the loss is not finite, or the state is of another, interrupted training.
    """
    started, device = time.monotonic(), resolve_device(device)
    data = {**asdict(classifier.reading), "start": weights_hash("classifier", classifier.model)}
    data |= {"train_tokens": train.digest, "test_tokens": test.digest}
    classifier.to(device)
    train_clips, test_clips = Clips(train, device), Clips(test, device)
    matrices, others = (
        [p for p in classifier.parameters() if (p.ndim > 1) == many] for many in (True, False)
    )
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, settings.learning_rate)
    rows, started = train_epochs(
        classifier,
        lambda index, _: _training_loss(
            classifier, train_clips.batch(index, settings.crop_frames), settings
        ),
        len(train_clips),
        one_cycle(
            optimizer, settings.learning_rate, settings.steps(len(train_clips)), settings.warmup
        ),
        settings,
        state_file,
        name="classifier",
        remedy="use a lower classifier_learning_rate",
        data={"code": code_of(__name__), **data},
        started=started,
    )
    probabilities = _name(classifier, test_clips)
    return Classification(
        test_clips.labels.cpu().numpy(),
        probabilities,
        test_clips.recordings,
        rows,
        time.monotonic() - started,
    )


def _training_loss(
    classifier: Classifier, batch: Inputs, settings: ClassifierSettings
) -> torch.Tensor:
    """Cross-entropy in nat of one batch, with parts of its clips hidden and its clips mixed as the settings say."""
    codes, padding, labels = batch.codes, batch.padding, batch.labels
    lengths = torch.full_like(labels, codes.shape[2]) if padding is None else (~padding).sum(1)
    hidden = (
        _span(lengths, codes.shape[2], settings.token_masking)[:, None]
        | _finer_levels(codes, settings.level_masking)[..., None]
    )
    embedded = classifier.embed(codes.masked_fill(hidden, classifier.model.config.mask_token))
    smoothing = settings.label_smoothing
    if settings.mixup == 0:
        return F.cross_entropy(
            classifier.classify(classifier.pool(embedded, padding)).float(),
            labels,
            label_smoothing=smoothing,
        )
    share = (
        torch.distributions.Beta(settings.mixup, settings.mixup)
        .sample((len(codes),))
        .to(codes.device)
    )
    share, other = torch.maximum(share, 1 - share), torch.randperm(len(codes), device=codes.device)
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
    """(B, n_frames) bool: of each item, lengths (B,) frames long, one span, anywhere, of any length up to 2 `share` of its frames."""
    size, place = torch.rand(2, len(lengths), device=lengths.device)
    size = (2 * share * lengths * size).round()
    first = (place * (lengths - size + 1)).floor()
    frame = torch.arange(n_frames, device=lengths.device)
    return (frame >= first[:, None]) & (frame < (first + size)[:, None])


def _finer_levels(codes: torch.Tensor, share: float) -> torch.Tensor:
    """(B, Q) bool: of that share of the items of codes (B, Q, T) the levels behind the first 1 to Q, all numbers alike likely."""
    items, n_q, _ = codes.shape
    chosen = torch.rand(items, device=codes.device) < share
    first = torch.randint(1, n_q + 1, (items,), device=codes.device)
    return chosen[:, None] & (torch.arange(n_q, device=codes.device) >= first[:, None])


@torch.inference_mode()
def _name(classifier: Classifier, clips: Clips) -> np.ndarray:
    """Probabilities (N, C)."""
    classifier.eval()
    batches = (clips.batch(index) for index in torch.arange(len(clips)).split(BATCH))
    logits = torch.cat([classifier(batch.codes, batch.padding).cpu() for batch in batches])
    return logits.double().softmax(1).numpy()
