"""Published networks that embed sounds, for the Fréchet distances of `metrics.frechet`.

They are those with which Fréchet audio distances are reported elsewhere. Each gets the input of its
authors, from whole clips, silence included. `encodec` needs only its weights; `clap` and `vggish`
are the extra `embeddings`. No weights are shipped. An embedding that cannot be loaded is skipped
and reported with the reason; none is substituted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ssenv_core.base.audio import fit_length, resample
from ssenv_core.base.errors import SsenvError, did_you_mean, install
from ssenv_core.base.pretrained import HUB, TransformersWeights, Weights
from ssenv_core.base.progress import track
from ssenv_core.codecs import load_codec
from ssenv_core.metrics.frechet import frechet_beside_floor

EXTRA = "embeddings"
OTHERWISE = "leave this embedding out"
CLAP = TransformersWeights(
    name="CLAP",
    folder_variable="SSENV_CLAP_DIR",
    url=f"{HUB}laion/clap-htsat-unfused",
    weights=("model.safetensors", "pytorch_model.bin"),
    others=("config.json", "preprocessor_config.json"),
    otherwise=OTHERWISE,
    extra=EXTRA,
)
VGGISH = Weights(
    "vggish",
    "SSENV_VGGISH_DIR",
    "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
    ("vggish-10086976.pth",),
    sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
    otherwise=OTHERWISE,
)
VGGISH_RATE = 16_000  # Hz
VGGISH_LEAST = 15_600  # samples of one embedding: 96 frames of 25 ms, 10 ms apart


@dataclass(frozen=True)
class Embedding:
    """A named network.

    Attributes:
        embed: wav (S,) float32 in [-1, 1] at `sample_rate` (Hz) -> (T, D) float32, T at least 1.
    """

    name: str
    sample_rate: int
    embed: Callable[[np.ndarray], np.ndarray]

    def of(self, clips: Iterable[tuple[np.ndarray, int]], count: int) -> list[np.ndarray]:
        """The embeddings (T, D) of each of `count` clips: wav (S,) float32, its rate in Hz."""
        shown = track(clips, count, f"embed by {self.name}", "clip")
        return [self.embed(resample(wav, rate, self.sample_rate)) for wav, rate in shown]


def load_embedding(name: str, device: str | torch.device = "cpu") -> Embedding:
    """One of EMBEDDINGS, with its weights on a device.

    Raises:
        SsenvError: no embedding of this name, its package or weights are unavailable, or the
            weights are not the published ones.
    """
    if name not in EMBEDDINGS:
        hint = did_you_mean(name, EMBEDDINGS) or "there are"
        raise SsenvError(f"unknown embedding {name!r}: {hint} ({', '.join(EMBEDDINGS)})")
    return EMBEDDINGS[name](device)


def encodec_embedding(device: str | torch.device = "cpu") -> Embedding:
    """EnCodec's latents before quantization: (T, 128), 75 frames/s (Défossez et al. 2022)."""
    codec = load_codec("encodec_24khz", device=device)
    return Embedding(
        "encodec",
        codec.sample_rate,
        lambda wav: codec.embed(torch.tensor(wav, device=device)[None, None])[0].T.cpu().numpy(),
    )


def clap_embedding(device: str | torch.device = "cpu") -> Embedding:
    """LAION's CLAP (Wu et al. 2023) without fusion: (T, 512), one unit vector per 10 s at 48 kHz.

    A clip under 10 s is repeated, as in its training; of a longer one a rest under 10 s is ignored.
    """
    network, folder = CLAP.load("ClapAudioModelWithProjection")
    if network.config.enable_fusion:
        raise CLAP.unavailable(f"{folder} holds a CLAP with fusion, which draws random windows")
    extractor = CLAP.package().ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
    network = network.to(device)
    window = extractor.nb_max_samples

    @torch.inference_mode()
    def embed(wav: np.ndarray) -> np.ndarray:
        windows = list(wav[: len(wav) // window * window].reshape(-1, window)) or [wav]
        mels = extractor(
            windows, sampling_rate=extractor.sampling_rate, return_tensors="pt"
        ).input_features
        embeddings = network(input_features=mels.float().to(device)).audio_embeds
        return F.normalize(embeddings, dim=-1).cpu().numpy()

    return Embedding("clap", extractor.sampling_rate, embed)


def vggish_embedding(device: str | torch.device = "cpu") -> Embedding:
    """VGGish (Hershey et al. 2017): (T, 128), one vector per 0.96 s at 16 kHz.

    It is taken before the last activation and without PCA, as in fadtk and
    frechet-audio-distance. A clip under 0.975 s is padded with silence.
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
    recordings: Sequence[str] | None = None,
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """`metrics.frechet.frechet_beside_floor` of columns of sound by each named embedding.

    Args:
        names: of EMBEDDINGS.
        columns: "real", "codec" and "generated": waveforms (S,) float32 at `rate` (Hz).
        recordings: what each real clip was cut from.

    Returns:
        Tables by embedding; and by embedding the reason why one is missing.
    """
    tables = {}
    missing = {}
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
        tables[name] = frechet_beside_floor(**sides, recordings=recordings, seed=seed)
    return tables, missing
