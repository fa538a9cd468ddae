"""Reading the database page by page along primary keys, through a session, an engine or a connection.

No transaction stays open after a page, unless all pages should show the rows as they were at one moment (`snapshot`):
PostgreSQL and MariaDB keep old versions of rows for that, while SQLite would block writers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Text,
    cast,
    func,
    literal,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.maintenance.rows.places import Place

#: Rows per page. Few enough not to block the event loop in which they are fetched; and with more objects at once,
#: Python's garbage collector would cost more than the additional queries.
PAGE: Final = 250


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

    def owns_transactions(self, place: Place) -> bool:
        """Return whether transactions are begun and ended here, and not by the user of a connection."""
        return isinstance(self._bind_of(place), Engine)

    def pages(self, place: Place, *, after: Sequence[Any] = (), size: int = PAGE) -> Iterator[list[Row]]:
        """Yield the rows that name files, in the order of their primary keys, each page in a transaction of its own.

        Args:
            after: the key of the last row of the previous page.
            size: rows per page.

        Raises:
            MaintenanceStopped: the table cannot be read.
        """
        with Reader(self, snapshot=False) as reader:
            yield from reader.pages(place, after=after, size=size)


class Reader:
    """A reader of pages of several tables; with ``snapshot``, as of one moment if the database supports that."""

    def __init__(self, database: Database, *, snapshot: bool) -> None:
        self._database = database
        self._snapshot = snapshot
        self._connections: dict[Any, Connection] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: Any) -> None:
        self._closing.close()

    def _connection(self, place: Place) -> Connection:
        bind = self._database._bind_of(place)
        if bind not in self._connections:
            connection = self._closing.enter_context(self._database.connection(place))
            if self._snapshot and isinstance(bind, Engine) and _keeps_versions(connection):
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            self._connections[bind] = connection
        return self._connections[bind]

    def pages(self, place: Place, *, after: Sequence[Any] = (), size: int = PAGE) -> Iterator[list[Row]]:
        """Yield the rows that name files, in the order of the primary key if the table has one.

        Raises:
            MaintenanceStopped: the table cannot be read.
        """
        try:
            connection = self._connection(place)
            if not place.key:
                yield from self._streamed(connection, place, size)
                return
            while True:
                page = self._page(connection, place, after, size)
                yield page
                if len(page) < size:
                    return
                after = page[-1].key
                if None in after:  # SQLite allows it, and `>` would skip the rows after it
                    raise MaintenanceStopped(
                        f"{place}: a row has NULL in its primary key, so rows cannot be told apart"
                    )
        except SQLAlchemyError as error:
            raise MaintenanceStopped(f"{place} cannot be read: {_short(error)}") from error

    def _page(self, connection: Connection, place: Place, after: Sequence[Any], size: int) -> list[Row]:
        query = _query(place, connection.dialect.name).order_by(*place.key).limit(size)
        if after:
            query = query.where(_after(place, after))
        found = connection.execute(query).all()  # faster than fetching one by one
        if len(place.key) == 1:  # the common case, and faster
            rows = [Row((key,), text, valid) for key, text, valid in found]
        else:
            rows = [Row(tuple(row[:-2]), row[-2], row[-1]) for row in found]
        rows = _as_text(place, rows)
        if self._database.owns_transactions(place) and not (self._snapshot and _keeps_versions(connection)):
            connection.rollback()
        return rows

    def _streamed(self, connection: Connection, place: Place, size: int) -> Iterator[list[Row]]:
        query = _query(place, connection.dialect.name)
        if not self._snapshot and self._database.owns_transactions(place) and _keeps_versions(connection):
            # Also if the engine has AUTOCOMMIT: PostgreSQL streams in transactions only.
            connection = connection.execution_options(isolation_level="READ COMMITTED")
        with connection.execute(query.execution_options(yield_per=size)) as result:
            for partition in result.partitions():
                yield _as_text(place, [Row((), *row) for row in partition])


def _keeps_versions(connection: Connection) -> bool:
    return connection.dialect.name != "sqlite"


def _query(place: Place, dialect: str) -> Select[Any]:
    text = as_text(place, dialect)
    return select(*place.key, text, _valid(place, dialect)).where(place.has_value)


def as_text(place: Place, dialect: str) -> ColumnElement[str]:
    """Return the column as text; without a cast, PostgreSQL's driver would parse JSON."""
    return cast(place.text, Text) if dialect == "postgresql" else type_coerce(place.text, Text)


def _valid(place: Place, dialect: str) -> ColumnElement[Any]:
    """Return an expression for whether the column is JSON; NULL if the database cannot tell."""
    if dialect == "postgresql":
        return literal(None) if place.is_text else literal(1)  # JSONB is always valid
    return func.json_valid(place.text)


def _after(place: Place, after: Sequence[Any]) -> ColumnElement[bool]:
    if len(place.key) == 1:
        found: ColumnElement[bool] = place.key[0] > after[0]
        return found
    keys = [BindParameter(None, value, type_=column.type) for column, value in zip(place.key, after, strict=True)]
    return tuple_(*place.key) > tuple_(*keys)


def _as_text(place: Place, rows: list[Row]) -> list[Row]:
    """Return the rows with text, decoded if the driver returns bytes."""
    if {type(text) for _, text, _ in rows} <= {str}:
        return rows
    return [row._replace(text=_decode(place, row.text)) for row in rows]


def _decode(place: Place, held: object) -> str:
    try:
        return held.decode() if isinstance(held, bytes) else str(held)
    except UnicodeDecodeError as error:
        raise MaintenanceStopped(f"{place} contains bytes that are not UTF-8: {error}") from error


def _short(error: SQLAlchemyError) -> str:
    """Return the first line of the database's message, without the statement and its parameters."""
    message = getattr(error, "orig", None) or error
    return str(message).strip().partition("\n")[0] or type(message).__name__
