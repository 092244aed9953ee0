"""Codecs by name: the embedded one, EnCodec, Vocos and DAC."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from ssenv_core.base.errors import SsenvError, did_you_mean
from ssenv_core.base.pretrained import require_shipped
from ssenv_core.codecs.dac import NAME as DAC_NAME
from ssenv_core.codecs.dac import dac_levels, load_dac
from ssenv_core.codecs.encodec import RELEASES, encodec_levels, load_encodec
from ssenv_core.codecs.melrvq.codec import CONFIGS, MelRVQ
from ssenv_core.codecs.protocol import Codec, levels_at
from ssenv_core.codecs.vocos_encodec import NAME as VOCOS_NAME
from ssenv_core.codecs.vocos_encodec import load_vocos_encodec, vocos_levels

WEIGHTS = Path(__file__).parent / "weights"
PART_OF = {"esc10": "esc50"}  # the same clips in the same folds


def load_codec(name: str, bandwidth: float = 6.0, device: str | torch.device = "cpu") -> Codec:
    """Load a frozen codec.

    Args:
        name: a key of CODECS.
        bandwidth: kbps; 0.75 per level for the 24 kHz codecs, 1.5 for encodec_48khz, 0.86 for
            dac_44khz (8 selects all of its levels).
        device: where its weights go.

    Raises:
        SsenvError: no such codec or bandwidth, or its weights or package are missing or damaged.
    """
    if name not in CODECS:
        hint = did_you_mean(name, CODECS) or "there are"
        raise SsenvError(f"unknown codec {name!r}: {hint} ({', '.join(CODECS)})")
    load, _ = CODECS[name]
    return load(bandwidth).to(device)


def was_fitted_on(codec: Codec, dataset: str, fold: int) -> bool:
    """Whether the codec's file says that it was fitted on this fold of a dataset.

    It then loses less of these sounds than of new ones.
    """
    if not isinstance(codec, MelRVQ) or codec.card.get("dataset") != PART_OF.get(dataset, dataset):
        return False
    return codec.card["heldout_fold"] != fold


def codec_levels(name: str, bandwidth: float) -> int:
    """The quantizer levels `n_q` of a codec at a bandwidth (kbps), without loading it.

    Raises:
        SsenvError: no such bandwidth.
    """
    _, levels = CODECS[name]
    return levels(bandwidth)


def _load_melrvq(name: str, bandwidth: float) -> MelRVQ:
    return MelRVQ.load(require_shipped(WEIGHTS / f"{name}.safetensors"), bandwidth)


def _melrvq_levels(name: str, bandwidth: float) -> int:
    return levels_at(bandwidth, CONFIGS[name].bandwidths, name)


# For each codec: load it at a bandwidth, and count its levels there.
CODECS: dict[str, tuple[Callable[[float], nn.Module], Callable[[float], int]]] = {
    **{name: (partial(_load_melrvq, name), partial(_melrvq_levels, name)) for name in CONFIGS},
    **{name: (partial(load_encodec, name), partial(encodec_levels, name)) for name in RELEASES},
    VOCOS_NAME: (load_vocos_encodec, vocos_levels),
    DAC_NAME: (load_dac, dac_levels),
}
