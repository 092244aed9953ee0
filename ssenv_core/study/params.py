"""The parameters of each notebook: names, types and bounds, one frozen dataclass per notebook.

Values stand in the notebooks' `parameters` cells and in params/*.yaml, not here. pydantic converts
what YAML reads with the wrong type (`1e-4` arrives as a string) and checks every bound; a wrong
value becomes one line that names the parameter and the reason.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.folders import project_root
from ssenv_core.codecs import CODECS
from ssenv_core.data import DATASETS, load_dataset
from ssenv_core.data.recordings import Dataset
from ssenv_core.evaluation.embeddings import EMBEDDINGS
from ssenv_core.soundstorm.sampling import SAMPLERS, Sampling

Settings = TypeVar("Settings")

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.=,-]*$")]
DatasetName = Literal[tuple(DATASETS)]
SamplerName = Literal[tuple(SAMPLERS)]
Precision = Literal["auto", "bf16", "fp32"]
Schedule = get_type_hints(Sampling)["guidance_schedule"]
CodecName = Literal[tuple(CODECS)]
CodecAtRate = Annotated[str, Field(pattern=rf"^({'|'.join(CODECS)})@\d+(\.\d+)?$")]
EmbeddingName = Literal[tuple(EMBEDDINGS)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]

frozen = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))


@frozen
class Params:
    """The parameters of every notebook: the study's name, which names its folder, and a seed."""

    study: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)]

    @classmethod
    def from_cell(cls, namespace: Mapping[str, object]) -> Self:
        """Take a notebook's parameters from its namespace (`globals()`), convert and check them.

        Raises:
            SsenvError: a value is missing, has the wrong type or is out of bounds; or papermill
                passed a params file that names a base.
        """
        if "base" in namespace:
            raise SsenvError(
                f"papermill does not read base: {namespace['base']}: write all values with "
                "`ssenv params FILE > whole.yaml`, and pass whole.yaml to papermill"
            )
        names = [field.name for field in fields(cls) if field.name in namespace]
        try:
            return cls(**{name: namespace[name] for name in names})
        except ValidationError as error:
            raise SsenvError(_one_line(error)) from None

    def into(self, settings: type[Settings], prefix: str = "", **values: object) -> Settings:
        """Build a settings dataclass from the parameters named like its fields.

        Args:
            settings: the dataclass; a field that no parameter names keeps its default.
            prefix: the parameter `prefix` + field name comes before the one of the field's name.
            values: fields given here, in place of any parameter.

        Raises:
            ValueError: no parameter has the prefix.
        """
        given = vars(self)
        if not any(name.startswith(prefix) for name in given):
            raise ValueError(f"{type(self).__name__} has no parameter that begins with {prefix!r}")
        for field in fields(settings):
            for name in (prefix + field.name, field.name):
                if name in given:
                    values.setdefault(field.name, given[name])
        return settings(**values)


@frozen
class FoldParams(Params):
    """Parameters of notebooks that hold a fold out and compute on a device."""

    fold: Count
    device: Device


@frozen
class CheckpointParams(Params):
    """Parameters of notebooks with a training that can resume."""

    checkpoint_minutes: Positive


@frozen
class JudgeParams(CheckpointParams):
    """Parameters of notebooks that train a judge."""

    judge_epochs: Count


@frozen
class PrecisionParams(Params):
    """Parameters of notebooks that choose the precision of a network."""

    precision: Precision


@frozen
class SoundParams(Params):
    """Parameters of notebooks that read a dataset."""

    dataset: DatasetName
    data_root: str
    clips_per_class: Count

    def load_dataset(self, root: Path | None = None) -> Dataset:
        """Load the dataset that the parameters name.

        Args:
            root: what `data_root` is relative to; by default the project around the working
                directory.

        Raises:
            SsenvError: its files are missing or damaged.
        """
        return load_dataset(
            self.dataset,
            (root or project_root()) / self.data_root,
            clips_per_class=self.clips_per_class,
            seed=self.seed,
        )


@frozen
class HeldOutParams(SoundParams, FoldParams):
    """Parameters of notebooks that read clips of the held-out fold."""


