"""Paths, layers and modules that the documentation names are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import depot_lite

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", ".github/CONTRIBUTING.md", "docs/architecture.md", "docs/decisions.md", "tests/README.md")

#: A fenced block, which may show paths of a user's own project.
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)")
PATH = re.compile(
    r"[\w.-]+(/[\w.-]+)*(/|\.(py|md|toml|yml|png))|(depot_lite|tests|docs|examples|\.ci|\.github)/[\w./-]+"
)
#: What a build makes, and a test's own file names.
GENERATED = re.compile(r"docs/_build|dist/|bench_\*|\.venv")


def paths_in(text: str) -> set[str]:
    """Return the links and the code that mean files of this project."""
    text = FENCED.sub("", text)
    links = {each for each in LINK.findall(text) if "://" not in each}
    return links | {each for each in CODE.findall(text) if PATH.fullmatch(each) and not GENERATED.match(each)}


def exists(path: str, page: Path) -> bool:
    """Return whether a path leads somewhere from the page, the project, the package or the tests."""
    return any((base / path).exists() for base in (page.parent, ROOT, ROOT / "depot_lite"))


@pytest.mark.parametrize("name", PAGES)
def test_paths_that_a_page_names_exist(name: str) -> None:
    page = ROOT / name
    found = paths_in(page.read_text())
    assert found, "the page names no path, or none was recognised"
    assert sorted(each for each in found if not exists(each, page)) == []


def test_paths_are_recognised() -> None:
    text = "[a](docs/a.md#b) `io/content/` `pyproject.toml` `.ci/run` `depot_lite/io` `a / b` `session.add` [b](https://x.org/a.md)"
    assert paths_in(text) == {"docs/a.md", "io/content/", "pyproject.toml", ".ci/run", "depot_lite/io"}


def test_the_api_page_has_the_module_of_every_public_name() -> None:
    documented = re.findall(r"automodule:: (\S+)", (ROOT / "docs/api.md").read_text())
    assert len(documented) == len(set(documented))
    assert sorted({*depot_lite._HOMES.values(), "depot_lite.errors"} - {*documented}) == []


def test_layers_are_those_of_the_contract() -> None:
    """docs/architecture.md draws the first contract of import-linter."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (drawing,) = re.findall(r"```text\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL)
    layers = [re.findall(r"\w+", line[:32]) for line in drawing.splitlines()]
    assert layers == [re.findall(r"\w+", layer) for layer in contracts[0]["layers"]]
