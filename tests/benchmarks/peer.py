"""The peer: `SoundStorm` of the package soundstorm-pytorch, at the size and schedule of ours.

The package imports audiolm_pytorch and spear_tts_pytorch for a codec, text and its own trainer, and through them fairseq, which breaks on
Python 3.11. Nothing that is measured here uses them, so `import_peer` puts empty classes of the imported names in their place.
"""

import importlib
import sys
import warnings
from types import ModuleType

from torch import Tensor

from ssenv_core.soundstorm import SoundStormConfig

UNUSED = {
    "audiolm_pytorch": ("SoundStream", "HubertWithKmeans", "FairseqVQWav2Vec"),
    "audiolm_pytorch.data": ("get_dataloader",),
    "audiolm_pytorch.optimizer": ("get_optimizer",),
    "spear_tts_pytorch": ("TextToSemantic",),
}


def import_peer() -> ModuleType:
    """The module soundstorm_pytorch.soundstorm, without its progress bars and its warning about an old name in torch."""
    for name, classes in UNUSED.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update({unused: type(unused, (), {}) for unused in classes})
    module = importlib.import_module("soundstorm_pytorch.soundstorm")
    module.tqdm = lambda iterations, total: iterations
    warnings.filterwarnings("ignore", message=".*sdp_kernel", category=FutureWarning)
    return module


class Peer:
    """The package's model, with the package's own choices wherever ours does not name one.

    Its Conformer carries `residual_streams` copies of every frame (hyper-connections): 4 unless told otherwise, 1 being plain residual sums
    as in ours. `steps` are iterations of the first level; each finer level gets one, as `generate` does by default.
    """

    def __init__(self, config: SoundStormConfig, residual_streams: int, steps: int):
        package = import_peer()
        size = {"dim": config.dim, "depth": config.depth, "heads": config.heads, "dim_head": config.dim // config.heads}
        conformer = size | {"conv_kernel_size": config.kernel_size, "num_residual_streams": residual_streams}
        self.net = package.ConformerWrapper(codebook_size=config.codebook_size, num_quantizers=config.n_q, conformer=conformer)
        self.model = package.SoundStorm(self.net, steps=steps, schedule="cosine")

    def loss(self, codes: Tensor) -> Tensor:
        """Of `codes` (B, Q, T) int64, at a level and masks that the package draws; it writes into what it is given, hence the copy."""
        return self.model(codes.transpose(1, 2).clone())[0]

    def generate(self, clips: int, frames: int) -> Tensor:
        """Codes (B, Q, T) int64."""
        return self.model.generate(frames, batch_size=clips).unflatten(1, (frames, -1)).transpose(1, 2)
