"""The files of a flush of Ming, object by object.

Ming writes documents one by one. So new and old files are recorded for each object, and the outcome of its own document
decides which of them are deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, cast

from ming.odm import mapper
from ming.odm.base import ObjectState, state
from pymongo.errors import ConnectionFailure, PyMongoError, ServerSelectionTimeoutError

from depot_lite.concurrency.threads import Batch
from depot_lite.depots import Depots, discard
from depot_lite.errors import SeveralRefused, ValidationError
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.pending import Pending

logger: Final = logging.getLogger("depot_lite")

#: The key in the state of an object for assigned values until the flush: attribute -> value, None to clear.
_ASSIGNED: Final = "depot_lite.assigned"
#: The number of documents per query.
_PAGE: Final = 1000


class FileProperty(Protocol):
    """An attribute that holds a file."""

    name: str

    def value_in(self, document: Mapping[str, Any] | None) -> DepotFileInfo | None:
        """Return the value in a document, or None."""

    def refusals(self, value: DepotFileInfo) -> list[ValidationError]:
        """Return the errors of a pending value."""

    def store(self, value: DepotFileInfo) -> None:
        """Store a pending value."""


def assigned_to(instance: Any) -> dict[str, DepotFileInfo | None]:
    """Return the values assigned to an object since it was loaded, flushed or refreshed."""
    object_state = state(instance)
    found: dict[str, DepotFileInfo | None] = object_state.extra_state.setdefault(_ASSIGNED, {})
    if object_state.status == ObjectState.clean:
        found.clear()  # a refresh has discarded the changes of the object
    return found


def plain(data: Any) -> Any:
    """Return a copy of Ming's instrumented data as plain dictionaries and lists."""
    if isinstance(data, dict):
        return {key: plain(each) for key, each in data.items()}
    return [plain(each) for each in data] if isinstance(data, list) else data


def _paths(document: Mapping[str, Any] | None, properties: Iterable[FileProperty]) -> set[str]:
    """Return the files that a document names, and variants on demand of them."""
    values = [value for each in properties if (value := each.value_in(document)) is not None]
    return {path for value in values for path in (*value.named_paths, *value.derived_paths)}


def _owned(document: Mapping[str, Any] | None, properties: Iterable[FileProperty]) -> set[str]:
    """Return the files that belong to a document, with variants on demand; log the others that it names."""
    values = [value for each in properties if (value := each.value_in(document)) is not None]
    for value in values:
        if foreign := value.foreign_paths:
            logger.warning("%s names files that are not its own, which are kept: %s", value.get("path"), foreign)
    return {path for value in values for path in (*value.paths, *value.derived_paths)}


@dataclass(slots=True)
class _PendingValue:
    """A value that is about to be stored, and its state before."""

    property: FileProperty
    value: DepotFileInfo
    before: tuple[Pending, dict[str, Any]]


@dataclass(slots=True)
class Change:
    """The changes of a flush to the files of one object."""

    instance: Any
    properties: Sequence[FileProperty]
    #: The files that its document names before the flush, as far as it was loaded.
    named: set[str]
    #: The data of its document, and the assigned values: both are restored if it is not written.
    held: dict[str, Any] = field(default_factory=dict)
    assigned: dict[str, DepotFileInfo | None] = field(default_factory=dict)
    new: list[_PendingValue] = field(default_factory=list)
    status: str = ObjectState.new
    begun: bool = False
    done: bool = False

    @property
    def born(self) -> set[str]:
        """The files stored for the object in this flush, and variants on demand of them."""
        stored = [each.value for each in self.new if not each.value.pending]
        return {path for value in stored for path in (*value.paths, *value.derived_paths)}

    def write(self) -> None:
        """Put the references into the document that Ming writes."""
        its = state(self.instance)
        for name, value in self.assigned.items():
            its.set(name, None if value is None else plain(dict(value)))
        if self.assigned:
            its.soil()  # a filter may have flushed the object before its files were stored

    def forget(self) -> None:
        """Drop the assigned values once they are written; keep those that a hook has assigned for the next flush."""
        its = state(self.instance)
        assigned = its.extra_state.get(_ASSIGNED, {})
        for name, value in self.assigned.items():
            if assigned.get(name) is value:
                assigned.pop(name, None)
        if assigned:
            its.soil()

    def undo(self) -> None:
        """Restore the object as it was before the flush. The caller deletes the files."""
        its = state(self.instance)
        for name in self.assigned:
            if name in self.held:
                its.set(name, self.held[name])
            elif name in its.document:
                its.delete(name)
        for each in self.new:
            if not each.value.pending:
                each.value.revert(*each.before)
        its.soil()
        its.extra_state[_ASSIGNED] = self.assigned


