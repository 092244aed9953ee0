"""A params file is read over its bases; a bad file or override is one line that names it."""

import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.study.params_files import parse_override, read_files, read_params, refuse_unknown


def refused(*parts):
    return pytest.raises(SsenvError, match=r"\A[^\n]*" + r"[^\n]*".join(parts) + r"[^\n]*\Z")


def test_an_unknown_name_gets_the_nearest():
    known = ["epochs", "learning_rate", "seed"]
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


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_a_file_overrides_its_base_and_that_the_next_each_relative_to_itself(tmp_path):
    (tmp_path / "more").mkdir()
    write(tmp_path / "more", own="study: own\nbase: ../middle.yaml\na: 1\n")
    write(tmp_path, middle="base: last.yaml\na: 2\nb: 2\n", last="a: 3\nb: 3\nc: [3]\n")
    path = tmp_path / "more" / "own.yaml"
    assert read_params(path) == {"study": "own", "a": 1, "b": 2, "c": [3]}
    assert list(read_files(path)) == [
        str(path),
        str(tmp_path / "middle.yaml"),
        str(tmp_path / "last.yaml"),
    ]


def test_the_name_of_a_study_is_not_inherited(tmp_path):
    write(tmp_path, own="base: other.yaml\n", other="study: other\nseed: 1\n")
    assert read_params(tmp_path / "own.yaml") == {"seed": 1}


def test_a_base_that_is_missing_or_leads_back_is_refused(tmp_path):
    write(tmp_path, lone="base: gone.yaml\n", a="base: b.yaml\n", b="base: a.yaml\n")
    write(tmp_path, self="base: self.yaml\n", wrong="base: [a.yaml]\n")
    with refused(r"no parameter file at .*gone\.yaml, which .*lone\.yaml names as its base"):
        read_params(tmp_path / "lone.yaml")
    with refused(r"a\.yaml is its own base: .*a\.yaml -> .*b\.yaml -> .*a\.yaml"):
        read_params(tmp_path / "a.yaml")
    with refused(r"self\.yaml is its own base"):
        read_params(tmp_path / "self.yaml")
    with refused(r"wrong\.yaml: base = \['a\.yaml'\] must be the name of a file"):
        read_params(tmp_path / "wrong.yaml")
