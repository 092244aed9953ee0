"""Hashes of a notebook's code cells and of the part of this package that they import."""

from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from ssenv_core.base.code import PACKAGE, package_files
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_files, sha256_json


def code_hashes(notebook: Path) -> dict[str, str]:
    """Hash a notebook's code cells and the part of this package that they import.

    Returns:
        Hex SHA-256: "notebook" of the cells, "code" of the files.

    Raises:
        SsenvError: the file is not a notebook, or a cell is not valid Python.
    """
    try:
        cells = [
            cell.source
            for cell in nbformat.read(notebook, as_version=4).cells
            if cell.cell_type == "code"
        ]
    except ValueError as error:
        raise SsenvError(f"{notebook} is not a readable notebook ({error})") from None
    files: set[Path] = set()
    for number, source in enumerate(cells, start=1):
        try:
            files |= package_files(TransformerManager().transform_cell(source))
        except SyntaxError as error:
            raise SsenvError(
                f"{notebook.stem}, code cell {number}, line {error.lineno}: {error.msg}"
            ) from None
    return {"notebook": sha256_json(cells), "code": sha256_files(list(files), PACKAGE.parent)}
