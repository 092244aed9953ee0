"""A judge of sounds: a small CNN on log-mel spectrograms, trained on real recordings alone.

It classifies any waveform, whether real, decoded by a codec, or generated. It never sees a token,
so its predictions rest on the sound alone.

VGG-like blocks, then the mean over frequency and both the mean and the maximum over time (PANNs,
Kong et al. 2020). Trained with mixup (Zhang et al. 2018) of powers, masks over time and frequency
(SpecAugment, Park et al. 2019), and random speed, pitch, level and position.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torchaudio.transforms import MelSpectrogram

from ssenv_core.base.audio import resample
from ssenv_core.base.devices import resolve_device
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.tensors import load_tensors, save_tensors
from ssenv_core.base.training_loop import (
    Clock,
    EpochSettings,
    one_cycle,
    train_epochs,
    warmed_up_average,
)

KIND = "log-mel CNN judge 2"
SAMPLE_RATE = 24_000
NUM_MELS, HOP = 64, 480  # 50 frames/s
FLOOR = 1e-10  # of mel power; a frame below ten times this is silent
CROP, LEAST_FRAMES = 128, 32
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.05
MIXUP_UNTIL = 0.9  # share of the epochs that mix clips; the last ones do not
CHANNELS = (32, 64, 128, 256)


class LogMel(nn.Module):
    """Natural-log mel power of waveforms at 24 kHz: 64 slaney bands, 50 frames/s."""

    def __init__(self) -> None:
        super().__init__()
        bands = {"n_mels": NUM_MELS, "f_min": 20.0, "mel_scale": "slaney", "norm": "slaney"}
        self.mel = MelSpectrogram(
            SAMPLE_RATE, 1024, hop_length=HOP, normalized="window", pad_mode="constant", **bands
        )

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (..., S) float -> (..., 64, T)."""
        return self.mel(wav).clamp_min(FLOOR).log()

    @torch.inference_mode()
    def trimmed(self, wav: torch.Tensor) -> torch.Tensor:
        """wav (S,) float -> (64, T) without leading and trailing silent frames.

        A waveform that is silent throughout keeps all its frames.
        """
        mel = self(wav)
        loud = (mel.amax(0) > math.log(10 * FLOOR)).nonzero()[:, 0]
        return mel[:, loud[0] : loud[-1] + 1] if len(loud) else mel


