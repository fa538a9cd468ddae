"""`import depot_lite`: its names, and the libraries that it does not import."""

from __future__ import annotations

import ast
import importlib.resources
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import depot_lite
from depot_lite import errors

ROOT = Path(__file__).parent.parent

HEAVY = {"sqlalchemy", "PIL", "boto3", "botocore", "django", "starlette", "werkzeug", "multipart"}


def modules_after(program: str) -> set[str]:
    """Return the names of all modules that a new Python has loaded after a program."""
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(shown.stdout.split())


def test_importing_the_package_pulls_in_no_database_and_no_framework() -> None:
    loaded = modules_after("import depot_lite; depot_lite.__version__; dir(depot_lite)")
    assert loaded & HEAVY == set()
    assert {each for each in loaded if each.startswith("depot_lite.")} == {"depot_lite.errors"}


def test_a_depot_is_used_without_a_database() -> None:
    """Configuring a depot, storing and reading needs nothing but the storage."""
    loaded = modules_after(
        "from depot_lite import DepotManager, FileIntent\n"
        "depot = DepotManager.configure('default', {'depot.backend': 'depot_lite.io.memory.MemoryFileStorage'})\n"
        "file_id = depot.create(FileIntent(b'hello', 'hello.txt', 'text/plain'))\n"
        "assert DepotManager.get_file(f'default/{file_id}').read() == b'hello'"
    )
    assert loaded & HEAVY == set()
    assert not [each for each in loaded if each.startswith("depot_lite.fields")]


@pytest.mark.parametrize("name", depot_lite.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(depot_lite, name) is not None
    assert name in dir(depot_lite)


def test_public_names_are_sorted_and_told_once() -> None:
    assert sorted(set(depot_lite.__all__)) == depot_lite.__all__


def test_every_exception_is_public() -> None:
    exceptions = {
        name for name, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__
    }
    assert exceptions - set(depot_lite.__all__) == set()


def test_names_are_loaded_from_where_type_checkers_see_them() -> None:
    """The two lists of __init__.py, one for Python and one for type checkers, say the same."""
    blocks = [each for each in ast.parse(inspect.getsource(depot_lite)).body if isinstance(each, ast.If)]
    (block,) = [each for each in blocks if ast.unparse(each.test) == "TYPE_CHECKING"]
    seen = {alias.name: each.module for each in block.body if isinstance(each, ast.ImportFrom) for alias in each.names}
    assert seen == depot_lite._HOMES
    assert {name: getattr(depot_lite, name).__module__ for name in seen} == seen


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'depot_lite' has no attribute 'DepotManger'"):
        depot_lite.DepotManger  # type: ignore[attr-defined]  # noqa: B018  # that it is not there is the claim


def test_the_marker_of_a_typed_package_is_there() -> None:
    assert (importlib.resources.files("depot_lite") / "py.typed").is_file()
