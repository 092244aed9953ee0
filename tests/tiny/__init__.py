"""A tiny codec and the format of its tokens, for tests that only need some codec."""

from dataclasses import replace

import torch

from ssenv_core.codecs.melrvq.codec import MelRVQ, MelRVQConfig
from ssenv_core.codecs.melrvq.decoder import DecoderConfig
from ssenv_core.codecs.melrvq.encoder import EncoderConfig
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.tokens import TokenFormat

TINY = MelRVQConfig(EncoderConfig(8, 16, 1), DecoderConfig(16, 1, 16, 1))


FORMAT = TokenFormat(
    "tiny", "fi" * 32, "melrvq_24khz", 6.0, "ab" * 32, 24_000, 75.0, 8, 1024, duration=0.4
)


def token_format(made_by: Codec | None = None, **fields: object) -> TokenFormat:
    """The format of 0.4 s clips' tokens, by a codec or by one without weights; `fields` differ."""
    names = ("bandwidth", "token_hash", "sample_rate", "frame_rate", "n_q", "codebook_size")
    if made_by is not None:
        own = {name: getattr(made_by, name) for name in names}
        fields = {**own, "codec": made_by.name, **fields}
    return replace(FORMAT, **fields)


def tiny_codec(bandwidth: float = 6.0, seed: int = 0, config: MelRVQConfig = TINY) -> MelRVQ:
    """A codec of a few thousand random weights, in half precision as a file holds them.

    Its latents use many codes and depend on all the frames that the encoder sees.
    """
    torch.manual_seed(seed)
    codec = MelRVQ(config, bandwidth).eval().requires_grad_(False)
    codec.encoder.mean.fill_(-4.0)  # about the log amplitudes of noise at 0.1
    codec.encoder.codebooks[:, 1:].normal_()
    # An untrained correction would ignore its context.
    for part in (codec.encoder.backbone, codec.encoder.correction):
        for parameter in part.parameters():
            parameter.normal_(std=0.3)
    for tensor in codec.state_dict().values():
        tensor.copy_(tensor.half())
    return codec
