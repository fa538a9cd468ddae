"""Rows that exist and cannot be read here: those of a primary on its replica, and those of open transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, insert, text

from depot_lite.errors import MaintenanceStopped
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import unseen
from tests.maintenance.conftest import NOW, Base, Film
from tests.support import sweeps

Add = Callable[..., None]
Depots = dict[str, FileStorage]

sweep = partial(sweeps.sweep, models=[Base])

#: Queries, and the answers of a replica; the last one is a reader of Aurora.
REPLICAS = [
    ("SELECT pg_is_in_recovery()", "SELECT true"),
    ("@@global.read_only", "1"),
    ("@@global.innodb_read_only", "1"),
]


@pytest.fixture
def server(database: Engine, committed: Add) -> Engine:
    """A database with transactions of others, and a file that a row names."""
    if database.dialect.name == "sqlite":
        pytest.skip("a file has no replica, and one writer at a time")
    committed(Film(poster=b"named"))
    return database


@pytest.fixture
def questions(database: Engine, depots: Depots, committed: Add, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """SQLite, which is asked like a server: whether it is a replica, and for the ages of open transactions."""
    if database.dialect.name != "sqlite":
        pytest.skip("this server answers by itself")
    committed(Film(poster=b"named"))
    depots["default"].create(b"left")
    monkeypatch.setitem(unseen._IS_REPLICA, "sqlite", "SELECT 0, 'OFF'")
    monkeypatch.setitem(unseen._OPEN, "sqlite", "SELECT 2, 7200 WHERE 7200 >= :seconds")
    return database


def test_open_transactions_are_counted(questions: Engine) -> None:
    with pytest.raises(
        MaintenanceStopped, match=r"transactions are open, .* \(2, the oldest .*2.*h.*\): their rows may"
    ):
        sweep(questions)


def test_a_server_that_says_that_it_is_a_replica_is_not_swept(
    questions: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(unseen._OPEN, "sqlite", "SELECT 0, NULL WHERE 0 <= :seconds")
    for answer in ("SELECT 1", "SELECT 0, 'ON'"):
        with monkeypatch.context() as patch:
            patch.setitem(unseen._IS_REPLICA, "sqlite", answer)
            with pytest.raises(MaintenanceStopped, match="is a replica, or read-only"):
                sweep(questions)
    assert sweep(questions).deleted == 1


def test_transactions_that_cannot_be_counted_stop_a_sweep(questions: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the server is one that counts them for privileged users only."""
    monkeypatch.setitem(unseen._OPEN, "sqlite", "SELECT * FROM nowhere")
    with pytest.raises(MaintenanceStopped, match=r"cannot be read: .*nowhere"):
        sweep(questions)
    monkeypatch.setattr(unseen, "_MYSQL", ("sqlite",))
    assert sweep(questions).deleted == 1


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for each in statements:
            connection.execute(text(each))


def name(connection: Connection, file_id: str) -> None:
    """Let a new row name a file."""
    value = UploadedFile({"depot_name": "default", "file_id": file_id, "path": f"default/{file_id}"})
    connection.execute(insert(Film).values(shots=[], poster=value))


@pytest.mark.parametrize(("question", "answer"), REPLICAS)
def test_a_replica_is_not_swept(server: Engine, depots: Depots, question: str, answer: str) -> None:
    """Its rows may be those of yesterday."""
    if question.startswith("SELECT") != (server.dialect.name == "postgresql"):
        pytest.skip("this is a question for another server")
    left = depots["default"].create(b"left")

    def as_replica(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
        return statement.replace(question, answer), parameters

    event.listen(server, "before_cursor_execute", as_replica, retval=True)
    try:
        for trash in (NOW, timedelta(days=7)):
            with pytest.raises(MaintenanceStopped, match=r"is a replica, or read-only, .*: connect to the primary"):
                sweep(server, trash=trash)
    finally:
        event.remove(server, "before_cursor_execute", as_replica)
    assert depots["default"].exists(left)
    assert sweep(server).deleted == 1


@contextmanager
def prepared(engine: Engine, file_id: str) -> Iterator[Any]:
    """Prepare a transaction that names a file, and commit it in the end."""
    with engine.connect() as connection:
        transaction = connection.begin_twophase()
        name(connection, file_id)
        transaction.prepare()
        try:
            yield
        finally:
            transaction.commit()


@contextmanager
def open_transaction(engine: Engine, file_id: str) -> Iterator[Any]:
    """Name a file in a transaction that is committed in the end."""
    with engine.begin() as connection:
        name(connection, file_id)
        yield


@contextmanager
def elsewhere(engine: Engine, file_id: str) -> Iterator[Any]:
    """Name a file in a transaction of a session that has another database by now."""
    with engine.begin() as connection:
        name(connection, file_id)
        if engine.dialect.name != "postgresql":
            connection.execute(text("USE information_schema"))
        try:
            yield
        finally:
            connection.detach()  # such a session is not for others


@pytest.mark.parametrize("begin", [open_transaction, elsewhere, prepared])
def test_a_transaction_that_is_older_than_files_may_be_young_stops_it(
    server: Engine, depots: Depots, begin: Callable[..., Any]
) -> None:
    """Its files are not young any longer, and only it can see their rows."""
    born = depots["default"].create(b"born")
    with begin(server, born):
        with pytest.raises(MaintenanceStopped, match=r"transactions are open, .* \(1, the oldest .*--older-than"):
            sweep(server)
        report = sweep(server, older_than=timedelta(hours=1))
        assert (report.young, report.deleted) == (1, 0)
    assert sweep(server).deleted == 0
    assert depots["default"].exists(born)


def test_a_transaction_that_only_reads_stops_nothing(server: Engine, depots: Depots) -> None:
    """Such as a dump that takes hours."""
    depots["default"].create(b"left")
    with server.connect() as connection:
        connection.execute(Film.__table__.select())
        assert sweep(server).deleted == 1


def test_a_user_who_may_not_see_transactions_sweeps_without(server: Engine, depots: Depots) -> None:
    """MariaDB tells them only to users with the privilege PROCESS; PostgreSQL tells a user of its own."""
    depots["default"].create(b"left")
    user, is_postgresql = f"u_{server.url.database}", server.dialect.name == "postgresql"
    grants = (
        [f"CREATE ROLE {user} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}"]
        if is_postgresql
        else [f"CREATE USER {user}@'%'", f"GRANT SELECT ON {server.url.database}.* TO {user}@'%'"]
    )
    execute(server, *grants)
    limited = create_engine(server.url.set(username=user))
    try:
        assert sweep(limited).deleted == 1
    finally:
        limited.dispose()
        drops = [f"DROP OWNED BY {user}", f"DROP ROLE {user}"] if is_postgresql else [f"DROP USER {user}@'%'"]
        execute(server, *drops)
