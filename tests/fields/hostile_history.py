"""Random histories in which nothing goes as it should, and what must hold nevertheless.

An application that catches errors and commits, listeners that raise or return something else, triggers, a second
session on the same rows, savepoints and commits of which the session is not told: the model does not know what such a
history leaves. It asks, on another connection, after each step: every file that a committed row names can be read; and
after each end of a transaction: the depots hold these files and no others, and no file has two rows.

`tests.fields.test_state_machine_hostile` makes histories of it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from zlib import crc32

from hypothesis import stateful
from sqlalchemy import DDL, Engine, create_engine, event, inspect, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.attributes import flag_modified

from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.fields.columns import files_in, paths_of
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine

SINGLE: Final = ("content", "report")
ATTRIBUTES: Final = (*SINGLE, "pages")


# --- the table ----------------------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    """For a table with triggers, which is there only while histories are played."""


class Chest(Base):
    """A row that the database may refuse to delete (``keeps_row``) or whose files it may put back (``keeps_files``)."""

    __tablename__ = "hostile_chest"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[int | None] = mapped_column(unique=True)
    keeps_row: Mapped[int] = mapped_column(default=0)
    keeps_files: Mapped[int] = mapped_column(default=0)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    report: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="archive"))
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    # That the database deletes no row is the point, and no reason to warn.
    __mapper_args__ = {"confirm_deleted_rows": False}  # noqa: RUF012  # SQLAlchemy reads it


#: What SQLite does in the middle of an UPDATE, its triggers cannot change; it is put back afterwards.
TRIGGERS: Final[dict[str, tuple[str, ...]]] = {
    "sqlite": (
        "CREATE TRIGGER hostile_update AFTER UPDATE ON hostile_chest WHEN OLD.keeps_files = 1 BEGIN "
        "UPDATE hostile_chest SET content = OLD.content, report = OLD.report, pages = OLD.pages WHERE id = OLD.id; END",
        "CREATE TRIGGER hostile_delete BEFORE DELETE ON hostile_chest WHEN OLD.keeps_row = 1 BEGIN "
        "SELECT RAISE(IGNORE); END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION hostile_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF OLD.keeps_files = 1 THEN NEW.content := OLD.content; NEW.report := OLD.report; NEW.pages := OLD.pages; "
        "END IF; RETURN NEW; END $$",
        "CREATE OR REPLACE FUNCTION hostile_delete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF OLD.keeps_row = 1 THEN RETURN NULL; END IF; RETURN OLD; END $$",
        "CREATE TRIGGER hostile_update BEFORE UPDATE ON hostile_chest FOR EACH ROW EXECUTE FUNCTION hostile_update()",
        "CREATE TRIGGER hostile_delete BEFORE DELETE ON hostile_chest FOR EACH ROW EXECUTE FUNCTION hostile_delete()",
    ),
    # MariaDB's triggers cannot keep a row but by refusing.
    "mariadb": (
        "CREATE TRIGGER hostile_update BEFORE UPDATE ON hostile_chest FOR EACH ROW BEGIN IF OLD.keeps_files = 1 THEN "
        "SET NEW.content = OLD.content, NEW.report = OLD.report, NEW.pages = OLD.pages; END IF; END",
        "CREATE TRIGGER hostile_delete BEFORE DELETE ON hostile_chest FOR EACH ROW BEGIN IF OLD.keeps_row = 1 THEN "
        "SIGNAL SQLSTATE '45000'; END IF; END",
    ),
}

_table: Final = Base.metadata.tables[Chest.__tablename__]
for _dialect, _statements in TRIGGERS.items():
    for _statement in _statements:
        _ddl: Any = DDL
        event.listen(_table, "after_create", _ddl(_statement).execute_if(dialect=_dialect))


# --- hostile events -----------------------------------------------------------------------------------------------


class Stopped(Exception):
    """An error of a user's listener."""


class Tracer:
    """A listener of the user's to the statements of an engine, which raises when told so: before or after the next."""

    def __init__(self, engine: Engine) -> None:
        self.armed: Literal["before", "after"] | None = None
        self.raised = False
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)

    def _before(self, connection: Any, cursor: Any, statement: str, *args: Any) -> None:
        self._raise("before", statement)

    def _after(self, connection: Any, cursor: Any, statement: str, *args: Any) -> None:
        self._raise("after", statement)

    def _raise(self, when: str, statement: str) -> None:
        if self.armed == when and statement.startswith(("INSERT", "UPDATE", "DELETE")):
            self.armed, self.raised = None, True
            raise Stopped


