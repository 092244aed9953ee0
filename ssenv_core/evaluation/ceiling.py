"""What codecs keep of real clips: measurements of each clip as recorded, resampled, and decoded.

No generator of a codec's tokens can do better than the codec, so these numbers are a ceiling.
`ceiling_findings` puts them into figures, tables and sentences.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from ssenv_core.base.audio import fit_length, resample
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import track
from ssenv_core.base.training_loop import EpochSettings
from ssenv_core.classification.judge import SAMPLE_RATE, Judge, train_judge
from ssenv_core.codecs import codec_levels, load_codec
from ssenv_core.codecs.protocol import Codec
from ssenv_core.codecs.reconstruction import reconstructions
from ssenv_core.data.recordings import Clip, Dataset
from ssenv_core.metrics.acoustic import COMPARED, measure
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
DRAWS = 4  # draws of a decoder's noise that the judge classifies


def version_name(codec: str, bandwidth: float) -> str:
    """The name of a codec at a bandwidth (kbps) in tables: `melrvq_24khz 6 kbps`."""
    return f"{codec} {bandwidth:g} kbps"


def available_codecs(
    wanted: Iterable[str], device: str | torch.device
) -> tuple[dict[str, Codec], dict[str, str]]:
    """Load codecs given as `name@kbps`, each once.

    Returns:
        The codecs, and the reasons why others cannot be loaded, both by `version_name`.

    Raises:
        SsenvError: there is no such codec, or it has no such bandwidth.
    """
    codecs = {}
    reasons = {}
    for name, bandwidth in map(_parse, dict.fromkeys(wanted)):
        codec_levels(name, bandwidth)
        try:
            codecs[version_name(name, bandwidth)] = load_codec(name, bandwidth, device)
        except SsenvError as error:
            reasons[version_name(name, bandwidth)] = str(error)
    return codecs, reasons


def fit_judge(
    sounds: Dataset,
    settings: EpochSettings,
    path: Path,
    state_file: Path,
    device: str | torch.device,
) -> Judge | None:
    """Train a judge on real clips and save it to `path`.

    Clips of a single class give no judge; a judge's file from other clips is then removed.

    Raises:
        SsenvError: see `train_judge`.
    """
    labels = np.array([clip.label for clip in sounds.clips])
    if len(set(labels)) == 1:
        path.unlink(missing_ok=True)
        return None
    wavs = (sounds.read(clip, SAMPLE_RATE) for clip in sounds.clips)
    judge = train_judge(wavs, labels, sounds.class_names, settings, state_file, device)
    judge.save(path, folds=sounds.folds)
    return judge


def measure_ceiling(
    sounds: Dataset,
    codecs: dict[str, Codec],
    judge: Judge | None,
    *,
    sample_rate: int,
    device: str | torch.device,
) -> pd.DataFrame:
    """Measure every clip as recorded, at `sample_rate`, and through each codec.

    Versions: `real 44.1 kHz`, or the rate at which most clips were recorded; `real`, at
    `sample_rate`; then each of `codecs`, resampled to `sample_rate`. Distances are to `real`; a
    clip that is silent throughout has NaN metrics (see `metrics.acoustic.measure`).

    Returns:
        One row per version and clip: `version`, `clip`, `class`, METRICS, `log_mel_distance` (dB)
        and `si_sdr` (dB) of the decoder's first draw of noise. With a judge, over `DRAWS` draws:
        `right`, the share of draws classified correctly, and `total_variation` (0 to 1), the mean
        total variation distance between the judge's probabilities for a draw and for `real`.

    Raises:
        SsenvError: a clip cannot be read.
    """
    draws = DRAWS if judge else 1
    native_rate = sounds.native_rate
    rows = []
    for clip in track(sounds.clips, len(sounds), "measure codecs", "clip"):
        names = {"clip": clip.name, "class": sounds.class_names[clip.label]}
        native = _metrics(sounds.read(clip, native_rate), native_rate)
        rows.append({"version": f"real {native_rate / 1000:g} kHz", **names, **native})
        real = sounds.read(clip, sample_rate)
        of_real = judge.probabilities(real, sample_rate) if judge else None
        rows.append({"version": REAL, **names, **_metrics(real, sample_rate)})
        if judge:
            rows[-1]["right"] = float(of_real.argmax() == clip.label)
        for version, codec in codecs.items():
            wavs = reconstruct_draws(codec, sounds, clip, sample_rate, device, draws)
            row = {"version": version, **names, **_metrics(wavs[0], sample_rate)}
            row["log_mel_distance"] = log_mel_distance(real, wavs[0], sample_rate)
            row["si_sdr"] = si_sdr(real, wavs[0])
            if judge:
                of_draws = np.stack([judge.probabilities(wav, sample_rate) for wav in wavs])
                row["right"] = (of_draws.argmax(1) == clip.label).mean()
                row["total_variation"] = np.abs(of_draws - of_real).sum(1).mean() / 2
            rows.append(row)
    return pd.DataFrame(rows).drop(columns=["sample_rate", "duration"])


def _metrics(wav: np.ndarray, sample_rate: int) -> pd.Series:
    return measure([(wav, sample_rate)], convention="matched", sample_rate=sample_rate).iloc[0]


def reconstruct_clip(
    codec: Codec, sounds: Dataset, clip: Clip, sample_rate: int, device: str | torch.device
) -> np.ndarray:
    """Encode and decode a clip at the codec's rate, then resample it to `sample_rate`.

    Returns:
        (S,) float32 of the clip's length.
    """
    return reconstruct_draws(codec, sounds, clip, sample_rate, device, 1)[0]


def reconstruct_draws(
    codec: Codec,
    sounds: Dataset,
    clip: Clip,
    sample_rate: int,
    device: str | torch.device,
    draws: int,
) -> list[np.ndarray]:
    """`reconstruct_clip` with several draws of the decoder's noise; one if it has no noise."""
    wavs = reconstructions(codec, sounds.read(clip, codec.sample_rate), device, draws)
    length = round(sounds.duration * sample_rate)
    return [fit_length(resample(wav, codec.sample_rate, sample_rate), length) for wav in wavs]


