"""A rollback that takes nothing back: the rows are committed already, or were never in a transaction.

DDL commits on MariaDB, a text can say COMMIT, tables without transactions and connections in AUTOCOMMIT write for good.
Rows that stay read their files, and the files that they named before go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import pytest
from sqlalchemy import Engine, create_engine, delete, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.changes import (
    BEFORE,
    FIRST,
    NEW,
    OTHER,
    SECOND,
    Change,
    agree,
    begin,
    every_change,
    few_changes,
    on,
)
from tests.support.models import Base, Document

End = Callable[[Session], None]


class Stop(Exception):
    """An error of the user's own code in the middle of a transaction."""


def _raise(session: Session) -> None:
    with pytest.raises(Stop), session:
        raise Stop


ENDS: Final[dict[str, End]] = {
    "rollback": Session.rollback,
    "close": Session.close,
    "exception": _raise,
    "commit": Session.commit,
}
every_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)


# --- COMMIT in the middle -----------------------------------------------------------------------------------------


@every_change
@every_end
def test_a_commit_that_is_text_is_a_commit(world: World, change: Change, end: End) -> None:
    """``text("COMMIT")``: no rollback of the session's takes it back."""
    begin(world)
    with world.session() as session:
        change(session)
        session.execute(text("COMMIT"))
        end(session)
    world.check(*change.leaves)


@few_changes
@every_end
def test_what_is_done_after_a_commit_that_is_text(world: World, change: Change, end: End) -> None:
    """It is in another transaction or in none, as the database and its driver see it; rows and files agree."""
    begin(world)
    with world.session() as session:
        session.add(Document(id=77, report=OTHER))
        session.flush()
        session.execute(text("COMMIT"))
        change(session)
        end(session)
    agree(world)
    assert OTHER in world.rows().values()
    if end is Session.commit:
        world.check(*change.leaves, OTHER)


@few_changes
@every_end
def test_a_rollback_that_is_text_takes_back_what_was_before_it(world: World, change: Change, end: End) -> None:
    """No file is lost; a COMMIT that follows may leave a new one to the sweep, since the database reported no error."""
    begin(world)
    with world.session() as session:
        change(session)
        session.execute(text("ROLLBACK"))
        end(session)
    assert sorted(world.rows().values()) == sorted(BEFORE)
    if end is not Session.commit:
        world.check(*BEFORE)


@few_changes
@pytest.mark.parametrize("end", [Session.rollback, Session.close])
def test_a_savepoint_that_a_commit_in_text_has_ended(world: World, change: Change, end: End) -> None:
    """There is no savepoint to go back to any more: the rows written in it stay."""
    begin(world)
    with world.session() as session:
        savepoint = session.begin_nested()
        change(session)
        session.execute(text("COMMIT"))
        with suppress(DBAPIError):
            savepoint.rollback()
        end(session)
    world.check(*change.leaves)


# --- DDL on MariaDB -----------------------------------------------------------------------------------------------


@pytest.fixture
def table(world: World) -> Iterator[None]:
    """A table for DDL to work on."""
    with world.engine.begin() as connection:
        connection.execute(text("CREATE TABLE altered (id INTEGER)"))
    yield
    with world.engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS altered"))
        connection.execute(text("DROP TABLE IF EXISTS created"))


DDL: Final = ["CREATE TABLE created (id INTEGER)", "ALTER TABLE altered ADD name INTEGER", "TRUNCATE altered"]


@pytest.mark.usefixtures("table")
@on("mariadb")
@every_change
@every_end
def test_ddl_commits_what_was_before_it(world: World, change: Change, end: End) -> None:
    begin(world)
    with world.session() as session:
        change(session)
        session.execute(text(DDL[0]))
        end(session)
    world.check(*change.leaves)


