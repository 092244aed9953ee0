"""The layout of a study's folder."""

from ssenv_core.base.folders import StudyFolder


def test_the_records_are_those_of_all_notebooks_but_summaries(tmp_path):
    folder = StudyFolder(tmp_path)
    folder.metrics.mkdir()
    for step in ("10_more", "02_train", "89_last", "90_summary", "91_other"):
        folder.step_record(step).write_text("{}")
    (folder.metrics / "origins.json").write_text("{}")
    names = [record.stem for record in folder.step_records]
    assert names == ["02_train", "10_more", "89_last"]
