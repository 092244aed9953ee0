"""Findings of 04 about the acoustic metrics of real, coded and generated clips."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssenv_core.base.errors import SsenvError
from ssenv_core.data.recordings import Dataset
from ssenv_core.evaluation.columns import Columns
from ssenv_core.evaluation.folders import differing_lengths
from ssenv_core.evaluation.measuring import measure_recordings, measure_sounds
from ssenv_core.metrics.acoustic import COMPARED, METRICS
from ssenv_core.metrics.spectrotemporal import energy_share_below
from ssenv_core.metrics.stats import compare, gap_parts, gaps_by_class, noise_floor
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.metrics import class_gaps, gap_waterfall, metric_distributions, tilt_scatter
from ssenv_core.plots.tables import comparison_table

SHOWN = [
    *("real_mean", "real_std", "generated_mean", "generated_std"),
    *("difference_percent", "ks_d", "ks_p", "ks_holm_p"),
]
LOW = 100  # Hz


class NativeGap(NamedTuple):
    """The parts of the gap to recordings at their own rate; see `gap_parts`."""

    parts: pd.DataFrame
    rate: int
    native_rate: int
    clips: int


@dataclass(frozen=True)
class AcousticGap:
    """The acoustic metrics of a study's columns.

    Attributes:
        columns: the sounds.
        tables: one row per clip, by column; a clip whose recording is silent counts in neither
            "real" nor "codec".
        comparison: `compare` of the real clips with "codec" (as pairs) and with "generated".
        floor: `noise_floor` for sets of these sizes.
    """

    columns: Columns
    tables: dict[str, pd.DataFrame]
    comparison: dict[str, pd.DataFrame]
    floor: pd.DataFrame

    @property
    def beyond_floor(self) -> list[str]:
        """Metrics in which generated clips differ by more than equally large sets of real clips."""
        found = self.comparison["generated"]["ks_d"]
        return [name for name in COMPARED if found[name] > self.floor.loc[name, "ks_d_95"]]


def measure_gap(columns: Columns, seed: int) -> AcousticGap:
    """Measure the acoustic metrics of all clips of a study's columns.

    Raises:
        SsenvError: all real or all generated clips are silent.
    """
    names = list(COMPARED)
    tables = {
        name: measure_sounds(wavs, columns.sample_rate, name)
        for name, wavs in columns.sounds.items()
    }
    tables["codec"].loc[tables["real"]["silent"], names] = np.nan
    sizes = tuple(int((~tables[side]["silent"]).sum()) for side in ("real", "generated"))
    if not all(sizes):
        raise SsenvError(
            f"there is nothing to compare: {sizes[0]} of the real clips have sound, and {sizes[1]} "
            "of the generated ones"
        )
    comparison = {
        side: compare(
            tables["real"], tables[side], metrics=names, paired=side == "codec", seed=seed
        )
        for side in ("codec", "generated")
    }
    floor = noise_floor(tables["real"][names], sizes, seed=seed)
    return AcousticGap(columns, tables, comparison, floor)


def columns_finding(columns: Columns, fold: int, fitted: str) -> Finding:
    """How many clips there are, and what must be known about them.

    Args:
        fitted: the codec's name if it was trained on the fold; "" otherwise.
    """
    sentences = [
        f"{len(columns.real)} real clips of fold {fold}, {len(columns.generated)} generated, all "
        f"at {columns.sample_rate} Hz."
    ]
    if fitted:
        sentences.append(
            f"{fitted} was trained on fold {fold} too, so its part of the gap is smaller here than "
            "for new clips."
        )
    if columns.planned:
        sentences.append(
            "The generated clips follow the loudness and onsets of training clips: how loud they "
            "are, and when something happens, is not the model's own."
        )
    return Finding(sentence=" ".join(sentences))


def generated_finding(gap: AcousticGap) -> Finding:
    """Real against generated clips."""
    comparison = gap.comparison["generated"]
    significant = {side: _significant(table) for side, table in gap.comparison.items()}
    silent = ", ".join(f"{name} {int(table['silent'].sum())}" for name, table in gap.tables.items())
    lengths = differing_lengths({side: gap.tables[side] for side in ("real", "generated")})
    table = comparison[SHOWN].join(gap.floor["ks_d_95"])
    caption = (
        "Real against generated; ks_d_95 is the noise floor: 95 % of equally large sets of real "
        "clips fall below it"
    )
    return Finding(
        sentence=" ".join(
            [
                *lengths,
                f"{_beyond(gap.beyond_floor)} differ from real ones by more than the noise floor.",
                f"After Holm's correction {significant['generated']} differ at p < 0.05, and "
                f"{significant['codec']} through the codec alone.",
                f"Silent clips: {silent}.",
            ]
        ),
        table=comparison_table(table, caption),
        numbers={
            f"{name} gap %": Number(round(value, 1), "near zero")
            for name, value in comparison["difference_percent"].dropna().items()
        },
        tables={
            **{f"comparison_{side}": table for side, table in gap.comparison.items()},
            **{
                f"clips_{side}": table.set_index(table.columns[0])
                for side, table in gap.tables.items()
            },
        },
    )


def codec_finding(gap: AcousticGap) -> Finding:
    """Real clips against the same clips through the codec."""
    table = gap.comparison["codec"][SHOWN].rename(
        columns=lambda column: column.replace("generated", "codec")
    )
    largest = table["difference_percent"].abs().idxmax()
    return Finding(
        sentence=f"Through the codec the mean of {METRICS[largest].label} changes most, by "
        f"{table.loc[largest, 'difference_percent']:+.1f} %; the largest KS D is "
        f"{table['ks_d'].max():.2f}.",
        table=comparison_table(table, "Real against the same clips through the codec"),
    )


def distributions_finding(gap: AcousticGap) -> Finding:
    """The distributions of the metrics."""
    return Finding(figure=metric_distributions(gap.tables), name="metrics")


def split_gap(gap: AcousticGap, heldout: Dataset) -> NativeGap:
    """Split the gap to the held-out recordings at their own rate into rate, codec and model."""
    stages = {
        "real": measure_recordings(heldout),
        "rate": gap.tables["real"],
        "codec": gap.tables["codec"],
        "model": gap.tables["generated"],
    }
    parts = gap_parts(stages, metrics=list(COMPARED))
    return NativeGap(parts, gap.columns.sample_rate, heldout.native_rate, len(heldout))


def parts_finding(native: NativeGap) -> Finding:
    """Which part of the gap is largest, and what the sampling rate alone does."""
    parts = native.parts
    largest = parts.drop(columns="total").abs().idxmax(axis=1)
    counts = {part: int((largest == part).sum()) for part in ("rate", "codec", "model")}
    moved = parts["rate"].abs().idxmax()
    return Finding(
        sentence=f"The largest part of the gap is the sampling rate's in {counts['rate']} of "
        f"{len(parts)} metrics, the codec's in {counts['codec']}, the model's in "
        f"{counts['model']}. Rate: the same {native.clips} recordings at {native.rate} instead of "
        f"{native.native_rate} Hz differ by {parts.loc[moved, 'rate']:+.1f} % in "
        f"{METRICS[moved].label} and by {parts['rate'].abs().median():.1f} % in the median metric, "
        "without any generated sound.",
        figure=gap_waterfall(parts),
        name="gap_parts",
        tables={"gap_parts": parts},
    )


def classes_finding(gap: AcousticGap) -> Finding:
    """The gap class by class, through the codec and generated."""
    columns = gap.columns
    labels = {"codec": columns.labels, "generated": columns.generated_labels}
    gaps = {
        side: gaps_by_class(
            gap.tables["real"],
            gap.tables[side],
            columns.labels,
            labels[side],
            metrics=list(COMPARED),
        )
        for side in labels
    }
    typical = gaps["generated"].abs().median(axis=1).dropna()
    best, worst = (columns.class_names[label] for label in (typical.idxmin(), typical.idxmax()))
    return Finding(
        sentence=f"Over all metrics, the median gap of a class is smallest for {best} "
        f"({typical.min():.0f} %) and largest for {worst} ({typical.max():.0f} %).",
        table=class_gaps(gaps, columns.class_names),
        tables={
            f"gaps_by_class_{side}": table.rename(index=lambda i: columns.class_names[i])
            for side, table in gaps.items()
        },
    )


def tilt_finding(gap: AcousticGap) -> Finding:
    """Whether the paper's "SNR" follows the spectral centroid from clip to clip."""
    tilt = {
        name: table["snr"].corr(table["spectral_centroid"], method="spearman")
        for name, table in gap.tables.items()
    }
    listed = ", ".join(f"{value:.2f} ({name})" for name, value in tilt.items())
    return Finding(
        sentence=f'"SNR" and centroid have a rank correlation over clips of {listed}. At -1, '
        '"SNR" would order the clips exactly as their centroid does, in reverse.',
        figure=tilt_scatter(gap.tables),
        name="spectral_tilt",
        numbers={"SNR and centroid, rank correlation": Number(round(float(tilt["real"]), 2))},
    )


