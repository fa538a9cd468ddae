"""`UploadedFileProperty` and `DepotExtension`: files in the documents of Ming, the mapper for MongoDB.

    session = ThreadLocalODMSession(bind=create_datastore("mongodb://localhost/app"), extensions=[DepotExtension])

    class Document(MappedClass):
        class __mongometa__:
            session = session
            name = "document"

        _id = FieldProperty(schema.ObjectId)
        content = UploadedFileProperty()

Assigning moves no byte. ``session.flush()`` checks and stores what is pending, lets Ming write the documents, and then
deletes the files that they no longer name: replaced ones, cleared ones, those of deleted documents.

Ming has no transactions: each document is written by itself, and a flush that fails has written those before. So it is
settled document by document. One that was written has its new file, and its old one is deleted; of one that was not,
the new file is deleted, the old one stays, and the value is pending again, so that the flush can be repeated. What
fails before the first document (a validator, a filter, an upload) changes nothing. ``session.clear()`` and
``session.expunge()`` drop what is pending, and nothing was stored of it.

Where it cannot be known whether a document was written, because the connection broke, both files stay and the log names
them. What else is not promised:

- A process that dies in the middle of a flush leaves files that no document names.
- Ming writes whole documents. Who flushes one that another has changed since it was loaded writes the old reference
  back; the file may be gone. ``query.update()`` and ``find_one_and_*()`` pass by the session and by its files;
  ``query.remove()`` does too, and leaves the files of what it removes.
- Maintenance reads the rows of SQLAlchemy only: a sweep would take files of documents for unused. Give them a depot of
  their own, and never sweep it.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

from ming.odm import mapper
from ming.odm.base import ObjectState, state
from ming.odm.odmsession import SessionExtension
from ming.odm.property import FieldProperty
from ming.schema import Anything
from pymongo.errors import ConnectionFailure, PyMongoError, ServerSelectionTimeoutError

from depot_lite.errors import ConfigurationError, DepotError, InvalidContent, SeveralRefused, ValidationError
from depot_lite.fields.interfaces import DepotFileInfo, Pending, discard
from depot_lite.fields.options import checked_filters, checked_type, checked_validators
from depot_lite.fields.refusals import candidate_of, refusals_of
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.content import is_empty_upload
from depot_lite.io.threads import Batch
from depot_lite.manager import DepotManager

__all__ = ["DepotExtension", "UploadedFileProperty"]

logger: Final = logging.getLogger("depot_lite")

#: Where the state of an object keeps what was assigned and not flushed: attribute -> value, None to clear.
_ASSIGNED: Final = "depot_lite.assigned"


class UploadedFileProperty(FieldProperty):  # type: ignore[misc]  # Ming's classes are untyped
    """An attribute that holds a file: a reference in the document, the bytes in a depot.

    The session has to have the `DepotExtension`.

    Args:
        filters: what is done with each file once it is stored (`FileFilter`).
        upload_type: the class of the values, `UploadedFile` or a subclass.
        upload_storage: the depot for new files, or an alias; the default depot where not given.
        validators: what each file must comply with (`depot_lite.fields.validators`), in the order of the messages.
        variants: what is made of each image, by name; needs an ``upload_type`` that makes them (`UploadedImage`).
    """

    def __init__(
        self,
        filters: Iterable[Any] = (),
        upload_type: type[DepotFileInfo] = UploadedFile,
        upload_storage: str | None = None,
        *,
        validators: Iterable[Any] = (),
        variants: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(Anything())
        self._filters = checked_filters(filters)
        self._upload_type = cast("type[DepotFileInfo]", checked_type(upload_type))
        self._upload_storage = upload_storage
        self._validators = checked_validators(validators, self._upload_type)
        self._variants = dict(variants or {})
        self._upload_type.check_variants(self._variants)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the value, None where there is none; of the class, the property."""
        if instance is None:
            return self
        assigned = _assigned(instance)
        return assigned[self.name] if self.name in assigned else self.stored(instance)

    def __set__(self, instance: Any, value: Any) -> None:
        """Take what shall be stored at the next flush: bytes, a file, an upload ...; None clears.

        Raises:
            InvalidContent: this is nothing that can be stored.
            ConfigurationError: the session lacks its extension, or the object was loaded without this attribute.
        """
        self._check(instance)
        if not isinstance(value, DepotFileInfo) and is_empty_upload(value):
            return  # a form in which no file was chosen
        accepted = None if value is None else self._accepted(instance, value)
        _assigned(instance)[self.name] = accepted
        state(instance).soil()

    def __delete__(self, instance: Any, owner: Any = None) -> None:
        """Clear the attribute."""
        self.__set__(instance, None)

    def __str__(self) -> str:
        """Return ``Document.content``."""
        return f"{self.mapper.mapped_class.__name__}.{self.name}"

    def _check(self, instance: Any) -> None:
        session = self.mapper.session
        if session is None or not any(isinstance(each, DepotExtension) for each in session.extensions):
            raise ConfigurationError(
                f"{self}: its session does not look after files; make it with extensions=[DepotExtension]"
            )
        fields = state(instance).options.get("fields")
        if fields and self.name not in fields:
            raise ConfigurationError(f"{self}: the object was loaded without it (fields=...), so it is not written")

    def _accepted(self, instance: Any, value: Any) -> DepotFileInfo:
        if isinstance(value, DepotFileInfo):
            return self._owned(self._accepted_value(instance, value), instance)
        if isinstance(value, dict):
            # A dictionary that came with a request could name any file of anybody.
            raise InvalidContent(f"{self}: a dictionary is not a file")
        try:
            return self._owned(self._upload_type(value, self._upload_storage), instance)
        except InvalidContent as error:
            raise InvalidContent(f"{self}: {error}") from error

    def _accepted_value(self, instance: Any, value: DepotFileInfo) -> DepotFileInfo:
        """Return the value, or another one with the same content where it belongs to another attribute."""
        if not value.pending:
            own = self.stored(instance)
            if own is not None and own["path"] == value.get("path"):
                return value
            if isinstance(value, self._upload_type):
                return self._upload_type.copy_of(value, self._upload_storage)
            return self._upload_type(DepotManager.get_file(value["path"]), self._upload_storage)
        if value.owner is not None:
            owner, key = value.owner[0](), value.owner[1]
            if owner is not None and (owner is not instance or key != self.name):
                value = value.twin()
        return value.become(self._upload_type)

    def _owned(self, value: DepotFileInfo, instance: Any) -> DepotFileInfo:
        if value.pending:
            if self._upload_storage is not None:
                value.move_to(self._upload_storage)
            value.own(weakref.ref(instance), self.name)
        return value

    # --- for the flush --------------------------------------------------------------------------------------------

    def stored(self, instance: Any) -> DepotFileInfo | None:
        """Return the value that the document has, None where there is none."""
        return self.value_in(state(instance).document)

    def value_in(self, document: Mapping[str, Any] | None) -> DepotFileInfo | None:
        """Return the value in a document, None where there is none."""
        data = (document or {}).get(self.name)
        return self._upload_type.of_data(_plain(data)) if isinstance(data, dict) and data else None

    def refusals(self, value: DepotFileInfo) -> list[ValidationError]:
        """Return the rules that a pending value breaks; give it the name that its validators have corrected."""
        if not self._validators:
            return []
        candidate = candidate_of(value)
        came_as = candidate.filename
        try:
            found = refusals_of(candidate, self._validators, lambda error: error.at(str(self), came_as))
        except DepotError as error:  # it cannot be read
            error.add_note(f"while checking {came_as!r} for {self}")
            raise
        finally:
            candidate.close()
        if found:
            candidate.limit(None, None)
        elif candidate.filename != came_as:
            value["filename"] = candidate.filename
        return found

    def store(self, value: DepotFileInfo) -> None:
        """Store a pending value."""
        value.store(self._filters, variants=self._variants)