@frozen
class StartParams(Params):
    """00_start_here."""


@frozen
class TokenizeParams(HeldOutParams, JudgeParams):
    """01_tokenize."""

    codec: CodecName
    bandwidth: Positive
    variations: Annotated[int, Field(ge=0)]
    compare: tuple[CodecAtRate, ...]


@frozen
class TrainParams(FoldParams, CheckpointParams, PrecisionParams):
    """02_train."""

    dim: Annotated[int, Field(ge=8)]
    depth: Count
    heads: Count
    kernel_size: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    controls: bool
    label_dropout: Fraction
    control_dropout: Fraction
    partial_dropout: Annotated[float, Field(ge=0, le=0.5)]
    prompts: bool
    crop_frames: Count | None
    coarse_emphasis: NotNegative
    epochs: Count
    batch_size: Count
    accumulate: Count
    learning_rate: Positive
    warmup: Fraction
    grad_clip: Positive
    ema_decay: Fraction

    @field_validator("heads")
    @classmethod
    def _divide_dim(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("dim", 0) % (2 * heads):
            raise ValueError(
                f"dim {info.data['dim']} must be a multiple of 2 x heads = {2 * heads} "
                "(rotary positions)"
            )
        return heads

    @field_validator("partial_dropout")
    @classmethod
    def _leave_some(cls, partial: float, info: ValidationInfo) -> float:
        both = info.data.get("control_dropout", 0)
        if both + 2 * partial > 1:
            raise ValueError(f"twice it and control_dropout {both:g} must be at most 1 together")
        return partial

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, kernel_size: int) -> int:
        if kernel_size % 2 == 0:
            raise ValueError("must be odd to keep frames aligned")
        return kernel_size


@frozen
class GenerateParams(HeldOutParams, PrecisionParams):
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


@frozen
class MetricsParams(HeldOutParams):
    """04_metrics."""

    paper_root: str  # empty: no comparison with the paper's files
    embeddings: tuple[EmbeddingName, ...]  # none: only Fréchet distances of the codec's latents


@frozen
class FailureModeParams(HeldOutParams):
    """05_failure_modes."""

    origin_clips: Annotated[int, Field(ge=4)]


@frozen
class ClassifyParams(HeldOutParams, CheckpointParams, PrecisionParams):
    """06_classify."""

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


@frozen
class ListeningParams(HeldOutParams):
    """07_listening_test."""

    mushra_items: Count
    # at most 12 sounds on a page: 9 codecs, the reference and two anchors; or 6 clips of each side
    mushra_codecs: Annotated[tuple[CodecAtRate, ...], Field(min_length=1, max_length=9)]
    fit_classes: Count
    fit_clips: Annotated[int, Field(ge=1, le=6)]


@frozen
class CodecParams(HeldOutParams, JudgeParams):
    """08_train_codec."""

    frames_per_token: Annotated[int, Field(ge=1, le=8)]
    levels: Annotated[int, Field(ge=1, le=32)]
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
    finish_steps: Annotated[int, Field(ge=0)]
    finish_learning_rate: Positive


@frozen
class SummaryParams(Params):
    """90_summary."""

    studies: tuple[Name, ...]  # none: only the study itself


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


MESSAGES = {  # by the type of a pydantic error, or by the name of a parameter
    "string_type": "must be text: put it into quotes",
    "tuple_type": "must be a list, as in --set 'NAME=[a,b]'",
    "compare": "must be codecs at kbps, as in melrvq_24khz@12",
    "device": "must be auto, cpu, cuda, or one of several GPUs such as cuda:1",
    "study": "must be letters and digits, and after the first character also _ . = , or -",
}


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    value = "" if first["type"] == "missing" else f" = {first['input']!r}"
    if first["type"] in MESSAGES:
        message = MESSAGES[first["type"]]
    else:
        reason = first["msg"].removeprefix("Value error, ")
        message = MESSAGES.get(str(first["loc"][0]), reason)
    return f"parameter {name}{value}: {message[0].lower()}{message[1:]}"
