"""File columns as attributes of models: finds the class and the attribute, and loads rows as locked objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Engine, and_, false, literal, or_, select, update
from sqlalchemy.orm import Mapper, Session, lazyload

from depot_lite.errors import ConfigurationError
from depot_lite.fields.columns import mapped_attribute
from depot_lite.maintenance.rows.places import Place


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """An attribute that holds files, and its column."""

    place: Place
    mapper: Mapper[Any]
    attribute: str

    @classmethod
    def of(cls, place: Place) -> Self | None:
        """Return the attribute of a column in the topmost class that maps it; None if no class does."""
        found = mapped_attribute(place.column)
        return None if found is None else cls(place, *found)

    def engine(self, bind: Any) -> Engine:
        """Return the engine of the rows, for transactions of our own.

        Raises:
            ConfigurationError: the bind is a connection.
        """
        return engine_of(bind, self.mapper)

    def locked(self, session: Session, keys: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """Return the objects of rows, locked until the transaction of the session ends."""
        matches = or_(*(_is_row(self.place, key) for key in keys))
        _lock(session.connection(), self.place, matches)
        return session.scalars(select(self.mapper).where(matches).options(lazyload("*"))).all()


def engine_of(bind: Any, mapper: Mapper[Any] | None) -> Engine:
    """Return the engine of the rows of a mapper, for transactions of our own.

    Raises:
        ConfigurationError: the bind is a connection.
    """
    found = bind.get_bind(mapper) if isinstance(bind, Session) else bind
    if not isinstance(found, Engine):
        # A commit on the user's connection may be undone later, after the replaced files were deleted.
        raise ConfigurationError(f"expected an engine, or a session bound to one, to commit rows, got {bind!r}")
    return found


def _is_row(place: Place, key: Sequence[Any]) -> ColumnElement[bool]:
    return and_(*(column == value for column, value in zip(place.key, key, strict=True)))


def _lock(connection: Connection, place: Place, matches: ColumnElement[bool]) -> None:
    """Lock rows against other writers until the transaction ends."""
    if connection.dialect.name == "sqlite":
        # SQLite has no row locks. An UPDATE makes this a write transaction from the start, even if it matches no row;
        # a transaction that begins by reading could be overtaken.
        connection.execute(update(place.table).where(false()).values({place.key[0]: place.key[0]}))  # type: ignore[arg-type]  # a table
    else:
        # Locked by a separate statement before rows are read, so that the last writer's values are read. PostgreSQL
        # cannot lock rows of some joins.
        query = select(literal(1)).select_from(place.table).where(matches).order_by(*place.key).with_for_update()
        connection.execute(query).all()
