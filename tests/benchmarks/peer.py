"""The peer: `SoundStorm` of the package soundstorm-pytorch, at the size and schedule of ours.

The package imports audiolm_pytorch and spear_tts_pytorch for a codec, text and its own trainer, and
through them fairseq, which breaks on Python 3.11. Nothing that is measured here uses them, so
`import_peer` puts empty classes in their place.
"""

import importlib
import sys
import warnings
from types import ModuleType

import torch.nn.functional as F
from torch import Tensor, nn

from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.masking import apply_training_mask
from ssenv_core.soundstorm.model import MaskedTokens, SoundStormConfig

FRAME_RATE = 75  # per second, of codes and of classes; only that they are equal matters

UNUSED = {
    "audiolm_pytorch": ("SoundStream", "HubertWithKmeans", "FairseqVQWav2Vec"),
    "audiolm_pytorch.data": ("get_dataloader",),
    "audiolm_pytorch.optimizer": ("get_optimizer",),
    "spear_tts_pytorch": ("TextToSemantic",),
}


def import_peer() -> ModuleType:
    """Import soundstorm_pytorch.soundstorm, without its progress bars and deprecation warning."""
    for name, classes in UNUSED.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update({unused: type(unused, (), {}) for unused in classes})
    module = importlib.import_module("soundstorm_pytorch.soundstorm")
    module.tqdm = lambda iterations, total: iterations
    warnings.filterwarnings("ignore", message=".*sdp_kernel", category=FutureWarning)
    return module


class Peer(nn.Module):
    """The package's model, with the package's own choices wherever ours does not name one.

    Its Conformer carries `residual_streams` copies of every frame (hyper-connections): 4 by
    default; 1 gives plain residual sums as in ours. `steps` are iterations of the first level; each
    finer level gets one, as by default in `generate`. If `conditioned`, it gets a clip's class as a
    "semantic token" in every frame.
    """

    def __init__(
        self, config: SoundStormConfig, residual_streams: int, steps: int, conditioned: bool = False
    ):
        super().__init__()
        package = import_peer()
        size = {
            "dim": config.dim,
            "depth": config.depth,
            "heads": config.heads,
            "dim_head": config.dim // config.heads,
        }
        conformer = size | {
            "conv_kernel_size": config.kernel_size,
            "num_residual_streams": residual_streams,
        }
        self.config = config
        self.net = package.ConformerWrapper(
            codebook_size=config.codebook_size, num_quantizers=config.n_q, conformer=conformer
        )
        one_rate = dict.fromkeys(("wav2vec_target_sample_hz", "codec_target_sample_hz"), FRAME_RATE)
        one_rate |= dict.fromkeys(("wav2vec_downsample_factor", "codec_downsample_factor"), 1)
        classes = one_rate | {"num_semantic_token_ids": config.num_classes} if conditioned else {}
        self.model = package.SoundStorm(self.net, steps=steps, schedule="cosine", **classes)

    def loss(
        self, codes: Tensor, labels: Tensor | None = None, active: Tensor | None = None
    ) -> Tensor:
        """The loss of codes (B, Q, T) int64, at a level and masks that the package draws.

        labels (B,) int64 are classes, if conditioned; active (B, T) bool is False for padding. The
        package writes into its input, hence the copy.
        """
        return self.model(
            codes.transpose(1, 2).clone(),
            mask=active,
            cond_semantic_token_ids=_each_frame(labels, codes),
        )[0]

    def masked_loss(self, inputs: Inputs, level: Tensor, mask: Tensor) -> MaskedTokens:
        """As `SoundStorm.masked_loss`, so that both are scored on the same masked tokens."""
        codes, labels, padding, _ = inputs
        if padding is not None:
            mask = mask & ~padding
        shown = (
            apply_training_mask(codes, level, mask, self.config.mask_token)
            .transpose(1, 2)
            .flatten(1)
        )
        condition = self.model.maybe_get_condition(_each_frame(labels, codes))
        logits = self.net(
            shown, mask=None if padding is None else ~padding, cond=condition
        ).unflatten(1, (-1, self.config.n_q))
        item, frame = mask.nonzero(as_tuple=True)
        logits, target = logits[item, frame, level[item]], codes[item, level[item], frame]
        loss = F.cross_entropy(logits, target, reduction="none")
        return MaskedTokens(loss, logits.argmax(dim=-1) == target, item, level[item])

    def generate(self, clips: int, frames: int) -> Tensor:
        """Codes (B, Q, T) int64."""
        return (
            self.model.generate(frames, batch_size=clips).unflatten(1, (frames, -1)).transpose(1, 2)
        )


def _each_frame(labels: Tensor | None, codes: Tensor) -> Tensor | None:
    return None if labels is None else labels[:, None].expand(-1, codes.shape[2])
