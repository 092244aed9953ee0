"""Links between the notebooks: a last line in each, and a table in 00_start_here and README.md.

`make links` writes them; a test keeps them so.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat

from ssenv_core.base.files import write_text
from ssenv_core.base.folders import project_root

TABLE = re.compile(r"\| notebook \| question \|\n\|---\|---\|\n(?:\|.*\n?)*")
TITLE = re.compile(r"# (?:\d\d )?[^:\n]+: (\S)(.+\?)\n")


class Page(NamedTuple):
    """A notebook's name without ending, and the question that its title asks."""

    name: str
    question: str


def read_pages(notebooks: Sequence[Path]) -> list[Page]:
    """The pages of notebook files, in their order.

    Raises:
        ValueError: a first cell does not begin with `# NN Name: question?`.
    """
    pages = []
    for path in notebooks:
        title = TITLE.match(nbformat.read(path, as_version=4).cells[0].source + "\n")
        if not title:
            raise ValueError(f"{path} does not begin with '# NN Name: question?'")
        pages.append(Page(path.stem, title[1].upper() + title[2]))
    return pages


def table(pages: Sequence[Page], folder: str = "") -> str:
    """The pages as a Markdown table, their files in `folder`, such as "notebooks/"."""
    rows = [f"| [{name}]({folder}{name}.ipynb) | {question} |\n" for name, question in pages]
    return "".join(["| notebook | question |\n|---|---|\n", *rows])


def footer(pages: Sequence[Page], at: int) -> str:
    """The last cell of a page: links to the previous page, the start and the next page."""
    link = "[{0}]({0}.ipynb)".format
    before = [f"← {link(pages[at - 1].name)}", f"[start]({pages[0].name}.ipynb)"] if at else []
    after = [f"{link(pages[at + 1].name)} →"] if at + 1 < len(pages) else []
    return " ·\n".join([*before, *after])


def write_links(root: Path) -> list[Path]:
    """Bring tables and last lines up to date; the files that were not."""
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    pages, texts = read_pages(notebooks), {}
    for at, path in enumerate(notebooks):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[-1].source = footer(pages, at)
        if at == 0:
            notebook.cells[0].source = TABLE.sub(table(pages[1:]), notebook.cells[0].source)
        texts[path] = nbformat.writes(notebook) + "\n"
    readme = root / "README.md"
    texts[readme] = TABLE.sub(table(pages, "notebooks/"), readme.read_text())
    changed = [path for path, text in texts.items() if path.read_text() != text]
    for path in changed:
        write_text(path, texts[path])
    return changed


if __name__ == "__main__":
    for file in write_links(project_root()):
        print(file)
