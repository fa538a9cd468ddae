"""Units of work: the parts of a job that workers on any machine lease, do, and record in a table of the database.

    create_units_table(engine)  # once; no other function makes a table

    units = Units(engine, "move to S3", 16)
    while (part := units.take()) is not None:
        ...
        units.finish(part, {"files": 12})

A worker that has not renewed its lease for some minutes is taken for dead, and another one does its unit again. So a
unit may be done twice, or by two workers at once, and the job has to allow for that, as a migration does.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    insert,
    inspect,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.maintenance.ids import Part

#: Seconds after which a worker that is not heard of is taken for dead.
LEASE: Final = 300.0

METADATA: Final = MetaData()

UNITS: Final = Table(
    "depot_lite_units",
    METADATA,
    Column("job", String(200), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("units", Integer, nullable=False),
    Column("worker", String(200)),
    #: The last sign of life of the worker, in seconds since 1970 by the clock of the database.
    Column("renewed_at", Float(53)),
    Column("finished_at", Float(53)),
    #: Counts of the unit, as JSON.
    Column("result", Text),
)

#: The time in seconds since 1970 in each dialect: machines have different clocks, and one database has one.
_NOW: Final = {
    "postgresql": "extract(epoch FROM clock_timestamp())::double precision",
    "mysql": "unix_timestamp(sysdate(3))",
    "mariadb": "unix_timestamp(sysdate(3))",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}


def create_units_table(bind: Session | Engine, *, dry_run: bool = False) -> bool:
    """Make the table of units, if there is none, and return whether it exists now.

    Args:
        bind: an engine, or a session bound to one.
        dry_run: only look for the table.

    Raises:
        ConfigurationError: the bind is a connection.
        MaintenanceStopped: the database does not allow it.
    """
    with _errors("the table of units cannot be made"):
        engine = engine_of(bind)
        if not dry_run:
            METADATA.create_all(engine)
        return inspect(engine).has_table(UNITS.name)


def engine_of(bind: Session | Engine) -> Engine:
    """Return an engine, or the one that a session is bound to.

    Raises:
        ConfigurationError: the bind is a connection.
    """
    found = bind.get_bind() if isinstance(bind, Session) else bind
    if not isinstance(found, Engine):
        raise ConfigurationError(f"expected an engine, or a session bound to one, to commit rows, got {bind!r}")
    return found


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise MaintenanceStopped(f"{what}: {reason}") from error


class Units:
    """The units of one job, as one worker sees them.

    Args:
        engine: the database with the table.
        job: a name; workers that give the same one share the job.
        units: the number of units; the same for all workers.
        lease: seconds.

    Raises:
        MaintenanceStopped: there is no table, or the database cannot be reached.
        ConfigurationError: the job has another number of units.
    """

    def __init__(self, engine: Engine, job: str, units: int, *, lease: float = LEASE) -> None:
        self._engine = engine
        self._job = job
        self._lease = lease
        self._parts = [Part(number, units) for number in range(1, units + 1)]
        self._done: set[int] = set()
        self._renewed = 0.0
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        with self._connection() as connection:
            known = list(connection.scalars(select(UNITS.c.units).where(UNITS.c.job == job)))
        if not known:
            self._begin()
        elif known[0] != units:
            raise ConfigurationError(f"job {job!r}: expected {known[0]} units, as it was begun with, got {units}")

    def _begin(self) -> None:
        rows = [{"job": self._job, "number": each.number, "units": each.of} for each in self._parts]
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(UNITS), rows)
        except IntegrityError:  # another worker was faster
            return

    def take(self) -> Part | None:
        """Lease the next unit, and return it; None if there is none that is neither finished nor leased."""
        with self._connection() as connection:
            now = self._now(connection)
            free = select(UNITS.c.number, UNITS.c.renewed_at, literal_column(now).label("now"))
            free = free.where(UNITS.c.job == self._job, UNITS.c.finished_at.is_(None)).order_by(UNITS.c.number)
            found = connection.execute(free).all()
            connection.rollback()  # a transaction of SQLite that begins by reading may not write in the end
            for number, renewed, at in found:
                if number in self._done or (renewed is not None and float(at) - renewed < self._lease):
                    continue
                unchanged = UNITS.c.renewed_at.is_(None) if renewed is None else UNITS.c.renewed_at == renewed
                if self._set(connection, number, unchanged, worker=self.worker, renewed_at=literal_column(now)):
                    self._done.add(number)
                    return next(each for each in self._parts if each.number == number)
        return None

    def renew(self, part: Part) -> None:
        """Show that this worker is alive; to be called often, since it does something once in a fourth of the lease."""
        if time.monotonic() < self._renewed + self._lease / 4:
            return
        self._renewed = time.monotonic()
        with self._connection() as connection:
            self._set(connection, part.number, self._is_ours, renewed_at=literal_column(self._now(connection)))

    def finish(self, part: Part, result: Mapping[str, Any]) -> None:
        """Record that a unit is done."""
        with self._connection() as connection:
            text = json.dumps(dict(result))
            now = self._now(connection)
            self._set(connection, part.number, self._is_ours, finished_at=literal_column(now), result=text)

    def give_back(self, part: Part, result: Mapping[str, Any] | None = None) -> None:
        """Leave a unit that is not done to another run; this worker does not take it again."""
        with self._connection() as connection:
            text = None if result is None else json.dumps(dict(result))
            self._set(connection, part.number, self._is_ours, worker=None, renewed_at=None, result=text)

    @property
    def left(self) -> int:
        """The number of units that are not finished."""
        query = select(UNITS.c.number).where(UNITS.c.job == self._job, UNITS.c.finished_at.is_(None))
        with self._connection() as connection:
            return len(connection.scalars(query).all())

    def forget(self) -> None:
        """Delete the record of the job, so that it can begin anew."""
        with self._connection() as connection:
            connection.execute(UNITS.delete().where(UNITS.c.job == self._job))
            connection.commit()

    @property
    def _is_ours(self) -> ColumnElement[bool]:
        return UNITS.c.worker == self.worker

    def _set(self, connection: Connection, number: int, condition: ColumnElement[bool], **values: Any) -> bool:
        """Write a unit that nobody else has changed, and return whether that is so."""
        here = and_(UNITS.c.job == self._job, UNITS.c.number == number, UNITS.c.finished_at.is_(None))
        changed = connection.execute(update(UNITS).where(here, condition).values(values)).rowcount
        connection.commit()
        return changed == 1

    def _now(self, connection: Connection) -> str:
        return _NOW[connection.dialect.name]

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        what = f"job {self._job!r}: the table {UNITS.name} cannot be used; `depot-lite create-units` makes it"
        with _errors(what), self._engine.connect() as connection:
            yield connection
