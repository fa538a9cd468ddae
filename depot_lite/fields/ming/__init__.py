"""`UploadedFileProperty` and `DepotExtension`: files in the documents of Ming, the mapper for MongoDB.

    session = ThreadLocalODMSession(bind=create_datastore("mongodb://localhost/app"), extensions=[DepotExtension])

    class Document(MappedClass):
        class __mongometa__:
            session = session
            name = "document"

        _id = FieldProperty(schema.ObjectId)
        content = UploadedFileProperty()

Assigning stores nothing. ``session.flush()`` checks and stores the pending values, lets Ming write the documents, and
then deletes the files that these no longer name: files that were replaced or cleared, or belonged to deleted documents.

Ming has no transactions: documents are written one by one, and a flush that fails has written some of them. If a
document was written, its old file is deleted. If it was not, its new file is deleted and the value becomes pending
again, so that the flush can be repeated. An error before the first document (in a validator, a filter or an upload)
changes nothing. ``session.clear()`` and ``session.expunge()`` drop pending values, which have no files yet.

If the connection broke and nobody can say whether a document was written, both files stay and are logged. Limits:

- A process that dies during a flush leaves files that no document names.
- Ming writes whole documents. Flushing a document that was changed by another session since it was loaded restores the
  old reference, whose file may be deleted.
- ``query.remove()`` deletes the files in the attributes of the class that it is called on. ``query.update()`` and
  ``find_one_and_*()`` ignore files.
- Maintenance reads the rows of SQLAlchemy only: a sweep would delete the files of documents as unused. Give them a
  depot of their own, and never sweep it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from depot_lite import renditions
from depot_lite.errors import ConfigurationError, DepotError, InvalidContent, MetaRefused, ValidationError

try:
    from ming.odm import mapper
    from ming.odm.base import state
    from ming.odm.odmsession import SessionExtension
    from ming.odm.property import FieldProperty
    from ming.schema import Anything
except ImportError as error:
    raise ConfigurationError("depot_lite.fields.ming needs Ming: pip install 'depot_lite[ming]'") from error

from depot_lite.fields.analyzers import analyze
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.meta import check_focus
from depot_lite.fields.ming.flush import (
    Change,
    Removal,
    assigned_to,
    changes_of,
    check_changes,
    plain,
    settle,
    store,
    undo,
)
from depot_lite.fields.options import (
    checked_analyzers,
    checked_filters,
    checked_focus,
    checked_type,
    checked_validators,
)
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators.refusals import candidate_of, refusals_of
from depot_lite.io.content import is_empty_upload

__all__ = ["DepotExtension", "UploadedFileProperty"]


class UploadedFileProperty(FieldProperty):  # type: ignore[misc]  # Ming's classes are untyped
    """An attribute that holds a file: a reference in the document, the bytes in a depot.

    The session must have the `DepotExtension`.

    Args:
        filters: called with each file once it is stored (`FileFilter`).
        upload_type: the class of the values, `UploadedFile` or a subclass.
        upload_storage: the depot for new files, or an alias; the default depot if not given.
        validators: the rules for each file (`depot_lite.fields.validators`), in the order of the messages.
        variants: recipes of variants by name; needs an ``upload_type`` that makes them (`UploadedImage`).
        analyzers: called with each file before it is stored (`depot_lite.fields.analyzers`).
    """

    def __init__(
        self,
        filters: Iterable[Any] = (),
        upload_type: type[DepotFileInfo] = UploadedFile,
        upload_storage: str | None = None,
        *,
        validators: Iterable[Any] = (),
        variants: Mapping[str, Any] | None = None,
        analyzers: Iterable[Any] = (),
    ) -> None:
        super().__init__(Anything())
        self._filters = checked_filters(filters)
        self._upload_type = cast("type[DepotFileInfo]", checked_type(upload_type))
        self._upload_storage = upload_storage
        self._validators = checked_validators(validators, self._upload_type)
        self._analyzers = checked_analyzers(analyzers, self._upload_type)
        self._variants = dict(variants or {})
        self._upload_type.check_variants(self._variants)
        renditions.declare(self._variants.items(), self._upload_type)
        if late := [name for name, each in self._variants.items() if each.make == "later"]:
            raise ConfigurationError(f"variants[{late[0]!r}]: make='later' needs a column of SQLAlchemy")
        if later := [each for each in self._analyzers if each.run == "later"]:
            raise ConfigurationError(f"analyzers={later!r}: run='later' needs a column of SQLAlchemy")
        self._follows_focus = checked_focus(self._variants, None)
        if now := [name for name, each in self._variants.items() if each.follows_focus and each.make == "now"]:
            raise ConfigurationError(
                f"variants[{now[0]!r}]: focus=True needs make='on_demand', or a column of SQLAlchemy"
            )

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the value of an object or None, and the property itself for the class."""
        if instance is None:
            return self
        assigned = assigned_to(instance)
        return assigned[self.name] if self.name in assigned else self.stored(instance)

    def __set__(self, instance: Any, value: Any) -> None:
        """Set the value that the next flush stores: bytes, a file, an upload ...; None clears the attribute.

        Raises:
            InvalidContent: the value cannot be stored.
            MetaRefused: variants follow the focus in its metadata, and that is no point.
            ConfigurationError: the session has no `DepotExtension`, or the object was loaded without this attribute.
        """
        self._check(instance)
        if not isinstance(value, DepotFileInfo) and is_empty_upload(value):
            return  # the value of a form field in which no file was chosen
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
                f"{self}: its session does not manage files; create it with extensions=[DepotExtension]"
            )
        fields = state(instance).options.get("fields")
        if fields and self.name not in fields:
            raise ConfigurationError(f"{self}: the object was loaded without it (fields=...), so it is not written")

    def _accepted(self, instance: Any, value: Any) -> DepotFileInfo:
        if isinstance(value, DepotFileInfo):
            accepted = self._accepted_value(instance, value)
        else:
            try:
                accepted = self._upload_type.of_content(value, self._upload_storage)
            except InvalidContent as error:
                raise InvalidContent(f"{self}: {error}") from error
        if self._follows_focus:
            try:
                check_focus(accepted.get("meta") or {})
            except MetaRefused as error:
                raise error.at(str(self), accepted.get("filename")) from None
        return self._with_owner(accepted, instance)

    def _accepted_value(self, instance: Any, value: DepotFileInfo) -> DepotFileInfo:
        """Return the value, or a copy of it if it belongs to another attribute."""
        if not value.pending:
            held = self.stored(instance)
            if held is not None and held["path"] == value.get("path"):
                return value
            return self._upload_type.copy_of(value, self._upload_storage)
        if value.owner is not None:
            owner, key = value.owner[0](), value.owner[1]
            if owner is not None and (owner is not instance or key != self.name):
                value = value.twin()
        return value.become(self._upload_type)

    def _with_owner(self, value: DepotFileInfo, instance: Any) -> DepotFileInfo:
        if value.pending:
            if self._upload_storage is not None:
                value.move_to(self._upload_storage)
            value.set_owner(weakref.ref(instance), self.name)
        return value

    # --- for the flush --------------------------------------------------------------------------------------------

    def stored(self, instance: Any) -> DepotFileInfo | None:
        """Return the value in the document of an object, or None."""
        return self.value_in(state(instance).document)

    def value_in(self, document: Mapping[str, Any] | None) -> DepotFileInfo | None:
        """Return the value in a document, or None."""
        data = (document or {}).get(self.name)
        if not isinstance(data, dict) or not data:
            return None
        return self._upload_type.of_data(plain(data)).declare_variants(self._variants)

    def refusals(self, value: DepotFileInfo) -> list[ValidationError]:
        """Return the errors of a pending value; if there are none, set the file name corrected by its validators."""
        if not self._validators:
            return []
        candidate = candidate_of(value)
        original_name = candidate.filename
        try:
            errors = refusals_of(candidate, self._validators, lambda error: error.at(str(self), original_name))
        except DepotError as error:  # the content cannot be read
            error.add_note(f"while checking {original_name!r} for {self}")
            raise
        finally:
            candidate.close()
        if errors:
            candidate.limit(None, None)
        elif candidate.filename != original_name:
            value["filename"] = candidate.filename
        return errors

    def store(self, value: DepotFileInfo) -> None:
        """Store a pending value."""
        if self._analyzers:
            analyze(value, self._analyzers)
        value.store(self._filters, variants=self._variants)


