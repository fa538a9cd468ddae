"""The support of the tests: chosen cases, databases of their own, and modules that import no tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import combinations, product
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from tests.support.databases import VARIABLES, own_database
from tests.support.imports import ROOT, needs
from tests.support.pairwise import pairwise

TABLE = list(product(range(7), range(3), range(4), range(2)))


def _pairs(rows: Sequence[tuple[int, ...]]) -> set[object]:
    return {pair for row in rows for pair in combinations(enumerate(row), 2)}


def _odd(row: tuple[int, ...]) -> bool:
    return sum(row) % 2 == 1


@pytest.mark.parametrize("has", [lambda row: True, _odd, lambda row: row[0] != row[1]], ids=["all", "odd", "different"])
def test_few_rows_hold_each_pair_of_a_table(has: Callable[[tuple[int, ...]], bool]) -> None:
    """Of those that the table has, and always the same ones."""
    table = list(filter(has, TABLE))
    chosen = pairwise(table)
    assert _pairs([table[number] for number in chosen]) == _pairs(table)
    assert len(chosen) < len(table) / 2
    assert chosen == pairwise(table) == sorted(set(chosen))


def test_each_value_of_an_axis_gets_its_share() -> None:
    """SQLite, which comes first, gets neither most of the pairs nor few of them."""
    table = [(database, action, end) for database in range(3) for action in range(40) for end in range(9)]
    databases = [table[number][0] for number in pairwise(table)]
    assert all(databases.count(each) > len(databases) / 4 for each in range(3))


def test_a_module_needs_what_is_imported_for_it(tmp_path: Path) -> None:
    """Also by modules of ours; not imports inside a function, and not texts that look like imports."""
    path = tmp_path / "test_it.py"
    path.write_text(
        '"""\nimport one\n"""\n\nfrom depot_lite.io import gcs\n\n\n'
        'def f():\n    import two\n\n\n"""\nimport six\n"""\n'
    )
    needed = needs(path)
    assert {"depot_lite.io.gcs", "google.api_core", "itsdangerous"} <= needed
    assert needed.isdisjoint({"one", "two", "six", "boto3"})


def test_no_test_imports_from_another() -> None:
    """What two of them need is in a module of its own."""
    found = {path: [name for name in needs(path) if ".test_" in name] for path in (ROOT / "tests").rglob("*.py")}
    assert not {path: names for path, names in found.items() if names}


@pytest.mark.parametrize("kind", VARIABLES)
def test_no_server_is_asked_that_nobody_has_named(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """It is an error only in CI."""
    monkeypatch.delenv(VARIABLES[kind], raising=False)
    monkeypatch.delenv("DEPOT_TEST_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=VARIABLES[kind]), own_database(kind):
        pass
    monkeypatch.setenv("DEPOT_TEST_REQUIRE", "1")
    with pytest.raises(pytest.fail.Exception, match=VARIABLES[kind]), own_database(kind):
        pass


@pytest.mark.database
@pytest.mark.parametrize("kind", VARIABLES)
def test_a_database_is_dropped_after_a_failure_too(kind: str) -> None:
    """Although a transaction is open in it, and although another one is named after it."""
    engines = []

    def fail(url: str) -> None:
        engines.append(create_engine(url))
        connection = engines[0].connect()
        connection.execute(text("CREATE TABLE it (number INTEGER)"))
        if kind == "mariadb":
            connection.execute(text(f"CREATE DATABASE {make_url(url).database}_second"))
        connection.commit()
        connection.execute(text("INSERT INTO it VALUES (1)"))
        left.append(connection)
        raise ZeroDivisionError

    left: list[Connection] = []
    with pytest.raises(ZeroDivisionError), own_database(kind) as url:
        fail(url)
    name = engines[0].url.database or ""
    left[0].invalidate()
    engines[0].dispose()
    server = create_engine(os.environ[VARIABLES[kind]])
    with server.connect() as connection:
        catalogue = "SELECT datname FROM pg_database" if kind == "postgresql" else "SHOW DATABASES"
        assert not [each for each in connection.scalars(text(catalogue)) if each.startswith(name)]
    server.dispose()