def summarise(clips: pd.DataFrame) -> pd.DataFrame:
    """Average the rows of `measure_ceiling` per version.

    The metrics are over clips that are not silent throughout, whatever a codec makes of these.

    Returns:
        One row per version. For each metric of COMPARED: its mean, the mean's difference from
        `real` in percent (`_percent`), KS D against `real` (`_ks`), and the mean absolute
        difference of a clip from itself in percent of the real mean, where errors of two clips
        cannot cancel (`_apart`). Also the mean `log_mel_distance` and median `si_sdr`; with a
        judge, the share of clips classified correctly (`right`) and mean `total_variation`.
    """
    tables = {version: table for version, table in clips.groupby("version", sort=False)}
    real = tables[REAL].set_index("clip")[list(COMPARED)]
    silent = _silent(clips)
    rows = {}
    for version, table in tables.items():
        comparison = compare(tables[REAL], table[~table["clip"].isin(silent)], metrics=COMPARED)
        apart = (table.set_index("clip")[list(COMPARED)] - real).abs().mean() / real.mean().abs()
        row = {}
        for name in COMPARED:
            row[name] = comparison.loc[name, "generated_mean"]
            row[f"{name}_percent"] = comparison.loc[name, "difference_percent"]
            row[f"{name}_ks"] = comparison.loc[name, "ks_d"]
            row[f"{name}_apart"] = 100 * apart[name]
        row["log_mel_distance"] = table["log_mel_distance"].mean()
        row["si_sdr"] = table["si_sdr"].median()
        if "right" in table:
            row["right"] = table["right"].mean()
            row["total_variation"] = table["total_variation"].mean()
        rows[version] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("version")


