"""Does the generator understand sound? Its features, all codebook levels of a trained model, as a classifier.

Two readings of the paper's experiment: a linear probe on frozen features, and fine-tuning that starts from that probe (LP-FT, Kumar et al.
2022), with the paper's Adam and cosine annealing. `judge` names sounds; this names tokens.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from ssenv_core.artifacts import load_tensors, save_tensors
from ssenv_core.checkpoints import TrainedGenerator
from ssenv_core.devices import resolve_device
from ssenv_core.errors import SsenvError
from ssenv_core.progress import Progress
from ssenv_core.soundstorm import SoundStorm, SoundStormConfig
from ssenv_core.tokens import TokenSet
from ssenv_core.validation import Clips, derive_seed

KIND = "soundstorm classifier"
BATCH = 16


@dataclass(frozen=True)
class ClassifierSettings:
    """How to fine-tune; the defaults are the paper's."""

    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 5e-5
    seed: int = 42


class Classifier(nn.Module):
    """Mean-pooled features of a SoundStorm, standardized, and a linear head."""

    def __init__(self, model: SoundStorm, num_classes: int) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.zeros(model.config.dim))
        self.register_buffer("std", torch.ones(model.config.dim))
        self.head = nn.Linear(model.config.dim, num_classes)

    def pooled(self, codes: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        """codes (B, Q, T), padding (B, T) bool or None -> the mean feature (B, D) over what is not padding."""
        hidden = self.model.features(codes, padding=padding)
        if padding is None:
            return hidden.mean(1)
        weight = (~padding).to(hidden.dtype)[..., None]
        return (hidden * weight).sum(1) / weight.sum(1)

    def forward(self, codes: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """codes (B, Q, T) -> class logits (B, C)."""
        return self.head((self.pooled(codes, padding) - self.mean) / self.std)


@dataclass(frozen=True)
class Classification:
    """How a classifier does on held-out clips.

    Attributes:
        accuracy: share named rightly.
        labels, predictions: (N,) int64.
        rows: {epoch, loss, accuracy} of a training by epochs; empty for a probe.
    """

    accuracy: float
    labels: np.ndarray
    predictions: np.ndarray
    rows: list[dict]


def probe(classifier: Classifier, train: TokenSet, test: TokenSet, device: str = "auto") -> Classification:
    """Fit the head alone: multinomial logistic regression on the frozen model's pooled features; the head is left holding it.

    Raises:
        SsenvError: the training clips are of one class.
    """
    device = resolve_device(device)
    classifier.to(device).eval()
    train_clips, test_clips = Clips(train, device), Clips(test, device)
    known, labels = train_clips.labels.cpu().numpy(), test_clips.labels.cpu().numpy()
    _require_classes(known)
    features, heldout = _all_pooled(classifier, train_clips), _all_pooled(classifier, test_clips)
    scaler = StandardScaler().fit(features)
    linear = LogisticRegression(C=0.1, max_iter=2000).fit(scaler.transform(features), known)
    predictions = linear.predict(scaler.transform(heldout))
    weight, bias = torch.from_numpy(linear.coef_), torch.from_numpy(linear.intercept_)
    if len(linear.classes_) == 2:  # for which scikit-learn keeps one row: the second class's logit less the first's
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    with torch.no_grad():
        classifier.mean.copy_(torch.from_numpy(scaler.mean_))
        classifier.std.copy_(torch.from_numpy(scaler.scale_))
        classifier.head.weight.zero_()
        classifier.head.bias.fill_(-20.0)  # a class that training never saw
        classifier.head.weight[linear.classes_] = weight.float().to(device)
        classifier.head.bias[linear.classes_] = bias.float().to(device)
    return Classification(float((predictions == labels).mean()), labels, predictions, [])


def fine_tune(
    classifier: Classifier, train: TokenSet, test: TokenSet, settings: ClassifierSettings, device: str = "auto"
) -> Classification:
    """Train head and model together from where they are: Adam, cosine annealing to 0, cross-entropy. No choice looks at the test clips.

    Raises:
        SsenvError: the loss is not finite.
    """
    device = resolve_device(device)
    classifier.to(device)
    train_clips, test_clips = Clips(train, device), Clips(test, device)
    steps = max(1, len(train_clips) // settings.batch_size)
    optimizer = torch.optim.Adam(classifier.parameters(), settings.learning_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * steps)
    rows = []
    with Progress(settings.epochs, "classify", "epoch") as progress:
        for epoch in range(settings.epochs):
            torch.manual_seed(derive_seed(settings.seed, epoch))
            classifier.train()
            losses = []
            for index in torch.randperm(len(train_clips)).split(settings.batch_size)[:steps]:
                batch = train_clips.batch(index)
                loss = F.cross_entropy(classifier(batch.codes, batch.padding), batch.labels)
                if not torch.isfinite(loss):
                    raise SsenvError(f"the classifier's loss is not finite in epoch {epoch + 1}: use a lower classifier_learning_rate")
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                scheduler.step()
                losses.append(loss.item())
            labels, predictions = _predict(classifier, test_clips)
            rows.append({"epoch": epoch + 1, "loss": float(np.mean(losses)), "accuracy": float((predictions == labels).mean())})
            progress.update(note=f"loss {rows[-1]['loss']:.3f}")
    return Classification(rows[-1]["accuracy"], labels, predictions, rows)


def random_twin(generator: TrainedGenerator, seed: int) -> SoundStorm:
    """A model of the same size with fresh random weights: what a frozen encoder that was never loaded amounts to."""
    torch.manual_seed(seed)
    twin = SoundStorm(generator.model.config)
    for module in twin.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()  # the model's own start is no random one
    return twin.eval()


def save_classifier(path: str | Path, classifier: Classifier, class_names: tuple[str, ...], metadata: dict) -> Path:
    """Write head and model with what it takes to use them."""
    card = {"config": asdict(classifier.model.config), "class_names": class_names, "tokens": metadata}
    return save_tensors(path, classifier.state_dict(), {"kind": KIND, **card})


def load_classifier(path: str | Path) -> tuple[Classifier, tuple[str, ...], dict]:
    """The classifier of a file, its class names and the metadata of its tokens.

    Raises:
        SsenvError: there is no such file, or it is no classifier that this version builds.
    """
    tensors, metadata = load_tensors(path, KIND)
    try:
        classifier = Classifier(SoundStorm(SoundStormConfig(**metadata["config"])), len(metadata["class_names"]))
        classifier.load_state_dict(tensors)
    except (TypeError, RuntimeError):
        raise SsenvError(f"{path} holds another classifier than this version of ssenv builds: run 06_classify again") from None
    return classifier.eval(), tuple(metadata["class_names"]), metadata["tokens"]


def _require_classes(labels: np.ndarray) -> None:
    if len(np.unique(labels)) < 2:
        raise SsenvError(f"all {len(labels)} clips to learn classes from are of one class: label them, in sub-folders or labels.csv")


@torch.inference_mode()
def _all_pooled(classifier: Classifier, clips: Clips) -> np.ndarray:
    batches = (clips.batch(index) for index in torch.arange(len(clips)).split(BATCH))
    return torch.cat([classifier.pooled(batch.codes, batch.padding).float().cpu() for batch in batches]).double().numpy()


@torch.inference_mode()
def _predict(classifier: Classifier, clips: Clips) -> tuple[np.ndarray, np.ndarray]:
    classifier.eval()
    batches = (clips.batch(index) for index in torch.arange(len(clips)).split(BATCH))
    predictions = torch.cat([classifier(batch.codes, batch.padding).argmax(1).cpu() for batch in batches])
    return clips.labels.cpu().numpy(), predictions.numpy()
