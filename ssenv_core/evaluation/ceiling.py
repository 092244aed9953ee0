"""The ceiling a codec sets to every generator of its tokens: clips as they are, resampled, and through codecs and bandwidths, measured side
by side. A floor above codecs and metrics; what the numbers mean is the notebook's to say.
"""

from collections.abc import Iterable

import librosa
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from ssenv_core.base.audio import fit_length, resample
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import track
from ssenv_core.classification.judge import Judge
from ssenv_core.codecs import codec_levels, load_codec
from ssenv_core.codecs.protocol import Codec
from ssenv_core.codecs.reconstruction import reconstructions
from ssenv_core.data.recordings import Clip, Dataset
from ssenv_core.metrics.acoustic import METRICS, measure
from ssenv_core.metrics.diversity import code_entropy
from ssenv_core.metrics.reconstruction import log_mel_distance, si_sdr
from ssenv_core.metrics.spectrotemporal import (
    analyse,
    high_frequency_attenuation,
    is_constant,
    temporal_smoothing,
)
from ssenv_core.metrics.stats import compare

REAL = "real"
DRAWS = 4  # of a decoder's noise that the judge hears
SIX = tuple(name for name in METRICS if name != "duration")


def version_name(codec: str, bandwidth: float) -> str:
    """How a codec at a bandwidth is called in tables: `melrvq_24khz 6 kbps`."""
    return f"{codec} {bandwidth:g} kbps"


def available_codecs(
    wanted: Iterable[str], device: str | torch.device
) -> tuple[dict[str, Codec], dict[str, str]]:
    """The codecs of `name@kbps` whose weights can be had, and why the others' cannot, both by `version_name`.

    Raises:
        SsenvError: there is no such codec, or it has no such bandwidth.
    """
    codecs, reasons = {}, {}
    for name, bandwidth in map(_parse, wanted):
        codec_levels(name, bandwidth)
        try:
            codecs[version_name(name, bandwidth)] = load_codec(name, bandwidth, device)
        except SsenvError as error:
            reasons[version_name(name, bandwidth)] = str(error)
    return codecs, reasons


def measure_ceiling(
    sounds: Dataset,
    codecs: dict[str, Codec],
    judge: Judge | None,
    *,
    sample_rate: int,
    device: str | torch.device,
) -> pd.DataFrame:
    """One row per version and clip: `version`, `clip`, `class`, METRICS, `log_mel_distance` (dB), `si_sdr` (dB), and, with a judge, the
    share of `DRAWS` draws of the decoder's noise of which it names the clip rightly (`right`), and the total variation, their mean, between
    its probabilities for `real` and for them (`total_variation`, 0 to 1). All else is of the first draw.

    Versions: `real 44.1 kHz`, or what rate most of the clips were recorded at; `real`, at `sample_rate`; then each of `codecs`, brought to
    `sample_rate` to be measured. The distances are to `real`; a clip that is silent throughout has NaN metrics (see
    `metrics.acoustic.measure`).

    Raises:
        SsenvError: a clip cannot be read.
    """
    versions: dict[str, Codec | None] = {REAL: None, **codecs}
    rows, native_rate = [], sounds.native_rate
    for clip in track(sounds.clips, len(sounds), "measure codecs", "clip"):
        about = {"clip": clip.name, "class": sounds.class_names[clip.label]}
        native = measure(
            [(sounds.read(clip, native_rate), native_rate)],
            convention="matched",
            sample_rate=native_rate,
        ).iloc[0]
        rows.append({"version": f"real {native_rate / 1000:g} kHz", **about, **native})
        real = sounds.read(clip, sample_rate)
        heard_real = judge.probabilities(real, sample_rate) if judge else None
        for version, codec in versions.items():
            draws = (
                [real]
                if codec is None
                else draws_through(codec, sounds, clip, sample_rate, device, DRAWS if judge else 1)
            )
            wav = draws[0]
            row = {
                "version": version,
                **about,
                **measure([(wav, sample_rate)], convention="matched", sample_rate=sample_rate).iloc[
                    0
                ],
            }
            if codec is not None:
                row |= {
                    "log_mel_distance": log_mel_distance(real, wav, sample_rate),
                    "si_sdr": si_sdr(real, wav),
                }
            if judge is not None:
                heard = np.stack([judge.probabilities(draw, sample_rate) for draw in draws])
                row |= {"right": (heard.argmax(1) == clip.label).mean()}
                row |= (
                    {}
                    if codec is None
                    else {"total_variation": np.abs(heard - heard_real).sum(1).mean() / 2}
                )
            rows.append(row)
    return pd.DataFrame(rows).drop(columns=["sample_rate", "duration"])


def through(
    codec: Codec, sounds: Dataset, clip: Clip, sample_rate: int, device: str | torch.device
) -> np.ndarray:
    """A clip read at the codec's rate, through it, and brought to `sample_rate`: (S,) float32 of the clip's length there."""
    return draws_through(codec, sounds, clip, sample_rate, device, 1)[0]


def draws_through(
    codec: Codec,
    sounds: Dataset,
    clip: Clip,
    sample_rate: int,
    device: str | torch.device,
    draws: int,
) -> list[np.ndarray]:
    """`through` with several draws of the decoder's noise, of a codec without noise once."""
    wavs = reconstructions(codec, sounds.read(clip, codec.sample_rate), device, draws)
    return [
        fit_length(
            resample(wav, codec.sample_rate, sample_rate), round(sounds.duration * sample_rate)
        )
        for wav in wavs
    ]