def _silent(clips: pd.DataFrame) -> pd.Series:
    """Names of the clips whose original is silent throughout."""
    return clips.loc[(clips["version"] == REAL) & clips["rms"].isna(), "clip"]


def by_class(clips: pd.DataFrame, version: str) -> pd.DataFrame:
    """Average the rows of `measure_ceiling` per class, for one version.

    Returns:
        One row per class, the largest loss first: mean `log_mel_distance` (dB) and `rms_percent`,
        the difference of the mean RMS; with a judge, the shares of real clips (`right_real`) and of
        clips through the codec (`right`) classified correctly.
    """
    real, codec = (clips[clips["version"] == side].groupby("class") for side in (REAL, version))
    table = pd.DataFrame({"log_mel_distance": codec["log_mel_distance"].mean()})
    audible = clips[(clips["version"] == version) & ~clips["clip"].isin(_silent(clips))]
    table["rms_percent"] = 100 * (audible.groupby("class")["rms"].mean() / real["rms"].mean() - 1)
    if "right" in clips:
        table["right_real"] = real["right"].mean()
        table["right"] = codec["right"].mean()
    return table.sort_values("log_mel_distance", ascending=False)


def class_traits(sounds: Dataset, sample_rate: int) -> pd.DataFrame:
    """Describe the real clips of each class, without silent ones.

    Returns:
        One row per class: `energy_above_8khz` and `energy_below_100hz` (dB relative to the whole
        clip), `crest_factor` (dB, peaks within tenths of a second: transients) and `flatness` (dB,
        0 for white noise, far below it for tones).
    """
    rows = []
    for clip in track(sounds.clips, len(sounds), "describe clips", "clip"):
        wav = sounds.read(clip, sample_rate)
        if is_constant(wav):
            continue
        sound = analyse(wav, sample_rate, clip.name)
        energy = high_frequency_attenuation(sound)
        frames = librosa.stft(sound.wav, n_fft=2048)
        power = np.abs(frames) ** 2
        loud = power[:, power.sum(0) > power.sum(0).max() * 1e-6]
        flatness = librosa.feature.spectral_flatness(S=loud, power=1.0).mean()
        rows.append(
            {
                "class": sounds.class_names[clip.label],
                "energy_above_8khz": energy["energy_above_8khz"],
                "energy_below_100hz": energy["energy_below_100hz"],
                "crest_factor": temporal_smoothing(sound)["crest_factor"],
                "flatness": 10 * np.log10(flatness),
            }
        )
    return pd.DataFrame(rows).groupby("class").mean()


def trait_correlations(classes: pd.DataFrame, traits: pd.DataFrame) -> pd.Series:
    """Spearman's rank correlation, over classes, of the log-mel distance with each trait."""
    joined = classes.join(traits, how="inner")
    loss = joined["log_mel_distance"]
    return pd.Series({name: spearmanr(loss, joined[name]).statistic for name in traits})


def example_clips(
    sounds: Dataset,
    class_names: Sequence[str],
    codecs: Mapping[str, Codec],
    sample_rate: int,
    device: str | torch.device,
) -> dict[str, dict[str, np.ndarray]]:
    """The first clip of each class, real and through each codec: waveforms (S,) by version."""
    examples = {}
    for name in class_names:
        clip = next(clip for clip in sounds.clips if sounds.class_names[clip.label] == name)
        examples[name] = {REAL: sounds.read(clip, sample_rate)} | {
            version: reconstruct_clip(codec, sounds, clip, sample_rate, device)
            for version, codec in codecs.items()
        }
    return examples


def code_use(codes: np.ndarray, codebook_size: int) -> pd.DataFrame:
    """How codes (N, Q) in [0, codebook_size) use the codebook of each quantizer level.

    Returns:
        One row per level: `dead`, the share of entries that never occur, and `entropy` (bit).

    Raises:
        ValueError: a code is beyond the codebook.
    """
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
