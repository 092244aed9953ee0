"""The classifier: features of a SoundStorm, pooled over frames, and a linear head; its file; and what it says of a file of sound."""

import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from ssenv_core.base.audio import active_frames, read_audio
from ssenv_core.base.devices import resolve_device
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.tensors import load_tensors, save_tensors
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.batches import Clips
from ssenv_core.data.tokens import TokenFormat, TokenSet, require_codec
from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

KIND = "soundstorm classifier"
BATCH = 16
EPSILON = 1e-6  # of a variance, whose root has no gradient at 0


@dataclass(frozen=True)
class Reading:
    """What of a SoundStorm a classifier reads.

    Attributes:
        levels: of the codebook levels, coarse first, this many; finer ones are hidden as in the model's training. None: all.
        layer: features after this many Conformer blocks, 0 being the summed embeddings; None: all.
        pooling: over frames; "attentive" learns their weights in fine-tuning and begins with all alike, as "mean" stays. "statistics" are
            mean, standard deviation (Snyder et al. 2018) and maximum (Kong et al. 2020): how a sound changes, and what it has once.
    """

    levels: int | None = None
    layer: int | None = None
    pooling: Literal["mean", "attentive", "statistics"] = "mean"


class Classifier(nn.Module):
    """Pooled features of a SoundStorm, standardized, and a linear head. Raises `SsenvError` for a reading that the model does not have."""

    def __init__(self, model: SoundStorm, num_classes: int, reading: Reading | None = None) -> None:
        super().__init__()
        self.model, self.reading = model, reading or Reading()
        for name, most in (("levels", model.config.n_q), ("layer", model.config.depth)):
            if (getattr(self.reading, name) or 0) > most:
                raise SsenvError(
                    f"classifier: {name} {getattr(self.reading, name)} is more than the generator's {most}"
                )
        width = (3 if self.reading.pooling == "statistics" else 1) * model.config.dim
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.attention = (
            nn.Parameter(torch.zeros(model.config.dim))
            if self.reading.pooling == "attentive"
            else None
        )
        self.head = nn.Linear(width, num_classes)

    def pooled(self, codes: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        """codes (B, Q, T), padding (B, T) bool or None -> the feature (B, D), or (B, 3 D) statistics, over what is not padding."""
        return self.pool(self.embed(codes), padding)

    def embed(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (B, Q, T) -> the summed embeddings (B, T, D) of the levels that are read."""
        if self.reading.levels is not None:
            codes = codes.clone()
            codes[:, self.reading.levels :] = self.model.config.mask_token
        return self.model.embed(Inputs(codes))

    def pool(self, embedded: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        """Summed embeddings (B, T, D) -> the feature, as of `pooled`."""
        hidden = self.model.conformer(embedded, padding, self.reading.layer)
        scores = (
            hidden.new_zeros(hidden.shape[:2])
            if self.attention is None
            else hidden @ self.attention
        )
        if padding is not None:
            scores = scores.masked_fill(padding, -torch.inf)
        weights = scores.softmax(1)[:, None]
        mean = (weights @ hidden)[:, 0]
        if self.reading.pooling != "statistics":
            return mean
        variance = (weights @ (hidden - mean[:, None]).square())[:, 0]
        most = hidden if padding is None else hidden.masked_fill(padding[..., None], -torch.inf)
        return torch.cat([mean, (variance + EPSILON).sqrt(), most.amax(1)], dim=1)

    def classify(self, pooled: torch.Tensor) -> torch.Tensor:
        """Pooled features -> class logits (B, C)."""
        return self.head((pooled - self.mean) / self.std)

    def forward(self, codes: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """codes (B, Q, T) -> class logits (B, C)."""
        return self.classify(self.pooled(codes, padding))


@dataclass(frozen=True)
class Features:
    """What a classifier's head is given of clips; those that are silent throughout are left out.

    Attributes:
        values: (N, D) float64, not standardized.
        labels: (N,) int64.
        names: N clip names.
        recordings: what each was cut from, if others were too; else "".
        seconds: that reading them took.
    """

    values: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    recordings: tuple[str, ...]
    seconds: float

    def of(self, names: Collection[str]) -> "Features":
        """Those of these clips alone."""
        kept = [i for i, name in enumerate(self.names) if name in names]
        names, recordings = (
            tuple(texts[i] for i in kept) for texts in (self.names, self.recordings)
        )
        return Features(self.values[kept], self.labels[kept], names, recordings, self.seconds)


@torch.inference_mode()
def read_features(classifier: Classifier, tokens: TokenSet, device: str = "auto") -> Features:
    """The pooled features of clips; the classifier is left in eval mode on `device`.

    Raises:
        SsenvError: all clips are silent throughout.
    """
    started, device = time.monotonic(), resolve_device(device)
    classifier.to(device).eval()
    clips = Clips(tokens, device)
    batches = (clips.batch(index) for index in torch.arange(len(clips)).split(BATCH))
    values = torch.cat(
        [classifier.pooled(batch.codes, batch.padding).double().cpu() for batch in batches]
    ).numpy()
    return Features(
        values,
        clips.labels.cpu().numpy(),
        clips.names,
        clips.recordings,
        time.monotonic() - started,
    )


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier and what it takes to use it.

    Attributes:
        classifier: in eval mode.
        class_names: of its classes.
        format: the dataset and codec of the tokens it was trained on.
    """

    classifier: Classifier
    class_names: tuple[str, ...]
    format: TokenFormat

    @torch.inference_mode()
    def probabilities(self, path: str | Path, codec: Codec) -> np.ndarray:
        """Of the classes, (C,) float64, of the sound in a file of any length, whose outer silence is left out; on the CPU.

        Raises:
            SsenvError: the file cannot be read or is silent, or the codec is not that of the tokens.
        """
        require_codec(self.format, codec)
        wav = torch.from_numpy(read_audio(path, codec.sample_rate)[0])[None]
        codes = codec.encode_long(wav[None])[:, : self.format.n_q]
        heard = active_frames(wav, round(codec.sample_rate / codec.frame_rate), codes.shape[2])[
            0
        ].nonzero()[:, 0]
        if not len(heard):
            raise SsenvError(f"{path} is silent throughout: there is nothing to name")
        return self.classifier(codes[..., heard[0] : heard[-1] + 1])[0].double().softmax(0).numpy()


def save_classifier(path: str | Path, trained: TrainedClassifier) -> Path:
    """Write head and model with what it takes to use them."""
    classifier = trained.classifier
    card = {
        "config": asdict(classifier.model.config),
        "reading": asdict(classifier.reading),
        "class_names": trained.class_names,
    }
    return save_tensors(
        path, classifier.state_dict(), {"kind": KIND, **card, "tokens": asdict(trained.format)}
    )


def load_classifier(path: str | Path) -> TrainedClassifier:
    """The classifier of a file.

    Raises:
        SsenvError: there is no such file, or it is no classifier that this version builds.
    """
    tensors, metadata = load_tensors(path, KIND, "06_classify")
    try:
        model = SoundStorm(SoundStormConfig(**metadata["config"]))
        classifier = Classifier(model, len(metadata["class_names"]), Reading(**metadata["reading"]))
        classifier.load_state_dict(tensors)
        token_format = TokenFormat(**metadata["tokens"])
    except (KeyError, TypeError, RuntimeError):
        raise SsenvError(
            f"{path} holds another classifier than this version of ssenv builds: run 06_classify again"
        ) from None
    return TrainedClassifier(classifier.eval(), tuple(metadata["class_names"]), token_format)
