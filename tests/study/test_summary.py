"""Studies side by side, from records and manifests written by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import read_json, write_json
from ssenv_core.base.folders import StudyFolder
from ssenv_core.plots.tables import study_table
from ssenv_core.study.summary import summarise_studies


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)


ENDED = {"fingerprint": {}, "inputs": {}, "outputs": {}}


BETTER = {"level 1": "lower", "judge on generated": "higher", "rms gap %": "near zero"}


def study(
    name: str,
    headlines: dict[str, dict],
    parameters: dict[str, dict] | None = None,
    better: dict[str, str] = BETTER,
) -> None:
    folder = StudyFolder.of(name)
    for step, headline in headlines.items():
        named = {number: better.get(number, "") for number in headline}
        record = {"step": step, "headline": headline, "better": named, "inputs": {}, "outputs": {}}
        write_json(folder.step_record(step), record)
    if parameters is not None:
        write_json(
            folder.manifest,
            {
                "study": name,
                "steps": {
                    step: {"parameters": given, **ENDED} for step, given in parameters.items()
                },
            },
        )


def test_numbers_stand_side_by_side_with_their_differences_and_the_best() -> None:
    study(
        "a",
        {
            "02_train": {"level 1": 3.5, "first loss": 6.0},
            "04_metrics": {"judge on generated": 0.6, "rms gap %": -10.0},
        },
    )
    study(
        "b",
        {
            "02_train": {"level 1": 3.0, "first loss": 5.0},
            "04_metrics": {"judge on generated": 0.6, "rms gap %": 4.0},
        },
    )
    study("c", {"02_train": {"level 1": 3.25}, "03_generate": {"change at joints (rank)": 0.5}})
    found = summarise_studies(["a", "b", "c"])
    assert found.numbers.loc[("02_train", "level 1")].tolist() == [3.5, 3.0, 3.25]
    assert np.isnan(found.numbers.loc[("04_metrics", "rms gap %"), "c"])
    assert list(found.differences) == ["b", "c"]
    assert found.differences.loc[("02_train", "level 1")].tolist() == [-0.5, -0.25]
    assert found.differences.loc[("04_metrics", "rms gap %"), "b"] == 14
    assert found.best.to_dict() == {
        ("02_train", "level 1"): "b",  # the lowest
        ("02_train", "first loss"): "",  # neither better nor worse
        ("04_metrics", "judge on generated"): "",  # a tie
        ("04_metrics", "rms gap %"): "b",  # the nearest to 0
        ("03_generate", "change at joints (rank)"): "",  # nobody to be better than
    }


def test_numbers_of_a_step_whose_last_run_did_not_end_are_left_out() -> None:
    """They are of an earlier run, perhaps with another generator than the present one."""
    study(
        "a",
        {"02_train": {"level 1": 3.0}, "04_metrics": {"rms gap %": -50.0}},
        {"02_train": {}, "04_metrics": {}},
    )
    manifest = read_json(StudyFolder.of("a").manifest)
    manifest["steps"]["04_metrics"]["fingerprint"] = None
    write_json(StudyFolder.of("a").manifest, manifest)
    assert summarise_studies(["a"]).numbers["a"].to_dict() == {("02_train", "level 1"): 3.0}


def test_numbers_of_what_has_changed_since_are_left_out() -> None:
    """02 was run again alone: what 03 read is gone, and 04 read what 03 made."""
    headlines = {
        step: {"number": 1.0}
        for step in ("01_tokenize", "02_train", "03_generate", "04_metrics", "06_classify")
    }
    study("a", headlines, {step: {} for step in headlines})
    manifest = read_json(StudyFolder.of("a").manifest)
    files = {
        "01_tokenize": ((), "tokens"),
        "02_train": (("tokens",), "generator"),
        "03_generate": (("generator",), "sounds"),
    }
    files |= {
        "04_metrics": (("tokens", "sounds"), "table"),
        "06_classify": (("tokens", "../../data/clip.wav"), "classifier"),
    }
    for step, (read, made) in files.items():
        manifest["steps"][step] |= {
            "inputs": dict.fromkeys(read, "before"),
            "outputs": {made: "before"},
        }
    write_json(StudyFolder.of("a").manifest, manifest)
    assert set(summarise_studies(["a"]).numbers.index.get_level_values("step")) == set(headlines)
    manifest["steps"]["02_train"]["outputs"]["generator"] = "now"
    write_json(StudyFolder.of("a").manifest, manifest)
    assert set(summarise_studies(["a"]).numbers.index.get_level_values("step")) == {
        "01_tokenize",
        "02_train",
        "06_classify",
    }


@pytest.mark.parametrize(
    ("better", "values", "best"),
    [
        ("higher", (0.7, 0.8), "b"),
        ("lower", (0.7, 0.8), "a"),
        ("near zero", (-3, 2), "b"),
        ("near half", (0.45, 0.6), "a"),
        ("", (30, 40), ""),
    ],
)
def test_the_record_says_which_values_are_better(
    better: str, values: tuple[float, float], best: str
) -> None:
    study("a", {"04_metrics": {"number": values[0]}}, better={"number": better})
    study("b", {"04_metrics": {"number": values[1]}}, better={"number": better})
    assert summarise_studies(["a", "b"]).best.tolist() == [best]


def test_only_settings_that_are_not_the_same_in_all_studies_are_shown() -> None:
    headline = {"02_train": {"level 1": 3.0}}
    for name, fold, steps in (("a", 1, [2, 1]), ("b", 2, [2, 2])):
        tokenize = {"study": name, "fold": 1, "codec": "m"}
        study(
            name,
            headline,
            {
                "01_tokenize": tokenize,
                "02_train": {"study": name, "fold": fold, "dim": 64, "steps": steps},
            },
        )
    study("c", headline)
    found = summarise_studies(["a", "b"])
    assert found.settings.to_dict("index") == {
        "fold": {"a": "1", "b": "1 / 2"},
        "steps": {"a": "[2, 1]", "b": "[2, 2]"},
    }
    assert found.unknown == ()
    assert summarise_studies(["a", "c"]).unknown == ("c",)
    assert summarise_studies(["a", "c"]).settings.loc["dim"].tolist() == ["64", ""]
    assert summarise_studies(["a"]).settings.empty


def test_a_study_that_is_not_there_or_named_twice_is_one_line() -> None:
    study("a", {"02_train": {"level 1": 3.0}})
    with pytest.raises(
        SsenvError, match=r"study 'nope' has no finished step in .*metrics: run it first$"
    ):
        summarise_studies(["a", "nope"])
    with pytest.raises(SsenvError, match=r"^studies a, a: list each study once$"):
        summarise_studies(["a", "a"])


def test_the_best_is_bold_in_the_table_and_what_is_missing_a_dash() -> None:
    index = pd.MultiIndex.from_tuples([("02_train", "level 1")])
    html = study_table(
        pd.DataFrame({"a": [3.5], "b": [3.0]}, index), pd.Series(["b"], index)
    ).to_html()
    assert html.count("font-weight: bold") == 1
    assert "3.5" in html
    assert "–" in study_table(pd.DataFrame({"a": [np.nan]}, index)).to_html()
    assert "+0.5" in study_table(pd.DataFrame({"a": [0.5]}, index), signed=True).to_html()


def test_studies_that_differ_in_the_fold_alone_have_a_mean_and_a_spread() -> None:
    for fold, accuracy in ((1, 0.5), (2, 0.6), (3, 0.7)):
        parameters = {
            "study": f"f{fold}",
            "fold": fold,
            "generator": f"{fold}.safetensors",
            "seed": 1,
        }
        study(f"f{fold}", {"06_classify": {"frozen, probe": accuracy}}, {"06_classify": parameters})
    study(
        "again",
        {"06_classify": {"frozen, probe": 0.5}},
        {"06_classify": {"fold": 1, "generator": "1.safetensors", "seed": 1}},
    )
    study(
        "seed",
        {"06_classify": {"frozen, probe": 0.5}},
        {"06_classify": {"fold": 4, "generator": "1.safetensors", "seed": 2}},
    )
    study("unknown", {"06_classify": {"frozen, probe": 0.5}})
    summary = summarise_studies(["f1", "f2", "f3"])
    assert set(summary.best) == {""}  # the easier fold is no better study
    found = summary.over_folds
    assert found.loc[("06_classify", "frozen, probe")].tolist() == pytest.approx([0.6, 0.1, 3])
    for others in (["f1"], ["f1", "f2", "again"], ["f1", "seed"], ["f1", "unknown"]):
        assert summarise_studies(others).over_folds is None
