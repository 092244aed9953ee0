"""Published networks that turn a sound into embeddings, those with which Fréchet audio distances are reported elsewhere, for
`metrics.frechet`.

Each hears what its authors had it hear, of whole clips, silence included. `encodec` needs nothing but its weights; `clap` and `vggish` are
the extra `embeddings`. None is shipped, and none ever stands in for another: one that is not to be had is named, with the reason.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ssenv_core.base.audio import fit_length, resample
from ssenv_core.base.errors import SsenvError, did_you_mean, install
from ssenv_core.base.pretrained import PICKLE, SAFETENSORS, Published, Weights, in_torch_hub
from ssenv_core.base.progress import track
from ssenv_core.codecs import load_codec
from ssenv_core.metrics.frechet import frechet_beside_floor

EXTRA = "embeddings"
CLAP = Published(
    "CLAP",
    "laion/clap-htsat-unfused",
    "SSENV_CLAP_DIR",
    EXTRA,
    files=("config.json", "preprocessor_config.json"),
    weights=(SAFETENSORS, PICKLE),
)
VGGISH = Weights(
    "vggish",
    "vggish-10086976.pth",
    "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
    "SSENV_VGGISH_DIR",
    in_torch_hub,
    "10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
    "do without this embedding",
)
VGGISH_RATE, VGGISH_LEAST = (
    16_000,
    15_600,
)  # Hz; samples that one embedding is of: 96 frames of 25 ms, 10 ms apart


@dataclass(frozen=True)
class Embedding:
    """A network by its name. `embed`: wav (S,) float32 in [-1, 1] at `sample_rate` (Hz) -> (T, D) float32, T at least 1."""

    name: str
    sample_rate: int
    embed: Callable[[np.ndarray], np.ndarray]

    def of(self, clips: Iterable[tuple[np.ndarray, int]], count: int) -> list[np.ndarray]:
        """The embeddings (T, D) of each of `count` clips: wav (S,) float32, its rate in Hz; taken one at a time."""
        shown = track(clips, count, f"embed by {self.name}", "clip")
        return [self.embed(resample(wav, rate, self.sample_rate)) for wav, rate in shown]


def load_embedding(name: str, device: str | torch.device = "cpu") -> Embedding:
    """One of EMBEDDINGS, with its weights on a device.

    Raises:
        SsenvError: no embedding of this name, or its package or weights are not to be had, or not the published ones.
    """
    if name not in EMBEDDINGS:
        hint = did_you_mean(name, EMBEDDINGS) or "there are"
        raise SsenvError(f"unknown embedding {name!r}: {hint} ({', '.join(EMBEDDINGS)})")
    return EMBEDDINGS[name](device)


def encodec_embedding(device: str | torch.device = "cpu") -> Embedding:
    """What EnCodec's 24 kHz encoder makes of a clip before it quantizes: (T, 128), 75 frames/s (Défossez et al. 2022)."""
    codec = load_codec("encodec_24khz", device=device)
    return Embedding(
        "encodec",
        codec.sample_rate,
        lambda wav: codec.embed(torch.tensor(wav, device=device)[None, None])[0].T.cpu().numpy(),
    )


def clap_embedding(device: str | torch.device = "cpu") -> Embedding:
    """LAION's CLAP (Wu et al. 2023) without fusion: (T, 512) of length 1, one for every 10 s at 48 kHz.

    A clip under 10 s is repeated, as in its training; of a longer one a rest under 10 s is left out.
    """
    network, folder = CLAP.load("ClapAudioModelWithProjection")
    if network.config.enable_fusion:
        raise SsenvError(
            f"{folder} holds a CLAP with fusion, which listens at random: take the one of huggingface.co/{CLAP.repository}"
        )
    extractor = CLAP.package().ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
    network, window = network.to(device), extractor.nb_max_samples

    @torch.inference_mode()
    def embed(wav: np.ndarray) -> np.ndarray:
        windows = list(wav[: len(wav) // window * window].reshape(-1, window)) or [wav]
        heard = extractor(
            windows, sampling_rate=extractor.sampling_rate, return_tensors="pt"
        ).input_features
        return (
            F.normalize(network(input_features=heard.float().to(device)).audio_embeds, dim=-1)
            .cpu()
            .numpy()
        )

    return Embedding("clap", extractor.sampling_rate, embed)


def vggish_embedding(device: str | torch.device = "cpu") -> Embedding:
    """VGGish (Hershey et al. 2017): (T, 128), one for every 0.96 s at 16 kHz, before the last activation and without PCA.

    As fadtk and frechet-audio-distance take it. A clip under 0.975 s is padded with silence.
    """
    try:
        from torchvggish.torchvggish import VGG, make_layers
        from torchvggish.vggish_input import waveform_to_examples
    except ImportError as error:
        raise SsenvError(
            f"VGGish needs the package torchvggish ({error}): {install(EXTRA)}"
        ) from error
    network = VGG(make_layers(), postprocess=False)
    VGGISH.load_into(network)
    network.embeddings = network.embeddings[:-1]
    network = network.eval().to(device)

    @torch.inference_mode()
    def embed(wav: np.ndarray) -> np.ndarray:
        padded = fit_length(wav, max(len(wav), VGGISH_LEAST)).astype(np.float64)
        examples = waveform_to_examples(padded, VGGISH_RATE, return_tensor=False)
        return (
            network(torch.tensor(examples, dtype=torch.float32, device=device)[:, None])
            .cpu()
            .numpy()
        )

    return Embedding("vggish", VGGISH_RATE, embed)


EMBEDDINGS: dict[str, Callable[..., Embedding]] = {
    "encodec": encodec_embedding,
    "clap": clap_embedding,
    "vggish": vggish_embedding,
}


def frechet_by_embedding(
    names: Sequence[str],
    columns: Mapping[str, Sequence[np.ndarray]],
    rate: int,
    device: str | torch.device = "cpu",
    seed: int = 42,
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """`metrics.frechet.frechet_beside_floor` of columns of sound by each of some embeddings.

    Args:
        names: of EMBEDDINGS.
        columns: "real", "codec" and "generated": waveforms (S,) float32 at `rate` (Hz).

    Returns:
        Tables by embedding; and why one is missing whose package or weights are not to be had.
    """
    tables, missing = {}, {}
    for name in names:
        try:
            embedding = load_embedding(name, device)
        except SsenvError as error:
            missing[name] = str(error)
            continue
        sides = {
            side: embedding.of([(wav, rate) for wav in wavs], len(wavs))
            for side, wavs in columns.items()
        }
        tables[name] = frechet_beside_floor(**sides, seed=seed)
    return tables, missing