def _assigned(instance: Any) -> dict[str, DepotFileInfo | None]:
    """Return what was assigned to an object since it was loaded, flushed or refreshed."""
    its = state(instance)
    found: dict[str, DepotFileInfo | None] = its.extra_state.setdefault(_ASSIGNED, {})
    if its.status == ObjectState.clean:
        found.clear()  # a refresh has dropped the changes of the object
    return found


def _plain(data: Any) -> Any:
    """Return a copy of what Ming has made of BSON, as JSON has it."""
    if isinstance(data, dict):
        return {key: _plain(each) for key, each in data.items()}
    return [_plain(each) for each in data] if isinstance(data, list) else data


def _properties(instance: Any) -> list[UploadedFileProperty]:
    return [each for each in mapper(instance).all_properties() if isinstance(each, UploadedFileProperty)]


def _paths(document: Mapping[str, Any] | None, properties: Iterable[UploadedFileProperty]) -> set[str]:
    """Return the files that a document names."""
    values = [each.value_in(document) for each in properties]
    return {path for value in values if value is not None for path in value.paths}


# --- the flush --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _New:
    """A value that is about to be stored, and how it was before."""

    property: UploadedFileProperty
    value: DepotFileInfo
    before: tuple[Pending, dict[str, Any]]


@dataclass(slots=True)
class _Change:
    """What a flush makes of the files of one object."""

    instance: Any
    properties: list[UploadedFileProperty]
    #: What its document names, as far as we know, before the flush.
    named: set[str]
    #: What its document had, and what was assigned: both come back if it is not written.
    held: dict[str, Any] = field(default_factory=dict)
    assigned: dict[str, DepotFileInfo | None] = field(default_factory=dict)
    new: list[_New] = field(default_factory=list)
    status: str = ObjectState.new
    begun: bool = False
    done: bool = False

    @property
    def born(self) -> set[str]:
        """The files that were stored for it."""
        return {path for each in self.new if not each.value.pending for path in each.value.paths}

    def write(self) -> None:
        """Put the references into the document that Ming writes."""
        its = state(self.instance)
        for name, value in self.assigned.items():
            its.set(name, None if value is None else _plain(dict(value)))
        its.soil()  # a filter may have flushed the object before its files were stored

    def forget(self) -> None:
        """Drop what was assigned and is written; what a hook has assigned meanwhile waits for the next flush."""
        its = state(self.instance)
        assigned = its.extra_state.get(_ASSIGNED, {})
        for name, value in self.assigned.items():
            if assigned.get(name) is value:
                assigned.pop(name, None)
        if assigned:
            its.soil()

    def undo(self) -> None:
        """Make the object what it was before the flush. The files are the caller's business."""
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


