"""The measures of the paper's four failure modes: units, words, and which sign is failure."""

from functools import partial
from typing import Literal, NamedTuple

MODES: dict[str, str] = {
    "high_frequency_attenuation": "High-frequency attenuation",
    "temporal_smoothing": "Temporal smoothing",
    "reduced_diversity": "Reduced diversity",
    "no_temporal_evolution": "No temporal evolution",
}


class Measure(NamedTuple):
    """A measure of a failure mode.

    Attributes:
        mode: a key of MODES.
        direction: the sign of a change that means failure.
        unit: "%": a share stored in [0, 1]; "dB re whole": a share stored in dB; "": none.
        words: what follows a value in a sentence.
        opposite: what generated clips have more of than real ones if they differ away from failure.
    """

    mode: str
    direction: Literal[-1, 1]
    unit: str
    words: str
    opposite: str

    def spell(self, value: float) -> str:
        """A value with its unit, to three significant digits."""
        match self.unit:
            case "dB re whole":
                return f"{100 * 10 ** (value / 10):.3g} %"
            case "%":
                return f"{100 * value:.3g} %"
            case unit:
                return f"{value:.3g} {unit}".rstrip()


_attenuation = partial(Measure, "high_frequency_attenuation")
_smoothing = partial(Measure, "temporal_smoothing")
_diversity = partial(Measure, "reduced_diversity")
_evolution = partial(Measure, "no_temporal_evolution")

MEASURES: dict[str, Measure] = {
    "energy_above_4khz": _attenuation(
        -1, "dB re whole", "of the energy above 4 kHz (geometric mean)", "more energy above 4 kHz"
    ),
    "energy_above_8khz": _attenuation(
        -1, "dB re whole", "of the energy above 8 kHz (geometric mean)", "more energy above 8 kHz"
    ),
    "energy_below_100hz": _attenuation(
        +1, "dB re whole", "of the energy below 100 Hz (geometric mean)", "less energy below 100 Hz"
    ),
    "onset_rate": _smoothing(-1, "", "onsets per second", "more onsets"),
    "onset_strength": _smoothing(
        -1, "dB", "rise within 30 ms at the strongest onsets", "stronger onsets"
    ),
    "spectral_flux": _smoothing(
        -1, "%", "change of the band envelopes in 10 ms", "faster change of the band envelopes"
    ),
    "crest_factor": _smoothing(
        -1, "dB", "from mean to peak of a band within 0.2 s", "sharper peaks within 0.2 s"
    ),
    "modulation_share": _smoothing(
        -1, "%", "of the band envelopes' energy at 2 to 20 Hz", "more modulation at 2 to 20 Hz"
    ),
    "mean_distance": _diversity(
        -1, "", "mean distance between two clips", "larger distances between clips"
    ),
    "nearest_distance": _diversity(
        -1, "", "mean distance to the nearest clip", "larger distances to the nearest clip"
    ),
    "class_distance": _diversity(
        -1,
        "",
        "mean distance between two clips of a class",
        "larger distances between clips of a class",
    ),
    "block_similarity": _evolution(
        +1,
        "",
        "mean cosine similarity of half seconds 1 s or more apart",
        "less similarity of half seconds",
    ),
    "spectral_change": _evolution(
        -1, "dB", "spectral change from one half second to the next", "more spectral change"
    ),
    "level_spread": _evolution(
        -1, "dB", "standard deviation of the half-second level", "more variation of the level"
    ),
}