@pytest.mark.usefixtures("table")
@few_changes
@every_end
@pytest.mark.parametrize("ddl", DDL)
def test_ddl_in_the_middle_of_a_transaction(world: World, change: Change, ddl: str, end: End) -> None:
    """On PostgreSQL and SQLite it is part of the transaction, on MariaDB it commits and another one begins."""
    if world.engine.dialect.name == "sqlite" and ddl.startswith("TRUNCATE"):
        pytest.skip("SQLite has no TRUNCATE")
    begin(world)
    commits = world.engine.dialect.name == "mariadb"
    with world.session() as session:
        change(session)
        session.execute(text(ddl))
        session.add(Document(report=OTHER))
        session.flush()
        end(session)
    if end is Session.commit:
        world.check(*change.leaves, OTHER)
    else:
        world.check(*(change.leaves if commits else BEFORE))


@pytest.mark.usefixtures("table")
@on("mariadb")
@few_changes
@pytest.mark.parametrize("end", [Session.rollback, Session.close, Session.commit])
def test_a_savepoint_that_ddl_has_ended(world: World, change: Change, end: End) -> None:
    """MariaDB says that it does not exist, when the session goes back to it: the rows written in it stay."""
    begin(world)
    with world.session() as session:
        session.add(Document(report=OTHER))
        savepoint = session.begin_nested()
        change(session)
        session.execute(text(DDL[0]))
        with pytest.raises(DBAPIError, match="1305"):
            savepoint.rollback()
        with suppress(DBAPIError):
            end(session)
    world.check(*change.leaves, OTHER)


@pytest.mark.usefixtures("table")
@on("mariadb")
@few_changes
def test_a_savepoint_before_ddl_that_was_rolled_back(world: World, change: Change) -> None:
    """The DDL does not commit changes that were rolled back before it."""
    begin(world)
    with world.session() as session:
        savepoint = session.begin_nested()
        change(session)
        savepoint.rollback()
        session.add(Document(report=OTHER))
        session.flush()
        session.execute(text(DDL[0]))
        session.rollback()
    world.check(*BEFORE, OTHER)


# --- tables without transactions ----------------------------------------------------------------------------------


class Leaflet(Base):
    """A row in a table that knows no transactions, on MariaDB."""

    __tablename__ = "leaflet"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    page: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    pictures: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    __table_args__ = {"mysql_engine": "MyISAM", "mariadb_engine": "MyISAM"}  # noqa: RUF012  # SQLAlchemy reads it


def _print(session: Session) -> None:
    leaflet = Leaflet()
    put(leaflet, page=NEW, pictures=[OTHER])
    session.add(leaflet)


def _replace(session: Session) -> None:
    put(session.get_one(Leaflet, FIRST), page=NEW)


def _append(session: Session) -> None:
    session.get_one(Leaflet, FIRST).pictures.append(UploadedFile(NEW))


def _remove(session: Session) -> None:
    session.get_one(Leaflet, FIRST).pictures.pop(0)


def _delete(session: Session) -> None:
    session.delete(session.get_one(Leaflet, FIRST))


def _update(session: Session) -> None:
    session.execute(update(Leaflet).values(page=NEW))


def _delete_statement(session: Session) -> None:
    session.execute(delete(Leaflet))


LEAFLET: Final = (b"page", b"first picture", b"second picture")
WITHOUT_TRANSACTION: Final[dict[str, Change]] = {
    "insert": Change(_print, (*LEAFLET, NEW, OTHER)),
    "replace": Change(_replace, (NEW, *LEAFLET[1:])),
    "append": Change(_append, (*LEAFLET, NEW)),
    "remove": Change(_remove, (LEAFLET[0], LEAFLET[2])),
    "delete": Change(_delete, ()),
    "update": Change(_update, (NEW, *LEAFLET[1:])),
    "delete statement": Change(_delete_statement, ()),
}
every_leaflet = pytest.mark.parametrize("change", WITHOUT_TRANSACTION.values(), ids=WITHOUT_TRANSACTION)