class DepotExtension(SessionExtension):  # type: ignore[misc]  # Ming's classes are untyped
    """Looks after the files of a session's objects. Give it to the session: ``extensions=[DepotExtension]``."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._changes: dict[int, _Change] = {}
        # Ming tells when a flush begins and when it has succeeded, and says nothing of one that failed.
        self._flush = session.flush
        session.flush = self._flush_with_files
        self._flushing = False

    def _flush_with_files(self, obj: Any = None) -> None:
        """Flush the session, or one object of it, with its files."""
        if self._flushing:  # a filter, a hook or the id of a new object has asked for it
            self._flush(obj)
            return
        self._flushing = True
        try:
            self._run(obj)
        finally:
            self._flushing = False

    def _run(self, obj: Any) -> None:
        changes = list(_changes(list(self.session.uow) if obj is None else [obj]))
        try:
            _check(changes)
            _store(changes)
        except BaseException:
            _undo(changes)
            raise
        for each in changes:
            each.write()
        self._changes = {id(each.instance): each for each in changes}
        error: BaseException | None = None
        try:
            self._flush(obj)
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._changes = {}
            _settle(changes, error)

    def _entered(self, obj: Any) -> None:
        if (change := self._changes.get(id(obj))) is not None:
            change.begun = True

    def _left(self, obj: Any) -> None:
        if (change := self._changes.get(id(obj))) is not None:
            change.done = True

    def before_insert(self, obj: Any, st: Any) -> None:
        """Note that Ming begins to write the object."""
        self._entered(obj)

    def after_insert(self, obj: Any, st: Any) -> None:
        """Note that it is written."""
        self._left(obj)

    def before_update(self, obj: Any, st: Any) -> None:
        """Note that Ming begins to write the object."""
        self._entered(obj)

    def after_update(self, obj: Any, st: Any) -> None:
        """Note that it is written."""
        self._left(obj)

    def before_delete(self, obj: Any, st: Any) -> None:
        """Note that Ming begins to delete the object."""
        self._entered(obj)

    def after_delete(self, obj: Any, st: Any) -> None:
        """Note that it is deleted."""
        self._left(obj)


def _changes(objects: Iterable[Any]) -> Iterator[_Change]:
    """Yield what a flush of these objects makes of their files."""
    for each in objects:
        properties = _properties(each)
        its, assigned = state(each), _assigned(each)
        if not properties or its.status == ObjectState.clean:
            continue
        change = _Change(each, properties, _named(each, properties), status=its.status)
        if its.status != ObjectState.deleted:
            change.assigned = dict(assigned)
            change.held = {name: its.document[name] for name in assigned if name in its.document}
            for one in properties:
                value = assigned.get(one.name)
                if value is not None and (before := value.waiting()) is not None:
                    change.new.append(_New(one, value, before))
        yield change


def _named(instance: Any, properties: list[UploadedFileProperty]) -> set[str]:
    """Return the files that the document in the database names; it is asked where not all of it was loaded."""
    its = state(instance)
    fields = its.options.get("fields")
    if fields and its.status == ObjectState.deleted and any(each.name not in fields for each in properties):
        return _paths(_found(instance, properties), properties)
    return _paths(its.document, properties)


def _found(instance: Any, properties: list[UploadedFileProperty]) -> Mapping[str, Any] | None:
    its, name = state(instance), mapper(instance).collection.m.collection_name
    collection = its.session.impl.db[name]
    return cast(
        "Mapping[str, Any] | None",
        collection.find_one({"_id": its.document["_id"]}, [each.name for each in properties]),
    )


def _check(changes: Iterable[_Change]) -> None:
    """Raise what is wrong with the files of the first object that breaks rules."""
    for change in changes:
        errors = [error for each in change.new for error in each.property.refusals(each.value)]
        if errors:
            raise errors[0] if len(errors) == 1 else SeveralRefused(errors)


def _store(changes: Iterable[_Change]) -> None:
    """Store all files, as many at once as their storages gain from."""
    by_depot: dict[str, list[_New]] = {}
    for change in changes:
        for each in change.new:
            by_depot.setdefault(each.value["depot_name"], []).append(each)
    for depot_name, new in by_depot.items():
        storage = DepotManager.get(depot_name)
        workers = max(storage.concurrency, *(type(each.value).workers for each in new))
        Batch([partial(each.property.store, each.value) for each in new], workers, storage.executor).run()


def _undo(changes: Iterable[_Change]) -> None:
    """Delete what was stored for objects that were not written, and make them what they were."""
    born: set[str] = set()
    for each in changes:
        born |= each.born
        each.undo()
    discard(sorted(born))


def _settle(changes: list[_Change], error: BaseException | None) -> None:
    """Delete the files that no document names any more, now that Ming has written what it has."""
    unwritten: list[_Change] = []
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
    _undo(unwritten)
    discard(sorted(condemned))


def _is_written(change: _Change, error: BaseException | None) -> bool | None:
    """Return whether the database has an object as it was to be written, None where nobody can tell."""
    if isinstance(error, ConnectionFailure) and not isinstance(error, ServerSelectionTimeoutError):
        return None  # it may be written still
    try:
        found = _found(change.instance, change.properties)
    except (PyMongoError, KeyError):  # KeyError: it has no id
        return None
    if change.status == ObjectState.deleted:
        return found is None
    as_written = _paths(state(change.instance).document, change.properties)
    return found is not None and _paths(found, change.properties) == as_written
