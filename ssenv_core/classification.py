"""Does the generator understand sound? The features of a trained model as a classifier.

Two readings of the paper's experiment: a linear probe on frozen features, and fine-tuning that starts from that probe (LP-FT, Kumar et al.
2022), with the paper's Adam and cosine annealing. `judge` names sounds; this names tokens.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import binomtest, bootstrap
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssenv_core.artifacts import resume_state, save_state, sha256_files
from ssenv_core.checkpoints import TrainedGenerator
from ssenv_core.classifier import BATCH, Classifier, Features
from ssenv_core.codecs.base import weights_hash
from ssenv_core.datasets import Dataset
from ssenv_core.devices import resolve_device, resolve_precision
from ssenv_core.errors import SsenvError
from ssenv_core.judge import SAMPLE_RATE, Judge
from ssenv_core.optimization import one_cycle
from ssenv_core.progress import Progress, track
from ssenv_core.soundstorm import SoundStorm
from ssenv_core.tokens import TokenSet
from ssenv_core.validation import Batch, Clips, derive_seed

STATE_KIND = "classifier training state 3"


@dataclass(frozen=True)
class ClassifierSettings:
    """How to fine-tune; the defaults are the paper's."""

    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 5e-5  # the highest; annealed to 0 by a cosine
    warmup: float = 0.0  # share of the steps in which it rises
    weight_decay: float = 0.0  # of matrices, decoupled (AdamW)
    label_smoothing: float = 0.0  # share of the target that all classes have alike
    crop_frames: int | None = None  # train on this many frames of each clip, from a random start; None: on whole clips
    token_masking: float = 0.0  # of each training clip's frames a span, this share of them on average, is hidden; at most 0.5
    level_masking: float = 0.0  # share of the training clips of which the levels from a random one on are hidden
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), in whose shares a clip and a lesser part of another are mixed; 0 mixes none
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 42
    checkpoint_minutes: float = 5.0


