"""Compares two folders of audio files, measured by `measuring`.

Each core reads one clip at a time, so that a folder may be larger than memory. The i-th real clip
is paired with the i-th generated one by sorted file name, as in the paper; such pairs say nothing
about content.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ssenv_core.base.audio import list_audio, read_audio
from ssenv_core.base.files import atomic_path, write_json
from ssenv_core.base.progress import on_all_cores
from ssenv_core.evaluation.measuring import Cache, Convention, measure_files
from ssenv_core.metrics.frechet import distance_sentence, frechet_beside_floor
from ssenv_core.metrics.similarity import paired_similarity, whole_clip_similarity
from ssenv_core.metrics.stats import compare

if TYPE_CHECKING:
    from ssenv_core.evaluation.embeddings import Embedding

NAMED = 5  # clips that a note names; metrics.csv has all


@dataclass(frozen=True)
class Evaluation:
    """Two folders compared.

    Attributes:
        clips: the table of `measuring.measure_files` of each side, real and generated.
        comparison: as `metrics.stats.compare` makes it.
        pairs: one row per pair: `real`, `generated` (paths below their folders), spectral
            convergence and log spectral distance.
        report: what report.json holds.
    """

    clips: dict[str, pd.DataFrame]
    comparison: pd.DataFrame
    pairs: pd.DataFrame
    report: dict


def evaluate_folders(
    real: Path,
    generated: Path,
    output: Path,
    *,
    convention: Convention,
    sample_rate: int,
    embeddings: Sequence["Embedding"] = (),
) -> Evaluation:
    """Measure two folders of audio and compare them.

    Writes into `output`: metrics.csv (one row per clip), comparison.csv (one per metric), pairs.csv
    (one per pair), report.json (the comparison, silent and clipped clips, notes) and cache.json. A
    sound that is in cache.json is not measured again; Fréchet distances are computed every time.

    Args:
        convention: "paper", each clip at its own rate; "matched", all resampled to `sample_rate`.
        sample_rate: Hz.
        embeddings: for Fréchet distances.

    Raises:
        SsenvError: a folder is missing or empty, or a clip cannot be read or measured: nothing is
            written. Or a side has too few embeddings for a distance: only cache.json is written.
    """
    folders = {"real": real, "generated": generated}
    files = {side: list_audio(folder) for side, folder in folders.items()}
    cache = Cache(output / "cache.json")
    clips = {
        side: measure_files(folders[side], files[side], convention, sample_rate, cache)
        for side in folders
    }
    pairs = compare_pairs(folders, clips, convention, sample_rate, cache)
    cache.save()
    comparison = compare(clips["real"], clips["generated"])
    common_rate = sample_rate if convention == "matched" else None
    frechet = {
        embedding.name: _frechet(folders, clips, common_rate, embedding) for embedding in embeddings
    }
    numbers = sum(map(len, [*clips.values(), pairs]))
    report = {
        "convention": convention,
        "sample_rates": {
            side: sorted(set(table["sample_rate"].tolist())) for side, table in clips.items()
        },
        "folders": {side: str(folder) for side, folder in folders.items()},
        "clips": {side: len(table) for side, table in clips.items()},
        **{
            fact: {side: table.loc[table[fact], "clip"].tolist() for side, table in clips.items()}
            for fact in ("silent", "clipped")
        },
        "comparison": {name: _json_values(row) for name, row in comparison.iterrows()},
        "frechet": {
            name: {
                "sentence": distance_sentence(table, name),
                "distances": {row: _json_values(values) for row, values in table.iterrows()},
            }
            for name, table in frechet.items()
        },
        "similarity": {name: _mean_and_std(pairs[name]) for name in pairs.columns[2:]},
        "pairing": _pairing(clips, convention),
        "notes": notes(clips, convention, sample_rate),
        "measured_before": {"clips_and_pairs": numbers, "read_from_cache": cache.hits},
    }
    tables = {
        "metrics.csv": pd.concat(clips, names=["side", None]).reset_index("side"),
        "comparison.csv": comparison.reset_index(),
        "pairs.csv": pairs,
    }
    for name, table in tables.items():
        with atomic_path(output / name) as temporary:
            table.to_csv(temporary, index=False)
    write_json(output / "report.json", report)
    return Evaluation(clips, comparison, pairs, report)


def notes(clips: Mapping[str, pd.DataFrame], convention: Convention, sample_rate: int) -> list[str]:
    """Warn of differing rates, several channels, silence and clipping: one sentence each.

    Args:
        clips: tables of `measuring.measure_files` by side.
    """
    said, rates = [], sorted({int(rate) for table in clips.values() for rate in table["file_rate"]})
    matched = convention == "matched"
    if not matched and len(rates) > 1:
        said.append(
            f"The clips have different rates ({', '.join(map(str, rates))} Hz) and were measured "
            "at them: every metric but duration depends on the rate, so a difference is partly one "
            "of rates."
        )
    said += differing_lengths(clips)
    facts = {
        f"not at {sample_rate} Hz, so resampled to it": lambda table: (
            (table["file_rate"] != sample_rate) & matched
        ),
        "of several channels, mixed to mono": lambda table: table["channels"] > 1,
        f"silent throughout{', so left out of the means' * matched}": lambda table: table["silent"],
        "at full scale somewhere, so perhaps clipped": lambda table: table["clipped"],
    }
    for words, holds in facts.items():
        for side, table in clips.items():
            if names := table.loc[holds(table), "clip"].tolist():
                named = ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (
                    len(names) > NAMED
                )
                count = f"{len(names)} of {len(table)}"
                said.append(f"{count} {side} clips {_are(len(names))} {words}: {named}.")
    return said


def differing_lengths(clips: Mapping[str, pd.DataFrame]) -> list[str]:
    """Warn in a sentence if the mean durations of the sides differ by more than 5 %.

    Args:
        clips: tables with a column `duration` (s) by side.
    """
    seconds = {side: table["duration"].mean() for side, table in clips.items()}
    if max(seconds.values()) <= 1.05 * min(seconds.values()):
        return []
    lasting = " and ".join(f"{value:.2f} s ({side})" for side, value in seconds.items())
    return [
        f"Clips last {lasting} on average: the spectral entropy, which is computed over a whole "
        "clip, is higher for longer ones."
    ]


def compare_pairs(
    folders: Mapping[str, Path],
    clips: Mapping[str, pd.DataFrame],
    convention: Convention,
    sample_rate: int,
    cache: Cache,
) -> pd.DataFrame:
    """Compute spectral convergence and log spectral distance of each pair.

    "matched" compares spectrograms at `sample_rate`. "paper" compares the spectra of whole clips at
    their own rates, like the published values (see `metrics.similarity`); at different rates these
    are not the same frequencies.

    Returns:
        One row per pair, with the two names; as many as the smaller side has clips.
    """
    matched, count = convention == "matched", min(map(len, clips.values()))

    def values(names: dict[str, str]) -> dict[str, float]:
        pair = [
            read_audio(folders[side] / name, sample_rate if matched else None)[0]
            for side, name in names.items()
        ]
        return (
            paired_similarity(pair[:1], pair[1:]).iloc[0].to_dict()
            if matched
            else whole_clip_similarity(*pair)
        )

    def row(i: int) -> dict[str, object]:
        names = {side: table["clip"][i] for side, table in clips.items()}
        key = ["pair", *(table["sha256"][i] for table in clips.values()), convention, sample_rate]
        return names | cache.get(key, lambda: values(names))

    return pd.DataFrame(on_all_cores(row, range(count), "compare pairs", "pair"))


def _frechet(
    folders: Mapping[str, Path],
    clips: Mapping[str, pd.DataFrame],
    sample_rate: int | None,
    embedding: "Embedding",
) -> pd.DataFrame:
    """`metrics.frechet.frechet_beside_floor` of the folders, with every file as a recording.

    Clips are first resampled to `sample_rate` (Hz; None: left at their own).
    """
    sides = {
        side: embedding.of(
            (read_audio(folders[side] / name, sample_rate) for name in table["clip"]), len(table)
        )
        for side, table in clips.items()
    }
    return frechet_beside_floor(**sides)


def _pairing(clips: Mapping[str, pd.DataFrame], convention: Convention) -> str:
    """How pairs were made and compared, and what was left over."""
    count = min(map(len, clips.values()))
    rates = sorted({int(rate) for table in clips.values() for rate in table["sample_rate"][:count]})
    how = (
        "spectrograms"
        if convention == "matched"
        else "spectra of whole clips, as in the paper's published values"
    )
    if len(rates) > 1:
        how += (
            f", at different rates ({', '.join(map(str, rates))} Hz), so not the same frequencies"
        )
    left = [
        f"{len(table) - count} of {len(table)} {side} clips"
        for side, table in clips.items()
        if len(table) > count
    ]
    rest = f"; {left[0]} have no partner, and count in all else" if left else ""
    pairs = f"{count} pair{'s' * (count != 1)} by sorted file name"
    return f"{pairs}, the i-th real with the i-th generated clip: {how}{rest}."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _json_values(row: pd.Series) -> dict[str, float | None]:
    return {name: float(value) if np.isfinite(value) else None for name, value in row.items()}


def _mean_and_std(values: pd.Series) -> dict[str, float | None]:
    finite = values[np.isfinite(values)]
    return {
        "n": len(finite),
        **_json_values(pd.Series({"mean": finite.mean(), "std": finite.std(ddof=0)})),
    }
