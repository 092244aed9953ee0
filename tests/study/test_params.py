"""Parameters: what YAML mistypes is coerced, what is wrong is one line that names the parameter and says why."""

from dataclasses import FrozenInstanceError, fields

import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.study.params import (
    NOTEBOOK_PARAMS,
    GenerateParams,
    ListeningParams,
    MetricsParams,
    TokenizeParams,
    TrainParams,
    parse_override,
    read_params,
    refuse_unknown,
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
    "study": "demo", "seed": 1, "dataset": "esc50", "data_root": "data", "clips_per_class": 1, "fold": 1, "device": "cpu",
    "mushra_items": 4, "mushra_codecs": ["melrvq_24khz@6"], "fit_classes": 4, "fit_clips": 2,
}  # fmt: skip


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
    "study": "demo", "seed": 1, "dataset": "esc50", "data_root": "data", "clips_per_class": 1, "fold": 1, "codec": "encodec_24khz",
    "bandwidth": 6, "variations": 2, "compare": [], "judge_epochs": 1, "checkpoint_minutes": 5, "device": "cpu",
}  # fmt: skip


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
    "study": "demo", "seed": 1, "dataset": "esc50", "data_root": "data", "clips_per_class": 1, "fold": 1, "paper_root": "",
    "embeddings": [], "device": "cpu",
}  # fmt: skip


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


def test_every_notebook_has_a_study_and_a_seed():
    for params in NOTEBOOK_PARAMS.values():
        assert {"study", "seed"} <= {field.name for field in fields(params)}


def test_an_unknown_name_gets_the_nearest():
    known = [field.name for field in fields(TrainParams)]
    refuse_unknown(["epochs", "seed"], known, "params/demo.yaml")
    with refused(
        r"unknown parameter 'learnig_rate' in params/demo\.yaml: did you mean 'learning_rate'\?"
    ):
        refuse_unknown(["epochs", "learnig_rate"], known, "params/demo.yaml")
    with refused("unknown parameter 'xyz' in --set; known: .*epochs"):
        refuse_unknown(["xyz"], known, "--set")


def test_a_study_file_is_read(tmp_path):
    (tmp_path / "demo.yaml").write_text("study: demo\nlearning_rate: 1e-4\nsteps: [12, 1]\n")
    assert read_params(tmp_path / "demo.yaml") == {
        "study": "demo",
        "learning_rate": "1e-4",
        "steps": [12, 1],
    }


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"just text", b"train:\n  epochs: 2\n", b"1: 2\n"]
)
def test_a_study_file_that_is_no_flat_mapping_is_refused(tmp_path, content):
    (tmp_path / "demo.yaml").write_bytes(content)
    with refused(r"demo\.yaml must be one flat mapping"):
        read_params(tmp_path / "demo.yaml")


@pytest.mark.parametrize(
    "content",
    [b"a: [1, 2\nb: 3\n", b"a: 'x\n", b"\xff\xfe\x00", b"a: !!python/object/apply:os.getcwd []\n"],
)
def test_a_study_file_that_is_no_yaml_is_refused(tmp_path, content):
    (tmp_path / "demo.yaml").write_bytes(content)
    with refused(r"demo\.yaml is not valid YAML"):
        read_params(tmp_path / "demo.yaml")


def test_a_study_file_that_cannot_be_read_is_named(tmp_path):
    with refused(r"no parameter file at .*demo\.yaml"):
        read_params(tmp_path / "demo.yaml")
    with refused(f"cannot read {tmp_path}"):
        read_params(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=3", ("epochs", 3)),
        (" epochs =3", ("epochs", 3)),
        ("steps=[12, 1]", ("steps", [12, 1])),
        ("study=a=b", ("study", "a=b")),
        ("device=cuda:1", ("device", "cuda:1")),
        ("learning_rate=1e-4", ("learning_rate", "1e-4")),
    ],
)
def test_an_override_is_read_as_yaml(text, expected):
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["epochs", "=3", " =3", "", "steps=[12"])
def test_an_override_that_is_none_is_refused(text):
    with refused("--set "):
        parse_override(text)
