"""The command line `ssenv`: reads options, calls the package, prints what came of it.

A mistake of input is one line on stderr and exit 1, an interrupted command one line and exit 130, wrong usage is click's exit 2. The heavy
imports happen inside the commands, so that help comes at once.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from ssenv_core.base.errors import SsenvError

FOLDER = click.Path(path_type=Path)
TARGET = click.Path(path_type=Path, file_okay=False)  # a folder to write to
MEASURED = "the default was chosen on a validation split of ESC-10"


class Commands(click.Group):
    """A group whose commands end in one line, not in a traceback, when they cannot do what they were asked."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SsenvError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "interrupted: what was finished is kept; run the same command again", err=True
            )
            ctx.exit(130)


SAMPLING_OPTIONS = (
    click.option(
        "--steps",
        metavar="N,N,...",
        help="Iterations of each codec level, coarse first.  [default: 12,1,1,...]",
    ),
    click.option(
        "--temperature",
        default="1",
        metavar="X[,X,...]",
        help="Of all levels, or of each; 0 takes the likeliest codes.",
    ),
    click.option("--top-k", type=int, help="Sample from the k likeliest codes only."),
    click.option(
        "--top-p",
        type=float,
        help="Sample from the fewest codes that together have this probability.",
    ),
    click.option(
        "--sampler",
        type=click.Choice(["confidence", "halton", "random"]),
        default="confidence",
        help="Which samples are kept.",
    ),
    click.option(
        "--choice-temperature",
        type=float,
        default=8.0,
        help=f"Of confidence: weight of the noise in what is kept; {MEASURED}.",
    ),
    click.option(
        "--guidance",
        type=float,
        default=2.0,
        help=f"Classifier-free guidance, 1 is none; {MEASURED}.",
    ),
    click.option(
        "--guidance-schedule",
        type=click.Choice(["constant", "rising", "falling"]),
        default="constant",
        help="In each level.",
    ),
)


checkpoint_option = click.option(
    "--checkpoint",
    type=FOLDER,
    metavar="FILE",
    help="A generator that 02_train wrote.  [default: the shipped one, of ESC-50's classes]",
)


def sampling_options(command: Callable) -> Callable:
    """The settings of the decoding as options; the command gets them as `sampling`, see `_sampling`."""
    for option in reversed(SAMPLING_OPTIONS):
        command = option(command)
    return command


