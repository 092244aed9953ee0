"""Are generated clips training clips? By sound: how far the embedding of each lies from that of the nearest training clip, beside how far
those of held-out clips do, which nobody copied. `columns.find_copies` asks the same of tokens.

An embedding that knows no level and no order of events takes variations of a clip for copies, too.
"""

from dataclasses import dataclass

import numpy as np

from ssenv_core.datasets import Dataset
from ssenv_core.errors import SsenvError
from ssenv_core.measuring import on_all_cores
from ssenv_core.metrics.spectrotemporal import analyse, is_silent, log_mel_embedding

NEAR = 0.05  # the share of held-out clips that count as near to a training clip
LEAST_HELDOUT = 8


@dataclass(frozen=True)
class Memorisation:
    """What `judge_memorisation` found.

    Attributes:
        near: the distance that all but 5 % of the held-out clips exceed.
        share: of the generated clips, how many lie nearer than that to a training clip.
        noise_floor: what 95 % of such shares stay within among held-out clips.
        present: share > noise_floor.
    """

    near: float
    share: float
    noise_floor: float
    present: bool

    @property
    def sentence(self) -> str:
        return (
            f"Memorisation: {'present' if self.present else 'not present'}: {self.share:.0%} of the generated clips lie nearer to a "
            f"training clip than all but {NEAR:.0%} of the held-out ones do, noise floor {self.noise_floor:.0%}"
        )


def embed_recordings(sounds: Dataset, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """`log_mel_embedding` of every clip that is not silent, at a rate (Hz): embeddings (N, D) and their places in the dataset (N,) int64.

    Raises:
        SsenvError: a clip cannot be read or embedded, or all are silent.
    """

    def embedding(position: int) -> np.ndarray | None:
        wav = sounds.read(sounds.clips[position], sample_rate)
        return None if is_silent(wav) else log_mel_embedding(analyse(wav, sample_rate, sounds.clips[position].name))

    found = list(on_all_cores(embedding, range(len(sounds)), "embed training clips"))
    places = np.array([position for position, one in enumerate(found) if one is not None], dtype=np.int64)
    if not len(places):
        raise SsenvError(f"all {len(sounds)} clips of {sounds.name} are silent, so none can be recognised")
    return np.stack([found[position] for position in places]), places


def judge_memorisation(heldout: np.ndarray, generated: np.ndarray, *, repeats: int = 500, seed: int = 42) -> Memorisation:
    """Whether more generated clips lie near a training clip than chance brings there.

    The noise floor is measured among held-out clips alone: `repeats` times one random half of them says what near is, and as many of the
    other half as there are generated ones, at most all, are asked. Clips are taken as drawn independently.

    Args:
        heldout: (N,) distance of each held-out clip to the nearest training clip, as `metrics.diversity.nearest` has it.
        generated: (M,) likewise.

    Raises:
        SsenvError: fewer than 8 held-out clips, or no generated one.
    """
    if len(heldout) < LEAST_HELDOUT or not len(generated):
        raise SsenvError(
            f"memorisation: {len(heldout)} held-out and {len(generated)} generated clips can be used, {LEAST_HELDOUT} and 1 are needed; "
            "silent clips do not count"
        )
    half = len(heldout) // 2
    order = np.random.default_rng(seed).permuted(np.tile(heldout, (repeats, 1)), axis=1)
    near, asked = np.quantile(order[:, :half], NEAR, axis=1), order[:, half : half + min(len(heldout) - half, len(generated))]
    floor = float(np.quantile((asked < near[:, None]).mean(axis=1), 0.95))
    own = float(np.quantile(heldout, NEAR))
    share = float(np.mean(generated < own))
    return Memorisation(own, share, floor, share > floor)
