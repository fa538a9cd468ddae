"""Which tests run: the quick suite, or all that were asked for.

Each test that is no part of the quick suite has one or more markers, its *kinds*. They come from the packages that its
module needs, from the databases among its parameters, and from the size of its table; where none of these tells, the
test is decorated. `tests/README.md` has the rules for those who write tests.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.imports import ROOT, needs
from tests.support.pairwise import pairwise

#: Modules that the quick suite does without, and the kind of tests that need them. Only `.[ci]` installs the packages.
NEEDED_BY: Final = {
    "database": ("aiomysql", "asyncpg", "psycopg", "pymysql"),
    "server": (
        *(
            "av",
            "boto3",
            "botocore",
            "bson",
            "cryptography",
            "depot",
            "django",
            "fastapi",
            "flask",
            "flask_admin",
            "google",
        ),
        *(
            "google_crc32c",
            "gridfs",
            "jinja2",
            "litestar",
            "marshmallow",
            "ming",
            "mongomock",
            "moto",
            "multipart",
            "obstore",
            "orjson",
            "pydantic",
            "strawberry",
        ),
        *(
            "pymongo",
            "pypdfium2",
            "requests",
            "sqladmin",
            "sqlmodel",
            "starlette_admin",
            "tests.servers",
            "uvicorn",
            "waitress",
        ),
        *("wsgidav", "wtforms"),
    ),
    "browser": ("playwright", "tests.browsing"),
    "queue": ("celery", "dramatiq", "taskiq", "taskiq_redis"),
    "typing": ("mypy", "pyright"),
}
KINDS: Final = ("matrix", *NEEDED_BY)

#: Tables of fewer cases than this run whole.
LARGE: Final = 12

_SERVER: Final = re.compile(r"(postgresql|mariadb|mysql)\b")


class Selection:
    """A plugin of pytest's that marks tests, and leaves those out that the quick suite does without."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        #: The paths of the command line: folders with their quick tests, files and single tests whole.
        paths = {Path(each.split("::")[0]).resolve() for each in config.args}
        self.folders = {each for each in paths if each.is_dir()}
        self.named = paths - self.folders
        #: Whether an option says which tests run, so that nothing is left out by itself.
        self.everything = bool(config.option.all or config.option.markexpr)
        #: Left out: files by their kind and by the package that is missing, and the number of tests of a kind.
        self.files: dict[str, set[str]] = defaultdict(set)
        self.missing: dict[str, set[str]] = defaultdict(set)
        self.cases: Counter[str] = Counter()

    # --- files --------------------------------------------------------------------------------------------------------

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Import no module whose tests are all left out, nor one that cannot be imported here."""
        if collection_path.is_dir():
            return self._ignores_folder(collection_path)
        if collection_path.suffix != ".py" or collection_path.name == "conftest.py":
            return None
        # pytest asks about the neighbours of a file on the command line, too.
        if collection_path in self.named or self.folders.isdisjoint(collection_path.parents):
            return None
        path = str(collection_path.relative_to(ROOT))
        if self.everything:
            missing = () if os.environ.get("DEPOT_TEST_REQUIRE") else _missing(collection_path)
            for package in missing:
                self.missing[package].add(path)
            return bool(missing) or None
        if kinds := _kinds(collection_path):
            self.files[kinds[-1]].add(path)
        return bool(kinds) or not _has_tests(collection_path) or None

    def _ignores_folder(self, folder: Path) -> bool | None:
        """Whether even the ``conftest.py`` of a folder cannot be imported, or need not be."""
        if not (folder / "conftest.py").exists():
            return None
        ignored = [self.pytest_ignore_collect(each) for each in folder.glob("test_*.py")]
        return all(ignored) or None

    def _whole(self, path: Path) -> bool:
        return self.everything or path in self.named

    # --- cases --------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark all tests, and keep those that were asked for."""
        tables: dict[tuple[Any, ...], list[pytest.Function]] = defaultdict(list)
        for item in items:
            for kind in _kinds(item.path):
                item.add_marker(kind)
            if any(map(_SERVER.match, _parameters(item))):
                item.add_marker("database")
            if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
                tables[item.path, *sorted(item.callspec.params)].append(item)
        for table in tables.values():
            for item in _left_out_of(table):
                item.add_marker("matrix")
        left_out = []
        for item in items:
            kinds = {mark.name for mark in item.iter_markers()}.intersection(KINDS)
            if kinds and not self._whole(item.path):
                left_out.append(item)
                self.cases.update(kinds)
        if left_out:
            kept = set(items).difference(left_out)
            items[:] = [item for item in items if item in kept]
            self.config.hook.pytest_deselected(items=left_out)
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["left_out"] = self.left_out()

    # --- the last line ------------------------------------------------------------------------------------------------

    def left_out(self) -> str:
        """Return the line about tests that were left out, and how to run them; empty if there are none."""
        said = []
        for kind in KINDS:
            counts = {"tests": self.cases[kind], "files": len(self.files[kind])}
            if any(counts.values()):
                said.append(f"{kind} ({', '.join(f'{count} {name}' for name, count in counts.items() if count)})")
        if said:
            return f"Left out: {', '.join(said)}. All: pytest --all; one kind: pytest -m database (tests/README.md)"
        if self.missing:
            files = len(set().union(*self.missing.values()))
            return f"Left out: {files} files that need {', '.join(sorted(self.missing))}: pip install -e '.[ci]'"
        return ""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add the tests that a process of pytest-xdist has left out."""
        self.of_a_worker = getattr(node, "workeroutput", {}).get("left_out", "")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Iterator[None]:
        """Say it below everything else."""
        yield
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and (text := getattr(self, "of_a_worker", "") or self.left_out()):
            reporter.write_line(text)


@cache
def _needs(path: Path) -> frozenset[str]:
    """Return the packages that a file of tests needs, and the ``conftest.py`` beside it."""
    beside = path.with_name("conftest.py")
    names = needs(path) | needs(beside) if beside.exists() else needs(path)
    # "starlette.requests" needs "starlette".
    return names | {name.split(".")[0] for name in names} | {".".join(name.split(".")[:2]) for name in names}


@cache
def _kinds(path: Path) -> tuple[str, ...]:
    """Return the kinds of all tests of a file."""
    needed = _needs(path)
    return tuple(kind for kind, modules in NEEDED_BY.items() if not needed.isdisjoint(modules))


def _missing(path: Path) -> list[str]:
    """Return the packages that a file needs, and that are not installed."""
    known = {each for modules in NEEDED_BY.values() for each in modules}
    return sorted(name for name in _needs(path) & known if not _installed(name))


@cache
def _installed(package: str) -> bool:
    return find_spec(package) is not None


def _has_tests(path: Path) -> bool:
    return path.name.startswith("test_") or ROOT / "tests" not in path.parents


def _parameters(item: pytest.Item) -> Iterable[Any]:
    """Return the values that a test is called with, those of tuples too."""
    values = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    for value in values:
        yield from (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str))


def _left_out_of(table: list[pytest.Function]) -> list[pytest.Function]:
    """Return the cases of a large table without which every pair of its values is tried still.

    The tests of a module that have the same parameters are one table, and which of them it is is an axis like others.
    """
    if len(table) < LARGE:
        return []
    # By identity, as a number: few of the values can be compared. Names that always change together are one axis.
    names = table[0].callspec.params
    columns = {tuple(_numbered(item.callspec.params[name] for item in table)) for name in names}
    columns.add(tuple(_numbered(item.function for item in table)))
    axes = sorted(each for each in columns if max(each) > 0)
    if len(axes) < 3:
        return []
    kept = set(pairwise(list(zip(*axes, strict=True))))
    return [item for number, item in enumerate(table) if number not in kept]


def _numbered(values: Iterable[Any]) -> Iterator[int]:
    """Yield a number for each value, the same for the same one."""
    numbers: dict[int, int] = {}
    return (numbers.setdefault(id(value), len(numbers)) for value in values)
