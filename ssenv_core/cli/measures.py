"""The commands that measure folders of audio and datasets."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ssenv_core.cli import options

if TYPE_CHECKING:
    from ssenv_core.evaluation.folders import Evaluation


@click.command()
@click.option("--real", type=options.FILE, required=True, metavar="DIR")
@click.option("--generated", type=options.FILE, required=True, metavar="DIR")
@click.option(
    "--output",
    type=options.TARGET,
    required=True,
    metavar="DIR",
    help="For report.html and .json, metrics.csv, comparison.csv and pairs.csv.",
)
@click.option(
    "--convention",
    type=click.Choice(["matched", "paper"]),
    default="matched",
    help="matched: both sides at one rate; paper: each clip at its own.",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(min=1000),
    default=24_000,
    metavar="HZ",
    help="The rate of `matched`.",
)
@click.option(
    "--embedding",
    "embedding_names",
    multiple=True,
    metavar="NAME",
    help="A published network for a Fréchet distance; a wrong name lists them. May be repeated.",
)
def evaluate(
    real: Path,
    generated: Path,
    output: Path,
    convention: str,
    sample_rate: int,
    embedding_names: tuple[str, ...],
) -> None:
    """Compare two folders of audio by the study's acoustic metrics.

    Measurements of unchanged clips are read from the cache in the output folder.
    """
    from ssenv_core.evaluation.folders import evaluate_folders
    from ssenv_core.evaluation.folders_page import write_evaluation

    embeddings = []
    if embedding_names:
        from ssenv_core.base.devices import resolve_device
        from ssenv_core.evaluation.embeddings import load_embedding

        device = resolve_device("auto")
        embeddings = [load_embedding(name, device) for name in dict.fromkeys(embedding_names)]
    evaluation = evaluate_folders(
        real,
        generated,
        output,
        convention=convention,
        sample_rate=sample_rate,
        embeddings=embeddings,
    )
    _print_evaluation(evaluation, output)
    click.echo(f"written: {write_evaluation(output / 'report.html', evaluation)}")


def _print_evaluation(evaluation: "Evaluation", output: Path) -> None:
    from ssenv_core.evaluation.folders_page import SHOWN

    report = evaluation.report
    click.echo(evaluation.comparison[SHOWN].to_string(float_format=lambda value: f"{value:.4g}"))
    for name, value in report["similarity"].items():
        if value["n"]:
            click.echo(f"{name}: {value['mean']:.4f} +- {value['std']:.4f} (n {value['n']})")
    for entry in report["frechet"].values():
        click.echo(f"Fréchet distance: {entry['sentence']}")
    click.echo("\n".join([report["pairing"], *report["notes"]]))
    before = report["measured_before"]
    if before["read_from_cache"]:
        click.echo(
            f"{before['read_from_cache']} of {before['clips_and_pairs']} clips and pairs were read "
            f"from {output / 'cache.json'}"
        )


@click.command()
@click.argument("dataset")
@options.data_root
@options.seed
@click.option("--output", type=options.FILE, metavar="FILE.csv")
def baselines(dataset: str, data_root: Path, seed: int, output: Path | None) -> None:
    """Measure the accuracy of classic classifiers (Piczak 2015).

    They are k-NN, a random forest and an SVM on MFCC and zero-crossing rate; each fold is held out
    in turn. A wrong DATASET lists the datasets.
    """
    from ssenv_core.base.files import write_text
    from ssenv_core.classification.baselines import cross_validate
    from ssenv_core.data import load_dataset

    recordings = load_dataset(dataset, data_root, seed=seed)
    if recordings.missing_folds:
        folds = ", ".join(map(str, recordings.missing_folds))
        click.echo(
            f"{recordings.name}: folds {folds} are missing: this is not the official protocol"
        )
    table, _ = cross_validate(recordings, seed)
    click.echo(table.to_string(float_format="{:.3f}".format))
    if output is not None:
        click.echo(write_text(output, table.to_csv()))
