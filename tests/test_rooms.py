"""The rooms of the package import downwards only, and their `__init__`s stay thin."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssenv_core.base.code import PACKAGE

FLOORS = [  # from the top down; rooms on one floor do not know each other
    ["cli"],
    ["panels"],
    ["study"],
    ["evaluation"],
    ["classification"],
    ["generator"],
    ["plots", "data"],
    ["soundstorm", "metrics", "codecs"],
    ["base"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
REGISTRIES = ["codecs", "data"]


def imported_rooms(source: str) -> Iterator[str]:
    """The rooms that Python source imports from, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports within the package are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("ssenv_core."))


def upward_imports(package: Path) -> list[str]:
    """Every import that does not go down, as "file imports room"."""
    found = []
    for file in sorted(package.rglob("*.py")):
        room = file.relative_to(package).with_suffix("").parts[0]
        if room == "__init__":
            continue
        others = [other for other in imported_rooms(file.read_text()) if other != room]
        found += [
            f"{file.relative_to(package)} imports {other}"
            for other in others
            if FLOOR_OF[other] <= FLOOR_OF[room]
        ]
    return found


def test_imports_go_down_only() -> None:
    assert upward_imports(PACKAGE) == []


@pytest.mark.parametrize(
    "line",
    [
        "from ssenv_core.generator.file import load_generator",
        "from ssenv_core import generator",
        "import ssenv_core.plots.style",
        "def load():\n    from ssenv_core.plots.style import COLOURS",
    ],
)
def test_an_import_that_goes_up_or_sideways_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tokens.py").write_text("from ssenv_core.base.files import read_json\n")
    assert upward_imports(tmp_path) == []
    (tmp_path / "data" / "tokens.py").write_text(line)
    assert len(upward_imports(tmp_path)) == 1


def test_the_package_holds_the_rooms_and_little_else() -> None:
    rooms = {
        path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name != "__pycache__"
    }
    assert rooms == {*FLOOR_OF, "weights", "__init__"}


def test_an_init_holds_a_docstring_and_registries_what_chooses_by_name() -> None:
    for file in PACKAGE.rglob("__init__.py"):
        if file.parent.name not in REGISTRIES:
            assert len(file.read_text().splitlines()) <= 30, file


def test_no_module_is_over_350_lines() -> None:
    assert [
        file for file in PACKAGE.rglob("*.py") if len(file.read_text().splitlines()) > 350
    ] == []
