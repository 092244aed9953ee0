"""The parameters of each notebook: names, types, units and bounds, in one frozen dataclass a notebook.

Values live in the notebooks' `parameters` cells and in params/*.yaml, not here. pydantic coerces what YAML mistypes (`1e-4` arrives as a
string) and bounds every value; a wrong one becomes one line that says which parameter and why.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from ssenv_core.base.errors import SsenvError, did_you_mean
from ssenv_core.codecs import CODECS
from ssenv_core.soundstorm.sampling import SAMPLERS

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.=,-]*$")]
Dataset = Literal["esc50", "esc10", "urbansound8k", "folder", "synthetic"]
SamplerName = Literal[tuple(SAMPLERS)]
Precision = Literal["auto", "bf16", "fp32"]
Schedule = Literal["constant", "rising", "falling"]
Codec = Literal[tuple(CODECS)]
CodecAtRate = Annotated[str, Field(pattern=rf"^({'|'.join(CODECS)})@\d+(\.\d+)?$")]
EmbeddingName = Literal["encodec", "clap", "vggish"]  # likewise embeddings.py
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]

frozen = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))


@frozen
class Params:
    """What every notebook has: the study's name, which is its folder under outputs/."""

    study: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)]

    @classmethod
    def from_cell(cls, namespace: Mapping[str, object]) -> Self:
        """Take this notebook's parameters out of its namespace (`globals()`), coerced and checked.

        Raises:
            SsenvError: a value has the wrong type or is out of bounds.
        """
        try:
            return cls(
                **{
                    field.name: namespace[field.name]
                    for field in fields(cls)
                    if field.name in namespace
                }
            )
        except ValidationError as error:
            raise SsenvError(_one_line(error)) from None


@frozen
class StartParams(Params):
    """00_start_here."""


@frozen
class TokenizeParams(Params):
    """01_tokenize."""

    dataset: Dataset
    data_root: str
    clips_per_class: Count
    fold: Count
    codec: Codec
    bandwidth: Positive
    variations: Annotated[int, Field(ge=0)]
    compare: tuple[CodecAtRate, ...]
    judge_epochs: Count
    checkpoint_minutes: Positive
    device: Device


@frozen
class TrainParams(Params):
    """02_train."""

    fold: Count
    dim: Annotated[int, Field(ge=8)]
    depth: Count
    heads: Count
    kernel_size: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    controls: bool
    label_dropout: Fraction
    control_dropout: Fraction
    crop_frames: Count | None
    coarse_emphasis: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    epochs: Count
    batch_size: Count
    accumulate: Count
    learning_rate: Positive
    warmup: Fraction
    grad_clip: Positive
    ema_decay: Fraction
    precision: Precision
    checkpoint_minutes: Positive
    device: Device

    @field_validator("heads")
    @classmethod
    def _divide_dim(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("dim", 0) % (2 * heads):
            raise ValueError(
                f"dim {info.data['dim']} must be a multiple of 2 x heads = {2 * heads} (rotary positions)"
            )
        return heads

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, kernel_size: int) -> int:
        if kernel_size % 2 == 0:
            raise ValueError("must be odd, so that frames stay aligned")
        return kernel_size


@frozen
class HeldOutParams(Params):
    """What every notebook has that compares with the clips of the held-out fold."""

    dataset: Dataset
    data_root: str
    clips_per_class: Count
    fold: Count
    device: Device


@frozen
class GenerateParams(HeldOutParams):
    """03_generate."""

    samples_per_class: Count
    duration: Annotated[float, Field(gt=0, le=600)]
    steps: Annotated[tuple[Count, ...], Field(min_length=1)]
    temperature: NotNegative | tuple[NotNegative, ...]
    top_k: Count | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    sampler: SamplerName
    choice_temperature: NotNegative
    guidance: NotNegative
    guidance_schedule: Schedule
    plan: bool
    long_clips: Count
    precision: Precision


@frozen
class MetricsParams(HeldOutParams):
    """04_metrics."""

    paper_root: str  # empty: the paper's files are not here
    embeddings: tuple[EmbeddingName, ...]  # none: Fréchet distances of the codec's latents alone


@frozen
class FailureModeParams(HeldOutParams):
    """05_failure_modes."""

    origin_clips: Annotated[int, Field(ge=4)]


