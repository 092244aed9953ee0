"""`vocos_encodec_24khz`: the tokens of `encodec_24khz`, decoded by Vocos (Siuzdak 2023, "Vocos: Closing the gap between time-domain and
Fourier-based neural vocoders") in place of EnCodec's own decoder, through the `vocos` package's backbone and head.

The weights are not shipped: `pytorch_model.bin` of charactr/vocos-encodec-24khz comes from the folder SSENV_VOCOS_DIR if that is set, else
from the Hugging Face cache, as the package itself fetches it. No hash of it is checked, as none is known here; every tensor
must have the name and shape that this network has, and only tensors are unpickled. The config.yaml beside it, which names classes to
import, is not read: it says what `untrained_vocos` builds. EnCodec's encoder and quantizer are the checked ones of encodec.py.
"""

from bisect import bisect_left

import torch
import torch.nn.functional as F
from encodec.model import EncodecModel
from huggingface_hub import hf_hub_download
from torch import nn
from vocos import Vocos
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.pretrained import Weights
from ssenv_core.codecs.encodec import EnCodec, load_encodec
from ssenv_core.codecs.inverse_stft import InverseSTFT

NAME = "vocos_encodec_24khz"
REPOSITORY = "charactr/vocos-encodec-24khz"
LEVELS = {
    1.5: 2,
    3.0: 4,
    6.0: 8,
    12.0: 16,
}  # of EnCodec's, at the bandwidths (kbps) Vocos was trained for, in the order of its ids
CODEBOOK_SIZE, LATENT_DIM = 1024, 128


def _from_hub(weights: Weights) -> str:
    return hf_hub_download(REPOSITORY, weights.file)


WEIGHTS = Weights(
    NAME,
    "pytorch_model.bin",
    f"https://huggingface.co/{REPOSITORY}/resolve/main/pytorch_model.bin",
    "SSENV_VOCOS_DIR",
    _from_hub,
)


class VocosEnCodec(EnCodec):
    """Mono, 75 frames/s, 2 to 16 levels of 1024 codes. Its `token_hash` is that of `encodec_24khz`: either decodes tokens of the other.

    Args:
        model: EnCodec's 24 kHz model; it is frozen in place.
        vocos: as `untrained_vocos` builds it, with or without pretrained weights; it is frozen in place.
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
        """codes (B, q, T), the first q <= n_q levels -> wav (B, 1, 320 T). Vocos draws nothing: `generator` is not used.

        Vocos is told the bandwidth it decodes; for a number of levels between two of its bandwidths, the higher one.
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
    if bandwidth not in LEVELS:
        raise SsenvError(
            f"{NAME} has no {bandwidth:g} kbps: choose one of {', '.join(f'{choice:g}' for choice in LEVELS)}"
        )
    return LEVELS[bandwidth]


def untrained_vocos() -> Vocos:
    """The published network (configs/vocos-encodec.yaml of the Vocos repository) with random weights and no EnCodec inside."""
    features = nn.Module()  # the package's own would download EnCodec again
    features.codebook_weights = nn.Parameter(
        torch.zeros(max(LEVELS.values()) * CODEBOOK_SIZE, LATENT_DIM)
    )
    backbone = VocosBackbone(
        LATENT_DIM, dim=384, intermediate_dim=1152, num_layers=8, adanorm_num_embeddings=len(LEVELS)
    )
    head = ISTFTHead(dim=384, n_fft=1280, hop_length=320, padding="same")
    inverse = InverseSTFT(head.istft.n_fft, head.istft.hop_length)  # the same, and can be exported
    inverse.register_buffer("window", head.istft.window)  # which is in the published file
    head.istft = inverse
    return Vocos(features, backbone, head)


def load_vocos_encodec(bandwidth: float = 6.0) -> VocosEnCodec:
    """The published models with their weights.

    Raises:
        SsenvError: no such bandwidth, or the weights of one of the two are not to be had or not those of this network.
    """
    vocos_levels(bandwidth)
    vocos = untrained_vocos()
    WEIGHTS.load_into(vocos)
    return VocosEnCodec(load_encodec("encodec_24khz", bandwidth).model, vocos, bandwidth)
