"""Rows that stay although their deletion was sent, and values that stay although others were written.

Triggers, rules, row-level security and listeners turn a DELETE into something else, or an UPDATE into nothing. A row
that is there afterwards reads the file that it names; a file that no row names goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Engine, ForeignKey, create_engine, delete, event, inspect, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.changes import agree, nothing_lost, on
from tests.support.models import Base

ROW: Final = 1_000_001
SEAL, PAGE, OTHER_PAGE, NEW = b"the seal", b"the first page", b"the second page", b"a new one"
HELD: Final = (SEAL, PAGE, OTHER_PAGE)


class Deed(Base):
    """A row that can be marked as deleted."""

    __tablename__ = "deed"
    id: Mapped[int] = mapped_column(primary_key=True)
    deleted: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None]
    seal: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    # That the database deletes no row is what these tests are about, and no reason to warn.
    __mapper_args__ = {"confirm_deleted_rows": False}  # noqa: RUF012  # SQLAlchemy reads it


class Witness(Base):
    """A row that forbids the deletion of a deed."""

    __tablename__ = "deed_witness"
    id: Mapped[int] = mapped_column(primary_key=True)
    deed_id: Mapped[int] = mapped_column(ForeignKey("deed.id"))


@pytest.fixture
def deeds(world: World) -> World:
    """A deed with three files."""
    deed = Deed(id=ROW, owner="me")
    put(deed, seal=SEAL, pages=[PAGE, OTHER_PAGE])
    with world.session() as session:
        session.add(deed)
        session.commit()
    return world


@contextmanager
def sql(world: World, begins: tuple[str, ...], ends: tuple[str, ...]) -> Iterator[None]:
    """Change the table for a while."""

    def execute(statements: tuple[str, ...]) -> None:
        with world.engine.begin() as connection:
            # SQLite's connections may believe in a trigger that another one has dropped, until they read something.
            connection.exec_driver_sql("SELECT count(*) FROM deed")
            for statement in statements:
                connection.exec_driver_sql(statement)

    execute(begins)
    try:
        yield
    finally:
        execute(ends)


FUNCTION: Final = "CREATE FUNCTION on_deed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$"
NO_FUNCTION: Final = "DROP FUNCTION on_deed() CASCADE"
TRIGGER: Final = "CREATE TRIGGER deed_trigger BEFORE {} ON deed FOR EACH ROW EXECUTE FUNCTION on_deed()"
NO_TRIGGER: Final = "DROP TRIGGER deed_trigger"

Way = Callable[[Session], None]


# --- DELETE -------------------------------------------------------------------------------------------------------


def _object(session: Session) -> None:
    session.delete(session.get_one(Deed, ROW))
    session.flush()


def _statement(session: Session) -> None:
    session.execute(delete(Deed).where(Deed.id == ROW))


def _query(session: Session) -> None:
    session.query(Deed).filter(Deed.owner == "me").delete()


def _unsynchronized(session: Session) -> None:
    session.execute(delete(Deed), execution_options={"synchronize_session": False})


DELETIONS: Final[dict[str, Way]] = {
    "object": _object,
    "statement": _statement,
    "query": _query,
    "statement without synchronization": _unsynchronized,
}
every_deletion = pytest.mark.parametrize("deletion", DELETIONS.values(), ids=DELETIONS)

#: The database, what makes the row stay, and what ends that.
KEEPERS: Final[dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    "trigger that returns nothing": (
        "postgresql",
        (FUNCTION.format("RETURN NULL;"), TRIGGER.format("DELETE")),
        (NO_FUNCTION,),
    ),
    "trigger that marks the row": (
        "postgresql",
        (
            FUNCTION.format("UPDATE deed SET deleted = 1 WHERE id = OLD.id; RETURN NULL;"),
            TRIGGER.format("DELETE"),
        ),
        (NO_FUNCTION,),
    ),
    "rule that does nothing": (
        "postgresql",
        ("CREATE RULE deed_rule AS ON DELETE TO deed DO INSTEAD NOTHING",),
        ("DROP RULE deed_rule ON deed",),
    ),
    "rule that marks the row": (
        "postgresql",
        ("CREATE RULE deed_rule AS ON DELETE TO deed DO INSTEAD UPDATE deed SET deleted = 1 WHERE id = OLD.id",),
        ("DROP RULE deed_rule ON deed",),
    ),
    "trigger that ignores": (
        "sqlite",
        ("CREATE TRIGGER deed_trigger BEFORE DELETE ON deed BEGIN SELECT RAISE(IGNORE); END",),
        (NO_TRIGGER,),
    ),
    "trigger that marks and ignores": (
        "sqlite",
        (
            "CREATE TRIGGER deed_trigger BEFORE DELETE ON deed BEGIN "
            "UPDATE deed SET deleted = 1 WHERE id = OLD.id; SELECT RAISE(IGNORE); END",
        ),
        (NO_TRIGGER,),
    ),
    "trigger that puts the row back": (
        "sqlite",
        (
            "CREATE TRIGGER deed_trigger AFTER DELETE ON deed BEGIN INSERT INTO deed (id, deleted, owner, seal, pages) "
            "VALUES (OLD.id, 1, OLD.owner, OLD.seal, OLD.pages); END",
        ),
        (NO_TRIGGER,),
    ),
}


every_keeper = pytest.mark.parametrize(("engine", "begins", "ends"), KEEPERS.values(), ids=KEEPERS, indirect=["engine"])


@every_keeper
@every_deletion
def test_a_row_that_the_database_does_not_delete_keeps_its_files(
    deeds: World, begins: tuple[str, ...], ends: tuple[str, ...], deletion: Way
) -> None:
    """And gives them up when it is deleted after all."""
    with sql(deeds, begins, ends), deeds.session() as session:
        deletion(session)
        session.commit()
        deeds.check(*HELD)
    with deeds.session() as session:
        deletion(session)
        session.commit()
    deeds.check()


@every_keeper
def test_what_was_replaced_before_the_row_stayed_goes(
    deeds: World, begins: tuple[str, ...], ends: tuple[str, ...]
) -> None:
    """The row that stays names the new file."""
    with sql(deeds, begins, ends), deeds.session() as session:
        put(session.get_one(Deed, ROW), seal=NEW)
        session.flush()
        _object(session)
        session.commit()
        deeds.check(NEW, PAGE, OTHER_PAGE)


@on("mariadb")
@pytest.mark.parametrize("ignore", [True, False], ids=["DELETE IGNORE", "DELETE"])
def test_a_row_that_a_foreign_key_holds_keeps_its_files(deeds: World, ignore: bool) -> None:
    """``DELETE IGNORE`` leaves out rows that it may not delete; without IGNORE it is refused, and a commit follows."""
    with deeds.session() as session:
        session.add(Deed(id=ROW + 1, owner="nobody", seal=NEW))
        session.flush()
        session.add(Witness(deed_id=ROW))
        session.commit()
    with deeds.session() as session:
        statement = delete(Deed).prefix_with("IGNORE") if ignore else delete(Deed).where(Deed.id == ROW)
        if ignore:
            session.execute(statement, execution_options={"synchronize_session": False})
        else:
            with pytest.raises(DBAPIError):
                session.execute(statement)
        session.commit()
    deeds.check(*(HELD if ignore else (*HELD, NEW)))


@on("mariadb")
def test_a_trigger_that_refuses_a_deletion(deeds: World) -> None:
    """MariaDB's triggers can say no, and nothing else."""
    refuse = "CREATE TRIGGER deed_trigger BEFORE DELETE ON deed FOR EACH ROW SIGNAL SQLSTATE '45000'"
    with sql(deeds, (refuse,), (NO_TRIGGER,)), deeds.session() as session:
        with pytest.raises(DBAPIError):
            session.execute(delete(Deed))
        session.commit()
    deeds.check(*HELD)


