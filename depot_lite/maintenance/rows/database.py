"""Reading tables page by page, through a session, an engine or a connection: every row, and in short transactions.

The rows of a page are counted by the statement that reads them. How the pages cover a table is described in `ranges`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    Text,
    cast,
    func,
    literal,
    select,
    text,
    true,
    type_coerce,
)
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.maintenance.rows.blocks import Blocks
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.rows.ranges import TIMES, KeyRanges, keyed
from depot_lite.maintenance.rows.slices import Slice
from depot_lite.maintenance.run.reports import Step, Watcher

#: Rows per page; fewer if they are fetched in an event loop, which they block.
PAGE: Final = 5000
_PAGE_IN_EVENT_LOOP: Final = 250


class Row(NamedTuple):
    """A row that names files: its key and the text of the column."""

    #: The primary key; empty if the table has none.
    key: tuple[Any, ...]
    #: The value of the column as text.
    text: str
    #: Whether the text is JSON according to the database; None if it cannot tell.
    valid: bool | None


class Database:
    """The rows behind a session, an engine or a connection.

    Of a session, the engine is used: its transaction is not touched, and its uncommitted changes are not seen. If it is
    bound to a connection, as in tests, rows are read through that connection and in its transaction.
    """

    def __init__(self, bind: Session | Engine | Connection) -> None:
        if not isinstance(bind, Session | Engine | Connection):
            raise ConfigurationError(f"expected a Session, an Engine or a Connection, got {bind!r}")
        self._bind = bind

    def _bind_of(self, place: Place) -> Engine | Connection:
        if not isinstance(self._bind, Session):
            return self._bind
        return self._bind.get_bind(place.mapper, clause=select(place.text))

    @contextmanager
    def connection(self, place: Place) -> Iterator[Connection]:
        """Provide a connection to the database of a table; a caller that writes through it commits."""
        bind = self._bind_of(place)
        if isinstance(bind, Connection):
            yield bind
        else:
            with bind.connect() as connection:
                yield connection

    def schema_of(self, place: Place) -> str:
        """Return the schema of a table in the database, after `schema_translate_map`; empty if that is not known.

        Raises:
            MaintenanceStopped: the database cannot be reached.
        """
        table: Any = place.table
        try:
            with self.connection(place) as connection:
                current = _CURRENT_SCHEMA.get(connection.dialect.name)
                found = connection.schema_for_object(table)
                if found is None and current is not None:
                    found = connection.scalar(text(current))
                self._end(connection, place)
                return found or ""
        except SQLAlchemyError as error:
            raise MaintenanceStopped(f"{place} cannot be read: {first_line(error)}{_of_keys(place, error)}") from error

    def owns_transactions(self, place: Place) -> bool:
        """Return whether transactions are begun and ended here, and not by the user of a connection."""
        return isinstance(self._bind_of(place), Engine)

    def pages(
        self, place: Place, *, size: int | None = None, within: Slice | None = None, exact: bool = False
    ) -> Iterator[list[Row]]:
        """Yield all rows that name files, about ``size`` of them at a time, each page from a transaction of its own.

        With ``within``, only those of a slice. Keys of values that Python does not have, such as PostgreSQL's infinity,
        are texts, as are all others of their page; with ``exact``, which a search by key needs, they are an error.

        No connection is held between two pages, except for a table that has no primary key in the database, on MariaDB
        and in a view: it is streamed in one transaction. Rows that are written meanwhile may be among the rows or not.

        Raises:
            MaintenanceStopped: the table cannot be read, or another number of rows was read than the database counts.
        """
        try:
            if size is None:
                size = _PAGE_IN_EVENT_LOOP if self._bind_of(place).dialect.is_async else PAGE
            with self.connection(place) as connection:
                known = place if place.key else keyed(connection, place)
                ranges = KeyRanges.of(connection, known) if known.key else None
                self._end(connection, place)
            if ranges is None:
                yield from self._without_key(place, size)
                return
            found = self._parts(place, ranges, size, exact=exact)
            if within is not None:
                found = self._ranges(place, ranges, within.condition(ranges), size, exact=exact)
            for page in found:
                yield page if place.key else [row._replace(key=()) for row in page]
        except (SQLAlchemyError, LookupError) as error:  # a LookupError is an Enum's, for a value that it does not know
            raise MaintenanceStopped(f"{place} cannot be read: {first_line(error)}{_of_keys(place, error)}") from error

    def following(self, place: Place, last: Slice | None, size: int) -> Slice | None:
        """Return the slice of a table that has the next ``size`` rows; None after the last one.

        Raises:
            MaintenanceStopped: the table cannot be read.
        """
        try:
            with self.connection(place) as connection:
                ranges = KeyRanges.of(connection, place) if place.key else None
                found = Slice.following(connection, ranges, last, size)
                self._end(connection, place)
                return found
        except SQLAlchemyError as error:
            raise MaintenanceStopped(f"{place} cannot be read: {first_line(error)}{_of_keys(place, error)}") from error

    def read(self, place: Place, remember: Callable[[list[Row]], Any], watcher: Watcher | None) -> int:
        """Call a function with each page of a table, tell a watcher of it, and return the number of rows.

        Raises:
            MaintenanceStopped: as `pages`.
        """
        total = None if watcher is None else self._estimate(place)
        with Step(watcher, f"reading {place}", total, unit="rows") as step:
            for page in self.pages(place):
                off_loop(partial(remember, page))
                step.add(len(page))
        return step.done

    def count(self, place: Place) -> int | None:
        """Return how many rows there are to read; None if the database does not tell."""
        with suppress(SQLAlchemyError), self.connection(place) as connection:
            found = _count(connection, place, true())
            self._end(connection, place)
            return found
        return None

    def _estimate(self, place: Place) -> int | None:
        """Return about how many rows there are to read, for a bar; None if that is not known at once."""
        if place.condition is not None:
            return None
        with suppress(SQLAlchemyError), self.connection(place) as connection:
            query = _ESTIMATES.get(connection.dialect.name)
            if query is not None:
                table: Any = place.table
                names = {"name": table.name, "schema": connection.schema_for_object(table)}
                # PostgreSQL aborts the transaction of a query that fails, such as one without the right to read this.
                with nullcontext() if self.owns_transactions(place) else connection.begin_nested():
                    found = connection.scalar(text(query), names)
            else:
                found = _count(connection, place, true())
            self._end(connection, place)
            return None if found is None or found < 0 else int(found)
        return None

    def _parts(self, place: Place, ranges: KeyRanges, size: int, *, exact: bool) -> Iterator[list[Row]]:
        read: set[tuple[str, ...]] = set()
        while new := self._values(place, ranges) - read:  # again at the end, for values that were new meanwhile
            for values in sorted(new):
                yield from self._ranges(place, ranges, ranges.part(values), size, exact=exact)
            read |= new
            if not ranges.leading:
                return

    def _values(self, place: Place, ranges: KeyRanges) -> set[tuple[str, ...]]:
        with self.connection(place) as connection:
            found = ranges.values(connection)
            self._end(connection, place)
            return found

    def _ranges(
        self, place: Place, ranges: KeyRanges, part: ColumnElement[bool], size: int, *, exact: bool
    ) -> Iterator[list[Row]]:
        known, after = ranges.place, None
        while True:
            with self.connection(place) as connection:
                query = ranges.bound(part, after, size)
                until = None if query is None else connection.execute(query).first()
                within = ranges.within(part, after, until)
                rows = _rows(connection, known, within, exact=exact)
                ranges.check(connection)
                stuck = not rows and until is not None and not _has_rows(connection, known, within)
                self._end(connection, place)
            if stuck:  # the value read is not the value stored, such as a rounded FLOAT: no bound can be trusted
                yield from self._streamed(place, known, ranges.within(part, after, None), size)
                return
            yield rows
            if until is None:
                return
            after = until

    def _without_key(self, place: Place, size: int) -> Iterator[list[Row]]:
        with self.connection(place) as connection:
            blocks = Blocks.of(connection, place.table)
            self._end(connection, place)
        if blocks is not None:
            for condition in blocks.conditions():
                with self.connection(place) as connection:
                    rows = _rows(connection, place, condition)
                    blocks.check(connection)
                    self._end(connection, place)
                yield rows
        yield from self._streamed(place, place, true() if blocks is None else blocks.changed, size)

    def _end(self, connection: Connection, place: Place) -> None:
        if self.owns_transactions(place):
            connection.rollback()

    def _streamed(self, place: Place, known: Place, condition: ColumnElement[bool], size: int) -> Iterator[list[Row]]:
        """Yield the rows of one query while it runs."""
        with self.connection(place) as connection:
            if self.owns_transactions(place) and connection.dialect.name != "sqlite":
                # Also if the engine has AUTOCOMMIT: PostgreSQL streams in transactions only.
                connection = connection.execution_options(isolation_level="READ COMMITTED")
            query, read, counted = _query(known, connection.dialect.name, condition), 0, 0
            with connection.execute(query.execution_options(yield_per=size)) as result:
                for partition in result.partitions():
                    read, counted = read + len(partition), partition[0][-1]
                    yield _as_rows(known, partition)
            if not read:
                counted = _count(connection, known, condition)
            _compare(place, read, counted)


#: The schema of tables whose schema is not named.
_CURRENT_SCHEMA: Final = {
    "postgresql": "SELECT current_schema()",
    **dict.fromkeys(("mysql", "mariadb"), "SELECT database()"),
}

#: What servers know of the number of rows in a table without counting them; negative if it was never analysed.
_ESTIMATES: Final = {
    "postgresql": (
        "SELECT c.reltuples FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relname = :name AND n.nspname = coalesce(:schema, current_schema())"
    ),
    **dict.fromkeys(
        ("mysql", "mariadb"),
        "SELECT table_rows FROM information_schema.tables "
        "WHERE table_name = :name AND table_schema = coalesce(:schema, database())",
    ),
}


def _rows(connection: Connection, place: Place, condition: ColumnElement[bool], *, exact: bool = False) -> list[Row]:
    """Return the rows that fulfil a condition, as many as the database counts.

    Raises:
        MaintenanceStopped: another number of rows was read.
    """
    query = _query(place, connection.dialect.name, condition).order_by(*place.key)
    try:
        found = connection.execute(query).all()  # faster than fetching one by one
    except DataError:
        # PostgreSQL's infinity, for example.
        if exact or connection.dialect.name != "postgresql":
            raise
        query = _query(place, "postgresql", condition, cast_keys=True)
        found = connection.execute(query).all()
    counted = found[0][-1] if found else _count(connection, place, condition)
    if not found and counted:  # a row was written between two statements
        found = connection.execute(query).all()
        counted = found[0][-1] if found else counted
    _compare(place, len(found), counted)
    return _as_rows(place, found)


def _query(place: Place, dialect: str, condition: ColumnElement[bool], *, cast_keys: bool = False) -> Select[Any]:
    """Return the query for rows, each with the number of all of them: one statement sees one state of the table."""
    matches = place.has_value, condition
    count = select(func.count()).select_from(place.table).where(*matches).correlate(None).scalar_subquery()
    key = (cast(each, Text) if cast_keys else each for each in place.key)
    return select(*key, as_text(place, dialect), _valid(place, dialect), count).where(*matches)


def _count(connection: Connection, place: Place, condition: ColumnElement[bool]) -> int:
    matches = place.has_value, condition
    return connection.scalar(select(func.count()).select_from(place.table).where(*matches)) or 0


def _has_rows(connection: Connection, place: Place, condition: ColumnElement[bool]) -> bool:
    query = select(literal(1)).select_from(place.table).where(condition).limit(1)
    return connection.scalar(query) is not None


def _compare(place: Place, read: int, counted: int) -> None:
    if read != counted:
        raise MaintenanceStopped(f"{place}: {read} rows were read, but the database counts {counted}")


def _as_rows(place: Place, found: Sequence[Any]) -> list[Row]:
    if len(place.key) == 1:  # the common case, and faster
        return _decoded(place, [Row((key,), text, valid) for key, text, valid, _ in found])
    return _decoded(place, [Row(tuple(row[:-3]), row[-3], row[-2]) for row in found])


def as_text(place: Place, dialect: str) -> ColumnElement[str]:
    """Return the column as text; without a cast, PostgreSQL's driver would parse JSON."""
    return cast(place.text, Text) if dialect == "postgresql" else type_coerce(place.text, Text)


