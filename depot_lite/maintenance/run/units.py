"""Units of work: the parts of a job that workers on any machine lease, do, and record in a table of the database.

    create_units_table(engine)  # once; no other function makes a table

    with Units(engine, "count to a thousand", {}) as units:
        while (unit := units.take(lambda last: (last or 0) + 10 if last != 1000 else None)) is not None:
            ...
            units.finish(unit, {"files": 12})
        units.end()

The work of a unit is anything that JSON can say. A unit is made from the work of the last one, when a worker needs it.

A worker that has not renewed its lease for some minutes is taken for dead, and another one does its unit again. A
thread renews it, however long the worker lists files or waits for a lock; under asyncio, only `Units.renew` does.
Still, a unit may be done twice, or by two workers at once, and the job has to allow for that, as a migration does. A
job none of whose workers has been heard of begins anew, since its units may be out of date.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    func,
    insert,
    inspect,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError, UnboundExecutionError
from sqlalchemy.orm import Session, configure_mappers
from sqlalchemy.pool import StaticPool

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.fields.columns import mappers_with_files

log = logging.getLogger(__name__)

#: Seconds after which a worker that is not heard of is taken for dead.
LEASE: Final = 300.0

METADATA: Final = MetaData()

UNITS: Final = Table(
    "depot_lite_units",
    METADATA,
    Column("job", String(200), primary_key=True),
    #: 0 for the job itself.
    Column("number", Integer, primary_key=True, autoincrement=False),
    #: The work of the unit, or the arguments of the job, as JSON.
    Column("work", Text, nullable=False),
    #: The worker that has the unit, or that has begun the job.
    Column("worker", String(200)),
    #: The last sign of life of the worker, or of any worker of the job, in seconds since 1970 by the database's clock.
    Column("renewed_at", Float(53)),
    Column("finished_at", Float(53)),
    #: Counts of the unit, as JSON.
    Column("result", Text),
    Index("depot_lite_units_open", "job", "finished_at"),
)

#: The time in seconds since 1970 in each dialect: machines have different clocks, and one database has one.
_NOW: Final = {
    "postgresql": "extract(epoch FROM clock_timestamp())::double precision",
    "mysql": "unix_timestamp(sysdate(3))",
    "mariadb": "unix_timestamp(sysdate(3))",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}


def create_units_table(bind: Session | Engine, *, dry_run: bool = False) -> bool:
    """Make the table of units if it is missing, and return whether it exists now.

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
        with engine.connect() as connection:
            return inspect(connection).has_table(UNITS.name, schema=connection.schema_for_object(UNITS))


