"""A notebook step shows findings, writes their files, and records numbers and sentences."""

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import read_json
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.study.step import NotebookStep

PARAMETERS = {"study": "tiny", "studies": [], "seed": 1}


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NotebookStep:
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return NotebookStep.begin("90_summary", PARAMETERS)


def test_a_wrong_parameter_is_refused_at_the_begin() -> None:
    with pytest.raises(SsenvError, match="parameter seed = 'often'"):
        NotebookStep.begin("90_summary", PARAMETERS | {"seed": "often"})


def test_a_finding_is_shown_written_and_recorded(
    step: NotebookStep, capsys: pytest.CaptureFixture
) -> None:
    table = pd.DataFrame({"real": [0.5]}, index=["rms"])
    step.show(
        Finding(
            sentence="It is so.",
            figure=go.Figure(go.Scatter(y=[1, 2])),
            name="line",
            numbers={"rms": Number(0.5, "near zero")},
            tables={"levels": table},
        )
    )
    assert "It is so." in capsys.readouterr().out
    step.finish(inputs=[], outputs=[])
    record = read_json(step.folder.step_record("90_summary"))
    assert record["headline"] == {"rms": 0.5}
    assert record["better"] == {"rms": "near zero"}
    assert record["sentences"] == ["It is so."]
    files = ["metrics/levels.csv", "figures/90_line.json", "figures/90_line.png"]
    assert list(record["outputs"]) == files
    assert (step.folder.metrics / "levels.csv").read_text() == table.to_csv()


def test_two_findings_with_the_same_number_are_refused(step: NotebookStep) -> None:
    step.show(Finding(numbers={"rms": Number(0.5)}))
    with pytest.raises(ValueError, match="rms twice"):
        step.show(Finding(numbers={"rms": Number(0.7)}))


def test_a_figure_needs_a_name() -> None:
    with pytest.raises(ValueError, match="needs a name"):
        Finding(figure=go.Figure())


def test_numbers_are_rounded_to_four_digits_and_whole_ones_stay_whole() -> None:
    assert Number.rounded(0.123456) == (0.1235, "")
    assert Number.rounded(12345, "higher") == (12345, "higher")