def _valid(place: Place, dialect: str) -> ColumnElement[Any]:
    """Return an expression for whether the column is JSON; NULL if the database cannot tell."""
    if dialect == "postgresql":
        return literal(None) if place.is_text else literal(1)  # JSONB is always valid
    return func.json_valid(place.text)


def _decoded(place: Place, rows: list[Row]) -> list[Row]:
    """Return the rows with text, decoded if the driver returns bytes."""
    if {type(text) for _, text, _ in rows} <= {str}:
        return rows
    return [row._replace(text=_decode(place, row.text)) for row in rows]


def _decode(place: Place, held: object) -> str:
    try:
        return held.decode() if isinstance(held, bytes) else str(held)
    except UnicodeDecodeError as error:
        raise MaintenanceStopped(f"{place} contains bytes that are not UTF-8: {error}") from error


def _of_keys(place: Place, error: Exception) -> str:
    """Return the end of a message about a value that the driver cannot read: the columns that may have it."""
    names = [f"{place.name}.{each.name}" for each in place.key if isinstance(each.type, TIMES)]
    if not names or not isinstance(error, DataError):
        return ""
    return f": a value in {' or '.join(names)}, in the primary key, that Python does not have"


def first_line(error: Exception) -> str:
    """Return the first line of the database's message, without the statement and its parameters."""
    message = getattr(error, "orig", None) or error
    return str(message).strip().partition("\n")[0] or type(message).__name__