def audible_sounds(gap: AcousticGap) -> dict[str, list[np.ndarray]]:
    """The columns' sounds, with silent clips as empty waveforms, so that clips stay aligned."""
    silent = gap.tables["real"]["silent"] | gap.tables["codec"]["silent"]
    empty = np.zeros(0, np.float32)
    sounds = gap.columns.sounds
    pairs = {
        side: [empty if off else wav for wav, off in zip(sounds[side], silent, strict=True)]
        for side in ("real", "codec")
    }
    return pairs | {"generated": sounds["generated"]}


def low_energy_finding(gap: AcousticGap) -> Finding:
    """How much of the energy lies below 100 Hz."""
    rate = gap.columns.sample_rate
    shares = {
        side: np.nanmean([energy_share_below(wav, rate, LOW) for wav in wavs if len(wav)])
        for side, wavs in audible_sounds(gap).items()
    }
    listed = ", ".join(f"{share:.1%} of the energy ({side})" for side, share in shares.items())
    return Finding(sentence=f"Below {LOW} Hz lie {listed}, averaged over clips.")


def _significant(table: pd.DataFrame) -> int:
    return int((table["ks_holm_p"] < 0.05).sum())


def _beyond(names: list[str]) -> str:
    if not names:
        return f"In none of {len(COMPARED)} metrics generated clips"
    listed = ", ".join(METRICS[name].label for name in names)
    return f"In {len(names)} of {len(COMPARED)} metrics ({listed}) generated clips"