@pytest.fixture
def leaflets(world: World) -> World:
    """A leaflet with three files."""
    leaflet = Leaflet(id=FIRST)
    put(leaflet, page=LEAFLET[0], pictures=LEAFLET[1:])
    with world.session() as session:
        session.add(leaflet)
        session.commit()
    return world


@every_leaflet
@every_end
def test_a_table_without_transactions(leaflets: World, change: Change, end: End) -> None:
    """On MariaDB with MyISAM nothing is taken back, whatever the session believes."""
    for_good = leaflets.engine.dialect.name == "mariadb" or end is Session.commit
    with leaflets.session() as session:
        change(session)
        end(session)
    leaflets.check(*(change.leaves if for_good else LEAFLET))


@every_leaflet
@pytest.mark.parametrize("end", [Session.rollback, Session.commit])
def test_a_savepoint_around_a_table_without_transactions(leaflets: World, change: Change, end: End) -> None:
    for_good = leaflets.engine.dialect.name == "mariadb"
    with leaflets.session() as session:
        savepoint = session.begin_nested()
        change(session)
        savepoint.rollback()
        end(session)
    leaflets.check(*(change.leaves if for_good else LEAFLET))


@every_leaflet
def test_tables_with_and_without_transactions_in_one(leaflets: World, change: Change) -> None:
    """Each row decides for itself."""
    for_good = leaflets.engine.dialect.name == "mariadb"
    begin(leaflets)
    with leaflets.session() as session:
        put(session.get_one(Document, SECOND), content=OTHER)
        change(session)
        session.delete(session.get_one(Document, FIRST))
        session.flush()
        session.rollback()
    leaflets.check(*(change.leaves if for_good else LEAFLET), *BEFORE)


# --- AUTOCOMMIT ---------------------------------------------------------------------------------------------------


@pytest.fixture
def autocommit(world: World) -> Iterator[Engine]:
    """An engine whose connections commit each statement; on SQLite, that of the other tests sends BEGIN by itself."""
    engine = create_engine(world.engine.url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@every_change
@every_end
def test_an_engine_in_autocommit(world: World, autocommit: Engine, change: Change, end: End) -> None:
    """Each row is there for good once its statement was executed, with the file that it names and no other."""
    begin(world)
    with Session(autocommit) as session:
        change(session)
        end(session)
    world.check(*change.leaves)


@few_changes
@every_end
def test_a_connection_in_autocommit(world: World, change: Change, end: End) -> None:
    """The session asks for it where its transaction begins."""
    begin(world)
    engine = create_engine(world.engine.url)  # without the BEGIN that the tests' engine sends to SQLite
    with Session(engine) as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        change(session)
        end(session)
    engine.dispose()
    world.check(*change.leaves)


@few_changes
@every_end
def test_a_session_on_a_connection_in_autocommit(world: World, autocommit: Engine, change: Change, end: End) -> None:
    begin(world)
    with autocommit.connect() as connection, Session(connection) as session:
        change(session)
        end(session)
    world.check(*change.leaves)


@few_changes
@pytest.mark.parametrize("end", [Session.rollback, Session.commit, Session.close])
def test_several_flushes_in_autocommit(world: World, autocommit: Engine, change: Change, end: End) -> None:
    """No file is left that one flush stored and the next one replaced."""
    begin(world)
    with Session(autocommit) as session:
        change(session)
        for content in (b"not for long", b"for good"):
            put(session.get_one(Document, SECOND), report=content)
            session.flush()
        end(session)
    world.check(*change.leaves, b"for good")


@few_changes
def test_a_session_in_autocommit_goes_on_after_a_rollback(world: World, autocommit: Engine, change: Change) -> None:
    """The second one replaces the file that the first one wrote for good."""
    begin(world)
    with Session(autocommit) as session:
        put(session.get_one(Document, SECOND), report=OTHER)
        session.flush()
        session.rollback()
        put(session.get_one(Document, SECOND), report=NEW)
        change(session)
        session.rollback()
    world.check(*change.leaves, NEW)
