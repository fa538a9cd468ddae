"""Databases for the tests on servers that the environment names: new for each process, and dropped at its end."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

#: Where the servers are. Without a name no test connects to any.
VARIABLES: Final = {"postgresql": "DEPOT_TEST_POSTGRESQL_URL", "mariadb": "DEPOT_TEST_MARIADB_URL"}


@contextmanager
def own_database(kind: str) -> Iterator[str]:
    """Give the URL of an empty database that no other process uses, and drop it.

    The test is skipped where the environment names no server, and fails if ``DEPOT_TEST_REQUIRE`` is set, as in CI. A
    server that is named has to be there.
    """
    variable = VARIABLES[kind]
    if not (server := os.environ.get(variable)):
        message = f"no {kind}: {variable} is not set (tests/README.md)"
        if os.environ.get("DEPOT_TEST_REQUIRE"):
            pytest.fail(message)
        pytest.skip(message)
    url = make_url(server)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"depot_test_{os.getpid()}_{worker}_{secrets.token_hex(4)}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            with engine.connect() as connection:
                _DROP[kind](connection, name)
    finally:
        engine.dispose()


def _drop_on_postgresql(connection: Connection, name: str) -> None:
    """Drop a database; a test that failed may have left connections."""
    connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def _drop_on_mariadb(connection: Connection, name: str) -> None:
    """Drop a database and those that tests have named after it, once nothing holds locks there."""
    ours = {"name": name, "longer": f"{name}\\_%"}
    users = text("SELECT id FROM information_schema.processlist WHERE db = :name OR db LIKE :longer")
    for number in connection.scalars(users, ours).all():
        with suppress(OperationalError):  # it has just ended by itself
            connection.execute(text(f"KILL {number}"))
    names = text(
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name = :name OR schema_name LIKE :longer"
    )
    for each in connection.scalars(names, ours).all():
        connection.execute(text(f"DROP DATABASE {each}"))


_DROP: Final = {"postgresql": _drop_on_postgresql, "mariadb": _drop_on_mariadb}
