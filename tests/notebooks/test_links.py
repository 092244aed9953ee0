"""The links between notebooks follow from their titles, and those in the repository are up to date."""

import shutil
from pathlib import Path

import nbformat
import pytest
from links import Page, footer, read_pages, table, write_links

ROOT = Path(__file__).parents[2]
PAGES = [Page("00_a", "Why?"), Page("01_b", "How?"), Page("02_c", "What then?")]


def write_notebook(path: Path, title: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    cells = [nbformat.v4.new_markdown_cell(f"{title}\n\nWords."), nbformat.v4.new_markdown_cell("old")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_the_notebooks_and_the_readme_are_linked_as_their_titles_say(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=lambda *_: [".ipynb_checkpoints"])
    shutil.copy(ROOT / "README.md", tmp_path)
    assert write_links(tmp_path) == []


def test_a_page_leads_to_the_one_before_the_start_and_the_next_as_far_as_there_are_any() -> None:
    assert footer(PAGES, 0) == "[01_b](01_b.ipynb) →"
    middle = "← [00_a](00_a.ipynb) ·\n[start](00_a.ipynb) ·\n[02_c](02_c.ipynb) →"
    assert footer(PAGES, 1) == middle
    assert footer(PAGES, 2) == "← [01_b](01_b.ipynb) ·\n[start](00_a.ipynb)"


def test_a_new_notebook_comes_into_both_tables_and_between_its_neighbours(tmp_path: Path) -> None:
    start = write_notebook(tmp_path / "notebooks" / "00_a.ipynb", f"# all: why?\n\n{table(PAGES[1:2])}")
    last = write_notebook(tmp_path / "notebooks" / "02_c.ipynb", "# 02 C: what then?")
    readme = tmp_path / "README.md"
    readme.write_text(f"# all\n\n{table(PAGES[:2])}\nMore.\n")
    new = write_notebook(tmp_path / "notebooks" / "01_b.ipynb", "# 01 B: how?")
    assert set(write_links(tmp_path)) == {start, new, last, readme}
    assert readme.read_text() == f"# all\n\n{table(PAGES, 'notebooks/')}\nMore.\n"
    assert table(PAGES[1:]) in nbformat.read(start, as_version=4).cells[0].source
    assert "[01_b](01_b.ipynb)" in nbformat.read(last, as_version=4).cells[-1].source
    assert write_links(tmp_path) == []


def test_a_title_without_a_question_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="01_b"):
        read_pages([write_notebook(tmp_path / "notebooks" / "01_b.ipynb", "# 01 B")])
