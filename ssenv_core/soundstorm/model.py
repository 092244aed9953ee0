"""SoundStorm (Borsos et al. 2023): a bidirectional Conformer that fills in masked residual codes of one level, given the coarser levels.

Notable: one table holds all levels' embeddings, each frame the sum of its levels' (section 3.1); every level has its own linear head;
a sound class, or its absence, is added to every frame (Ho & Salimans 2022, section 3.2); the loss computes logits of targets alone.
What is asked of each moment, its loudness and whether something begins there, is added too, or that nothing is asked (recommendation 5).
It draws no masks (masking.py), samples nothing (decoding.py), and is not told the level: the mask tokens it sees tell it, and a learned
level embedding beside them did not lower the held-out loss (ESC-50, 400 steps).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssenv_core.base.errors import SsenvError
from ssenv_core.soundstorm.conformer import Conformer
from ssenv_core.soundstorm.masking import apply_training_mask


@dataclass(frozen=True)
class SoundStormConfig:
    """Size of a SoundStorm; the defaults are the paper's 22 M parameters for EnCodec at 6 kbps and ESC-50's classes.

    Raises `SsenvError` for a size that no model can have.
    """

    n_q: int = 8  # codebooks, coarse to fine
    codebook_size: int = 1024  # codes per codebook
    num_classes: int = 50
    dim: int = 512
    depth: int = 2  # Conformer blocks
    heads: int = 8
    kernel_size: int = 31  # frames of the depthwise convolution, odd
    dropout: float = 0.1
    controls: bool = False  # whether it can be asked for loudness and onsets

    def __post_init__(self):
        for name in ("n_q", "codebook_size", "num_classes", "dim", "depth", "heads", "kernel_size"):
            if getattr(self, name) < 1:
                raise SsenvError(
                    f"SoundStorm: {name} is {getattr(self, name)}; it must be at least 1"
                )
        if self.dim % (2 * self.heads):
            raise SsenvError(
                f"SoundStorm: dim {self.dim} must be a multiple of 2 x heads = {2 * self.heads} (rotary positions)"
            )
        if self.kernel_size % 2 == 0:
            raise SsenvError(
                f"SoundStorm: kernel_size {self.kernel_size} must be odd, so that frames stay aligned"
            )
        if not 0 <= self.dropout < 1:
            raise SsenvError(f"SoundStorm: dropout {self.dropout} must lie in [0, 1)")

    @property
    def mask_token(self) -> int:
        """Id of the mask token, the one after the last code."""
        return self.codebook_size

    @property
    def null_label(self) -> int:
        """Label that says "no class", the one after the last class."""
        return self.num_classes


class MaskedTokens(NamedTuple):
    """What `SoundStorm.masked_loss` knows about each of the M target tokens, ordered by level."""

    loss: Tensor  # (M,) float32, cross-entropy in nat
    correct: Tensor  # (M,) bool, the most likely code is the true one
    item: Tensor  # (M,) int64, which item of the batch
    level: Tensor  # (M,) int64, in [0, n_q)


class ControlEmbedding(nn.Module):
    """Controls (B, T, 2), see `SoundStorm`, to (B, T, D): a piecewise linear curve over loudness, and a row for each answer to onset."""

    KNOTS = 16

    def __init__(self, dim: int):
        super().__init__()
        self.rows = nn.Linear(self.KNOTS + 4, dim, bias=False)
        self.register_buffer("knots", torch.linspace(0, 1, self.KNOTS), persistent=False)
        nn.init.normal_(
            self.rows.weight, std=0.5
        )  # as loud as codes are: at 0.02 they are not heard within a short training

    def forward(self, controls: Tensor) -> Tensor:
        unknown = controls.isnan()
        loudness, onset = controls.nan_to_num(0.0).clamp(0, 1).unbind(-1)
        near = (
            F.relu(1 - (loudness[..., None] - self.knots).abs() * (self.KNOTS - 1))
            * ~unknown[..., :1]
        )
        answers = torch.stack((1 - onset, onset), dim=-1) * ~unknown[..., 1:]
        return self.rows(torch.cat((near, answers, unknown), dim=-1).to(self.rows.weight.dtype))


class SoundStorm(nn.Module):
    """Residual codes (B, Q, T) with mask tokens, a class per item, and controls per frame, to logits of the codes of one level.

    `codes` (B, Q, T) int64 in [0, codebook_size], codebook_size being the mask token; `labels` (B,) int64 in [0, num_classes], num_classes
    being "no class"; `padding` (B, T) bool, True = padding, which never influences active frames; None where there is none (faster).
    `controls` (B, T, 2) float, NaN where nothing is asked: loudness in [0, 1] and onset, 1 where something begins and 0 where nothing does;
    None asks nothing at all. A model without controls takes None only.
    """

    def __init__(self, config: SoundStormConfig):
        super().__init__()
        self.config = config
        ids = config.codebook_size + 1
        # One fused lookup and sum is 5 times as fast on a CPU, with its gradient, as one embedding per level.
        self.code_embedding = nn.EmbeddingBag(config.n_q * ids, config.dim, mode="sum")
        self.class_embedding = nn.Embedding(config.num_classes + 1, config.dim)
        self.control_embedding = ControlEmbedding(config.dim) if config.controls else None
        self.conformer = Conformer(
            config.dim, config.depth, config.heads, config.kernel_size, config.dropout
        )
        self.heads = nn.ModuleList(
            nn.Linear(config.dim, config.codebook_size) for _ in range(config.n_q)
        )
        self.register_buffer("level_offset", torch.arange(config.n_q) * ids, persistent=False)
        # Without codebooks to start from, embeddings start small, as learning then turns them sooner; so do logits: all codes about alike.
        nn.init.normal_(self.code_embedding.weight, std=0.02)
        nn.init.normal_(self.class_embedding.weight, std=0.02)
        for head in self.heads:
            nn.init.normal_(head.weight, std=0.2 * config.dim**-0.5)
            nn.init.zeros_(head.bias)

    @torch.no_grad()
    def start_from_codebooks(self, codebooks: Tensor) -> None:
        """Give each code an embedding and logits that tell it from all others and yet are like those of codes that sound alike.

        `codebooks` (Q, K, D) float, whose sum over levels is what a frame decodes to. A code's row is a random projection of its entry plus
        a random vector of its own of equal weight, and its logits begin as the similarity of a frame to that row. The entry makes codes
        that sound alike alike; of entries, the square root of each level's singular values is taken, as loudness alone would else decide
        all similarities. The vector of its own makes a code recognisable, so that it can be repeated from one frame to the next: without
        it level 1 has 5.7 instead of 4.1 nat after 100 s of one core on ESC-10 (outputs/reference/log.md).
        """
        n_q, size, width = codebooks.shape
        if (n_q, size) != (self.config.n_q, self.config.codebook_size):
            raise ValueError(f"codebooks {tuple(codebooks.shape)} do not fit {self.config}")
        centred = codebooks.float() - codebooks.float().mean(dim=1, keepdim=True)
        level_rms = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
        u, spread, v = torch.linalg.svd(centred, full_matrices=False)
        entries = u * spread.sqrt()[:, None] @ v
        entries = entries / entries.square().mean(dim=(1, 2), keepdim=True).sqrt()
        projected = (
            entries @ torch.randn(width, self.config.dim, device=codebooks.device) * width**-0.5
        )
        rows = (
            (projected + torch.randn_like(projected)) * level_rms / level_rms.square().sum().sqrt()
        )
        self.code_embedding.weight.unflatten(0, (n_q, size + 1))[:, :size] = rows
        for head, own in zip(self.heads, rows, strict=True):
            head.weight.copy_(0.6 * self.config.dim**-0.5 * own)

    def forward(
        self,
        codes: Tensor,
        labels: Tensor,
        padding: Tensor | None = None,
        controls: Tensor | None = None,
    ) -> Tensor:
        """Hidden frames (B, T, D), for `logits`."""
        return self.features(codes, labels, padding, controls)

    def features(
        self,
        codes: Tensor,
        labels: Tensor | None = None,
        padding: Tensor | None = None,
        controls: Tensor | None = None,
        layer: int | None = None,
    ) -> Tensor:
        """Frames (B, T, D) after `layer` Conformer blocks (0: the summed embeddings; None: all), without a class where `labels` is None."""
        return self.conformer(self.embed(codes, labels, controls), padding, layer)

    def embed(
        self, codes: Tensor, labels: Tensor | None = None, controls: Tensor | None = None
    ) -> Tensor:
        """The summed embeddings of frames (B, T, D), which the Conformer reads."""
        if labels is None:
            labels = codes.new_full(codes.shape[:1], self.config.null_label)
        rows = (codes + self.level_offset[:, None]).transpose(1, 2)
        x = (
            self.code_embedding(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
            + self.class_embedding(labels)[:, None]
        )
        if self.control_embedding is not None:
            x = x + self.control_embedding(
                torch.full((1, 1, 2), torch.nan, device=x.device) if controls is None else controls
            )
        elif controls is not None:
            raise ValueError("this SoundStorm was built without controls")
        return x

    def logits(self, hidden: Tensor, level: int) -> Tensor:
        """Logits (..., K) of the codes of `level` from hidden frames (..., D); any selection of frames will do."""
        return self.heads[level](hidden)

    def masked_loss(
        self,
        codes: Tensor,
        labels: Tensor,
        level: Tensor,
        mask: Tensor,
        padding: Tensor | None = None,
        controls: Tensor | None = None,
    ) -> MaskedTokens:
        """Cross-entropy of the true `codes` (no mask tokens) at each item's masked positions of its level (SoundStorm, section 3.2).

        `level` (B,) int64 and `mask` (B, T) bool as from `sample_training_mask`; padding is never a target. The mean of `.loss` is what to
        minimise; every head takes part even when no item drew its level, so that data-parallel training sees a gradient for each.
        """
        if padding is not None:
            mask = mask & ~padding
        hidden = self(
            apply_training_mask(codes, level, mask, self.config.mask_token),
            labels,
            padding,
            controls,
        )
        item, frame = mask.nonzero(as_tuple=True)
        by_level = level[item].argsort(stable=True)
        item, frame = item[by_level], frame[by_level]
        counts = level[item].bincount(minlength=self.config.n_q).tolist()
        logits = torch.cat(
            [self.logits(h, q) for q, h in enumerate(hidden[item, frame].split(counts))]
        )
        target = codes[item, level[item], frame]
        loss = F.cross_entropy(logits.float(), target, reduction="none")
        return MaskedTokens(loss, logits.argmax(dim=-1) == target, item, level[item])