class LogMelCNN(nn.Module):
    """Four blocks of two 3 x 3 convolutions; about 1.3 M parameters.

    The first convolution halves time and frequency, as the first block would take most of the
    computing time at full resolution. Each block but the last halves them again.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(NUM_MELS)
        layers, width = [], 1
        for channels in CHANNELS:
            layers += [] if width == 1 else [nn.AvgPool2d(2)]
            for source in (width, channels):
                layers += [
                    nn.Conv2d(source, channels, 3, 2 if source == 1 else 1, 1, bias=False),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(),
                ]
            width = channels
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Dropout(0.3),
            nn.Linear(2 * width, 256),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(256, num_classes),
        )

    def maps(self, mels: torch.Tensor) -> list[torch.Tensor]:
        """mels (B, 64, T), T >= 16 -> the output of each block, (B, C, F, T'), finest first."""
        hidden = self.norm(mels).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        maps = []
        for layer in self.body:
            if isinstance(layer, nn.AvgPool2d):
                maps.append(hidden)
            hidden = layer(hidden)
        return [*maps, hidden]

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """mels (B, 64, T), T >= 16 -> class logits (B, C)."""
        hidden = self.maps(mels)[-1].float().mean(2)
        return self.head(torch.cat([hidden.mean(2), hidden.amax(2)], dim=1))


class Judge:
    """A trained network and the classes it distinguishes.

    Attributes:
        metadata: what it was trained on, and how.
    """

    def __init__(
        self,
        network: LogMelCNN,
        class_names: Sequence[str],
        metadata: dict,
        device: str | torch.device = "auto",
    ) -> None:
        self.device = resolve_device(device)
        self.network = network.to(self.device).eval()
        self.log_mel = LogMel().to(self.device)
        self.class_names = tuple(class_names)
        self.metadata = metadata

    @torch.inference_mode()
    def probabilities(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
        """wav (S,) float at `sample_rate` Hz -> (C,) float32, summing to 1."""
        if sample_rate != SAMPLE_RATE:
            wav = resample(wav, sample_rate, SAMPLE_RATE)
        mel = self.log_mel.trimmed(torch.as_tensor(wav, dtype=torch.float32, device=self.device))
        if mel.shape[1] < LEAST_FRAMES:
            mel = mel.repeat(1, -(-LEAST_FRAMES // mel.shape[1]))
        return self.network(mel[None]).softmax(1)[0].cpu().numpy()

    def predict(self, wav: np.ndarray, sample_rate: int) -> int:
        """Classify a waveform (S,): the index in `class_names` of the most probable class."""
        return int(self.probabilities(wav, sample_rate).argmax())

    def predict_all(self, wavs: Iterable[np.ndarray], sample_rate: int) -> np.ndarray:
        """Classify several waveforms: (N,) int64."""
        return np.array([self.predict(wav, sample_rate) for wav in wavs], np.int64)

    def require_heldout(self, fold: int) -> None:
        """Refuse a fold that the judge was trained on.

        Raises:
            SsenvError: its training used this fold, or its file does not say which folds were used.
        """
        folds = self.metadata.get("folds")
        if folds is None:
            raise SsenvError(
                "the judge's file does not say which folds it was trained on: run 01_tokenize again"
            )
        if fold in folds:
            raise SsenvError(
                f"fold {fold} is not held out: the judge was trained on folds "
                f"{', '.join(map(str, folds))}; run 01_tokenize with fold={fold}"
            )

    def save(self, path: str | Path, *, folds: Sequence[int]) -> Path:
        """Write one safetensors file that also holds the folds of the training clips."""
        metadata = {"kind": KIND, "class_names": self.class_names, **self.metadata}
        return save_tensors(path, self.network.state_dict(), {**metadata, "folds": list(folds)})

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "auto") -> "Judge":
        """Read a file that `save` wrote.

        Raises:
            SsenvError: the file is missing, or holds something else.
        """
        tensors, metadata = load_tensors(path, KIND, "01_tokenize")
        del metadata["kind"]
        class_names = metadata.pop("class_names")
        network = LogMelCNN(len(class_names))
        try:
            network.load_state_dict(tensors)
        except RuntimeError:
            raise SsenvError(
                f"{path} holds a judge of another architecture than this version of ssenv builds: "
                "train it again"
            ) from None
        return cls(network, class_names, metadata, device)


def train_judge(
    wavs: Iterable[np.ndarray],
    labels: np.ndarray,
    class_names: Sequence[str],
    settings: EpochSettings,
    state_file: Path,
    device: str | torch.device = "auto",
) -> Judge:
    """Train a judge on real clips, or resume its training from `state_file`.

    Args:
        wavs: (S,) float at 24 kHz, one by one.
        labels: (N,) int, indices into `class_names`.

    Raises:
        SsenvError: the clips are of one class, the loss is not finite, or the state is of another,
            interrupted training.
    """
    clock, device = Clock(), resolve_device(device)
    require_classes(labels)
    log_mel, mels, digest = LogMel().to(device), [], hashlib.sha256()
    for wav in wavs:
        digest.update(np.ascontiguousarray(wav, np.float32).tobytes())
        mels.append(log_mel.trimmed(torch.as_tensor(wav, dtype=torch.float32, device=device)))
    lengths = torch.tensor([mel.shape[1] for mel in mels], device=device)
    clips = torch.zeros(len(mels), NUM_MELS, int(lengths.max()), device=device)
    for row, mel in zip(clips, mels, strict=True):
        row[:, : mel.shape[1]] = mel
    targets = F.one_hot(torch.as_tensor(labels, device=device), len(class_names)).float()

    torch.manual_seed(settings.seed)
    network = LogMelCNN(len(class_names)).to(device)
    average = AveragedModel(network, multi_avg_fn=warmed_up_average(0.998))
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def loss(index: torch.Tensor, epoch: int) -> torch.Tensor:
        index = index.to(device)
        x, y = _views(clips, lengths, index), targets[index]
        if epoch < MIXUP_UNTIL * settings.epochs:
            x, y = _mixup(x, y)
        return F.cross_entropy(network(_mask(x)).float(), y, label_smoothing=0.05)

    train_epochs(
        network,
        loss,
        len(clips),
        one_cycle(optimizer, LEARNING_RATE, settings.steps(len(clips)), 0.1),
        settings,
        state_file,
        name="judge",
        module=__name__,
        identity={
            "labels": np.asarray(labels).tolist(),
            "classes": list(class_names),
            "sound": digest.hexdigest(),
        },
        clock=clock,
        average=average,
    )
    metadata = {"settings": asdict(settings), "clips": len(clips)}
    metadata["seconds"] = round(clock.seconds, 1)
    return Judge(average.module, class_names, metadata, device)


def require_classes(labels: np.ndarray) -> None:
    """Refuse training labels (N,) that are all equal.

    Raises:
        SsenvError: they are.
    """
    if len(np.unique(labels)) < 2:
        raise SsenvError(
            f"all {len(labels)} training clips are of one class: label them, "
            "in sub-folders or labels.csv"
        )


def _views(clips: torch.Tensor, lengths: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Random crops (B, 64, CROP) of the clips (N, 64, T) at `index` (B,).

    Start, speed, pitch and level are random; short clips repeat.
    """
    speed, start, level = (torch.rand(len(index), 1, device=clips.device) for _ in range(3))
    shift = torch.randint(-2, 3, (len(index), 1), device=clips.device)
    length, span = lengths[index][:, None], CROP * (0.8 + 0.45 * speed)
    position = (
        start * (length - span).clamp_min(0) + torch.arange(CROP, device=clips.device) * span / CROP
    )
    before = position.floor()
    blend = (position - before)[:, None]
    bands = (torch.arange(NUM_MELS, device=clips.device) + shift).clamp(0, NUM_MELS - 1)[:, :, None]
    early, late = (
        clips[index[:, None, None], bands, ((before + step).long() % length)[:, None]]
        for step in (0, 1)
    )
    return torch.lerp(early, late, blend) + (4 * level - 2)[:, None]


def _mixup(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each view with another one, with weights lambda and 1 - lambda.

    Powers and targets mix; lambda is from Beta(0.4, 0.4), replaced by 1 - lambda if below 1/2.
    """
    share = torch.distributions.Beta(*torch.full((2, len(x), 1), 0.4, device=x.device)).sample()
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(len(x), device=x.device)
    quiet = (1 - share).clamp_min(1e-6)
    mixed = torch.logaddexp(x + share[..., None].log(), x[other] + quiet[..., None].log())
    return mixed, share * y + (1 - share) * y[other]


def _mask(x: torch.Tensor) -> torch.Tensor:
    """Replace up to 8 bands and up to 24 frames of each view (B, 64, CROP) by its mean."""
    for axis, most in ((1, 8), (2, 24)):
        size = x.shape[axis]
        width, start = (torch.rand(len(x), 1, device=x.device) for _ in range(2))
        width = (width * (most + 1)).floor()
        first = (start * (size - width + 1)).floor()
        position = torch.arange(size, device=x.device)
        hidden = (position >= first) & (position < first + width)
        x = torch.where(hidden.unsqueeze(3 - axis), x.mean((1, 2), keepdim=True), x)
    return x