@click.group(
    cls=Commands, context_settings={"show_default": True, "help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="ssenv")
def main() -> None:
    """A study of SoundStorm on environmental sound: run it, and use its parts on folders of audio."""


@main.command()
@click.argument("params", type=click.Path(dir_okay=False, path_type=Path), metavar="PARAMS.yaml")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a value of the file; may be repeated.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Run every step, changed or not, and train anew: states of trainings that ended are removed.",
)
@click.option(
    "--from",
    "start",
    metavar="03",
    help="As --force, for this step and those after it; leave those before it alone.",
)
@click.option("--only", metavar="04", help="As --force, for this step; leave the others alone.")
def run(
    params: Path, overrides: tuple[str, ...], force: bool, start: str | None, only: str | None
) -> None:
    """Run the notebooks of a study. Steps whose code, parameters and files have not changed are skipped."""
    if start is not None and only is not None:
        raise click.UsageError("--from and --only exclude each other")
    from ssenv_core.study.params import parse_override
    from ssenv_core.study.running import run_study

    run_study(params, dict(map(parse_override, overrides)), force=force, start=start, only=only)


@main.command()
@click.argument("params", type=click.Path(dir_okay=False, path_type=Path), metavar="PARAMS.yaml")
@click.argument("axes", nargs=-1, metavar="[NAME=VALUE,VALUE,...]...")
@click.option(
    "--grid",
    multiple=True,
    metavar="NAME=VALUE,VALUE,...",
    help="Values to combine with all others; more may follow.",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="NAME=VALUE,VALUE,...",
    help="Values to try one at a time; more may follow.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a value of the file in all of them; may be repeated.",
)
def sweep(
    params: Path,
    axes: tuple[str, ...],
    grid: tuple[str, ...],
    vary: tuple[str, ...],
    overrides: tuple[str, ...],
) -> None:
    """Run a study for every combination of values: --grid fold=1,2,3 guidance=1,3 makes six. Or as it is and with each value alone:
    --vary ema_decay=0 crop_frames=null,256 makes four.

    Each is a study of its own, named after its values. Steps that the changed parameters do not reach are made once.
    """
    from ssenv_core.study.params import parse_override
    from ssenv_core.study.sweep import (
        every_combination,
        one_at_a_time,
        parse_axis,
        run_sweep,
        sweep_table,
    )

    if bool(grid) == bool(vary):
        raise click.UsageError(
            "name values to sweep with --grid or --vary"
            + ": the two exclude each other" * bool(grid)
        )
    choices = (every_combination if grid else one_at_a_time)(
        _once(map(parse_axis, (*grid, *vary, *axes)))
    )
    studies = run_sweep(params, choices, dict(map(parse_override, overrides)))
    click.echo(
        f"\n{sweep_table(studies)}\n\nnotebooks/90_summary shows them with studies = {json.dumps(studies)}"
    )


@main.command()
@click.argument("name", metavar="esc50|urbansound8k")
@click.option("--data-root", type=FOLDER, default=Path("data"), help="Folder for the data sets.")
def download(name: str, data_root: Path) -> None:
    """Fetch a data set, verify it and unpack it; an interrupted download is continued."""
    from ssenv_core.data.download import download as fetch

    click.echo(fetch(name, data_root))


@main.command()
@click.argument("source", type=FOLDER, metavar="IN_DIR")
@click.argument("target", type=TARGET, metavar="OUT_DIR")
@click.option(
    "--codec",
    "codec_name",
    required=True,
    metavar="NAME",
    help="melrvq_24khz, encodec_24khz, encodec_48khz, vocos_encodec_24khz or dac_44khz.",
)
@click.option(
    "--bandwidth",
    type=float,
    default=6.0,
    metavar="KBPS",
    help="Of dac_44khz 8, or less: a wrong one lists them.",
)
@click.option("--device", default="auto", metavar="auto|cpu|cuda")
def reconstruct(source: Path, target: Path, codec_name: str, bandwidth: float, device: str) -> None:
    """Write a folder of audio through a codec: same names, .wav, at the codec's rate."""
    from ssenv_core.base.audio import list_audio
    from ssenv_core.base.devices import resolve_device
    from ssenv_core.codecs import load_codec
    from ssenv_core.codecs.reconstruction import reconstruct_folder

    list_audio(source)
    resolved = resolve_device(device)
    written = reconstruct_folder(
        source, target, load_codec(codec_name, bandwidth, resolved), resolved
    )
    click.echo(f"{len(written)} clips written to {target}")


@main.command()
@click.argument("dataset", metavar="esc50|esc10|urbansound8k|folder|synthetic")
@click.option(
    "--data-root",
    type=FOLDER,
    default=Path("data"),
    metavar="DIR",
    help="Where the recordings are; synthetic needs none.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=42)
@click.option("--output", type=FOLDER, metavar="FILE.csv")
def baselines(dataset: str, data_root: Path, seed: int, output: Path | None) -> None:
    """What k-NN, a random forest and an SVM of MFCC and zero-crossing rate name rightly, fold by fold (Piczak 2015)."""
    from ssenv_core.base.files import write_text
    from ssenv_core.classification.baselines import cross_validate
    from ssenv_core.data import load_dataset

    sounds = load_dataset(dataset, data_root, seed=seed)
    if sounds.missing_folds:
        click.echo(
            f"{sounds.name}: folds {', '.join(map(str, sounds.missing_folds))} are not here: this is not the official protocol"
        )
    table, _ = cross_validate(sounds, seed)
    click.echo(table.to_string(float_format="{:.3f}".format))
    if output is not None:
        click.echo(write_text(output, table.to_csv()))


@main.command()
@click.option("--real", type=FOLDER, required=True, metavar="DIR")
@click.option("--generated", type=FOLDER, required=True, metavar="DIR")
@click.option(
    "--output",
    type=TARGET,
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
    help="The one rate of `matched`.",
)
@click.option(
    "--embedding",
    "embedding_names",
    multiple=True,
    metavar="encodec|clap|vggish",
    help="A published network to measure a Fréchet distance with; may be repeated.",
)
def evaluate(
    real: Path,
    generated: Path,
    output: Path,
    convention: str,
    sample_rate: int,
    embedding_names: tuple[str, ...],
) -> None:
    """Compare two folders of audio by the study's acoustic metrics. Clips of known content are not measured again."""
    from ssenv_core.evaluation.folders import evaluate_folders
    from ssenv_core.evaluation.folders_page import SHOWN, write_evaluation

    embeddings = []
    if embedding_names:
        from ssenv_core.base.devices import resolve_device
        from ssenv_core.evaluation.embeddings import load_embedding

        embeddings = [
            load_embedding(name, resolve_device("auto")) for name in dict.fromkeys(embedding_names)
        ]
    evaluation = evaluate_folders(
        real,
        generated,
        output,
        convention=convention,
        sample_rate=sample_rate,
        embeddings=embeddings,
    )
    report = evaluation.report
    click.echo(evaluation.comparison[SHOWN].to_string(float_format=lambda value: f"{value:.4g}"))
    for name, value in report["similarity"].items():
        if value["n"]:
            click.echo(f"{name}: {value['mean']:.4f} +- {value['std']:.4f} (n {value['n']})")
    for name, value in report["frechet"].items():
        extrapolated = (
            f", extrapolated {value['extrapolated']:.4g}"
            if value["extrapolated"] is not None
            else ""
        )
        click.echo(
            f"Fréchet distance by {name}: {value['distance']:.4g}{extrapolated} (clips {value['clips']})"
        )
    before = report["measured_before"]
    click.echo("\n".join([report["pairing"], *report["notes"]]))
    if before["read_from_cache"]:
        click.echo(
            f"{before['read_from_cache']} of {before['clips_and_pairs']} clips and pairs were read from {output / 'cache.json'}"
        )
    click.echo(f"written: {write_evaluation(output / 'report.html', evaluation)}")


@main.command()
@checkpoint_option
@click.option(
    "--class",
    "class_name",
    required=True,
    metavar="NAME",
    help="dog, rain, crying_baby, ...: a wrong one lists them all.",
)
@click.option("--num-samples", type=click.IntRange(min=1), default=1)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, max=600, min_open=True),
    metavar="SECONDS",
    help="[default: 5, or the sound's]",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=42)
