"""An embedded codec of a few thousand random weights, for tests that only need some codec."""

import torch

from ssenv_core.codecs.melrvq.codec import MelRVQ, MelRVQConfig
from ssenv_core.codecs.melrvq.decoder import DecoderConfig
from ssenv_core.codecs.melrvq.encoder import EncoderConfig

TINY = MelRVQConfig(EncoderConfig(8, 16, 1), DecoderConfig(16, 1, 16, 1))


def tiny_codec(bandwidth: float = 6.0, seed: int = 0) -> MelRVQ:
    """Every weight as a file holds it; its latents use many codes and depend on all the frames that the encoder sees."""
    torch.manual_seed(seed)
    codec = MelRVQ(TINY, bandwidth).eval().requires_grad_(False)
    codec.encoder.mean.fill_(-4.0)  # about the log amplitudes of noise at 0.1
    codec.encoder.codebooks[:, 1:].normal_()
    for part in (
        codec.encoder.backbone,
        codec.encoder.correction,
    ):  # whose context an untrained correction leaves out
        for parameter in part.parameters():
            parameter.normal_(std=0.3)
    for tensor in codec.state_dict().values():
        tensor.copy_(tensor.half())
    return codec
