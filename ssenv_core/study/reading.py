"""A params file read and checked: the steps of a study with their parameters."""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import papermill

from ssenv_core.base.errors import SsenvError, did_you_mean
from ssenv_core.codecs import codec_levels
from ssenv_core.generator.file import generator_file, load_generator, require_heldout
from ssenv_core.soundstorm.sampling import Sampling
from ssenv_core.study.params import NOTEBOOK_PARAMS, Params, read_params, refuse_unknown


@dataclass(frozen=True)
class Step:
    """One notebook of a study.

    Attributes:
        given: the values of the params file that the notebook declares, as papermill gets them.
        parameters: every value it will have, defaults included, coerced and checked.
    """

    name: str
    notebook: Path
    given: dict
    parameters: dict


def read_study(
    params_path: str | Path, overrides: Mapping[str, object], root: Path
) -> tuple[str, list[Step]]:
    """The study's name and its steps, every name and value of the params file checked.

    Raises:
        SsenvError: no such file, notebook or parameter, or a value is of the wrong type, out of bounds or does not fit another.
    """
    values = {**read_params(params_path), **overrides}
    names = values.pop("notebooks", None)
    if not isinstance(names, list) or not names:
        raise SsenvError(
            f"{params_path} must list its notebooks in order: notebooks: [01_tokenize, 02_train, ...]"
        )
    paths = {path.stem: path for path in (root / "notebooks").glob("*.ipynb")}
    for name in names:
        if not isinstance(name, str) or name not in paths:
            raise SsenvError(
                f"{params_path} lists notebook {name!r}: {nearest_name(str(name), paths)}"
            )
    declared = {name: _declared(paths[name]) for name in names}
    known = {parameter for defaults in declared.values() for parameter in defaults}
    refuse_unknown(overrides, known | {"notebooks"}, "the command")
    refuse_unknown(values, known, str(params_path))
    if "study" not in values:
        raise SsenvError(f"{params_path} must name its study: study: NAME")
    steps = []
    for name in names:
        given = {
            parameter: value for parameter, value in values.items() if parameter in declared[name]
        }
        try:
            checked = NOTEBOOK_PARAMS.get(name, Params).from_cell({**declared[name], **given})
        except SsenvError as error:
            raise SsenvError(f"{name}: {error}") from None
        steps.append(Step(name, paths[name], given, {**declared[name], **given, **asdict(checked)}))
    _check_together({step.name: step.parameters for step in steps}, root)
    return str(values["study"]), steps


def _check_together(parameters: Mapping[str, dict], root: Path) -> None:
    """Refuse what a step would refuse in the end, after hours: codecs without such a bandwidth, a decoding for other codes than 01_tokenize
    makes, a plan for a generator that 02_train makes without controls, a generator of another study that is not there or knows the fold."""
    for step, name in (("01_tokenize", "compare"), ("07_listening_test", "mushra_codecs")):
        for codec, _, bandwidth in (
            version.partition("@") for version in parameters.get(step, {}).get(name, ())
        ):
            codec_levels(codec, float(bandwidth))
    if {"01_tokenize", "03_generate"} <= parameters.keys():
        codec, bandwidth = (
            parameters["01_tokenize"]["codec"],
            parameters["01_tokenize"]["bandwidth"],
        )
        iterations, levels = (
            list(parameters["03_generate"]["steps"]),
            codec_levels(codec, bandwidth),
        )
        if len(iterations) != levels:
            raise SsenvError(
                f"03_generate: parameter steps = {iterations}: {codec} has {levels} levels at {bandwidth:g} kbps, "
                f"and each needs its iterations, as in --set 'steps=[{','.join(['12'] + ['1'] * (levels - 1))}]'"
            )
    if (
        {"02_train", "03_generate"} <= parameters.keys()
        and parameters["03_generate"]["plan"]
        and not parameters["02_train"]["controls"]
    ):
        raise SsenvError(
            "03_generate: parameter plan = True asks for loudness and onsets: --set controls=true, or --set plan=false"
        )
    if "03_generate" in parameters:
        Sampling.of(parameters["03_generate"])
    if asked := parameters.get("06_classify"):
        depth, layer = parameters.get("02_train", {}).get("depth"), asked["classifier_layer"]
        if asked["generator"]:
            generator = load_generator(generator_file(asked["generator"], Path(), root), "cpu")
            require_heldout(generator, asked["fold"])
            depth = generator.model.config.depth
        if None not in (depth, layer) and layer > depth:
            raise SsenvError(
                f"06_classify: parameter classifier_layer = {layer}: the generator has {depth} blocks"
            )


def _declared(notebook: Path) -> dict[str, object]:
    """The parameters of a notebook's `parameters` cell with their defaults."""
    try:
        found = papermill.inspect_notebook(str(notebook))
        return {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}
    except (ValueError, SyntaxError) as error:
        raise SsenvError(f"{notebook}: its parameters cell cannot be read ({error})") from None


def nearest_name(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    return did_you_mean(name, known) or f"there are {', '.join(known)}"