class Rewriting:
    """Listeners of the user's that return something else than they were given, while told so."""

    on = False

    @classmethod
    def register(cls) -> None:
        """Register them behind those of the columns; a second call does nothing."""
        Base.registry.configure()
        for attribute, listener in (
            (Chest.content, cls._bytes),
            (Chest.report, cls._another),
            (Chest.pages, cls._list),
        ):
            if not event.contains(attribute, "set", listener):
                event.listen(attribute, "set", listener, retval=True)

    @staticmethod
    def _bytes(target: Any, value: Any, old: Any, initiator: Any) -> Any:
        return b"rewritten %d" % id(target) if Rewriting.on else value

    @staticmethod
    def _another(target: Any, value: Any, old: Any, initiator: Any) -> Any:
        return UploadedFile(b"rewritten %d" % id(target)) if Rewriting.on else value

    @staticmethod
    def _list(target: Any, value: Any, old: Any, initiator: Any) -> Any:
        return list(reversed(value)) if Rewriting.on and value is not None else value


@dataclass
class Engines:
    """Of one database: the application's, and another process's, which waits for nobody."""

    ours: Engine
    theirs: Engine
    tracer: Tracer


@contextmanager
def engines(engine: Engine) -> Iterator[Engines]:
    """Connect to the database of an engine twice, with the table in it; at READ COMMITTED, where there are levels."""
    if engine.dialect.name == "sqlite":
        path = str(engine.url.database)
        ours, theirs = sqlite_engine(path), sqlite_engine(path, connect_args={"timeout": 0})
    else:
        no_wait = {
            "postgresql": {"options": "-c lock_timeout=1000"},
            "mariadb": {"init_command": "SET SESSION innodb_lock_wait_timeout = 1, lock_wait_timeout = 1"},
        }[engine.dialect.name]
        ours = create_engine(engine.url, isolation_level="READ COMMITTED")
        theirs = create_engine(engine.url, isolation_level="READ COMMITTED", connect_args=no_wait)
    Rewriting.register()
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    try:
        yield Engines(ours, theirs, Tracer(ours))
    finally:
        ours.dispose()
        theirs.dispose()
        Base.metadata.drop_all(engine)


# --- histories ----------------------------------------------------------------------------------------------------


@dataclass
class Savepoint:
    """An open savepoint, begun by the session or behind its back."""

    transaction: Any
    of_session: bool