@click.option("--output", type=TARGET, required=True, metavar="DIR")
@click.option(
    "--continue",
    "continued",
    type=FOLDER,
    metavar="FILE",
    help="Begin with this sound and go on until --duration.",
)
@click.option(
    "--inpaint",
    type=(FOLDER, float, float),
    metavar="FILE FROM TO",
    help="This sound, from FROM to TO seconds made anew.",
)
@click.option(
    "--vary",
    type=(FOLDER, float),
    metavar="FILE SHARE",
    help="This sound, a random SHARE of its tokens made anew.",
)
@click.option("--onsets", metavar="S,S,...", help="Seconds at which something is to begin.")
@click.option(
    "--envelope",
    type=FOLDER,
    metavar="FILE",
    help="Be as loud from moment to moment as this sound, stretched.",
)
@click.option(
    "--plan/--no-plan",
    default=None,
    help="Loudness and onsets of a random training clip of the class.  [default: plan where nothing else is told and the generator can]",
)
@sampling_options
@click.option("--device", default="auto", metavar="auto|cpu|cuda")
def generate(
    checkpoint: Path | None,
    class_name: str,
    num_samples: int,
    duration: float | None,
    seed: int,
    output: Path,
    continued: Path | None,
    inpaint: tuple[Path, float, float] | None,
    vary: tuple[Path, float] | None,
    onsets: str | None,
    envelope: Path | None,
    plan: bool | None,
    device: str,
    **sampling: Any,
) -> None:
    """Generate sounds of one class: CLASS_SEED_I.wav, and beside each a .json with the recipe.

    They begin as nothing, or as a sound to continue until --duration, to inpaint or to vary; what is kept of it has been through the codec.
    """
    if sum(option is not None for option in (continued, inpaint, vary)) > 1:
        raise click.UsageError("--continue, --inpaint and --vary exclude each other")
    if duration is not None and (inpaint or vary):
        raise click.UsageError(
            "--duration says nothing to --inpaint and --vary: the sound keeps its own"
        )
    told = any(option is not None for option in (continued, inpaint, vary, onsets, envelope))
    if plan and told:
        raise click.UsageError("--plan is for sounds of which nothing else is told")
    from ssenv_core.base.devices import resolve_device
    from ssenv_core.data.controls import file_level
    from ssenv_core.generator.canvas import Canvas
    from ssenv_core.generator.file import class_index, load_generator, shipped_generator
    from ssenv_core.generator.generation import encode_file, generate_codes, generate_waveforms
    from ssenv_core.generator.recipes import makers, recipe, refuse_other_sounds, write_sound
    from ssenv_core.soundstorm.sampling import Sampling

    resolved = resolve_device(device)
    checkpoint = checkpoint or shipped_generator()
    generator = load_generator(checkpoint, resolved)
    label = class_index(generator.class_names, class_name)
    settings = _sampling_numbers(sampling, generator.model.config.n_q)
    codec = generator.format.load_codec(resolved)
    start: dict[str, object] = {}
    if source := continued or (inpaint or vary or [None])[0]:
        codes, length = encode_file(generator, codec, source, resolved)
        codes = codes.expand(num_samples, -1, -1)
    if continued:
        duration, start = duration or 5.0, {"continue": str(continued)}
        canvas = Canvas.continuing(generator, codes, duration)
    elif inpaint:
        duration, start = length, {"inpaint": [str(source), *inpaint[1:]]}
        canvas = Canvas.inpainting(generator, codes, *inpaint[1:])
    elif vary:
        duration, start = length, {"vary": [str(source), vary[1]]}
        canvas = Canvas.varying(codes, vary[1], seed)
    else:
        duration = duration or 5.0
        canvas = Canvas.blank(generator, num_samples, duration)
    if plan is None:
        plan = not told and generator.plans is not None and label in generator.plans.labels
    if plan:
        canvas = canvas.with_plans(generator, [label] * num_samples, seed)
    if onsets is not None or envelope is not None:
        times = None if onsets is None else _numbers(onsets, float, "--onsets")
        canvas = canvas.with_onsets_and_loudness(
            generator, onsets=times, level=None if envelope is None else file_level(envelope)
        )
    made_by = makers(checkpoint, generator, codec, resolved)
    asked = {"start": start, "onsets": onsets, "envelope": envelope and str(envelope), "plan": plan}
    cards = {
        output / f"{class_name}_{seed}_{index}.wav": recipe(
            made_by,
            class_name,
            duration,
            settings,
            seed,
            **asked,
            index=index,
            num_samples=num_samples,
        )
        for index in range(num_samples)
    }
    refuse_other_sounds(cards)
    codes = generate_codes(
        generator, [label] * num_samples, Sampling.of(settings), canvas, seed=seed, device=resolved
    )
    for (path, card), wav in zip(
        cards.items(), generate_waveforms(generator, codec, codes, seed=seed), strict=True
    ):
        write_sound(path, wav, codec.sample_rate, card)
        click.echo(path)


