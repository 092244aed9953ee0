"""SoundStorm (Borsos et al. 2023): predicts masked residual codes of one level from the coarser.

Notable: one table holds all levels' embeddings, and a frame is the sum of its levels' (section
3.1); every level has its own linear head; an embedding of the class, or of its absence, is added to
every frame (Ho & Salimans 2022, section 3.2), and one of the frame's loudness and onset, or of
their absence (recommendation 5); the loss computes logits of targets alone. The level is no input:
the mask tokens show it, and a learned level embedding beside them did not lower the held-out loss
(ESC-50, 400 steps). Masks are drawn in masking.py, codes are sampled in decoding.py.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssenv_core.base.errors import SsenvError
from ssenv_core.soundstorm.conformer import Conformer
from ssenv_core.soundstorm.inputs import CONTROLS, Inputs
from ssenv_core.soundstorm.masking import apply_training_mask


@dataclass(frozen=True)
class SoundStormConfig:
    """Size of a SoundStorm; the defaults are the paper's, 22 M parameters.

    These are for EnCodec at 6 kbps and ESC-50's classes. Raises `SsenvError` for an impossible
    size.
    """

    n_q: int = 8  # codebooks, coarse to fine
    codebook_size: int = 1024  # codes per codebook
    num_classes: int = 50
    dim: int = 512
    depth: int = 2  # Conformer blocks
    heads: int = 8
    kernel_size: int = 31  # frames of the depthwise convolution, odd
    dropout: float = 0.1
    controls: bool = False  # conditioning on loudness and onsets
    prompts: bool = False  # frames whose tokens are all given are visible at all levels

    def __post_init__(self):
        for name in ("n_q", "codebook_size", "num_classes", "dim", "depth", "heads", "kernel_size"):
            if getattr(self, name) < 1:
                raise SsenvError(
                    f"SoundStorm: {name} is {getattr(self, name)}; it must be at least 1"
                )
        if self.dim % (2 * self.heads):
            raise SsenvError(
                f"SoundStorm: dim {self.dim} must be a multiple of 2 x heads = {2 * self.heads} "
                "(rotary positions)"
            )
        if self.kernel_size % 2 == 0:
            raise SsenvError(
                f"SoundStorm: kernel_size {self.kernel_size} must be odd, so that frames stay "
                "aligned"
            )
        if not 0 <= self.dropout < 1:
            raise SsenvError(f"SoundStorm: dropout {self.dropout} must lie in [0, 1)")

    @property
    def mask_token(self) -> int:
        """Id of the mask token: one after the last code."""
        return self.codebook_size

    @property
    def null_label(self) -> int:
        """The label "no class": one after the last class."""
        return self.num_classes


class MaskedTokens(NamedTuple):
    """Loss and accuracy of each of M target tokens, ordered by level."""

    loss: Tensor  # (M,) float32, cross-entropy in nat
    correct: Tensor  # (M,) bool, the most likely code is the true one
    item: Tensor  # (M,) int64, which item of the batch
    level: Tensor  # (M,) int64, in [0, n_q)


class ControlEmbedding(nn.Module):
    """Embed controls (B, T, C) as (B, T, D).

    Loudness is a piecewise linear curve; onset, no onset and each unspecified channel have a row.
    """

    KNOTS = 16

    def __init__(self, dim: int):
        super().__init__()
        self.rows = nn.Linear(self.KNOTS + 2 + len(CONTROLS), dim, bias=False)
        self.register_buffer("knots", torch.linspace(0, 1, self.KNOTS), persistent=False)
        # As large as the embeddings of codes: 0.02 has no effect within a short training.
        nn.init.normal_(self.rows.weight, std=0.5)

    def forward(self, controls: Tensor) -> Tensor:
        unspecified = controls.isnan()
        loudness, onset = controls.nan_to_num(0.0).clamp(0, 1).unbind(-1)
        near = (
            F.relu(1 - (loudness[..., None] - self.knots).abs() * (self.KNOTS - 1))
            * ~unspecified[..., :1]
        )
        onsets = torch.stack((1 - onset, onset), dim=-1) * ~unspecified[..., 1:]
        channels = torch.cat((near, onsets, unspecified), dim=-1)
        return self.rows(channels.to(self.rows.weight.dtype))


class SoundStorm(nn.Module):
    """Residual codes with mask tokens, a class and controls to logits of the codes of one level.

    Padding never influences active frames. A model without controls takes `Inputs` without.
    """

    def __init__(self, config: SoundStormConfig):
        super().__init__()
        self.config = config
        ids = config.codebook_size + 1
        # One fused lookup and sum is 5 times as fast on a CPU, gradient included, as one embedding
        # per level.
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
        # Without codebooks embeddings start small, so that learning turns them sooner, and so do
        # logits: all codes are about equally likely.
        nn.init.normal_(self.code_embedding.weight, std=0.02)
        nn.init.normal_(self.class_embedding.weight, std=0.02)
        for head in self.heads:
            nn.init.normal_(head.weight, std=0.2 * config.dim**-0.5)
            nn.init.zeros_(head.bias)

    @torch.no_grad()
    def start_from_codebooks(self, codebooks: Tensor) -> None:
        """Initialize embeddings and heads so that codes of similar sound have similar rows.

        `codebooks` (Q, K, D) float; a frame decodes to the sum of its entries over levels. A code's
        row is a random projection of its entry plus a random vector of its own of equal weight, and
        its logits start as the similarity of a frame to that row. The entries bring codes of
        similar sound together; each level's singular values are replaced by their square roots, as
        loudness alone would otherwise decide all similarities. The random vector makes a code
        recognisable, so that it can be repeated from one frame to the next: without it level 1 has
        5.7 instead of 4.1 nat after 100 s of one core on ESC-10 (outputs/reference/log.md).
        """
        n_q, size, width = codebooks.shape
        if (n_q, size) != (self.config.n_q, self.config.codebook_size):
            raise ValueError(f"codebooks {tuple(codebooks.shape)} do not fit {self.config}")
        centred = codebooks.float() - codebooks.float().mean(dim=1, keepdim=True)
        level_rms = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
        u, spread, v = torch.linalg.svd(centred, full_matrices=False)
        entries = u * spread.sqrt()[:, None] @ v
        entries = entries / entries.square().mean(dim=(1, 2), keepdim=True).sqrt()
        projection = torch.randn(width, self.config.dim, device=codebooks.device)
        projected = entries @ projection * width**-0.5
        rows = projected + torch.randn_like(projected)
        rows = rows * level_rms / level_rms.square().sum().sqrt()
        self.code_embedding.weight.unflatten(0, (n_q, size + 1))[:, :size] = rows
        for head, own in zip(self.heads, rows, strict=True):
            head.weight.copy_(0.6 * self.config.dim**-0.5 * own)

    def forward(self, inputs: Inputs) -> Tensor:
        """Hidden frames (B, T, D), for `logits`."""
        return self.features(inputs)

    def features(self, inputs: Inputs, layer: int | None = None) -> Tensor:
        """Frames (B, T, D) after `layer` Conformer blocks (0: the summed embeddings; None: all)."""
        return self.conformer(self.embed(inputs), inputs.padding, layer)

    def embed(self, inputs: Inputs) -> Tensor:
        """The summed embeddings of frames (B, T, D), the input of the Conformer."""
        codes, labels, _, controls = inputs
        if labels is None:
            labels = codes.new_full(codes.shape[:1], self.config.null_label)
        rows = (codes + self.level_offset[:, None]).transpose(1, 2)
        x = self.code_embedding(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        x = x + self.class_embedding(labels)[:, None]
        if self.control_embedding is not None:
            if controls is None:
                controls = torch.full((1, 1, len(CONTROLS)), torch.nan, device=x.device)
            x = x + self.control_embedding(controls)
        elif controls is not None:
            raise ValueError("this SoundStorm was built without controls")
        return x

    def logits(self, hidden: Tensor, level: int) -> Tensor:
        """Logits (..., K) of the codes of `level` from any hidden frames (..., D)."""
        return self.heads[level](hidden)

    def masked_loss(
        self, inputs: Inputs, level: Tensor, mask: Tensor, prompt: Tensor | None = None
    ) -> MaskedTokens:
        """Cross-entropy of the codes at each item's masked frames of its level.

        SoundStorm, section 3.2. `inputs` hold the true codes (no mask tokens); `level` (B,) int64
        and `mask` (B, T) bool as from `sample_training_mask`; padding and the frames of `prompt`
        (B, T) bool are never targets. Training minimises the mean of `.loss`. Every head takes part
        even when no item drew its level, so that data-parallel training sees a gradient for each.
        """
        codes = inputs.codes
        if inputs.padding is not None:
            mask = mask & ~inputs.padding
        if prompt is not None:
            mask = mask & ~prompt
        shown = apply_training_mask(codes, level, mask, self.config.mask_token, prompt)
        hidden = self(inputs._replace(codes=shown))
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
