"""Parameters convert what YAML mistypes; a wrong value is one line that names it and says why."""

from dataclasses import FrozenInstanceError, dataclass, fields, replace

import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.data import load_dataset
from ssenv_core.study.params import (
    NOTEBOOK_PARAMS,
    CodecParams,
    GenerateParams,
    ListeningParams,
    MetricsParams,
    Params,
    SoundParams,
    TokenizeParams,
    TrainParams,
)

TRAIN = {
    "study": "demo",
    "seed": 42,
    "fold": 1,
    "dim": 64,
    "depth": 2,
    "heads": 4,
    "kernel_size": 31,
    "dropout": 0.1,
    "controls": True,
    "label_dropout": 0.1,
    "control_dropout": 0.5,
    "partial_dropout": 0.1,
    "prompts": True,
    "crop_frames": 128,
    "coarse_emphasis": 1.0,
    "epochs": 2,
    "batch_size": 8,
    "accumulate": 1,
    "learning_rate": 1e-4,
    "warmup": 0.3,
    "grad_clip": 1.0,
    "ema_decay": 0.999,
    "precision": "auto",
    "checkpoint_minutes": 10,
    "device": "cpu",
}
GENERATE = {
    "study": "demo",
    "dataset": "synthetic",
    "data_root": "data",
    "clips_per_class": 2,
    "fold": 1,
    "seed": 1,
    "samples_per_class": 2,
    "duration": 5,
    "steps": [12, 1, 1],
    "temperature": 1,
    "top_k": None,
    "top_p": 0.9,
    "sampler": "halton",
    "choice_temperature": 4.5,
    "guidance": 2,
    "guidance_schedule": "rising",
    "plan": False,
    "long_clips": 2,
    "precision": "auto",
    "device": "auto",
}


def refused(*parts):
    return pytest.raises(SsenvError, match=r"\A[^\n]*" + r"[^\n]*".join(parts) + r"[^\n]*\Z")


def test_values_pass_unchanged_and_frozen():
    params = TrainParams.from_cell(TRAIN)
    assert {field.name: getattr(params, field.name) for field in fields(params)} == TRAIN
    with pytest.raises(FrozenInstanceError):
        params.seed = 1


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("learning_rate", "1e-4", 1e-4),
        ("epochs", "7", 7),
        ("epochs", 7.0, 7),
        ("warmup", 0, 0.0),
        ("checkpoint_minutes", "0.5", 0.5),
    ],
)
def test_what_yaml_mistypes_is_coerced(name, given, kept):
    value = getattr(TrainParams.from_cell(TRAIN | {name: given}), name)
    assert value == kept
    assert type(value) is type(kept)


