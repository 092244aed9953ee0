"""The source files that a module depends on, read from its import statements.

Imports are read, not run, and absolute ones only. A result is reproducible as long as these files
and its inputs are the same.
"""

import ast
from functools import cache
from pathlib import Path

from ssenv_core.base.files import sha256_files

PACKAGE = Path(__file__).parents[1]


@cache
def code_of(module: str) -> str:
    """Hex SHA-256 of a module of this package and of the package's files that it depends on.

    Args:
        module: its dotted name, usually `__name__`.
    """
    return sha256_files(list(package_files(f"import {module}")), PACKAGE)


def package_files(source: str, package: Path = PACKAGE) -> set[Path]:
    """The files of `package` that Python source imports, directly or indirectly, with data files.

    Data files are those beside the modules of an imported sub-package and in its folders without
    Python (a codec's weights), except prose and files named like a module that is not imported.
    """
    modules: set[Path] = set()
    sources = [source]
    while sources:
        for name in _imported(sources.pop()):
            top, *parts = name.split(".")
            if top != package.name:
                continue
            for depth in range(len(parts) + 1):
                module = package.joinpath(*parts[:depth])
                file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
                if file.is_file() and file not in modules:
                    modules.add(file)
                    sources.append(file.read_text())
    folders = [
        file.parent for file in modules if file.name == "__init__.py" and file.parent != package
    ]
    data = {file for folder in folders for file in (*folder.glob("*.*"), *folder.glob("*/*"))}
    return modules | {file for file in data if _is_data(file, modules)}


def _is_data(file: Path, modules: set[Path]) -> bool:
    """Whether a file in or below an imported sub-package is data of the imported modules."""
    if not file.is_file() or file.suffix in (".py", ".pyc", ".md"):
        return False
    namesake = file.parent / f"{file.name.split('.')[0]}.py"
    beside = (file.parent / "__init__.py") in modules
    return (beside or not any(file.parent.glob("*.py"))) and (
        namesake in modules or not namesake.exists()
    )


def _imported(source: str) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
