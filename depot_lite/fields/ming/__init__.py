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
  back, whose file may be gone.
- ``query.remove()`` deletes the files of what it removes, as far as the class that it was called on knows their
  attributes. ``query.update()`` and ``find_one_and_*()`` pass by the files.
- Maintenance reads the rows of SQLAlchemy only: a sweep would take files of documents for unused. Give them a depot of
  their own, and never sweep it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from depot_lite.errors import ConfigurationError, DepotError, InvalidContent, ValidationError

try:
    from ming.odm import mapper
    from ming.odm.base import state
    from ming.odm.odmsession import SessionExtension
    from ming.odm.property import FieldProperty
    from ming.schema import Anything
except ImportError as error:
    raise ConfigurationError("depot_lite.fields.ming needs Ming: pip install 'depot_lite[ming]'") from error

from depot_lite.depots import Depots
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.ming.flush import Change, Removal, assigned_to, changes_of, check, plain, settle, store, undo
from depot_lite.fields.options import checked_filters, checked_type, checked_validators
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators.refusals import candidate_of, refusals_of
from depot_lite.io.content import is_empty_upload

__all__ = ["DepotExtension", "UploadedFileProperty"]


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
        assigned = assigned_to(instance)
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
        assigned_to(instance)[self.name] = accepted
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
            return self._upload_type(Depots.get_file(value["path"]), self._upload_storage)
        if value.owner is not None:
            owner, key = value.owner[0](), value.owner[1]
            if owner is not None and (owner is not instance or key != self.name):
                value = value.twin()
        return value.become(self._upload_type)

    def _owned(self, value: DepotFileInfo, instance: Any) -> DepotFileInfo:
        if value.pending:
            if self._upload_storage is not None:
                value.move_to(self._upload_storage)
            value.set_owner(weakref.ref(instance), self.name)
        return value

    # --- for the flush --------------------------------------------------------------------------------------------

    def stored(self, instance: Any) -> DepotFileInfo | None:
        """Return the value that the document has, None where there is none."""
        return self.value_in(state(instance).document)

    def value_in(self, document: Mapping[str, Any] | None) -> DepotFileInfo | None:
        """Return the value in a document, None where there is none."""
        data = (document or {}).get(self.name)
        return self._upload_type.of_data(plain(data)) if isinstance(data, dict) and data else None

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


class DepotExtension(SessionExtension):  # type: ignore[misc]  # Ming's classes are untyped
    """Looks after the files of a session's objects. Give it to the session: ``extensions=[DepotExtension]``."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._changes: dict[int, Change] = {}
        # Ming tells when a flush begins and when it has succeeded, and says nothing of one that failed.
        self._flush = session.flush
        session.flush = self._flush_with_files
        self._flushing = False
        self._removal: Removal | None = None

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
        changes = list(changes_of(list(self.session.uow) if obj is None else [obj], _properties))
        try:
            check(changes)
            store(changes)
        except BaseException:
            undo(changes)
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
            settle(changes, error)

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

    def before_remove(self, cls: type, *args: Any, **kwargs: Any) -> None:
        """Look which files the documents have that ``query.remove()`` is about to remove."""
        query = args[0] if args else kwargs.get("filter", {})
        self._removal = Removal(self.session, cls, query, _properties(cls))

    def after_remove(self, cls: type, *args: Any, **kwargs: Any) -> None:
        """Delete the files of those that are gone."""
        removal, self._removal = self._removal, None
        if removal is not None:
            removal.finish()


def _properties(cls: type) -> Sequence[UploadedFileProperty]:
    """Return the attributes of a mapped class that hold files."""
    return [each for each in mapper(cls).all_properties() if isinstance(each, UploadedFileProperty)]