def test_a_yaml_list_becomes_a_tuple():
    assert GenerateParams.from_cell(GENERATE).steps == (12, 1, 1)
    assert GenerateParams.from_cell(GENERATE | {"temperature": [1, 0.5, "0"]}).temperature == (
        1.0,
        0.5,
        0.0,
    )


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("learning_rate", "fast", "valid number"),
        ("learning_rate", 0, "greater than 0"),
        ("learning_rate", float("inf"), "finite"),
        ("learning_rate", float("nan"), "finite"),
        ("epochs", 2.5, "valid integer"),
        ("epochs", None, "valid integer"),
        ("epochs", 0, "greater than or equal to 1"),
        ("dropout", 1.0, "less than 1"),
        ("label_dropout", 1.5, "less than or equal to 1"),
        ("partial_dropout", 0.3, "and control_dropout 0.5 must be at most 1 together"),
        ("kernel_size", 30, "must be odd"),
        ("heads", 5, "dim 64 must be a multiple of 2 x heads = 10"),
        ("heads", 64, "dim 64 must be a multiple of 2 x heads = 128"),
        ("dim", "wide", "valid integer"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", 2**31, "less than"),
        ("precision", "fp8", "'auto', 'bf16' or 'fp32'"),
        ("device", "gpu", "cuda"),
        ("study", "../elsewhere", "letters and digits"),
        ("study", "", "letters and digits"),
        ("study", "two\nlines", "letters and digits"),
        ("study", 2024, "put it into quotes"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(name, value, why):
    with refused(f"parameter {name} = ", why):
        TrainParams.from_cell(TRAIN | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", [12, 0]),
        ("steps", []),
        ("steps", "12"),
        ("duration", 601),
        ("guidance", float("inf")),
        ("guidance_schedule", "annealed"),
        ("sampler", "greedy"),
        ("top_k", 0),
        ("top_p", 0),
        ("choice_temperature", float("nan")),
    ],
)
def test_generation_is_bounded(name, value):
    with refused(f"parameter {name}"):
        GenerateParams.from_cell(GENERATE | {name: value})


LISTENING = {
    "study": "demo",
    "seed": 1,
    "dataset": "esc50",
    "data_root": "data",
    "clips_per_class": 1,
    "fold": 1,
    "device": "cpu",
    "mushra_items": 4,
    "mushra_codecs": ["melrvq_24khz@6"],
    "fit_classes": 4,
    "fit_clips": 2,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mushra_items", 0),
        ("mushra_codecs", []),
        ("mushra_codecs", ["melrvq_24khz"]),
        ("mushra_codecs", ["melrvq_24khz@6"] * 10),
        ("fit_classes", 0),
        ("fit_clips", 7),
    ],
)
def test_a_listening_page_holds_no_more_than_a_listener_can_compare(name, value):
    assert ListeningParams.from_cell(LISTENING).mushra_codecs == ("melrvq_24khz@6",)
    with refused(f"parameter {name}"):
        ListeningParams.from_cell(LISTENING | {name: value})


TOKENIZE = {
    "study": "demo",
    "seed": 1,
    "dataset": "esc50",
    "data_root": "data",
    "clips_per_class": 1,
    "fold": 1,
    "codec": "encodec_24khz",
    "bandwidth": 6,
    "variations": 2,
    "compare": [],
    "judge_epochs": 1,
    "checkpoint_minutes": 5,
    "device": "cpu",
}


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [("dataset", "esc100", "esc10"), ("codec", "encodec_32khz", "melrvq_24khz")],
)
def test_unknown_data_sets_and_codecs_are_refused(name, value, known):
    assert TokenizeParams.from_cell(TOKENIZE).dataset == "esc50"
    with refused(f"parameter {name} = '{value}': input should be ", f"'{known}'"):
        TokenizeParams.from_cell(TOKENIZE | {name: value})


@pytest.mark.parametrize(
    "version", ["melrvq_24khz", "melrvq_24khz@", "melrvq@6", "encodec_24khz@six"]
)
def test_a_codec_to_compare_is_written_name_at_kbps(version):
    assert TokenizeParams.from_cell(TOKENIZE | {"compare": ["encodec_48khz@3"]}).compare == (
        "encodec_48khz@3",
    )
    with refused("parameter compare"):
        TokenizeParams.from_cell(TOKENIZE | {"compare": ["encodec_24khz@1.5", version]})


METRICS = {
    "study": "demo",
    "seed": 1,
    "dataset": "esc50",
    "data_root": "data",
    "clips_per_class": 1,
    "fold": 1,
    "paper_root": "",
    "embeddings": [],
    "device": "cpu",
}


def test_the_papers_files_are_named_or_not_here():
    metrics = {name: value for name, value in METRICS.items() if name != "paper_root"}
    assert MetricsParams.from_cell(metrics | {"paper_root": ""}).paper_root == ""
    with refused("parameter paper_root = None"):
        MetricsParams.from_cell(metrics | {"paper_root": None})
    with refused("parameter paper_root: field required"):
        MetricsParams.from_cell(metrics)


def test_the_embeddings_of_04_are_known_ones():
    assert MetricsParams.from_cell(METRICS | {"embeddings": ["clap", "vggish"]}).embeddings == (
        "clap",
        "vggish",
    )
    with refused("parameter embeddings", "'encodec', 'clap' or 'vggish'"):
        MetricsParams.from_cell(METRICS | {"embeddings": ["clap", "pann"]})


