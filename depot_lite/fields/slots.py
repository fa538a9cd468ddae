"""Slots: the file attributes of objects that a flush is about to write, and what their rows hold until then.

An old value that nobody has loaded is looked up with one locking SELECT per mapper, so that its files can go when the
row has been written. Attributes are not loaded eagerly for that (``active_history``): it would break asynchronous code,
and cost a query at each assignment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Mapper, Session, attributes

from depot_lite.fields import columns
from depot_lite.fields.columns import FileColumn
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.lists import FileList

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import InstanceState

# How many primary keys one SELECT of old values names.
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Slot:
    """One file attribute of one object."""

    state: InstanceState[Any]
    column: FileColumn

    @property
    def value(self) -> Any:
        """What the attribute holds, None where it holds nothing or is not loaded."""
        return self.state.dict.get(self.column.key)

    @property
    def changed(self) -> bool:
        """Whether the attribute was set, or its list changed, since the last flush."""
        return self.column.key in self.state.committed_state

    @property
    def old_unknown(self) -> bool:
        """Whether the row holds a value that was never loaded."""
        if self.state.key is None:
            return False
        if self.changed:
            return columns.unknown(self.state.committed_state[self.column.key])
        return self.column.key not in self.state.dict

    @property
    def old(self) -> Any:
        """What the row held at the last flush, if that is known: a value, a list, or None."""
        old = self.state.committed_state.get(self.column.key) if self.changed else self.value
        return old if isinstance(old, DepotFileInfo | FileList) else None

    def remember_old(self, old: Any) -> None:
        """Enter what the row turned out to hold."""
        if self.changed:
            self.state.committed_state[self.column.key] = old
        else:
            attributes.set_committed_value(self.state.obj(), self.column.key, old)
            self.column.bind(self.state)

    def own_files(self) -> None:
        """Give the row copies of the stored files that are not its own: their owners may delete them any time."""
        if self.state.key is not None and not self.changed:
            return
        old = columns.files_in(self.old if self.state.key is not None else None)
        own, held = {value.get("path") for value in old}, self.value
        for index, value in enumerate(columns.files_in(held)):
            if not value.pending and value.get("path") not in own:
                copy = self.column.copy(value, self.state)
                if isinstance(held, FileList):
                    held.put(index, copy)
                else:
                    self.state.dict[self.column.key] = copy


def slots_of(objects: Iterable[Any], chosen: set[int] | None = None) -> Iterator[Slot]:
    """Yield the file attributes of objects; only of those whose `id` is ``chosen``."""
    for each in objects:
        found = columns.columns_of_class(type(each))
        if found and (chosen is None or id(each) in chosen):
            state = attributes.instance_state(each)
            for column in found.values():
                yield Slot(state, column)


def slots_of_state(mapper: Mapper[Any], state: InstanceState[Any]) -> list[Slot]:
    """Return the file attributes of one object, as a mapper sees it."""
    return [Slot(state, column) for column in columns.columns_of_mapper(mapper).values()]


def look_up_old(session: Session, slots: Iterable[Slot]) -> None:
    """Read what rows hold in attributes that were replaced, or whose object is deleted, without having been loaded.

    The rows are locked, as the flush is about to change them anyway: what is read is what will be overwritten.
    """
    by_mapper: dict[Mapper[Any], dict[tuple[Any, ...], list[Slot]]] = {}
    for slot in slots:
        if slot.old_unknown and slot.state.key is not None:
            by_mapper.setdefault(slot.state.mapper, {}).setdefault(tuple(slot.state.key[1]), []).append(slot)
    for mapper, by_key in by_mapper.items():
        connection = session.connection(bind_arguments={"mapper": mapper})
        keys = sorted(by_key)
        for start in range(0, len(keys), _BATCH):
            _look_up_batch(connection, mapper, {key: by_key[key] for key in keys[start : start + _BATCH]})


def look_up_in_flush(column: FileColumn, state: InstanceState[Any]) -> None:
    """Read what the row holds where a listener of the user's sets an attribute that nobody has loaded.

    It may do so after our ``before_flush`` and ``before_update``, the last moments at which we look. Outside of a flush
    nothing is read: those will.
    """
    session = state.session
    slot = Slot(state, column)
    if session is None or not session._flushing or not slot.old_unknown:  # there is no public name for it
        return
    look_up_old(session, [slot])
    # SQLAlchemy is about to enter the value as unknown, unless one is entered already.
    if not slot.changed and column.key in state.dict:
        state.committed_state[column.key] = slot.value


def _look_up_batch(connection: Connection, mapper: Mapper[Any], by_key: dict[tuple[Any, ...], list[Slot]]) -> None:
    primary = mapper.primary_key
    wanted = {slot.column.key: slot.column for slots in by_key.values() for slot in slots}
    condition = primary[0].in_([key[0] for key in by_key]) if len(primary) == 1 else tuple_(*primary).in_(list(by_key))
    query = (
        select(*primary, *(column.column for column in wanted.values()))
        .select_from(mapper.persist_selectable)
        .where(condition)
        .order_by(*primary)
        .with_for_update()
    )
    for row in connection.execute(query):
        found = dict(zip(wanted, row[len(primary) :], strict=True))
        for slot in by_key.get(tuple(row[: len(primary)]), ()):
            slot.remember_old(found[slot.column.key])
