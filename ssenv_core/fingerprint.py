"""What decides the result of a notebook, as hashes: its code cells, and the modules of this package they reach with the data beside them.

Imports are read, not run. A change in a module that a notebook never reaches (a widget, the command line) leaves its hashes as they were,
and so does one in its prose. Versions of other packages and the machine are recorded with a result but are not part of this.
"""

import ast
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from ssenv_core.artifacts import sha256_files, sha256_json
from ssenv_core.errors import SsenvError

PACKAGE = Path(__file__).parent


def code_hashes(notebook: Path) -> dict[str, str]:
    """Hex SHA-256 of a notebook's code cells ("notebook") and of the part of this package that they import ("code").

    Raises:
        SsenvError: the file is not a notebook, or a cell is not valid Python.
    """
    try:
        cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    except ValueError as error:
        raise SsenvError(f"{notebook} is not a readable notebook ({error})") from None
    files: set[Path] = set()
    for number, source in enumerate(cells, start=1):
        try:
            files |= package_files(TransformerManager().transform_cell(source))
        except SyntaxError as error:
            raise SsenvError(f"{notebook.stem}, code cell {number}, line {error.lineno}: {error.msg}") from None
    return {"notebook": sha256_json(cells), "code": sha256_files(list(files), PACKAGE.parent)}


def package_files(source: str, package: Path = PACKAGE) -> set[Path]:
    """The files of `package` that Python source imports, directly or through them (absolute imports only), with the data files beside them.

    Data files are those below an imported subpackage that are neither Python nor prose, such as a codec's weights.
    """
    found: set[Path] = set()
    sources = [source]
    while sources:
        for name in _imported(sources.pop()):
            top, *parts = name.split(".")
            if top != package.name:
                continue
            for depth in range(len(parts) + 1):
                module = package.joinpath(*parts[:depth])
                file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
                if file.is_file() and file not in found:
                    found.add(file)
                    sources.append(file.read_text())
    folders = {file.parent for file in found if file.name == "__init__.py"} - {package}
    data = {file for folder in folders for file in folder.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc", ".md")}
    return found | data


def _imported(source: str) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
