"""A column as its model knows it: which class and attribute that is, and its rows as objects, locked and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Engine, and_, false, literal, or_, select, update
from sqlalchemy.orm import Mapper, Session, lazyload

from depot_lite.errors import ConfigurationError
from depot_lite.fields.columns import columns_of_mapper, mappers_with_files
from depot_lite.maintenance.rows.places import Place


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """One attribute that holds files, and its column."""

    place: Place
    mapper: Mapper[Any]
    attribute: str

    @classmethod
    def of(cls, place: Place) -> Self | None:
        """Return the attribute of a column in the uppermost class that has it, None where no class has."""
        found: dict[Mapper[Any], str] = {}
        for mapper in mappers_with_files():
            for key, each in columns_of_mapper(mapper).items():
                if each.column is place.column:
                    found[mapper] = key
        for mapper, key in found.items():
            if not any(above in found for above in mapper.iterate_to_root() if above is not mapper):
                return cls(place, mapper, key)
        return None

    def engine(self, bind: Any) -> Engine:
        """Return the engine of the rows, to commit by ourselves.

        Raises:
            ConfigurationError: there is only a connection.
        """
        found = bind.get_bind(self.mapper) if isinstance(bind, Session) else bind
        if not isinstance(found, Engine):
            # What commits on a connection of the user's may not have committed, while its former files would have gone.
            raise ConfigurationError(f"{bind!r}: an engine, or a session with one, is wanted, to commit by ourselves")
        return found

    def locked(self, session: Session, keys: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """Return the objects of rows, which nobody else writes until the transaction of the session ends."""
        wanted = or_(*(_is_row(self.place, key) for key in keys))
        _lock(session.connection(), self.place, wanted)
        return session.scalars(select(self.mapper).where(wanted).options(lazyload("*"))).all()


def _is_row(place: Place, key: Sequence[Any]) -> ColumnElement[bool]:
    return and_(*(column == value for column, value in zip(place.key, key, strict=True)))


def _lock(connection: Connection, place: Place, wanted: ColumnElement[bool]) -> None:
    """Let nobody else write the rows until the transaction ends."""
    if connection.dialect.name == "sqlite":
        # It knows no locks of rows. A statement that writes begins the transaction as a writing one, even if it finds
        # no row; one that began by reading could be overtaken.
        connection.execute(update(place.table).where(false()).values({place.key[0]: place.key[0]}))  # type: ignore[arg-type]  # a table
    else:
        # A statement of its own, before anything is read: what is read then is what the last writer has left. Joined
        # with other tables, PostgreSQL could not lock.
        query = select(literal(1)).select_from(place.table).where(wanted).order_by(*place.key).with_for_update()
        connection.execute(query).all()
