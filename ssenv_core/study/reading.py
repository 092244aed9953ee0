"""Read and check a params file: the steps of a study with their parameters."""

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import papermill
import yaml

from ssenv_core.base.errors import SsenvError, did_you_mean
from ssenv_core.codecs import codec_levels
from ssenv_core.generator.file import generator_file, load_generator, require_heldout
from ssenv_core.soundstorm.sampling import Sampling
from ssenv_core.study.params import NOTEBOOK_PARAMS, Params
from ssenv_core.study.params_files import read_files, read_params, refuse_unknown


@dataclass(frozen=True)
class Step:
    """One notebook of a study.

    Attributes:
        given: the values of the params file and its bases that the notebook declares; papermill
            receives these.
        parameters: every value the notebook will have, defaults included, converted and checked.
    """

    name: str
    notebook: Path
    given: dict
    parameters: dict


def read_study(
    params_path: str | Path, overrides: Mapping[str, object], root: Path
) -> tuple[str, list[Step]]:
    """Return the name and the steps of a study, with every name and value checked.

    What a base of the params file sets and no listed notebook declares is left out.

    Raises:
        SsenvError: a file, notebook or parameter does not exist, or a value has the wrong type, is
            out of bounds or does not fit another.
    """
    own = next(iter(read_files(params_path).values()))
    values = {**read_params(params_path), **overrides}
    names = values.pop("notebooks", None)
    if not isinstance(names, list) or not names:
        raise SsenvError(
            f"{params_path} must list its notebooks in order: "
            "notebooks: [01_tokenize, 02_train, ...]"
        )
    paths = {path.stem: path for path in (root / "notebooks").glob("*.ipynb")}
    for name in names:
        if not isinstance(name, str) or name not in paths:
            raise SsenvError(
                f"{params_path} lists notebook {name!r}: {nearest_name(str(name), paths)}"
            )
    declared = {name: _declared(paths[name]) for name in names}
    known = {"notebooks"}.union(*declared.values())
    refuse_unknown(overrides, known, "the command")
    refuse_unknown(own, known, str(params_path))
    if "study" not in values:
        raise SsenvError(f"{params_path} must name its study: study: NAME")
    steps = []
    for name in names:
        given = {key: value for key, value in values.items() if key in declared[name]}
        try:
            checked = NOTEBOOK_PARAMS.get(name, Params).from_cell({**declared[name], **given})
        except SsenvError as error:
            raise SsenvError(f"{name}: {error}") from None
        steps.append(Step(name, paths[name], given, {**declared[name], **given, **asdict(checked)}))
    _check_together({step.name: step.parameters for step in steps}, root)
    return str(values["study"]), steps


def params_as_yaml(params_path: str | Path, overrides: Mapping[str, object], root: Path) -> str:
    """Write out every parameter of a study as YAML, each with a comment that names its source.

    A value that several notebooks set to different defaults is commented out.

    Raises:
        SsenvError: as `read_study`.
    """
    _, steps = read_study(params_path, overrides, root)
    sources: dict[str, str] = {}
    for file, values in reversed(read_files(params_path).items()):
        sources |= dict.fromkeys(values, file)
    sources |= dict.fromkeys(overrides, "--set")
    names = {step.name: None for step in steps}
    lines = {("notebooks", _as_yaml([*names])): [sources["notebooks"]]}
    for step in steps:
        for name, value in step.parameters.items():
            default = f"default of {step.name}"
            found = lines.setdefault((name, _as_yaml(value)), [])
            if (source := sources.get(name, default)) not in found:
                found.append(source)
    counts = Counter(name for name, _ in lines)
    return "".join(
        f"{'# ' * (counts[name] > 1)}{name}: {value}  # {', '.join(found)}\n"
        for (name, value), found in lines.items()
    )


def _as_yaml(value: object) -> str:
    """Spell a value on one line of YAML."""
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _check_together(parameters: Mapping[str, dict], root: Path) -> None:
    """Refuse before the first step what a later step would refuse after hours.

    These are a codec without such a bandwidth, a decoding that does not fit the codes of
    01_tokenize, a plan for a generator without controls, and a generator of another study that is
    missing or was trained on the held-out fold.
    """
    for step, name in (("01_tokenize", "compare"), ("07_listening_test", "mushra_codecs")):
        for version in parameters.get(step, {}).get(name, ()):
            codec, _, bandwidth = version.partition("@")
            codec_levels(codec, float(bandwidth))
    tokenize = parameters.get("01_tokenize")
    train = parameters.get("02_train")
    generate = parameters.get("03_generate")
    classify = parameters.get("06_classify")
    if tokenize and generate:
        levels = codec_levels(tokenize["codec"], tokenize["bandwidth"])
        if len(generate["steps"]) != levels:
            fitting = ",".join(["12"] + ["1"] * (levels - 1))
            raise SsenvError(
                f"03_generate: parameter steps = {list(generate['steps'])}: {tokenize['codec']} "
                f"has {levels} level{'s' * (levels != 1)} at {tokenize['bandwidth']:g} kbps, and "
                "each needs its "
                f"iterations, as in --set 'steps=[{fitting}]'"
            )
    if train and generate and generate["plan"] and not train["controls"]:
        raise SsenvError(
            "03_generate: parameter plan = True needs a generator with controls: "
            "--set controls=true, or --set plan=false"
        )
    if generate:
        Sampling.of(generate)
    if classify:
        depth = train["depth"] if train else None
        layer = classify["classifier_layer"]
        if classify["generator"]:
            generator = load_generator(generator_file(classify["generator"], Path(), root), "cpu")
            require_heldout(generator, classify["fold"])
            depth = generator.model.config.depth
        if None not in (depth, layer) and layer > depth:
            raise SsenvError(
                f"06_classify: parameter classifier_layer = {layer}: "
                f"the generator has {depth} blocks"
            )


def _declared(notebook: Path) -> dict[str, object]:
    """Read the names and defaults in a notebook's `parameters` cell."""
    try:
        cell = papermill.inspect_notebook(str(notebook))
        return {name: ast.literal_eval(parameter["default"]) for name, parameter in cell.items()}
    except (ValueError, SyntaxError) as error:
        raise SsenvError(f"{notebook}: its parameters cell cannot be read ({error})") from None


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Name the known name nearest to an unknown one, or all of them where none is near."""
    known = sorted(known)
    return did_you_mean(name, known) or f"there are {', '.join(known)}"
