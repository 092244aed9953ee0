"""Recomputes the paper's table by its own conventions, and at one sampling rate for both sides.

The generated clips are the paper's, read from a folder. The real clips, which the paper does not
publish, are the first 100 clips of ESC-50's fold 2 by file name, at 44.1 kHz. Recomputing the
published values (`metrics.paper`) shows this: the generated side agrees to 7 digits, the real one
to the differences between encodings of ESC-50.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ssenv_core.base.audio import list_audio, read_audio
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import read_json
from ssenv_core.data.recordings import Dataset
from ssenv_core.evaluation.measuring import measure_sounds
from ssenv_core.metrics import paper as published
from ssenv_core.metrics.acoustic import METRICS, measure
from ssenv_core.metrics.stats import compare


@dataclass(frozen=True)
class Replication:
    """The paper's numbers beside ours.

    Attributes:
        files: the paper's files that were read: published values by clip, and the clips.
        wavs: the generated clips (S,) float32.
        clips: METRICS of each generated clip, recomputed at the clip's own rate.
        published_clips: the published values of the same clips.
        means: one row per metric: `real_published`, `real_44100_hz`, `real_24000_hz`,
            `generated_published` (100 clips), `generated_published_here` (the clips at hand),
            `generated`. NaN where the real side cannot be recomputed.
        gaps: one row per metric: difference of the means in percent, and KS D: `published` for the
            100 clips, `here` for the clips at hand; each with the real side at its `own` rate, as
            published, and `matched`.
    """

    files: tuple[Path, ...]
    wavs: tuple[np.ndarray, ...]
    clips: pd.DataFrame
    published_clips: pd.DataFrame
    means: pd.DataFrame
    gaps: pd.DataFrame

    @property
    def largest_deviation(self) -> float:
        """The largest relative deviation of a recomputed value from the published one."""
        return float((self.clips / self.published_clips - 1).abs().max(axis=None))

    @property
    def sentence(self) -> str:
        """How well the published values are reproduced, and the gap in SNR at one rate."""
        said = (
            f"The metrics of the paper's {len(self.clips)} clips are the published ones, to within "
            f"{self.largest_deviation:.0e} of them"
        )
        published_gap, matched_gap = self.gaps.loc[
            "snr", ["published_percent", "published_matched_percent"]
        ]
        if np.isfinite(matched_gap):
            said += (
                f"; at one rate the published gap in SNR is {matched_gap:+.0f} %, not "
                f"{published_gap:+.0f} %"
            )
        return f"{said}."


def replicate(paper_root: Path, sounds: Dataset) -> Replication:
    """Recompute the paper's table.

    Args:
        paper_root: a folder with generated_clips/ (sample_001.flac, ...; any audio) and
            generated_metrics.json, the published values by clip.
        sounds: a study's dataset; the real side is recomputed only if it is esc50.

    Raises:
        SsenvError: a file is missing or damaged, or ESC-50 lacks fold 2.
    """
    values = read_json(paper_root / "generated_metrics.json")
    audio = {path.stem: path for path in list_audio(paper_root / "generated_clips")}
    if missing := sorted(set(values) - set(audio)):
        raise SsenvError(
            f"{paper_root / 'generated_clips'} lacks {len(missing)} of {len(values)} published "
            f"clips (first: {missing[0]})"
        )
    names = list(METRICS)
    expected = pd.DataFrame.from_dict(values, orient="index").reindex(columns=names).astype(float)
    sounds_read = [read_audio(audio[name]) for name in values]
    clips = measure(sounds_read, convention="paper").set_index(expected.index)
    known, own, matched = published.ACOUSTIC, *real_side(sounds)
    rows = known.index.tolist()
    means = pd.DataFrame(
        {
            "real_published": known["real_mean"],
            f"real_{published.REAL_RATE}_hz": own[rows].mean(),
            f"real_{published.GENERATED_RATE}_hz": matched[rows].mean(),
            "generated_published": known["generated_mean"],
            "generated_published_here": expected[rows].mean(),
            "generated": clips[rows].mean(),
        },
        index=rows,
    )
    sides = {
        "own": compare(own, clips, metrics=rows),
        "matched": compare(matched, clips, metrics=rows),
    }
    gaps = {
        f"published_{name}percent": 100 * (known["generated_mean"] / real - 1)
        for name, real in (("", known["real_mean"]), ("matched_", matched[rows].mean()))
    }
    gaps |= {f"here_{side}_percent": table["difference_percent"] for side, table in sides.items()}
    gaps |= {
        "published_ks_d": known["ks_d"],
        **{f"here_{side}_ks_d": table["ks_d"] for side, table in sides.items()},
    }
    files = (paper_root / "generated_metrics.json", *(audio[name] for name in values))
    tables = (means.rename_axis("metric"), pd.DataFrame(gaps, index=rows).rename_axis("metric"))
    return Replication(files, tuple(wav for wav, _ in sounds_read), clips[names], expected, *tables)


def real_side(sounds: Dataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """METRICS of the paper's real clips, at their own rate and at that of the generated ones.

    One row per clip; one row of NaN for a dataset that is not esc50.
    """
    if sounds.name != "esc50":
        nothing = pd.DataFrame(np.nan, index=[0], columns=list(METRICS))
        return nothing, nothing
    fold = sounds.subset(folds=[published.REAL_FOLD])
    first = replace(
        fold, clips=tuple(sorted(fold.clips, key=lambda clip: clip.name)[: published.REAL_CLIPS])
    )
    # to 16 bits, which ESC-50's own files have: how often near-silence changes sign depends on it
    wavs = [
        (np.round(first.read(clip, published.REAL_RATE) * 2**15) / 2**15).astype(np.float32)
        for clip in first.clips
    ]
    own = measure_sounds(wavs, published.REAL_RATE, "the paper's real clips")
    return own, measure(
        [(wav, published.REAL_RATE) for wav in wavs],
        convention="matched",
        sample_rate=published.GENERATED_RATE,
    )