def changes_of(objects: Iterable[Any], properties_of: Callable[[type], Sequence[FileProperty]]) -> Iterator[Change]:
    """Yield the changes to the files of these objects."""
    for each in objects:
        properties = properties_of(type(each))
        its, assigned = state(each), assigned_to(each)
        if not properties or its.status == ObjectState.clean:
            continue
        change = Change(each, properties, _named(each, properties), status=its.status)
        if its.status != ObjectState.deleted:
            change.assigned = dict(assigned)
            change.held = {name: its.document[name] for name in assigned if name in its.document}
            for one in properties:
                value = assigned.get(one.name)
                if value is None:
                    continue
                value.follow_original()
                if (before := value.snapshot()) is not None:
                    change.new.append(_PendingValue(one, value, before))
        yield change


def _named(instance: Any, properties: Sequence[FileProperty]) -> set[str]:
    """Return the files that the document names; ask the database if the object was loaded without some of them."""
    its = state(instance)
    fields = its.options.get("fields")
    if fields and its.status == ObjectState.deleted and any(each.name not in fields for each in properties):
        return _owned(_document_in_database(instance, properties), properties)
    return _owned(its.document, properties)


def _document_in_database(instance: Any, properties: Sequence[FileProperty]) -> Mapping[str, Any] | None:
    its, name = state(instance), mapper(instance).collection.m.collection_name
    collection = its.session.impl.db[name]
    return cast(
        "Mapping[str, Any] | None",
        collection.find_one({"_id": its.document["_id"]}, [each.name for each in properties]),
    )


def check_changes(changes: Iterable[Change]) -> None:
    """Check the new files; raise the errors of the first object that has any."""
    for change in changes:
        errors = [error for each in change.new for error in each.property.refusals(each.value)]
        if errors:
            raise errors[0] if len(errors) == 1 else SeveralRefused(errors)


def store(changes: Iterable[Change]) -> None:
    """Store all new files, in parallel if their storages gain by it."""
    by_depot: dict[str, list[_PendingValue]] = {}
    for change in changes:
        for each in change.new:
            by_depot.setdefault(each.value["depot_name"], []).append(each)
    for depot_name, new in by_depot.items():
        storage = Depots.get(depot_name)
        workers = max(storage.concurrency, *(type(each.value).workers for each in new))
        Batch([partial(each.property.store, each.value) for each in new], workers, storage.thread_pools.storing).run()


def undo(changes: Iterable[Change]) -> None:
    """Restore objects that were not written, and delete their new files."""
    born: set[str] = set()
    for each in changes:
        born |= each.born
        each.undo()
    discard(sorted(born))


def settle(changes: list[Change], error: BaseException | None) -> None:
    """Delete the files that no document names after the flush, whether it succeeded or failed."""
    unwritten: list[Change] = []
    condemned: set[str] = set()
    for each in changes:
        written = each.done or (each.begun and _is_written(each, error))
        if written is None:
            logger.error("whether a document was written is unknown: %s are left", sorted(each.named | each.born))
            continue
        if not written:
            unwritten.append(each)
            continue
        each.forget()
        is_gone = each.status == ObjectState.deleted
        condemned |= each.named - (set() if is_gone else _paths(state(each.instance).document, each.properties))
    undo(unwritten)
    discard(sorted(condemned))


def _is_written(change: Change, error: BaseException | None) -> bool | None:
    """Return whether a document was written as intended; None if that cannot be determined."""
    if isinstance(error, ConnectionFailure) and not isinstance(error, ServerSelectionTimeoutError):
        return None  # the server may still execute the write
    try:
        found = _document_in_database(change.instance, change.properties)
    except (PyMongoError, KeyError):  # KeyError: the object has no id
        return None
    if change.status == ObjectState.deleted:
        return found is None
    as_written = _paths(state(change.instance).document, change.properties)
    return found is not None and _paths(found, change.properties) == as_written


class Removal:
    """The files of the documents that a query is about to remove."""

    def __init__(self, session: Any, cls: type, query: Mapping[str, Any], properties: Sequence[FileProperty]) -> None:
        self._collection = session.impl.db[mapper(cls).collection.m.collection_name]
        self._properties = properties
        #: The files of each document that has any, by its id.
        self._named: dict[Any, set[str]] = {}
        if properties:
            for each in self._collection.find(query, [each.name for each in properties]):
                if files := _owned(each, properties):
                    self._named[each["_id"]] = files

    def finish(self) -> None:
        """Delete the files of the removed documents."""
        ids = list(self._named)
        try:
            for start in range(0, len(ids), _PAGE):
                self._finish(ids[start : start + _PAGE])
        except PyMongoError as error:
            left = sorted(path for files in self._named.values() for path in files)
            logger.error("which documents were removed is unknown: %s are left: %s", left, type(error).__name__)

    def _finish(self, ids: list[Any]) -> None:
        remaining = {each["_id"] for each in self._collection.find({"_id": {"$in": ids}}, ["_id"])}
        removed = {path for each in ids if each not in remaining for path in self._named[each]}
        discard(sorted(removed))
        for each in ids:
            del self._named[each]
