"""`vocos_encodec_24khz`: the tokens of `encodec_24khz`, decoded by Vocos (Siuzdak 2023).

"Vocos: Closing the gap between time-domain and Fourier-based neural vocoders". The backbone and the
head of the package `vocos` replace EnCodec's decoder; encodec.py provides encoder and quantizer.

The weights are not shipped: `pytorch_model.bin` of charactr/vocos-encodec-24khz is read from the
folder SSENV_VOCOS_DIR if it is set, else from the Hugging Face cache, which the package uses too.
Its hash is not known and not checked; every tensor must have the name and shape that this network
has, and only tensors are unpickled. The config.yaml beside it, which names classes to import, is
not read: `untrained_vocos` builds what it describes.
"""

from bisect import bisect_left

import torch
import torch.nn.functional as F
from encodec.model import EncodecModel
from torch import nn
from vocos import Vocos
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone

from ssenv_core.base.pretrained import HUB, Weights
from ssenv_core.codecs.encodec import EnCodec, load_encodec
from ssenv_core.codecs.inverse_stft import InverseSTFT
from ssenv_core.codecs.protocol import levels_at

NAME = "vocos_encodec_24khz"
# EnCodec's levels at the bandwidths (kbps) that Vocos was trained for, in the order of its ids.
LEVELS = {1.5: 2, 3.0: 4, 6.0: 8, 12.0: 16}
CODEBOOK_SIZE = 1024
LATENT_DIM = 128

WEIGHTS = Weights(
    NAME, "SSENV_VOCOS_DIR", f"{HUB}charactr/vocos-encodec-24khz", ("pytorch_model.bin",)
)


class VocosEnCodec(EnCodec):
    """Mono, 75 frames/s, 2 to 16 levels of 1024 codes.

    Its `token_hash` is that of `encodec_24khz`: either decodes tokens of the other.

    Args:
        model: EnCodec's 24 kHz model; it is frozen in place.
        vocos: as `untrained_vocos` builds it, with or without pretrained weights; it is frozen in
            place.
        bandwidth: kbps: 1.5, 3, 6 or 12.

    Raises:
        SsenvError: another bandwidth.
    """

    def __init__(self, model: EncodecModel, vocos: Vocos, bandwidth: float = 6.0) -> None:
        vocos_levels(bandwidth)
        super().__init__(model, bandwidth)
        self.name = NAME
        self.vocos = vocos.eval().requires_grad_(False)

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """codes (B, q, T), the first q <= n_q levels -> wav (B, 1, 320 T).

        Vocos is conditioned on the bandwidth; for a number of levels between two of its bandwidths
        this is the higher one. It draws no noise: `generator` is not used.
        """
        levels = codes.transpose(0, 1)
        first_entry = torch.arange(len(levels), device=codes.device)[:, None, None] * CODEBOOK_SIZE
        features = F.embedding(
            levels + first_entry, self.vocos.feature_extractor.codebook_weights
        ).sum(dim=0)
        bandwidth_id = torch.tensor(
            [bisect_left(list(LEVELS.values()), len(levels))], device=codes.device
        )
        return self.vocos.decode(features.transpose(1, 2), bandwidth_id=bandwidth_id).unsqueeze(1)


def vocos_levels(bandwidth: float) -> int:
    """The quantizer levels at a bandwidth (kbps).

    Raises:
        SsenvError: Vocos was not trained for it.
    """
    return levels_at(bandwidth, LEVELS, NAME)


def untrained_vocos() -> Vocos:
    """The published network with random weights and without its own copy of EnCodec.

    As in configs/vocos-encodec.yaml of the Vocos repository.
    """
    features = nn.Module()  # the package's own would download EnCodec again
    features.codebook_weights = nn.Parameter(
        torch.zeros(max(LEVELS.values()) * CODEBOOK_SIZE, LATENT_DIM)
    )
    backbone = VocosBackbone(
        LATENT_DIM, dim=384, intermediate_dim=1152, num_layers=8, adanorm_num_embeddings=len(LEVELS)
    )
    head = ISTFTHead(dim=384, n_fft=1280, hop_length=320, padding="same")
    # The same inverse STFT, but one that can be exported; the published file holds its window.
    inverse = InverseSTFT(head.istft.n_fft, head.istft.hop_length)
    inverse.register_buffer("window", head.istft.window)
    head.istft = inverse
    return Vocos(features, backbone, head)


def load_vocos_encodec(bandwidth: float = 6.0) -> VocosEnCodec:
    """The published models with their weights.

    Raises:
        SsenvError: no such bandwidth, or the weights of one of the two models are unavailable or
            not those of this network.
    """
    vocos_levels(bandwidth)  # refuse it before anything is downloaded
    vocos = untrained_vocos()
    WEIGHTS.load_into(vocos)
    return VocosEnCodec(load_encodec("encodec_24khz", bandwidth).model, vocos, bandwidth)
