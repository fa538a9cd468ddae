"""The binding of a `FileList` to the attribute of the object that holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import event
from sqlalchemy.orm import attributes

from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.lists import FileList

if TYPE_CHECKING:
    from sqlalchemy.orm import InstanceState

# Where the state of a new object keeps the lists that were only read: in its ``info``.
_EMPTY_LISTS: Final = "depot_lite.empty"
# Where a pickled object keeps a second reference to its lists.
_LISTS: Final = "depot_lite.lists"

_NOT_SET: Final = object()


class ListColumn(Protocol):
    """An attribute of a mapped class that holds lists of files."""

    @property
    def key(self) -> str:
        """The name of the attribute."""

    def accept_items(
        self, items: Sequence[Any], held: Sequence[DepotFileInfo], state: InstanceState[Any] | None
    ) -> list[DepotFileInfo]:
        """Return the values of a list with these items; ``held`` are those that are in the list already."""


@dataclass(frozen=True, slots=True, eq=False)
class AttributeBinding:
    """The attribute of one object that holds a `FileList`.

    The list keeps the object alive, so that ``session.get_one(Movie, 1).screenshots.append(...)`` is not lost.
    """

    column: ListColumn
    target: Any

    def same_as(self, binding: Any) -> bool:
        """Return whether this is the same attribute of the same object."""
        return (
            isinstance(binding, AttributeBinding)
            and self.target is binding.target
            and self.column.key == binding.column.key
        )

    def accept(self, items: Sequence[Any], held: Sequence[DepotFileInfo]) -> list[Any]:
        """Return the values of a list with these items."""
        return self.column.accept_items(items, held, attributes.instance_state(self.target))

    def changing(self, files: FileList[Any], before: Sequence[DepotFileInfo]) -> None:
        """Tell the session that the list is about to change, and which files the row holds until the flush.

        Raises:
            TypeError: the object holds another list by now, so the change would be lost.
        """
        state, key = attributes.instance_state(self.target), self.column.key
        if state.key is None and state.info.get(_EMPTY_LISTS, {}).get(key) is files:
            state.dict.setdefault(key, files)
        if state.dict.get(key) is not files:
            raise TypeError(f"{self.column}: the object holds another list by now; change that one")
        old = state.committed_state.get(key, _NOT_SET)
        attributes.flag_modified(self.target, key)
        # flag_modified() leaves SQLAlchemy's mark for "not loaded", and a list that was assigned again is its own old
        # value: both are replaced by a copy of the former list. A new object keeps the mark: if it takes over the row
        # of another object, its list is written even if it is equal.
        if state.key is not None:
            state.committed_state[key] = FileList.of(before) if old is _NOT_SET or old is files else old


def bound(column: ListColumn, values: Iterable[DepotFileInfo], state: InstanceState[Any] | None) -> FileList[Any]:
    """Return a new list of accepted values, bound to the attribute of an object if its state is given."""
    return FileList.of(values, None if state is None else AttributeBinding(column, state.obj()))


def rebound(column: ListColumn, files: FileList[Any], state: InstanceState[Any]) -> FileList[Any]:
    """Return the list bound to the attribute of an object; a copy of it if it is bound to another attribute."""
    return files.bound_to(AttributeBinding(column, state.obj()))


def is_bound(column: ListColumn, files: FileList[Any], state: InstanceState[Any]) -> bool:
    """Return whether a list is bound to the attribute of an object."""
    return files.is_bound_to(AttributeBinding(column, state.obj()))


def empty_list(column: ListColumn, state: InstanceState[Any]) -> FileList[Any]:
    """Return the list of an object that has none yet. Changing it sets the attribute.

    Reading it does not: session.merge() would take an attribute that has a value for an assigned one.
    """
    lists: dict[str, FileList[Any]] = state.info.setdefault(_EMPTY_LISTS, {})
    files = lists.get(column.key)
    # The list of an object that was pickled is not bound any more.
    lists[column.key] = files = bound(column, (), state) if files is None else rebound(column, files, state)
    return files


def bind_loaded(column: ListColumn, state: InstanceState[Any]) -> None:
    """Bind the list that an object got from its row or from a default."""
    held = state.dict.get(column.key)
    early = state.info.get(_EMPTY_LISTS, {}).pop(column.key, None)
    if early is not None and isinstance(held, list) and not held:
        state.dict[column.key] = early  # the user may have a reference to it
    elif isinstance(held, FileList):
        state.dict[column.key] = rebound(column, held, state)
    elif isinstance(held, list):
        state.dict[column.key] = bound(column, held, state)


def track_lists(class_: type, columns: Callable[[], Sequence[ListColumn]]) -> None:
    """Bind the lists of a class's objects when these are loaded or unpickled.

    Args:
        class_: a mapped class.
        columns: returns its attributes with lists, which may become more.
    """

    def bind(target: Any, *args: Any) -> None:
        for column in columns() if target is not None else ():  # None: an object that was garbage collected meanwhile
            bind_loaded(column, attributes.instance_state(target))

    def pickled(target: Any, state_dict: dict[str, Any]) -> None:
        held = attributes.instance_dict(target)
        state_dict[_LISTS] = {column.key: held[column.key] for column in columns() if column.key in held}

    def unpickled(target: Any, state_dict: dict[str, Any]) -> None:
        # The object's own dictionary is not filled yet; its lists are the same objects as these.
        for column in columns():
            files = state_dict.get(_LISTS, {}).get(column.key)
            if isinstance(files, FileList):
                rebound(column, files, attributes.instance_state(target))

    # The last one has no public name: merge(load=False) passes on the values of the other object.
    for name in ("load", "refresh", "refresh_flush", "_sa_event_merge_wo_load"):
        event.listen(class_, name, bind)
    event.listen(class_, "pickle", pickled)
    event.listen(class_, "unpickle", unpickled)


def begin_empty(column: ListColumn, attribute: Any) -> None:
    """Let new objects have an empty list in this attribute."""

    def init_scalar(target: Any, value: Any, dict_: dict[str, Any]) -> Any:
        return empty_list(column, attributes.instance_state(target))

    event.listen(attribute, "init_scalar", init_scalar, retval=True)
