"""A classifier of sounds: features of a SoundStorm, pooled over frames, and a linear head.

Also its file, and how it classifies a sound file.
"""

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
EPSILON = 1e-6  # added to a variance, because the root has no gradient at 0


@dataclass(frozen=True)
class FeatureSpec:
    """Which features the classifier uses.

    Attributes:
        levels: number of codebook levels, coarse first; finer ones are masked as in the model's
            training. None: all.
        layer: number of Conformer blocks before the features, 0 for the summed embeddings. None:
            all.
        pooling: over frames. "mean" weights all frames equally; "attentive" starts like it and
            learns the weights in fine-tuning. "statistics" are mean, standard deviation (Snyder et
            al. 2018) and maximum (Kong et al. 2020): how a sound changes, and what occurs once.
    """

    levels: int | None = None
    layer: int | None = None
    pooling: Literal["mean", "attentive", "statistics"] = "mean"


class Classifier(nn.Module):
    """Pooled features of a SoundStorm, standardized, and a linear head.

    Raises:
        SsenvError: `reading` asks for more levels or blocks than the model has.
    """

    def __init__(
        self, model: SoundStorm, num_classes: int, reading: FeatureSpec | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.reading = reading or FeatureSpec()
        for name, most in (("levels", model.config.n_q), ("layer", model.config.depth)):
            if (getattr(self.reading, name) or 0) > most:
                raise SsenvError(
                    f"classifier: {name} {getattr(self.reading, name)} "
                    f"is more than the generator's {most}"
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
        """Pool over the frames that are not padding.

        Args:
            codes: (B, Q, T) int64.
            padding: (B, T) bool, or None for no padding.

        Returns:
            (B, D) float, or (B, 3 D) for "statistics".
        """
        return self.pool(self.embed(codes), padding)

    def embed(self, codes: torch.Tensor) -> torch.Tensor:
        """Sum the embeddings of the levels in use: codes (B, Q, T) -> (B, T, D)."""
        if self.reading.levels is not None:
            codes = codes.clone()
            codes[:, self.reading.levels :] = self.model.config.mask_token
        return self.model.embed(Inputs(codes))

    def pool(self, embedded: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        """Pool summed embeddings (B, T, D) as `pooled` does."""
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
        """Compute class logits (B, C) from pooled features."""
        return self.head((pooled - self.mean) / self.std)

    def forward(self, codes: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """Compute class logits: codes (B, Q, T) -> (B, C)."""
        return self.classify(self.pooled(codes, padding))


@dataclass(frozen=True)
class Features:
    """Pooled features of clips, without those that are silent throughout.

    Attributes:
        values: (N, D) float64, not standardized.
        labels: (N,) int64.
        names: N clip names.
        recordings: the recording of each clip, if other clips are cut from it too; else "".
        seconds: how long it took to compute the features.
    """

    values: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    recordings: tuple[str, ...]
    seconds: float

    def select(self, names: Collection[str]) -> "Features":
        """Keep the clips with these names."""
        kept = [i for i, name in enumerate(self.names) if name in names]
        return Features(
            self.values[kept],
            self.labels[kept],
            tuple(self.names[i] for i in kept),
            tuple(self.recordings[i] for i in kept),
            self.seconds,
        )


@torch.inference_mode()
def read_features(classifier: Classifier, tokens: TokenSet, device: str = "auto") -> Features:
    """Compute the pooled features of clips; leave the classifier in eval mode on `device`.

    Raises:
        SsenvError: all clips are silent throughout.
    """
    started = time.monotonic()
    device = resolve_device(device)
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
    """A classifier with the classes and tokens it was trained on.

    Attributes:
        classifier: in eval mode.
        class_names: names of its classes.
        format: the dataset and codec of the tokens that it was trained on.
    """

    classifier: Classifier
    class_names: tuple[str, ...]
    format: TokenFormat

    @torch.inference_mode()
    def probabilities(self, path: str | Path, codec: Codec) -> np.ndarray:
        """Classify a sound file of any length, on the CPU, without silence at its start and end.

        Returns:
            Probability of each class, (C,) float64.

        Raises:
            SsenvError: the file cannot be read or is silent, or `codec` did not make the tokens.
        """
        require_codec(self.format, codec)
        wav = torch.from_numpy(read_audio(path, codec.sample_rate)[0])[None]
        codes = codec.encode_long(wav[None])[:, : self.format.n_q]
        hop = round(codec.sample_rate / codec.frame_rate)
        active = active_frames(wav, hop, codes.shape[2])[0].nonzero()[:, 0]
        if not len(active):
            raise SsenvError(f"{path} is silent throughout: there is nothing to classify")
        codes = codes[..., active[0] : active[-1] + 1]
        return self.classifier(codes)[0].double().softmax(0).numpy()


def save_classifier(path: str | Path, trained: TrainedClassifier) -> Path:
    """Write the weights, and all that is needed to use them, to one file."""
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
    """Read a file of `save_classifier`.

    Raises:
        SsenvError: the file is missing, or holds no classifier that this version can build.
    """
    tensors, metadata = load_tensors(path, KIND, "06_classify")
    try:
        model = SoundStorm(SoundStormConfig(**metadata["config"]))
        classifier = Classifier(
            model, len(metadata["class_names"]), FeatureSpec(**metadata["reading"])
        )
        classifier.load_state_dict(tensors)
        token_format = TokenFormat(**metadata["tokens"])
    except (KeyError, TypeError, RuntimeError):
        raise SsenvError(
            f"{path} holds a classifier that this version of ssenv cannot build: "
            "run 06_classify again"
        ) from None
    return TrainedClassifier(classifier.eval(), tuple(metadata["class_names"]), token_format)