# --- row-level security -------------------------------------------------------------------------------------------


def role_of(world: World) -> str:
    """Return the name of a role, of which the server has one set for all databases."""
    return f"{world.engine.url.database}_clerk"


@pytest.fixture
def clerk(deeds: World) -> Iterator[Engine]:
    """An engine whose connections are no superuser's: policies hold for it."""
    role = role_of(deeds)
    begins = (
        f"CREATE ROLE {role}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        "ALTER TABLE deed ENABLE ROW LEVEL SECURITY",
    )
    ends = f"DROP OWNED BY {role}", f"DROP ROLE {role}", "ALTER TABLE deed DISABLE ROW LEVEL SECURITY"
    engine = create_engine(deeds.engine.url)

    @event.listens_for(engine, "connect")
    def _become_a_clerk(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {role}")
        connection.commit()

    with sql(deeds, begins, ends):
        yield engine
        engine.dispose()


@contextmanager
def policies(world: World, **policies: str) -> Iterator[None]:
    """Say which rows can be seen and changed, by the word of the command."""
    with sql(
        world,
        tuple(f"CREATE POLICY deed_{name} ON deed FOR {name} {policy}" for name, policy in policies.items()),
        tuple(f"DROP POLICY deed_{name} ON deed" for name in policies),
    ):
        yield


@on("postgresql")
@every_deletion
def test_a_row_that_a_policy_forbids_to_delete_keeps_its_files(deeds: World, clerk: Engine, deletion: Way) -> None:
    """The row is seen, and may be changed, but DELETE passes over it."""
    with policies(deeds, SELECT="USING (true)", UPDATE="USING (true)", DELETE="USING (false)"):
        with Session(clerk) as session:
            deletion(session)
            session.commit()
        deeds.check(*HELD)


@on("postgresql")
@every_deletion
def test_a_row_that_a_policy_forbids_to_delete_in_this_transaction(deeds: World, clerk: Engine, deletion: Way) -> None:
    """With ``SET LOCAL ROLE``: the question afterwards comes from another role."""
    clerk.dispose()
    with policies(deeds, SELECT="USING (true)", UPDATE="USING (true)", DELETE="USING (false)"):
        with deeds.session() as session:
            session.execute(text(f"SET LOCAL ROLE {role_of(deeds)}"))
            deletion(session)
            session.commit()
        deeds.check(*HELD)


MINE: Final = "USING (owner = current_setting('depot.owner', true))"


def _insert(session: Session) -> None:
    deed = Deed(owner="me")
    put(deed, seal=NEW, pages=[NEW])
    session.add(deed)


def _replace(session: Session) -> None:
    put(session.get_one(Deed, ROW), seal=NEW)


def _append(session: Session) -> None:
    session.get_one(Deed, ROW).pages.append(UploadedFile(NEW))


def _remove(session: Session) -> None:
    session.get_one(Deed, ROW).pages.pop(0)


def _update(session: Session) -> None:
    session.execute(update(Deed).values(seal=NEW))


WRITES: Final[dict[str, tuple[Way, tuple[bytes, ...]]]] = {
    "insert": (_insert, (*HELD, NEW, NEW)),
    "replace": (_replace, (NEW, PAGE, OTHER_PAGE)),
    "append": (_append, (*HELD, NEW)),
    "remove": (_remove, (SEAL, OTHER_PAGE)),
    "update": (_update, (NEW, PAGE, OTHER_PAGE)),
    "delete": (_object, ()),
    "delete statement": (_statement, ()),
}
every_write = pytest.mark.parametrize(("write", "leaves"), WRITES.values(), ids=WRITES)


def _rows(world: World) -> list[bytes]:
    """Return the bytes of all files that rows name, read from their depots."""
    return sorted(world.rows().values())


@on("postgresql")
@every_write
@pytest.mark.parametrize("end", [Session.commit, Session.rollback, Session.close])
def test_rows_that_are_hidden_once_the_transaction_is_over_lose_nothing(
    deeds: World, clerk: Engine, write: Way, leaves: tuple[bytes, ...], end: Way
) -> None:
    """``SET LOCAL`` ends with the transaction, and so does the sight of the row: that it is not seen proves nothing.

    A file may stay behind there; none is lost.
    """
    with policies(deeds, ALL=MINE):
        with Session(clerk) as session:
            session.execute(text("SET LOCAL depot.owner = 'me'"))
            write(session)
            session.flush()
            end(session)
        assert _rows(deeds) == sorted(leaves if end is Session.commit else HELD)
        nothing_lost(deeds)


@on("postgresql")
@every_deletion
@pytest.mark.parametrize("end", [Session.commit, Session.rollback])
def test_a_hidden_row_that_was_not_deleted_loses_nothing(deeds: World, clerk: Engine, deletion: Way, end: Way) -> None:
    """Seen while the transaction lasts, not deleted because of its policy, and not seen any more afterwards."""
    with policies(deeds, SELECT=MINE, UPDATE=MINE, DELETE="USING (false)"):
        with Session(clerk) as session:
            session.execute(text("SET LOCAL depot.owner = 'me'"))
            deletion(session)
            end(session)
        assert _rows(deeds) == sorted(HELD)


# --- listeners ----------------------------------------------------------------------------------------------------


class SoftSession(Session):
    """A session whose deletions mark rows."""


@event.listens_for(SoftSession, "do_orm_execute")
def _mark_instead_of_delete(state: ORMExecuteState) -> Any:
    if not state.is_delete:
        return None
    statement: Any = state.statement
    marking = update(Deed).values(deleted=1)
    if statement.whereclause is not None:
        marking = marking.where(statement.whereclause)
    return state.invoke_statement(marking.execution_options(synchronize_session=False))


@event.listens_for(SoftSession, "before_flush")
def _mark_the_deleted(session: Session, context: Any, instances: Any) -> None:
    for instance in list(session.deleted):
        session.add(instance)
        instance.deleted = 1


class ReplacingSession(Session):
    """A session that exchanges the statement instead of invoking another."""


@event.listens_for(ReplacingSession, "do_orm_execute")
def _exchange(state: ORMExecuteState) -> None:
    if state.is_delete:
        state.statement = update(Deed).values(deleted=1).execution_options(synchronize_session=False)


@every_deletion
def test_a_deletion_that_a_listener_turns_into_an_update_takes_no_file(deeds: World, deletion: Way) -> None:
    """``do_orm_execute`` for statements, ``before_flush`` for objects: two ways of deleting softly."""
    with SoftSession(deeds.engine) as session:
        deletion(session)
        session.commit()
        assert session.scalars(select(Deed.deleted)).all() == [1]
    deeds.check(*HELD)


@pytest.mark.parametrize("deletion", [_statement, _query, _unsynchronized])
def test_a_deletion_whose_statement_a_listener_exchanges_takes_no_file(deeds: World, deletion: Way) -> None:
    with ReplacingSession(deeds.engine) as session:
        deletion(session)
        session.commit()
    deeds.check(*HELD)


def test_an_object_that_is_deleted_softly_can_be_changed_and_deleted(deeds: World) -> None:
    """Its file is its own afterwards as before."""
    with SoftSession(deeds.engine) as session:
        deed = session.get_one(Deed, ROW)
        put(deed, seal=NEW)
        session.delete(deed)
        session.commit()
        deeds.check(NEW, PAGE, OTHER_PAGE)
        put(deed, seal=SEAL)
        session.commit()
    deeds.check(*HELD)
    with deeds.session() as session:
        session.delete(session.get_one(Deed, ROW))
        session.commit()
    deeds.check()


# --- UPDATE -------------------------------------------------------------------------------------------------------


def _put_back(names: str) -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Return what puts old values back, for each database."""
    new_is_old = " ".join(f"NEW.{name} := OLD.{name};" for name in names.split())
    set_old = ", ".join(f"NEW.{name} = OLD.{name}" for name in names.split())
    old = ", ".join(f"{name} = OLD.{name}" for name in names.split())
    return {
        "postgresql": (
            "postgresql",
            (FUNCTION.format(f"{new_is_old} RETURN NEW;"), TRIGGER.format("UPDATE")),
            (NO_FUNCTION,),
        ),
        "mariadb": (
            "mariadb",
            (f"CREATE TRIGGER deed_trigger BEFORE UPDATE ON deed FOR EACH ROW SET {set_old}",),
            (NO_TRIGGER,),
        ),
        "sqlite": (
            "sqlite",
            (
                "CREATE TRIGGER deed_trigger AFTER UPDATE OF seal, pages ON deed BEGIN "
                f"UPDATE deed SET {old} WHERE id = NEW.id; END",
            ),
            (NO_TRIGGER,),
        ),
    }


def _bulk(session: Session) -> None:
    session.bulk_update_mappings(inspect(Deed), [{"id": ROW, "seal": NEW, "pages": [NEW, NEW]}])


def _clear(session: Session) -> None:
    deed = session.get_one(Deed, ROW)
    deed.seal = None
    deed.pages.clear()


def _assign(session: Session) -> None:
    put(session.get_one(Deed, ROW), pages=[NEW, NEW])


UPDATES: Final[dict[str, Way]] = {
    "replace": _replace,
    "append": _append,
    "remove": _remove,
    "assign": _assign,
    "clear": _clear,
    "update": _update,
    "bulk": _bulk,
}
every_update = pytest.mark.parametrize("write", UPDATES.values(), ids=UPDATES)
BOTH: Final = _put_back("seal pages")


@pytest.mark.parametrize(("engine", "begins", "ends"), BOTH.values(), ids=BOTH, indirect=["engine"])
@every_update
def test_a_trigger_that_puts_the_old_value_back_keeps_the_old_file(
    deeds: World, begins: tuple[str, ...], ends: tuple[str, ...], write: Way
) -> None:
    """The new file goes, since no row names it."""
    with sql(deeds, begins, ends):
        with deeds.session() as session:
            write(session)
            session.commit()
        deeds.check(*HELD)
    with deeds.session() as session:
        write(session)
        session.commit()
    agree(deeds)


ONE: Final = _put_back("seal")


@pytest.mark.parametrize(("engine", "begins", "ends"), ONE.values(), ids=ONE, indirect=["engine"])
def test_a_trigger_that_puts_one_of_two_values_back(
    deeds: World, begins: tuple[str, ...], ends: tuple[str, ...]
) -> None:
    with sql(deeds, begins, ends), deeds.session() as session:
        deed = session.get_one(Deed, ROW)
        put(deed, seal=NEW, pages=[NEW])
        session.commit()
        deeds.check(SEAL, NEW)
        assert deed.seal is not None
        assert deed.seal.file.read() == SEAL


@pytest.mark.parametrize(("engine", "begins", "ends"), ONE.values(), ids=ONE, indirect=["engine"])
def test_a_row_whose_value_a_trigger_has_put_back_is_deleted_in_the_same_transaction(
    deeds: World, begins: tuple[str, ...], ends: tuple[str, ...]
) -> None:
    """The row was not found again because it is deleted, not because it has another key: nothing of it stays."""
    with sql(deeds, begins, ends), deeds.session() as session:
        deed = session.get_one(Deed, ROW)
        put(deed, seal=NEW)
        session.flush()
        session.refresh(deed)
        session.delete(deed)
        session.commit()
    deeds.check()


IGNORED: Final = {
    "rule": (
        ("CREATE RULE deed_rule AS ON UPDATE TO deed DO INSTEAD NOTHING",),
        ("DROP RULE deed_rule ON deed",),
    ),
    "trigger": ((FUNCTION.format("RETURN NULL;"), TRIGGER.format("UPDATE")), (NO_FUNCTION,)),
}


@on("postgresql")
@pytest.mark.parametrize(("begins", "ends"), IGNORED.values(), ids=IGNORED)
@every_update
def test_an_update_that_does_not_happen_changes_no_file(
    deeds: World, begins: tuple[str, ...], ends: tuple[str, ...], write: Way
) -> None:
    """SQLAlchemy misses the row of an object and says so; of a statement it says nothing."""
    with sql(deeds, begins, ends), deeds.session() as session:
        try:
            write(session)
            session.commit()
        except StaleDataError:
            session.rollback()
    deeds.check(*HELD)


@on("postgresql")
@every_update
def test_an_update_that_a_policy_forbids_changes_no_file(deeds: World, clerk: Engine, write: Way) -> None:
    with policies(deeds, SELECT="USING (true)", UPDATE="USING (false)"):
        with Session(clerk) as session:
            with suppress(StaleDataError):
                write(session)
                session.commit()
            session.rollback()
        deeds.check(*HELD)


def test_a_statement_that_another_listener_rewrites_takes_no_file_of_other_rows(
    deeds: World, listen: Callable[..., None]
) -> None:
    """The SQL is changed on its way to the database: what counts is which rows are there afterwards."""

    def only_the_first(
        connection: Connection, cursor: Any, statement: str, parameters: Any, *args: Any
    ) -> tuple[str, Any]:
        if statement.startswith("DELETE FROM deed"):
            statement += f"{' AND' if 'WHERE' in statement else ' WHERE'} deed.id = {ROW}"
        return statement, parameters

    with deeds.session() as session:
        session.add(Deed(id=ROW + 1, owner="me", seal=NEW))
        session.commit()
    listen(deeds.engine, "before_cursor_execute", only_the_first, retval=True)
    with deeds.session() as session:
        _unsynchronized(session)
        session.commit()
    deeds.check(NEW)