@main.command()
@click.option(
    "--checkpoint",
    type=FOLDER,
    required=True,
    metavar="FILE",
    help="A classifier that 06_classify wrote.",
)
@click.option(
    "--top", default=5, type=click.IntRange(min=1), help="How many classes to show of each file."
)
@click.argument("files", nargs=-1, required=True, type=FOLDER, metavar="FILE...")
def classify(checkpoint: Path, top: int, files: tuple[Path, ...]) -> None:
    """Name the sounds in files: the likeliest classes of each, with their probabilities."""
    from ssenv_core.classification.classifier import load_classifier

    trained = load_classifier(checkpoint)
    codec = trained.format.load_codec()
    for path in files:
        probabilities = trained.probabilities(path, codec)
        best = probabilities.argsort()[::-1][:top]
        click.echo(
            f"{path}: "
            + ", ".join(f"{trained.class_names[i]} {probabilities[i]:.1%}" for i in best)
        )


@main.command()
@checkpoint_option
@click.option(
    "--duration", type=click.FloatRange(min=0, min_open=True), default=5.0, metavar="SECONDS"
)
@click.option("--output", type=FOLDER, required=True, metavar="FILE.pt2")
@sampling_options
def export(checkpoint: Path | None, duration: float, output: Path, **sampling: Any) -> None:
    """Write generator and codec as one program that needs PyTorch alone: a label in, codes and waveform of a clip without a plan out.

    torch.export.load(FILE).module()(torch.tensor([label])) makes a clip; the file's ssenv.json names the classes.
    """
    from ssenv_core.generator.export import export_generator
    from ssenv_core.generator.file import load_generator, shipped_generator
    from ssenv_core.soundstorm.sampling import Sampling

    if output.suffix != ".pt2":
        raise click.BadParameter(f"{output} must end in .pt2", param_hint="--output")
    if output.parent.exists() and not output.parent.is_dir():
        raise click.BadParameter(f"{output.parent} is no folder", param_hint="--output")
    generator = load_generator(checkpoint or shipped_generator(), "cpu")
    settings = Sampling.of(_sampling_numbers(sampling, generator.model.config.n_q))
    codec = generator.format.load_codec()
    click.echo(export_generator(output, generator, codec, settings, duration))


def _once(axes: Iterable[tuple[str, list]]) -> dict[str, list]:
    """Axes by name."""
    found: dict[str, list] = {}
    for name, values in axes:
        if name in found:
            raise click.BadParameter(f"{name} is named twice", param_hint="--grid or --vary")
        found[name] = values
    return found


def _sampling_numbers(options: dict[str, Any], n_q: int) -> dict[str, Any]:
    """The options of a command, steps and temperature as numbers; where no steps are given, those of the paper."""
    steps, temperature = options["steps"], _numbers(options["temperature"], float, "--temperature")
    return {
        **options,
        "steps": _numbers(steps, int, "--steps") if steps else (12,) + (1,) * (n_q - 1),
        "temperature": temperature if len(temperature) > 1 else temperature[0],
    }


def _numbers(
    text: str, kind: type[int] | type[float], option: str
) -> tuple[int, ...] | tuple[float, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        example = "whole numbers such as 12,1,1" if kind is int else "numbers such as 1,2.2,3.5"
        raise click.BadParameter(
            f"{text!r} is not a list of {example}", param_hint=option
        ) from None


if __name__ == "__main__":
    main()