def summarise(clips: pd.DataFrame) -> pd.DataFrame:
    """One row per version of `measure_ceiling`: for each of the six metrics its mean, its difference from `real` in percent (`_percent`),
    KS D against `real` (`_ks`) and how far a clip is from itself (`_apart`: the mean absolute difference, in percent of the real mean, in
    which errors of two clips cannot cancel); mean `log_mel_distance`, median `si_sdr`; if judged, the share of clips named rightly
    (`right`) and the mean `total_variation`. The six are of the clips that are not silent throughout, whatever a codec makes of these."""
    sides = {version: table for version, table in clips.groupby("version", sort=False)}
    itself = sides[REAL].set_index("clip")
    rows = {}
    for version, table in sides.items():
        heard = table[~table["clip"].isin(_silent(clips))]
        moved = (table.set_index("clip")[list(SIX)] - itself[list(SIX)]).abs().mean() / itself[
            list(SIX)
        ].mean().abs()
        comparison = compare(sides[REAL], heard, metrics=SIX)
        row = {}
        for name in SIX:
            row |= {name: comparison.loc[name, "generated_mean"]}
            row |= {
                f"{name}_percent": comparison.loc[name, "difference_percent"],
                f"{name}_ks": comparison.loc[name, "ks_d"],
            }
            row |= {f"{name}_apart": 100 * moved[name]}
        row |= {
            "log_mel_distance": table["log_mel_distance"].mean(),
            "si_sdr": table["si_sdr"].median(),
        }
        if "right" in table:
            row |= {
                "right": table["right"].mean(),
                "total_variation": table["total_variation"].mean(),
            }
        rows[version] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("version")


def _silent(clips: pd.DataFrame) -> pd.Series:
    """The clips of `measure_ceiling` that are silent throughout as they are."""
    return clips.loc[(clips["version"] == REAL) & clips["rms"].isna(), "clip"]


def by_class(clips: pd.DataFrame, version: str) -> pd.DataFrame:
    """One row per class, the ones that suffer most first: mean `log_mel_distance` through `version`, the RMS difference in percent and, if
    judged, the share named rightly of the real clips (`right_real`) and through the codec (`right`)."""
    real, codec = (clips[clips["version"] == side].groupby("class") for side in (REAL, version))
    table = pd.DataFrame({"log_mel_distance": codec["log_mel_distance"].mean()})
    heard = clips[(clips["version"] == version) & ~clips["clip"].isin(_silent(clips))]
    table["rms_percent"] = 100 * (heard.groupby("class")["rms"].mean() / real["rms"].mean() - 1)
    if "right" in clips:
        table["right_real"], table["right"] = real["right"].mean(), codec["right"].mean()
    return table.sort_values("log_mel_distance", ascending=False)


def character(sounds: Dataset, sample_rate: int) -> pd.DataFrame:
    """What real clips are like, one row per class: `energy_above_8khz` and `energy_below_100hz` (dB re the clip's whole), `crest_factor`
    (dB, peaks within tenths of a second: transients) and `flatness` (dB, 0 for white noise, far below it for tones). Silent clips are left
    out."""
    rows = []
    for clip in track(sounds.clips, len(sounds), "describe clips", "clip"):
        wav = sounds.read(clip, sample_rate)
        if is_constant(wav):
            continue
        sound = analyse(wav, sample_rate, clip.name)
        energy, time = high_frequency_attenuation(sound), temporal_smoothing(sound)
        frames = librosa.stft(sound.wav, n_fft=2048)
        power = np.abs(frames) ** 2
        loud = power[:, power.sum(0) > power.sum(0).max() * 1e-6]
        flatness = librosa.feature.spectral_flatness(S=loud, power=1.0).mean()
        rows.append(
            {
                "class": sounds.class_names[clip.label],
                "energy_above_8khz": energy["energy_above_8khz"],
                "energy_below_100hz": energy["energy_below_100hz"],
                "crest_factor": time["crest_factor"],
                "flatness": 10 * np.log10(flatness),
            }
        )
    return pd.DataFrame(rows).groupby("class").mean()


def who_suffers(classes: pd.DataFrame, character: pd.DataFrame) -> pd.Series:
    """Spearman's rank correlation, over classes, of the log-mel distance with each column of `character`."""
    joined = classes.join(character, how="inner")
    return pd.Series(
        {name: spearmanr(joined["log_mel_distance"], joined[name]).statistic for name in character}
    )


def code_use(codes: np.ndarray, codebook_size: int) -> pd.DataFrame:
    """One row per quantizer level of codes (N, Q) in [0, codebook_size): `dead`, the share of its entries that never occur, and `entropy`
    (bit) of the codes."""
    if np.max(codes) >= codebook_size:
        raise ValueError(f"codes up to {np.max(codes)} do not fit a codebook of {codebook_size}")
    rows = {
        level: {
            "dead": 1 - len(np.unique(used)) / codebook_size,
            "entropy": code_entropy(used, codebook_size),
        }
        for level, used in enumerate(np.asarray(codes).T, 1)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("level")


def _parse(codec_at_rate: str) -> tuple[str, float]:
    name, _, bandwidth = codec_at_rate.partition("@")
    return name, float(bandwidth)
