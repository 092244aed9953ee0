"""Findings of 04 about sets of clips: classification, Fréchet distance, copies, pairs, padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ssenv_core.classification.judge import Judge
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.tokens import TokenSet
from ssenv_core.evaluation.columns import Columns, audible_latents, pair_within_classes
from ssenv_core.evaluation.copies import find_copies
from ssenv_core.evaluation.embeddings import frechet_by_embedding
from ssenv_core.evaluation.replication import Replication
from ssenv_core.metrics import paper as published
from ssenv_core.metrics.frechet import distance_sentence, frechet_beside_floor
from ssenv_core.metrics.similarity import paired_similarity
from ssenv_core.metrics.spectrotemporal import energy_share_below
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.spectrograms import spectrogram_grid
from ssenv_core.plots.tables import comparison_table


@dataclass(frozen=True)
class Distances:
    """Fréchet distances of a study's columns.

    Attributes:
        tables: of `frechet_beside_floor`, by embedding; the codec's latents come first.
        missing: why an embedding is missing, by its name.
    """

    tables: dict[str, pd.DataFrame]
    missing: dict[str, str]

    @property
    def left_out(self) -> list[str]:
        """What is missing, each with the reason."""
        return [f"{name} was not measured: {reason}" for name, reason in self.missing.items()]


def measure_distances(
    columns: Columns, codec: Codec, embeddings: Sequence[str], device: torch.device, seed: int
) -> Distances:
    """Fréchet distances by the codec's latents and by published networks."""
    latents = {side: audible_latents(codec, wavs, device) for side, wavs in columns.sounds.items()}
    recordings = columns.recordings
    own = frechet_beside_floor(**latents, recordings=recordings, seed=seed)
    others, missing = frechet_by_embedding(
        embeddings, columns.sounds, columns.sample_rate, device, seed, recordings
    )
    return Distances({f"latents of {codec.name}": own} | others, missing)


def distances_finding(distances: Distances) -> Finding:
    """Whether generated and coded clips lie beyond the noise floor of the Fréchet distance."""
    sentences = [distance_sentence(table, name) for name, table in distances.tables.items()]
    numbers = {}
    for i, (name, table) in enumerate(distances.tables.items()):
        for side in ("codec", "generated"):
            value = float(table.loc[side, "extrapolated"])
            if np.isfinite(value):
                key = f"Fréchet {side}" + f", {name}" * (i > 0)
                numbers[key] = Number.rounded(value, "lower")
    table = pd.concat(distances.tables, names=["embedding", "real against"])
    return Finding(
        sentence="\n".join([*sentences, *distances.left_out]),
        table=table.round(3),
        numbers=numbers,
        tables={"frechet": table},
    )


def judge_finding(columns: Columns, judge: Judge | None) -> Finding:
    """The share of each column's clips that the judge classifies correctly, and by class."""
    if judge is None:
        return Finding(sentence="01 trained no judge: all clips are of one class.")
    correct = {}
    for side, wavs in columns.sounds.items():
        labels = columns.generated_labels if side == "generated" else columns.labels
        predicted = judge.predict_all(wavs, columns.sample_rate)
        correct[side] = pd.Series(predicted == labels, index=labels)
    shares = {side: float(values.mean()) for side, values in correct.items()}
    listed = ", ".join(
        f"{share:.1%} of {len(correct[side])} ({side})" for side, share in shares.items()
    )
    by_class = pd.DataFrame(
        {side: values.groupby(level=0).mean() for side, values in correct.items()}
    )
    by_class.index = [columns.class_names[label] for label in by_class.index]
    return Finding(
        sentence=f"The judge classifies correctly {listed}; chance is "
        f"{1 / len(columns.class_names):.1%}.",
        table=by_class.round(2),
        numbers={
            f"judge on {side}": Number(round(share, 3), "higher") for side, share in shares.items()
        },
    )


def copies_finding(columns: Columns, heldout: TokenSet, training: TokenSet) -> Finding:
    """How much of a clip is in one training clip, for generated and for real held-out clips."""
    real = find_copies(heldout.codes, training)
    generated = find_copies(columns.generated_codes, training)
    worst = int(generated.share.argmax())
    source = training.names[generated.source[worst]]
    return Finding(
        sentence="Half of the generated clips share at least "
        f"{np.median(generated.share):.1%} of their frames with some training clip, half of the "
        f"held-out clips at least {np.median(real.share):.1%}. The most that a generated clip "
        f"shares is {generated.share[worst]:.1%} ({columns.generated_names[worst]} with {source}), "
        f"that a held-out clip shares {real.share.max():.1%}; a copy shares 100 %."
    )


def pairs_finding(columns: Columns, fold: int) -> Finding:
    """Spectral convergence and log spectral distance of pairs of one class."""
    pairs = pair_within_classes(columns.labels, columns.generated_labels)
    real = [columns.real[i] for i in pairs["real"]]
    generated = [columns.generated[i] for i in pairs["generated"]]
    similarity = pd.DataFrame(
        {
            "codec": paired_similarity(columns.real, columns.codec).mean(),
            "generated": paired_similarity(real, generated).mean(),
        }
    )
    return Finding(
        sentence=f"{len(pairs)} of {len(columns.generated)} generated clips have a real clip of "
        f"their class in fold {fold}.",
        table=similarity.round(3),
    )


def spectrograms_finding(columns: Columns) -> Finding:
    """One clip of each of three classes in all columns."""
    pairs = pair_within_classes(columns.labels, columns.generated_labels)
    rows = {
        columns.class_names[pair.label]: {
            "real": columns.real[pair.real],
            "codec": columns.codec[pair.real],
            "generated": columns.generated[pair.generated],
        }
        for pair in pairs.drop_duplicates("label").head(3).itertuples()
    }
    figure = spectrogram_grid(rows, columns.sample_rate)
    return Finding(figure=figure, name="real_codec_generated")


def padding_finding(training: TokenSet) -> Finding:
    """How much of the training frames is silent, and how much the paper's padding would add."""
    frames = training.codes.shape[2]
    silent = 1 - training.active.float().mean().item()
    padding = training.padding.float().mean().item()
    sentence = (
        f"Of the {frames} token frames of a training clip {silent:.1%} are silent, "
        f"{padding:.1%} before its first or after its last sound."
    )
    if frames < published.PADDED_FRAMES:
        added = 1 - frames / published.PADDED_FRAMES
        sentence += f" Padded to {published.PADDED_FRAMES} frames, {added:.1%} would be padding."
    return Finding(sentence=sentence)


def paper_findings(paper: Replication | None) -> list[Finding]:
    """The paper's own table recomputed, if its files are there."""
    if paper is None:
        return [
            Finding(
                sentence="The paper's table is left out: paper_root names no folder with its files."
            )
        ]
    low = np.mean([energy_share_below(wav, published.GENERATED_RATE, 100) for wav in paper.wavs])
    means = (
        "The paper's means: published, recomputed, and the real clips at the generated clips' rate"
    )
    gaps = (
        "The gap: as published, the same at one rate, and both for the generated clips given here"
    )
    return [
        Finding(table=comparison_table(paper.means, means)),
        Finding(
            table=comparison_table(paper.gaps, gaps),
            sentence=f"{paper.sentence} Of their energy {low:.1%} lies below 100 Hz.",
        ),
    ]