class DepotExtension(SessionExtension):  # type: ignore[misc]  # Ming's classes are untyped
    """The extension of a session that manages the files of its objects: ``extensions=[DepotExtension]``."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._changes: dict[int, Change] = {}
        # Ming has hooks for the start and the success of a flush, but none for its failure.
        self._flush = session.flush
        session.flush = self._flush_with_files
        self._flushing = False
        self._removal: Removal | None = None

    def _flush_with_files(self, obj: Any = None) -> None:
        """Flush the session, or one object of it, with its files."""
        if self._flushing:  # called by a filter, a hook or the id of a new object
            self._flush(obj)
            return
        self._flushing = True
        try:
            self._flush_and_settle(obj)
        finally:
            self._flushing = False

    def _flush_and_settle(self, obj: Any) -> None:
        changes = list(changes_of(list(self.session.uow) if obj is None else [obj], _properties))
        try:
            check_changes(changes)
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

    def _mark_begun(self, obj: Any) -> None:
        if (change := self._changes.get(id(obj))) is not None:
            change.begun = True

    def _mark_done(self, obj: Any) -> None:
        if (change := self._changes.get(id(obj))) is not None:
            change.done = True

    def before_insert(self, obj: Any, st: Any) -> None:
        """Remember that Ming starts writing the object."""
        self._mark_begun(obj)

    def after_insert(self, obj: Any, st: Any) -> None:
        """Remember that the object is written."""
        self._mark_done(obj)

    def before_update(self, obj: Any, st: Any) -> None:
        """Remember that Ming starts writing the object."""
        self._mark_begun(obj)

    def after_update(self, obj: Any, st: Any) -> None:
        """Remember that the object is written."""
        self._mark_done(obj)

    def before_delete(self, obj: Any, st: Any) -> None:
        """Remember that Ming starts deleting the object."""
        self._mark_begun(obj)

    def after_delete(self, obj: Any, st: Any) -> None:
        """Remember that the object is deleted."""
        self._mark_done(obj)

    def before_remove(self, cls: type, *args: Any, **kwargs: Any) -> None:
        """Find the files of the documents that ``query.remove()`` is about to remove."""
        query = args[0] if args else kwargs.get("filter", {})
        self._removal = Removal(self.session, cls, query, _properties(cls))

    def after_remove(self, cls: type, *args: Any, **kwargs: Any) -> None:
        """Delete the files of the removed documents."""
        removal, self._removal = self._removal, None
        if removal is not None:
            removal.finish()


def _properties(cls: type) -> Sequence[UploadedFileProperty]:
    """Return the attributes of a mapped class that hold files."""
    return [each for each in mapper(cls).all_properties() if isinstance(each, UploadedFileProperty)]
