"""Which packages a module of this checkout needs before it can be imported."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

#: Where modules of this checkout are. All other names lead to packages that somebody has to install.
_OURS: Final = {"depot_lite": ROOT, "tests": ROOT, "movies": ROOT / "examples"}


#: The first line behind the imports of a module.
_CODE: Final = re.compile(r"^(?!from |import |if |try:|except |else:)[\w@]", re.M)


@cache
def needs(path: Path) -> frozenset[str]:
    """Return the modules that are imported at the top of a file, and at the top of ours that it imports, and so on.

    A module of a package needs all that the package's ``__init__`` needs. Imports inside a function do not count: they
    concern only its callers.
    """
    found: set[str] = set()
    packages = [
        each / "__init__.py" for each in path.parents if each.is_relative_to(_OURS["depot_lite"] / "depot_lite")
    ]
    waiting = {str(path), *(str(each) for each in packages if each.is_file())}
    seen: set[str] = set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        names, files = _imported(file)
        found |= names
        waiting |= files - seen
    return frozenset(found)


@cache
def _imported(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of modules, with the names imported from them, which may be modules too, and ours' files."""
    found: set[str] = set()
    _, _, text = Path(path).read_text().partition('"""')[2].partition('"""')
    code = _CODE.search(text)
    for statement in ast.parse(text[: code.start()] if code else text).body:
        if isinstance(statement, ast.Import):
            found.update(each.name for each in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            found.add(statement.module)
            if statement.module.split(".")[0] in _OURS:
                found.update(f"{statement.module}.{each.name}" for each in statement.names)
    return frozenset(found), frozenset(file for name in found for file in _files(name))


@cache
def _files(name: str) -> list[str]:
    """Return the files that are executed when a module of ours is imported."""
    top, *rest = name.split(".")
    if top not in _OURS:
        return []
    folder = _OURS[top] / top
    found = [folder / "__init__.py"]
    for part in rest:
        found += [folder / f"{part}.py", folder / part / "__init__.py"]
        folder /= part
    return [str(each) for each in found if each.is_file()]
