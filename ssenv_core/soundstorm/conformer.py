"""A bidirectional Conformer over frames: the backbone of SoundStorm, without tokens or classes.

Blocks follow Gulati et al. 2020 ("Conformer", eq. 1), with rotary positions (Su et al. 2021,
"RoFormer", eq. 34) in place of relative ones. LayerNorm replaces BatchNorm after the depthwise
convolution, so that an item's result never depends on its batch. Dropout acts on the output of each
module, before the residual sum, and on no wider tensor: random numbers are slow on a CPU.

A block starts as an average over time (`ConformerBlock.start_as_average`), not at random, in the
spirit of mimetic initialization (Trockman and Kolter 2023): sounds change slowly, so the frames
around a hidden one predict it best.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rotary_angles(
    n_frames: int, head_dim: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of every frame's rotation, float32 (n_frames, head_dim) each.

    RoFormer, eq. 34.
    """
    frequency = 10_000.0 ** (-torch.arange(0, head_dim, 2, device=device) / head_dim)
    angle = torch.outer(torch.arange(n_frames, device=device), frequency)
    return angle.cos().repeat(1, 2), torch.cat((-angle.sin(), angle.sin()), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate queries or keys (..., T, head_dim) by the angles of `rotary_angles`.

    Channel i is paired with channel i + head_dim / 2.
    """
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin).type_as(x)


class FeedForward(nn.Sequential):
    """LayerNorm, fourfold expansion with SiLU, and back: (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, dropout: float):
        super().__init__(
            nn.LayerNorm(dim),
            nn.Linear(dim, 4 * dim),
            nn.SiLU(),
            nn.Linear(4 * dim, dim),
            nn.Dropout(dropout),
        )


class SelfAttention(nn.Module):
    """LayerNorm and multi-head self-attention with rotary positions: (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], padding: Tensor | None) -> Tensor:
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attend = None if padding is None else ~padding[:, None, None, :]
        q, k = rotate(qkv[:2], *angles)
        x = F.scaled_dot_product_attention(q, k, qkv[2], attn_mask=attend)
        return self.dropout(self.out(x.transpose(1, 2).flatten(2)))


class ConvModule(nn.Module):
    """The convolution module of a Conformer: (B, T, D) -> (B, T, D).

    LayerNorm, pointwise to 2 x 2D, GLU, depthwise over time, LayerNorm, SiLU, pointwise back.
    """

    def __init__(self, dim: int, kernel_size: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 4 * dim)
        # (B, T, C) as a channels-last image of height T and width 1: on a CPU 6 times as fast as
        # Conv1d, gradient included.
        self.depthwise = nn.Conv2d(
            2 * dim, 2 * dim, (kernel_size, 1), padding=(kernel_size // 2, 0), groups=2 * dim
        )
        self.depthwise_norm = nn.LayerNorm(2 * dim)
        self.project = nn.Linear(2 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        x = F.glu(self.expand(self.norm(x)), dim=-1)
        if padding is not None:
            x = x.masked_fill(padding[..., None], 0.0)
        x = self.depthwise(x.unsqueeze(2).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).squeeze(2)
        return self.dropout(self.project(F.silu(self.depthwise_norm(x))))


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, LayerNorm (Gulati, eq. 1)."""

    def __init__(self, dim: int, heads: int, kernel_size: int, dropout: float):
        super().__init__()
        self.feed_in = FeedForward(dim, dropout)
        self.attention = SelfAttention(dim, heads, dropout)
        self.conv = ConvModule(dim, kernel_size, dropout)
        self.feed_out = FeedForward(dim, dropout)
        self.norm = nn.LayerNorm(dim)
        self.start_as_average()

    @torch.no_grad()
    def start_as_average(self) -> None:
        """Initialize the output of a frame as itself plus averages of its neighbours and of all.

        The convolution is a box filter, through which two opposite copies of a frame pass, as
        silu(x) - silu(-x) = x. Attention passes values unchanged. The feed-forward modules have a
        small gain. From a random start a Conformer must learn from data that a hidden frame
        resembles its neighbours: 5.9 instead of 4.1 nat at level 1 after 100 s of one core on
        ESC-10 (outputs/reference/log.md).
        """
        conv = self.conv
        attention = self.attention
        dim = self.norm.normalized_shape[0]
        identity = torch.eye(dim)
        for feed in (self.feed_in, self.feed_out):
            feed[3].weight.mul_(0.1)
        attention.qkv.weight[2 * dim :] = identity
        attention.out.weight.copy_(0.2 * identity)
        conv.expand.weight[: 2 * dim] = torch.cat((identity, -identity))
        conv.expand.weight[2 * dim :] *= 0.3
        nn.init.constant_(conv.depthwise.weight, 1 / conv.depthwise.weight.shape[2])
        conv.project.weight.copy_(0.7 * torch.cat((identity, -identity), dim=1))
        for bias in (
            attention.qkv.bias,
            attention.out.bias,
            conv.expand.bias,
            conv.depthwise.bias,
            conv.project.bias,
        ):
            nn.init.zeros_(bias)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], padding: Tensor | None) -> Tensor:
        x = torch.add(x, self.feed_in(x), alpha=0.5)
        x = x + self.attention(x, angles, padding)
        x = x + self.conv(x, padding)
        x = torch.add(x, self.feed_out(x), alpha=0.5)
        return self.norm(x)


class Conformer(nn.Module):
    """A stack of `depth` Conformer blocks.

    `dim / heads` must be even (rotary pairs) and `kernel_size` odd (frames stay aligned).
    """

    def __init__(self, dim: int, depth: int, heads: int, kernel_size: int, dropout: float):
        super().__init__()
        self.head_dim = dim // heads
        self.blocks = nn.ModuleList(
            ConformerBlock(dim, heads, kernel_size, dropout) for _ in range(depth)
        )

    def forward(self, x: Tensor, padding: Tensor | None = None, depth: int | None = None) -> Tensor:
        """Apply the first `depth` blocks (None: all; 0: none) to frames (B, T, D) float.

        `padding` (B, T) bool, True = padding, is never attended and is zeroed before the depthwise
        convolution: the active frames are those of a batch without padding, and the result at
        padding is undefined. None needs no mask and is faster.
        """
        angles = rotary_angles(x.shape[1], self.head_dim, x.device)
        for block in self.blocks[:depth]:
            x = block(x, angles, padding)
        return x
