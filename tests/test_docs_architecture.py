"""Paths, anchors, layers and modules that the documentation names are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import depot_lite

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", ".github/CONTRIBUTING.md", "docs/architecture.md", "docs/decisions.md", "tests/README.md")
EVERY_PAGE = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", ".github/**/*.md", "docs/*.md", "examples/**/*.md", "tests/*.md")
    for page in ROOT.glob(pattern)
)

#: A fenced block, which may show paths of a user's own project.
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)")
#: A link into a page, this one or another.
ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PATH = re.compile(
    r"[\w.-]+(/[\w.-]+)*(/|\.(py|md|toml|yml|png))|(depot_lite|tests|docs|examples|\.ci|\.github)/[\w./-]+"
)
#: Generated files, and a test's own file names.
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


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub and MyST give to the headings of a page."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_links_of_a_page_lead_somewhere(name: str) -> None:
    page = ROOT / name
    text = FENCED.sub("", page.read_text())
    files = {each for each in LINK.findall(text) if "://" not in each}
    assert sorted(each for each in files if not (page.parent / each).exists()) == []
    anchors = {(path, anchor) for path, anchor in ANCHOR.findall(text) if "://" not in path}
    targets = {path: page.parent / path if path else page for path, _ in anchors}
    assert sorted(each for each in anchors if each[1] not in anchors_of(targets[each[0]])) == []


def test_links_and_headings_are_recognised(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Files: `a_b` and c\n[x](#y) [z](other.md#some-part)\n```sh\n# no heading\n```\n")
    assert ANCHOR.findall(page.read_text()) == [("", "y"), ("other.md", "some-part")]
    assert anchors_of(page) == {"files-a_b-and-c"}
    assert {".github/SECURITY.md", "docs/api.md", "README.md"} <= {*EVERY_PAGE}


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
