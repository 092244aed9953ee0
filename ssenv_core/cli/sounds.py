"""The commands that generate, classify and reconstruct sounds."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssenv_core.cli import options

if TYPE_CHECKING:
    import torch

    from ssenv_core.codecs.protocol import Codec
    from ssenv_core.generator.canvas import Canvas
    from ssenv_core.generator.file import TrainedGenerator

DURATION = 5.0  # s, by default


@click.command()
@options.checkpoint
@click.option(
    "--class", "class_name", required=True, metavar="NAME", help="A wrong name lists the classes."
)
@click.option("--num-samples", type=click.IntRange(min=1), default=1)
@click.option(
    "--duration",
    type=click.FloatRange(min=0, max=600, min_open=True),
    metavar="SECONDS",
    help=f"[default: {DURATION:g}, or the duration of FILE]",
)
@options.seed
@click.option("--output", type=options.TARGET, required=True, metavar="DIR")
@click.option(
    "--continue",
    "continued",
    type=options.FILE,
    metavar="FILE",
    help="Begin with this sound and continue it until --duration.",
)
@click.option(
    "--inpaint",
    type=(options.FILE, float, float),
    metavar="FILE FROM TO",
    help="Generate this sound anew from FROM to TO seconds.",
)
@click.option(
    "--vary",
    type=(options.FILE, float),
    metavar="FILE SHARE",
    help="Generate a random SHARE of this sound's tokens anew.",
)
@click.option("--onsets", metavar="S,S,...", help="Seconds at which events start.")
@click.option(
    "--envelope",
    type=options.FILE,
    metavar="FILE",
    help="Follow the loudness of this sound, stretched to the duration.",
)
@click.option(
    "--plan/--no-plan",
    default=None,
    help="Follow the loudness and onsets of a random training clip of the class.  [default: plan "
    "if only a class is given and the generator has plans]",
)
@options.sampling
@options.device
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
    """Generate sounds of one class.

    Each is a file CLASS_SEED_I.wav with its recipe in a .json beside it. They start empty, or from
    a sound to continue, inpaint or vary; the kept parts of that sound pass through the codec.
    """
    edits = [option for option in (continued, inpaint, vary) if option is not None]
    if len(edits) > 1:
        raise click.UsageError("--continue, --inpaint and --vary exclude each other")
    if duration is not None and (inpaint or vary):
        raise click.UsageError("--inpaint and --vary keep the duration of FILE: omit --duration")
    only_class = not edits and onsets is None and envelope is None
    if plan and not only_class:
        raise click.UsageError(
            "--plan excludes --continue, --inpaint, --vary, --onsets and --envelope"
        )
    from ssenv_core.base.devices import resolve_device
    from ssenv_core.data.controls import file_level
    from ssenv_core.generator.file import class_index, load_generator, shipped_generator
    from ssenv_core.generator.generation import generate_codes, generate_waveforms
    from ssenv_core.generator.recipes import provenance, recipe, refuse_other_sounds, write_sound
    from ssenv_core.soundstorm.sampling import Sampling

    resolved = resolve_device(device)
    checkpoint = checkpoint or shipped_generator()
    generator = load_generator(checkpoint, resolved)
    label = class_index(generator.class_names, class_name)
    labels = [label] * num_samples
    settings = options.sampling_numbers(sampling, generator.model.config.n_q)
    decoding = Sampling.of(settings)
    codec = generator.format.load_codec(resolved)
    canvas, duration, start = _start(
        generator, codec, resolved, num_samples, duration, seed, continued, inpaint, vary
    )
    if plan is None:
        plan = only_class and generator.plans is not None and label in generator.plans.labels
    if plan:
        canvas = canvas.with_plans(generator, labels, seed)
    if onsets is not None or envelope is not None:
        times = None if onsets is None else options.numbers(onsets, float, "--onsets")
        level = None if envelope is None else file_level(envelope)
        canvas = canvas.with_onsets_and_loudness(generator, onsets=times, level=level)
    made_by = provenance(checkpoint, generator, codec, resolved)
    recipes = {
        output / f"{class_name}_{seed}_{index}.wav": recipe(
            made_by,
            class_name,
            duration,
            settings,
            seed,
            start=start,
            onsets=onsets,
            envelope=envelope and str(envelope),
            plan=plan,
            index=index,
            num_samples=num_samples,
        )
        for index in range(num_samples)
    }
    refuse_other_sounds(recipes)
    codes = generate_codes(generator, labels, decoding, canvas, seed=seed, device=resolved)
    waveforms = generate_waveforms(generator, codec, codes, seed=seed)
    for (path, card), wav in zip(recipes.items(), waveforms, strict=True):
        write_sound(path, wav, codec.sample_rate, card)
        click.echo(path)


def _start(
    generator: "TrainedGenerator",
    codec: "Codec",
    device: "torch.device",
    num_samples: int,
    duration: float | None,
    seed: int,
    continued: Path | None,
    inpaint: tuple[Path, float, float] | None,
    vary: tuple[Path, float] | None,
) -> tuple["Canvas", float, dict[str, object]]:
    """Make the canvas of a command, its duration in seconds, and its entry of the recipe."""
    from ssenv_core.generator.canvas import Canvas
    from ssenv_core.generator.generation import encode_file

    if not (continued or inpaint or vary):
        duration = duration or DURATION
        return Canvas.blank(generator, num_samples, duration), duration, {}
    source = continued or (inpaint or vary)[0]
    codes, length = encode_file(generator, codec, source, device)
    codes = codes.expand(num_samples, -1, -1)
    if continued:
        duration = duration or DURATION
        canvas = Canvas.continuing(generator, codes, duration)
        return canvas, duration, {"continue": str(source)}
    if inpaint:
        _, begin, end = inpaint
        canvas = Canvas.inpainting(generator, codes, begin, end)
        return canvas, length, {"inpaint": [str(source), begin, end]}
    _, share = vary
    return Canvas.varying(codes, share, seed), length, {"vary": [str(source), share]}


@click.command()
@options.checkpoint
@click.option(
    "--duration", type=click.FloatRange(min=0, min_open=True), default=DURATION, metavar="SECONDS"
)
@click.option("--output", type=options.FILE, required=True, metavar="FILE.pt2")
@options.sampling
def export(checkpoint: Path | None, duration: float, output: Path, **sampling: Any) -> None:
    """Write generator and codec as one PyTorch program.

    It needs PyTorch alone. Its input is a label; its outputs are the codes and the waveform of a
    clip without a plan: torch.export.load(FILE).module()(torch.tensor([label])). The file's
    ssenv.json names the classes.
    """
    from ssenv_core.generator.export import export_generator
    from ssenv_core.generator.file import load_generator, shipped_generator
    from ssenv_core.soundstorm.sampling import Sampling

    if output.suffix != ".pt2":
        raise click.BadParameter(f"{output} must end in .pt2", param_hint="--output")
    if output.parent.exists() and not output.parent.is_dir():
        raise click.BadParameter(f"{output.parent} is no folder", param_hint="--output")
    generator = load_generator(checkpoint or shipped_generator(), "cpu")
    decoding = Sampling.of(options.sampling_numbers(sampling, generator.model.config.n_q))
    codec = generator.format.load_codec()
    click.echo(export_generator(output, generator, codec, decoding, duration))


@click.command()
@click.option(
    "--checkpoint",
    type=options.FILE,
    required=True,
    metavar="FILE",
    help="A classifier file of 06_classify.",
)
@click.option(
    "--top", default=5, type=click.IntRange(min=1), help="How many classes to show for each file."
)
@click.argument("files", nargs=-1, required=True, type=options.FILE, metavar="FILE...")
def classify(checkpoint: Path, top: int, files: tuple[Path, ...]) -> None:
    """Print the likeliest classes of sound files."""
    from ssenv_core.classification.classifier import load_classifier

    trained = load_classifier(checkpoint)
    codec = trained.format.load_codec()
    for path in files:
        probabilities = trained.probabilities(path, codec)
        best = probabilities.argsort()[::-1][:top]
        classes = ", ".join(f"{trained.class_names[i]} {probabilities[i]:.1%}" for i in best)
        click.echo(f"{path}: {classes}")


@click.command()
@click.argument("source", type=options.FILE, metavar="IN_DIR")
@click.argument("target", type=options.TARGET, metavar="OUT_DIR")
@click.option(
    "--codec", "codec_name", required=True, metavar="NAME", help="A wrong name lists the codecs."
)
@click.option(
    "--bandwidth",
    type=float,
    default=6.0,
    metavar="KBPS",
    help="A wrong number lists those that the codec has.",
)
@options.device
def reconstruct(source: Path, target: Path, codec_name: str, bandwidth: float, device: str) -> None:
    """Pass a folder of audio through a codec.

    The files keep their names, as .wav at the codec's rate.
    """
    from ssenv_core.base.audio import list_audio
    from ssenv_core.base.devices import resolve_device
    from ssenv_core.codecs import load_codec
    from ssenv_core.codecs.reconstruction import reconstruct_folder

    list_audio(source)
    resolved = resolve_device(device)
    codec = load_codec(codec_name, bandwidth, resolved)
    written = reconstruct_folder(source, target, codec, resolved)
    click.echo(f"{len(written)} clips written to {target}")