@frozen
class ClassifyParams(Params):
    """06_classify."""

    dataset: Dataset
    data_root: str
    clips_per_class: Count
    fold: Count
    generator: str
    classifier_epochs: Count
    classifier_batch_size: Count
    classifier_learning_rate: Positive
    classifier_warmup: Fraction
    classifier_weight_decay: NotNegative
    classifier_label_smoothing: Fraction
    classifier_layer: Annotated[int, Field(ge=0)] | None
    classifier_pooling: Literal["mean", "attentive", "statistics"]
    classifier_crop_frames: Count | None
    classifier_token_masking: Annotated[float, Field(ge=0, le=0.5)]
    classifier_level_masking: Fraction
    classifier_mixup: NotNegative
    ast_epochs: Annotated[int, Field(ge=0)]  # 0: no AST
    precision: Precision
    checkpoint_minutes: Positive
    device: Device


@frozen
class ListeningParams(HeldOutParams):
    """07_listening_test."""

    mushra_items: Count
    mushra_codecs: Annotated[
        tuple[CodecAtRate, ...], Field(min_length=1, max_length=9)
    ]  # with reference and anchors, 12 on a page
    fit_classes: Count
    fit_clips: Annotated[int, Field(ge=1, le=6)]  # of each side: 12 on a page


@frozen
class CodecParams(Params):
    """08_train_codec."""

    dataset: Dataset
    data_root: str
    clips_per_class: Count
    fold: Count
    latent_dim: Annotated[int, Field(ge=1, le=160)]
    encoder_dim: Annotated[int, Field(ge=8)]
    encoder_layers: Count
    encoder_steps: Count
    encoder_batch_size: Count
    encoder_learning_rate: Positive
    feature_dim: Annotated[int, Field(ge=8)]
    feature_layers: Count
    decoder_dim: Annotated[int, Field(ge=8)]
    decoder_layers: Count
    decoder_steps: Count
    decoder_batch_size: Count
    decoder_learning_rate: Positive
    judge_epochs: Count
    finish_steps: Annotated[int, Field(ge=0)]
    finish_learning_rate: Positive
    checkpoint_minutes: Positive
    device: Device


@frozen
class SummaryParams(Params):
    """90_summary."""

    studies: tuple[Name, ...]  # none: the study itself


NOTEBOOK_PARAMS: dict[str, type[Params]] = {
    "00_start_here": StartParams,
    "01_tokenize": TokenizeParams,
    "02_train": TrainParams,
    "03_generate": GenerateParams,
    "04_metrics": MetricsParams,
    "05_failure_modes": FailureModeParams,
    "06_classify": ClassifyParams,
    "07_listening_test": ListeningParams,
    "08_train_codec": CodecParams,
    "90_summary": SummaryParams,
}


def read_params(path: str | Path) -> dict[str, object]:
    """Read one study's flat YAML file.

    Raises:
        SsenvError: the file is missing, is not YAML, or is not a flat mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise SsenvError(f"no parameter file at {path}") from None
    except OSError as error:
        raise SsenvError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SsenvError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or any(
        not isinstance(name, str) or isinstance(value, dict) for name, value in values.items()
    ):
        raise SsenvError(f"{path} must be one flat mapping of name: value")
    return values


def parse_override(text: str) -> tuple[str, object]:
    """`name=value` from the command line, the value read as YAML.

    Raises:
        SsenvError: there is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SsenvError(f"--set {text}: write name=value")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise SsenvError(f"--set {text}: {value!r} is not a YAML value") from None


def refuse_unknown(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise SsenvError for the first name that is not known, with the nearest one that is."""
    known = sorted(set(known))
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            said = f": {hint}" if hint else f"; known: {', '.join(known)}"
            raise SsenvError(f"unknown parameter {name!r} in {where}{said}")


SAID = {  # by a kind of pydantic's errors, or by a parameter's name
    "tuple_type": "must be a list, as in --set 'NAME=[a,b]'",
    "compare": "must be codecs at kbps, as in melrvq_24khz@12",
    "device": "must be auto, cpu, cuda, or cuda:1 and the like",
    "study": "must be letters and digits, and behind the first also _ . = , or -",
}


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    value = "" if first["type"] == "missing" else f" = {first['input']!r}"
    own = (
        SAID.get(str(first["loc"][0]))
        if first["type"] != "string_type"
        else "must be text: put it into quotes"
    )
    message = SAID.get(first["type"], own or first["msg"].removeprefix("Value error, "))
    return f"parameter {name}{value}: {message[0].lower()}{message[1:]}"