def test_a_missing_value_is_named():
    with refused("parameter epochs: field required"):
        TrainParams.from_cell({name: value for name, value in TRAIN.items() if name != "epochs"})


def test_a_cell_may_hold_other_names():
    assert TrainParams.from_cell(
        TRAIN | {"np": object(), "_i1": "import numpy"}
    ) == TrainParams.from_cell(TRAIN)


@dataclass(frozen=True)
class Settings:
    steps: int
    batch_size: int
    seed: int = 0
    warmup: float = 0.05


CODEC = {
    "study": "demo",
    "seed": 7,
    "dataset": "synthetic",
    "data_root": "",
    "clips_per_class": 2,
    "fold": 1,
    "frames_per_token": 1,
    "levels": 16,
    "latent_dim": 4,
    "encoder_dim": 8,
    "encoder_layers": 1,
    "encoder_steps": 30,
    "encoder_batch_size": 3,
    "encoder_learning_rate": 1e-3,
    "feature_dim": 8,
    "feature_layers": 1,
    "decoder_dim": 8,
    "decoder_layers": 1,
    "decoder_steps": 40,
    "decoder_batch_size": 4,
    "decoder_learning_rate": 1e-3,
    "judge_epochs": 1,
    "finish_steps": 5,
    "finish_learning_rate": 1e-3,
    "checkpoint_minutes": 5,
    "device": "cpu",
}


def test_settings_are_built_from_the_parameters_of_their_fields_names():
    params = CodecParams.from_cell(CODEC)
    assert params.into(Settings, prefix="encoder_") == Settings(30, 3, seed=7)
    assert params.into(Settings, prefix="decoder_", warmup=0.1) == Settings(40, 4, 7, 0.1)
    assert params.into(Settings, prefix="finish_", batch_size=6) == Settings(5, 6, 7)
    train = TrainParams.from_cell(TRAIN)
    assert train.into(Settings, steps=9) == Settings(9, 8, 42, 0.3)


def test_settings_are_not_built_without_a_value_or_with_a_prefix_that_no_parameter_has():
    params = CodecParams.from_cell(CODEC)
    with pytest.raises(TypeError, match="batch_size"):
        params.into(Settings, prefix="finish_")
    with pytest.raises(ValueError, match="CodecParams has no parameter that begins with 'coder_'"):
        params.into(Settings, prefix="coder_", steps=1, batch_size=1)


def test_the_dataset_of_the_parameters_is_loaded_below_the_project(tmp_path):
    params = CodecParams.from_cell(CODEC)
    expected = load_dataset("synthetic", clips_per_class=2, seed=7)
    assert params.load_dataset(tmp_path).fingerprint == expected.fingerprint
    missing = replace(params, dataset="esc50", data_root="sounds")
    with refused(f"no ESC-50 at .*{tmp_path / 'sounds'}"):
        missing.load_dataset(tmp_path)


def test_each_parameter_is_declared_once():
    declared = [
        name
        for kind in {base for params in NOTEBOOK_PARAMS.values() for base in params.__mro__}
        for name in vars(kind).get("__annotations__", {})
        if issubclass(kind, Params)
    ]
    assert sorted(declared) == sorted(set(declared))
    assert all(
        issubclass(params, SoundParams) == ("dataset" in params.__dataclass_fields__)
        for params in NOTEBOOK_PARAMS.values()
    )


def test_every_notebook_has_a_study_and_a_seed():
    for params in NOTEBOOK_PARAMS.values():
        assert {"study", "seed"} <= {field.name for field in fields(params)}


def test_a_params_file_with_a_base_is_refused_where_papermill_passes_it_alone():
    with refused("papermill does not read base: demo.yaml: write all values with `ssenv params"):
        TrainParams.from_cell(TRAIN | {"base": "demo.yaml"})