def engine_of(bind: Session | Engine) -> Engine:
    """Return an engine, or that of a session; if it has several, the engine of the first model with files.

    The first one by name, so that it is the same in all processes.

    Raises:
        ConfigurationError: the bind is a connection, or a session without an engine.
    """
    found: object = bind
    if isinstance(bind, Session):
        configure_mappers()
        for mapper in (None, *sorted(mappers_with_files(), key=str)):
            with suppress(UnboundExecutionError):
                found = bind.get_bind(mapper)
                break
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


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of work that this worker has leased."""

    number: int
    work: Any
    #: Whether another worker may have done a part of it, or this one in an earlier run.
    was_begun: bool = False


def _unchanged(renewed: float | None) -> ColumnElement[bool]:
    return UNITS.c.renewed_at.is_(None) if renewed is None else UNITS.c.renewed_at == renewed


def _now(connection: Connection) -> ColumnElement[float]:
    return literal_column(_NOW[connection.dialect.name])


class Units:
    """The units of one job, as one worker sees them.

    A context manager in which a thread renews leases, and that gives up a unit after an error.

    Args:
        engine: the database with the table.
        job: a name; workers that give the same one share the job.
        arguments: settings that have to be the same for all workers; any JSON.
        lease: seconds.

    Raises:
        MaintenanceStopped: there is no table, or the database cannot be reached.
        ConfigurationError: other workers have begun the job with other arguments.
    """

    def __init__(self, engine: Engine, job: str, arguments: Mapping[str, Any], *, lease: float = LEASE) -> None:
        self._engine = engine
        self._job = job
        self._lease = lease
        self._done: set[int] = set()
        self._current: int | None = None
        self._renewed = 0.0
        self._lost: str | None = None
        # Of the attributes about the unit, which the thread that renews leases reads.
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        self._begin(json.dumps(arguments, sort_keys=True))

    def _begin(self, arguments: str) -> None:
        """Join the job, or begin it if no worker of it has been heard of during the lease."""
        query = select(UNITS.c.work, UNITS.c.worker, UNITS.c.renewed_at).where(self._is(0))
        with self._connection() as connection:
            row = {"work": arguments, "worker": self.worker, "renewed_at": _now(connection)}
            known = connection.execute(query).first()
            is_live = self._live(connection, UNITS.c.finished_at.is_(None)) > 0
            connection.rollback()  # a transaction of SQLite that begins by reading may not write in the end
            if known is None:
                with suppress(IntegrityError):  # another worker was faster
                    connection.execute(insert(UNITS).values(job=self._job, number=0, **row))
                    connection.commit()
                connection.rollback()
            elif not is_live:
                if self._set(connection, 0, _unchanged(known.renewed_at), commit=False, **row):
                    connection.execute(UNITS.delete().where(UNITS.c.job == self._job, UNITS.c.number > 0))
                connection.commit()
            known = connection.execute(query).first()
        found = arguments if known is None else known.work
        self._begun_by = self.worker if known is None else known.worker
        if found != arguments:
            raise ConfigurationError(f"job {self._job!r}: expected {found}, as it was begun with, got {arguments}")

    def _live(self, connection: Connection, condition: ColumnElement[bool]) -> int:
        """Return the number of units, or of these and the job itself, whose worker has been heard of."""
        lives = and_(UNITS.c.job == self._job, condition, UNITS.c.renewed_at > _now(connection) - self._lease)
        return connection.scalar(select(func.count()).select_from(UNITS).where(lives)) or 0

    def __enter__(self) -> Self:
        # Connections of asyncio belong to its event loop, and a single one to the thread that uses it.
        if not self._engine.dialect.is_async and not isinstance(self._engine.pool, StaticPool):
            self._thread = threading.Thread(target=self._keep_renewing, name="depot_lite.leases", daemon=True)
            self._thread.start()
        return self

    def _keep_renewing(self) -> None:
        while not self._ended.wait(self._lease / 4):
            # If the unit is lost, the worker gets the error from its own call; otherwise the next attempt may succeed.
            with suppress(MaintenanceStopped):
                self.renew()

    def __exit__(self, kind: object, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if kind is not None:
            with suppress(MaintenanceStopped):  # then the lease runs out
                self._leave()

    def _leave(self) -> None:
        """Give up the unit; if there is no other worker, the next one begins anew."""
        with self._connection() as connection:
            self._set(connection, 0, self._is_same, commit=False, job=self._job)  # locks the job, as in `_add`
            if self._current is not None:
                self._set(connection, self._current, self._is_ours, commit=False, worker=None, renewed_at=None)
            if not self._live(connection, self._is_open):
                self._set(connection, 0, self._is_same, commit=False, renewed_at=None)
            connection.commit()

    def take(self, following: Callable[[Any], Any]) -> Unit | None:
        """Lease a unit, and return it; None if all units are finished or leased.

        Args:
            following: called with the work of the last unit, or None; returns the work of the next one, or None if
                nothing is left.
        """
        unit = self._free()
        while unit is None:
            last = self._last()
            if last is None:  # another worker has deleted the record, and a job that has begun since is not ours
                return None
            work = following(None if last.number == 0 else last.work)
            if work is None:
                return None
            unit = self._add(Unit(last.number + 1, work))
        self._done.add(unit.number)
        self._hold(unit.number)
        return unit

    def _hold(self, number: int | None) -> None:
        with self._lock:
            self._current, self._lost, self._renewed = number, None, time.monotonic()

    def _free(self) -> Unit | None:
        """Lease a unit that another worker has left, if there is one."""
        with self._connection() as connection:
            now = _now(connection)
            left = select(UNITS.c.number, UNITS.c.work, UNITS.c.renewed_at, now.label("now"))
            found = connection.execute(left.where(self._is_open).order_by(UNITS.c.number)).all()
            connection.rollback()  # a transaction of SQLite that begins by reading may not write in the end
            for number, work, renewed, at in found:
                if number in self._done or (renewed is not None and float(at) - renewed < self._lease):
                    continue
                if not self._set(connection, 0, self._is_same, commit=False, renewed_at=now):  # as in `_add`
                    return None
                if self._set(connection, number, _unchanged(renewed), worker=self.worker, renewed_at=now):
                    return Unit(number, json.loads(work), was_begun=True)
        return None

    def _last(self) -> Unit | None:
        query = select(UNITS.c.number, UNITS.c.work).where(UNITS.c.job == self._job)
        with self._connection() as connection:
            is_same = connection.scalar(select(UNITS.c.number).where(self._is(0), self._is_same)) is not None
            found = connection.execute(query.order_by(UNITS.c.number.desc()).limit(1)).first()
        return Unit(found[0], json.loads(found[1])) if is_same and found is not None else None

    def _add(self, unit: Unit) -> Unit | None:
        """Add a unit, leased by this worker; None if another one was faster, or the job is over."""
        row = {"job": self._job, "number": unit.number, "work": json.dumps(unit.work), "worker": self.worker}
        with self._connection() as connection:
            now = _now(connection)
            # The row of the job is locked, so that nobody deletes the record meanwhile.
            if not self._set(connection, 0, self._is_same, commit=False, renewed_at=now):
                return None
            try:
                connection.execute(insert(UNITS).values(**row, renewed_at=now))
                connection.commit()
            except IntegrityError:
                return None
        return unit

    def renew(self) -> None:
        """Show that this worker is alive; to be called often, since it does something once in a fourth of the lease.

        Raises:
            MaintenanceStopped: the lease has run out, and another worker has the unit.
        """
        with self._lock:
            if self._lost is None and time.monotonic() >= self._renewed + self._lease / 4:
                self._renewed = time.monotonic()
                self._renew()
            if self._lost is not None:
                raise MaintenanceStopped(self._lost)

    def _renew(self) -> None:
        with self._connection() as connection:
            now = _now(connection)
            self._set(connection, 0, self._is_same, commit=False, renewed_at=now)
            if self._current is not None and not self._set(
                connection, self._current, self._is_ours, commit=False, renewed_at=now
            ):
                self._lost = (
                    f"job {self._job!r}: unit {self._current} was lost, as nothing was heard of this process for "
                    f"{self._lease:g} seconds: others do it"
                )
            connection.commit()

    def finish(self, unit: Unit, result: Mapping[str, Any]) -> None:
        """Record that a unit is done; log it if the lease has run out, so that another worker does it again."""
        with self._lock, self._connection() as connection:
            now = _now(connection)
            self._set(connection, 0, self._is_same, commit=False, renewed_at=now)
            known = json.dumps(dict(result))
            if not self._set(connection, unit.number, self._is_ours, finished_at=now, result=known):
                log.warning("job %r: unit %d was done, but had been taken by another process", self._job, unit.number)
            self._hold(None)

    def give_back(self, unit: Unit, result: Mapping[str, Any] | None = None) -> None:
        """Leave a unit that is not done to another run; this worker does not take it again."""
        with self._lock, self._connection() as connection:
            text = None if result is None else json.dumps(dict(result))
            self._set(connection, unit.number, self._is_ours, worker=None, renewed_at=None, result=text)
            self._hold(None)

    def end(self) -> int:
        """Return the number of units that are not finished, and delete the record unless a live worker has one of them.

        To be called when there is no unit left to take. Afterwards the job can begin anew.
        """
        self._hold(None)
        with self._connection() as connection:
            is_same = self._set(
                connection, 0, self._is_same, commit=False, job=self._job
            )  # locks the job, as in `_add`
            left = connection.scalar(select(func.count()).select_from(UNITS).where(self._is_open)) or 0
            if is_same and not self._live(connection, self._is_open):
                connection.execute(UNITS.delete().where(UNITS.c.job == self._job))
            connection.commit()
            return left

    def _is(self, number: int) -> ColumnElement[bool]:
        return and_(UNITS.c.job == self._job, UNITS.c.number == number)

    @property
    def _is_open(self) -> ColumnElement[bool]:
        return and_(UNITS.c.job == self._job, UNITS.c.finished_at.is_(None), UNITS.c.number > 0)

    @property
    def _is_same(self) -> ColumnElement[bool]:
        """The condition that the row is of the job in which this worker takes part."""
        return UNITS.c.worker == self._begun_by

    @property
    def _is_ours(self) -> ColumnElement[bool]:
        return UNITS.c.worker == self.worker

    def _set(
        self, connection: Connection, number: int, condition: ColumnElement[bool], *, commit: bool = True, **values: Any
    ) -> bool:
        """Write a unit that nobody else has changed, and return whether that is so."""
        here = and_(self._is(number), UNITS.c.finished_at.is_(None), condition)
        changed = connection.execute(update(UNITS).where(here).values(values)).rowcount
        if commit:
            connection.commit()
        return changed == 1

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        what = f"job {self._job!r}: the table {UNITS.name} cannot be used; `depot-lite create-units` makes it"
        with _errors(what), self._engine.connect() as connection:
            yield connection