class HostileHistory(stateful.RuleBasedStateMachine):
    """Sessions, hostile events, and invariants. The rules are the subclass's.

    Engines, a folder for files and counters are set by a subclass too.
    """

    engines: Engines
    folder: Path
    reached: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.closing = ExitStack()
        self.closing.enter_context(temporary_depots())
        self.storages = {
            name: DepotManager.configure(name, LocalFileStorage(self.folder / name, durable=False))
            for name in ("default", "archive")
        }
        self.numbers = iter(range(1, 1_000_000))
        #: Keys of rows that are committed, or that our session has written.
        self.keys: set[int] = set()
        self.codes: list[int] = []
        self.savepoints: list[Savepoint] = []
        self.made: list[Chest] = []
        #: Whether our transaction goes on after an error that was caught.
        self.caught = False
        self.session = Session(self.engines.ours)
        # A session's own references are weak.
        self.held: dict[int, Chest] = {}

    @property
    def dialect(self) -> str:
        """The name of the database."""
        return self.engines.ours.dialect.name

    # --- rows and values ------------------------------------------------------------------------------------------

    def data(self) -> bytes:
        """Return content that nothing else has."""
        return b"bytes %d" % next(self.numbers)

    def key(self) -> int:
        """Return a key that no row has: from above, where no sequence comes."""
        return 1_000_000 - next(self.numbers)

    def pick(self, number: int) -> int:
        """Return one of the keys."""
        keys = sorted(self.keys) or [0]
        return keys[number % len(keys)]

    def chest(self, number: int) -> Chest | None:
        """Return the object of a row, as the session knows it: of the database, or as it was long ago."""
        key = self.pick(number)
        found = self.held.get(key)
        if found is None or found not in self.session:
            found = self.session.get(Chest, key)
        if found is not None:
            self.held[key] = found
        return found

    def value(self, attribute: str, *, uploads: bool = False) -> Any:
        """Return something for an attribute to hold."""
        make: Callable[[bytes], Any] = UploadedFile if uploads else bytes
        return make(self.data()) if attribute in SINGLE else [make(self.data()), make(self.data())]

    def put_past_listeners(self, chest: Chest, attribute: str, value: Any) -> None:
        """Write into the ``__dict__`` of an object, and say so if it has a row."""
        chest.__dict__[attribute] = value
        if inspect(chest).key is not None:
            flag_modified(chest, attribute)

    # --- steps ----------------------------------------------------------------------------------------------------

    def attempt(self, kind: str, *steps: Callable[[], object]) -> bool:
        """Do what may fail, catch what may be raised, and go on in the transaction that is left.

        That a file has gone which another session has deleted may be raised, and what SQLAlchemy and the listeners
        raise; nothing else.
        """
        try:
            for step in steps:
                step()
        except (SQLAlchemyError, StorageFailed, StoredFileNotFound, Stopped) as error:
            self.reached[type(error).__name__] += 1
            self._go_on()
            return False
        self.reached[kind] += 1
        return True

    def _go_on(self) -> None:
        """Go back to the innermost savepoint of the session if the session cannot go on otherwise."""
        if self.session.is_active:
            self.reached["error caught"] += 1
            self.caught = True
            return
        while self.savepoints:
            savepoint = self.savepoints.pop()
            if savepoint.of_session:
                try:
                    savepoint.transaction.rollback()
                except SQLAlchemyError:
                    break
                if self.session.is_active:
                    return
        self.roll_back()

    def add(self, chest: Chest, key: int | None) -> None:
        """Add an object to the session."""
        self.session.add(chest)
        self.made.append(chest)
        if key is not None:
            self.keys.add(key)
            self.held[key] = chest

    def commit(self, *, expires: bool) -> None:
        """Commit, and check. A transaction that cannot be committed is rolled back."""
        self.session.expire_on_commit = expires
        try:
            self.session.commit()
        except (SQLAlchemyError, StorageFailed, StoredFileNotFound, Stopped) as error:
            self.reached[type(error).__name__] += 1
            self.reached["commit refused"] += 1
            self.roll_back()
        else:
            self.reached["commit"] += 1
            self.reached["committed nevertheless"] += self.caught
            self._ended()

    def roll_back(self) -> None:
        """Roll back, and check. A session that cannot even do that is closed."""
        try:
            self.session.rollback()
        except SQLAlchemyError:
            self.close()
        else:
            self.reached["rollback"] += 1
            self._ended()

    def close(self) -> None:
        """Close the session, begin another one, and check."""
        for _ in range(1 + len(self.savepoints)):
            try:
                self.session.close()
            except SQLAlchemyError:  # MariaDB does not know its savepoints any more
                continue
            break
        self.session = Session(self.engines.ours)
        self.held.clear()
        self.made.clear()
        self.reached["close"] += 1
        self._ended()

    def _ended(self) -> None:
        self.savepoints.clear()
        self.caught = False
        self.check()

    def other_session(self, step: Callable[[Session], object]) -> None:
        """Let another session do something and commit; it gives up where it would have to wait for ours."""
        with Session(self.engines.theirs) as session:
            try:
                step(session)
                session.commit()
            except OperationalError:
                self.reached["the other session would wait"] += 1
            except DBAPIError:
                assert self.dialect == "mariadb", "only there triggers refuse"  # it is not about the error
            else:
                self.reached["other session"] += 1

    # --- what must hold -------------------------------------------------------------------------------------------

    @stateful.invariant()
    def files_of_committed_rows_are_there(self) -> None:
        """At no moment is a file missing that a committed row names, however it came to be committed."""
        self.reached["step"] += 1
        self._named()

    def _named(self) -> list[Any]:
        values = [value for row in self._committed() for held in row[1:] for value in files_in(held)]
        named = {path for value in values for path in paths_of(value)}
        lost = named - self._stored()
        assert not lost, f"gone while a committed row names them: {lost}"
        return values

    def _committed(self) -> Sequence[Any]:
        with self.engines.theirs.connect() as connection:
            return connection.execute(select(Chest.id, Chest.content, Chest.report, Chest.pages)).all()

    def _stored(self) -> set[str]:
        return {f"{name}/{file_id}" for name, storage in self.storages.items() for file_id in storage.list()}

    def check(self) -> None:
        """Compare rows and files, when no transaction of ours is open."""
        values = self._named()
        paths = [path for value in values for path in paths_of(value)]
        assert len(paths) == len(set(paths)), f"two rows share a file: {sorted(paths)}"
        left = self._stored().difference(paths)
        assert not left, f"stored, and no row names them: {left}"
        for value in values:
            with DepotManager.get_file(value["path"]) as stored:
                assert f"crc32:{crc32(stored.read()):08x}" == value["checksum"]
        self.keys = {row[0] for row in self._committed()}

    def teardown(self) -> None:
        """End the last transaction too; leave no row and no file."""
        try:
            self.close()
        finally:
            self.session.close()
            with self.engines.ours.begin() as connection:
                connection.execute(text("UPDATE hostile_chest SET keeps_row = 0"))
                connection.execute(text("DELETE FROM hostile_chest"))
            self.closing.close()
            shutil.rmtree(self.folder, ignore_errors=True)