@dataclass(frozen=True)
class Classification:
    """How a classifier does on held-out clips.

    Attributes:
        labels: (N,) int64.
        probabilities: (N, C) float64.
        rows: {epoch, loss} of a training by epochs; empty for a probe.
        seconds: that training and naming took, with those before an interruption.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    rows: list[dict]
    seconds: float

    @property
    def predictions(self) -> np.ndarray:
        """(N,) int64."""
        return self.probabilities.argmax(1)

    @property
    def right(self) -> np.ndarray:
        """(N,) bool."""
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Share named rightly."""
        return float(self.right.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Of the accuracy, 95 % (Wilson 1927)."""
        return share_interval(int(self.right.sum()), len(self.right))


def probe(classifier: Classifier, train: Features, test: Features) -> Classification:
    """Fit the head alone: multinomial logistic regression on features that `classifier` read; the head is left holding it.

    Raises:
        SsenvError: the training clips are of one class.
    """
    started = time.monotonic() - train.seconds - test.seconds
    _require_classes(train.labels)
    scaler, linear = _fit_linear(train.values, train.labels)
    weight, bias = torch.from_numpy(linear.coef_), torch.from_numpy(linear.intercept_)
    if len(linear.classes_) == 2:  # for which scikit-learn keeps one row: the second class's logit less the first's
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    head = classifier.head
    with torch.no_grad():
        classifier.mean.copy_(torch.from_numpy(scaler.mean_))
        classifier.std.copy_(torch.from_numpy(scaler.scale_))
        head.weight.zero_()
        head.bias.fill_(-20.0)  # a class that training never saw
        head.weight[linear.classes_] = weight.float().to(head.weight.device)
        head.bias[linear.classes_] = bias.float().to(head.weight.device)
        logits = classifier.classify(torch.from_numpy(test.values).float().to(head.weight.device))
    return Classification(test.labels, logits.double().softmax(1).cpu().numpy(), [], time.monotonic() - started)


def learning_curve(train: Features, test: Features, counts: Sequence[int], draws: int, seed: int) -> pd.DataFrame:
    """The accuracy of probes that are given few labelled clips: one row for each draw of `count` random clips of each class.

    Counts of which some class has fewer training clips are left out; where a count takes all clips, there is one draw.

    Returns:
        Columns `clips` (of each class) and `accuracy`.

    Raises:
        SsenvError: the training clips are of one class.
    """
    _require_classes(train.labels)
    known, rows = train.labels, []
    most = np.unique(known, return_counts=True)[1].min()
    for count in (count for count in counts if count <= most):
        for draw in range(1 if count * len(np.unique(known)) == len(known) else draws):
            order = np.random.default_rng([seed, count, draw]).permutation(len(known))
            chosen = np.concatenate([order[known[order] == label][:count] for label in np.unique(known)])
            scaler, linear = _fit_linear(train.values[chosen], known[chosen])
            rows.append({"clips": count, "accuracy": float((linear.predict(scaler.transform(test.values)) == test.labels).mean())})
    return pd.DataFrame(rows, columns=["clips", "accuracy"])


def fine_tune(
    classifier: Classifier, train: TokenSet, test: TokenSet, settings: ClassifierSettings, state_file: Path, device: str = "auto"
) -> Classification:
    """Train head and model together from where they are: Adam, cosine annealing to 0, cross-entropy. The test clips are named at the end.

    Resumes where `state_file` is of the same training, which the model that the classifier started from and this code are part of.

    Raises:
        SsenvError: the loss is not finite, or the state is of another, interrupted training.
    """
    started, device = time.monotonic(), resolve_device(device)
    package = Path(__file__).parent
    used = [package / name for name in ("classifier.py", "validation.py", "optimization.py")]
    code = [Path(__file__), *used, *package.glob("soundstorm/*.py")]
    identity = {**asdict(settings), **asdict(classifier.reading), "code": sha256_files(code, package)}
    identity |= {"start": weights_hash(STATE_KIND, classifier.model), "train_tokens": train.digest, "test_tokens": test.digest}
    del identity["checkpoint_minutes"]
    identity["precision"] = resolve_precision(settings.precision, device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=identity["precision"] == "bf16")
    classifier.to(device)
    train_clips, test_clips = Clips(train, device), Clips(test, device)
    steps = max(1, len(train_clips) // settings.batch_size)
    matrices, others = ([p for p in classifier.parameters() if (p.ndim > 1) == many] for many in (True, False))
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, settings.learning_rate)
    scheduler = one_cycle(optimizer, settings.learning_rate, settings.epochs * steps, settings.warmup)
    parts, rows = {"classifier": classifier, "optimizer": optimizer, "scheduler": scheduler}, []
    if state := resume_state(state_file, STATE_KIND, identity):
        rows, started = state["rows"], started - state["seconds"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    saved = time.monotonic()
    with Progress(settings.epochs, "classify", "epoch", initial=len(rows)) as progress:
        while len(rows) < settings.epochs:
            epoch = len(rows)
            torch.manual_seed(derive_seed(settings.seed, epoch))
            classifier.train()
            losses = []
            for index in torch.randperm(len(train_clips)).split(settings.batch_size)[:steps]:
                with autocast:
                    loss = _training_loss(classifier, train_clips.batch(index, settings.crop_frames), settings)
                if not torch.isfinite(loss):
                    raise SsenvError(f"the classifier's loss is not finite in epoch {epoch + 1}: use a lower classifier_learning_rate")
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                scheduler.step()
                losses.append(loss.item())
            rows.append({"epoch": epoch + 1, "loss": float(np.mean(losses))})
            progress.update(note=f"loss {rows[-1]['loss']:.3f}")
            if time.monotonic() - saved > 60 * settings.checkpoint_minutes or len(rows) == settings.epochs:
                state = {name: part.state_dict() for name, part in parts.items()} | {"rows": rows, "seconds": time.monotonic() - started}
                finished = len(rows) == settings.epochs
                save_state(state_file, state, {"kind": STATE_KIND, "identity": identity, "finished": finished})
                saved = time.monotonic()
    return Classification(*_name(classifier, test_clips), rows, time.monotonic() - started)


def _training_loss(classifier: Classifier, batch: Batch, settings: ClassifierSettings) -> torch.Tensor:
    """Cross-entropy in nat of one batch, with parts of its clips hidden and its clips mixed as the settings say."""
    codes, padding, labels = batch.codes, batch.padding, batch.labels
    lengths = torch.full_like(labels, codes.shape[2]) if padding is None else (~padding).sum(1)
    hidden = _span(lengths, codes.shape[2], settings.token_masking)[:, None] | _finer_levels(codes, settings.level_masking)[..., None]
    embedded = classifier.embed(codes.masked_fill(hidden, classifier.model.config.mask_token))
    smoothing = settings.label_smoothing
    if settings.mixup == 0:
        return F.cross_entropy(classifier.classify(classifier.pool(embedded, padding)).float(), labels, label_smoothing=smoothing)
    share = torch.distributions.Beta(settings.mixup, settings.mixup).sample((len(codes),)).to(codes.device)
    share, other = torch.maximum(share, 1 - share), torch.randperm(len(codes), device=codes.device)
    if padding is not None:
        embedded = embedded * ~padding[..., None]
    mixed = torch.lerp(embedded[other], embedded, share[:, None, None].to(embedded.dtype))
    logits = classifier.classify(classifier.pool(mixed, padding)).float()
    losses = [F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing) for target in (labels[other], labels)]
    return torch.lerp(*losses, share).mean()


def _span(lengths: torch.Tensor, n_frames: int, share: float) -> torch.Tensor:
    """(B, n_frames) bool: of each item, lengths (B,) frames long, one span, anywhere, of any length up to 2 `share` of its frames."""
    size, place = torch.rand(2, len(lengths), device=lengths.device)
    size = (2 * share * lengths * size).round()
    first = (place * (lengths - size + 1)).floor()
    frame = torch.arange(n_frames, device=lengths.device)
    return (frame >= first[:, None]) & (frame < (first + size)[:, None])


def _finer_levels(codes: torch.Tensor, share: float) -> torch.Tensor:
    """(B, Q) bool: of that share of the items of codes (B, Q, T) the levels from a random one on, never the first."""
    items, n_q, _ = codes.shape
    chosen = torch.rand(items, device=codes.device) < share
    first = torch.randint(1, n_q + 1, (items,), device=codes.device)
    return chosen[:, None] & (torch.arange(n_q, device=codes.device) >= first[:, None])


def gain(better: Classification, worse: Classification, seed: int) -> tuple[float, float, float]:
    """What one classifier's accuracy has over another's on the same clips, and its 95 % interval: percentiles of a bootstrap over clips.

    Raises:
        SsenvError: they named clips of other classes, or in another order.
    """
    if not np.array_equal(better.labels, worse.labels):
        raise SsenvError("two classifiers are compared on the same clips, in the same order")
    differences = better.right.astype(float) - worse.right
    interval = bootstrap((differences,), np.mean, method="percentile", rng=seed).confidence_interval
    return float(differences.mean()), float(interval.low), float(interval.high)


def share_interval(right: int, clips: int) -> tuple[float, float]:
    """Of a share of clips, 95 % (Wilson 1927)."""
    interval = binomtest(right, clips).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def judged(judge: Judge, sounds: Dataset, fold: int) -> Classification:
    """What a judge, trained on the waveforms of the other folds, makes of this one's; its training's seconds included.

    Raises:
        SsenvError: the judge was trained on this fold.
    """
    judge.require_heldout(fold)
    started, clips = time.monotonic() - judge.metadata["seconds"], sounds.subset(folds=[fold]).clips
    heard = track(clips, len(clips), "judge", "clip")
    probabilities = np.stack([judge.probabilities(sounds.read(clip, SAMPLE_RATE), SAMPLE_RATE) for clip in heard])
    return Classification(np.array([clip.label for clip in clips]), probabilities.astype(np.float64), [], time.monotonic() - started)


def random_twin(generator: TrainedGenerator, seed: int) -> SoundStorm:
    """A model of the same size with fresh random weights: what a frozen encoder that was never loaded amounts to."""
    torch.manual_seed(seed)
    twin = SoundStorm(generator.model.config)
    for module in twin.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()  # the model's own start is no random one
    return twin.eval()


def _fit_linear(features: np.ndarray, labels: np.ndarray) -> tuple[StandardScaler, LogisticRegression]:
    """Of features (N, D) and labels (N,): their standardization, and multinomial logistic regression on what comes out of it."""
    scaler = StandardScaler().fit(features)
    return scaler, LogisticRegression(C=0.1, max_iter=2000).fit(scaler.transform(features), labels)


def _require_classes(labels: np.ndarray) -> None:
    if len(np.unique(labels)) < 2:
        raise SsenvError(f"all {len(labels)} clips to learn classes from are of one class: label them, in sub-folders or labels.csv")


@torch.inference_mode()
def _name(classifier: Classifier, clips: Clips) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and probabilities (N, C)."""
    classifier.eval()
    batches = (clips.batch(index) for index in torch.arange(len(clips)).split(BATCH))
    logits = torch.cat([classifier(batch.codes, batch.padding).cpu() for batch in batches])
    return clips.labels.cpu().numpy(), logits.double().softmax(1).numpy()
