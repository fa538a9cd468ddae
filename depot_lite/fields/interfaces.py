"""`DepotFileInfo` and `FileFilter`: the base classes of the values of file columns, and of filters.

A value is *pending* (assigned: its id, path, name and type are known and no byte has moved) or *stored* (its bytes are
in the depot, and it is frozen). It is a dictionary (`depot_lite.fields.reference`), kept as JSON in the row.
"""

from __future__ import annotations

import copy
import logging
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import GeneratorType
from typing import Any, ClassVar, Final, Self, cast

from depot_lite import renditions
from depot_lite.depots import Depots, discard
from depot_lite.errors import ConfigurationError, DamagedReference, InvalidContent, UnknownDepot
from depot_lite.fields.meta import plain_meta
from depot_lite.fields.pending import Pending
from depot_lite.fields.reference import Reference, stored_keys
from depot_lite.fields.relocation import copied
from depot_lite.io.content import EXPECTED, Content, FileIntent, clean_filename
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import UNNAMED, FileInfo, FileStorage, StoredFile
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.uploads import Upload

logger: Final = logging.getLogger("depot_lite")


class FileFilter(ABC):
    """A step that follows the storing of a file, such as making a thumbnail or setting a key.

    Filters run at flush, in the order given to the column, after the file itself was stored.
    """

    @abstractmethod
    def on_save(self, uploaded_file: Any) -> None:
        """Read ``uploaded_file.original_content``, store more with ``uploaded_file.store_content``, set its keys.

        The files it stores belong to the value and are deleted with it. If it raises, the flush fails and leaves no
        files behind.
        """


class DepotFileInfo(Reference, ABC):
    """The reference to a file that a row keeps.

    Args:
        content: the content to store (see `depot_lite.io.content.Content`), or the dictionary of a stored value.
        depot_name: the depot, or an alias of it; by default the column's ``upload_storage`` or the default depot.
        filename: the name to remember, instead of the content's own.
        content_type: the declared type, used if the bytes do not show their type.
        meta: metadata for the row, such as ``{"alt": "A cat"}``.

    Raises:
        InvalidContent: the content cannot be stored.
        MetaRefused: JSON cannot keep the metadata.
        ConfigurationError: the depot is not configured.
    """

    # Neither is set for most values from rows, so that loading is fast.
    __slots__ = ("__weakref__", "_declared_variants", "_pending")

    _pending: Pending | None

    #: How many values of this class to store at once even if their storage gains nothing by it. More than 1 for classes
    #: that compute, such as images: each keeps a processor busy.
    workers: ClassVar[int] = 1
    #: Validators of every column of this class, called before the column's own (`depot_lite.fields.validators`).
    validators: ClassVar[Sequence[Any]] = ()
    #: Analyzers of every column of this class, called before the column's own (`depot_lite.fields.analyzers`).
    analyzers: ClassVar[Sequence[Any]] = ()

    @classmethod
    def check_variants(cls, variants: Mapping[str, Any]) -> None:
        """Raise ConfigurationError if columns of this class cannot have these variants. Overridden by images."""
        if variants:
            raise ConfigurationError(
                f"variants={variants!r}: {cls.__name__} makes no variants; use upload_type=UploadedImage"
            )

    @classmethod
    def rendition_of(cls, original: StoredFile, recipe: Any) -> Any:
        """Return a rendition of a stored original, for variants on demand. Overridden by images."""
        raise ConfigurationError(f"{cls.__name__} makes no variants; use upload_type=UploadedImage")

    @classmethod
    def loader(
        cls, locate: Callable[[object], str] | None = None, variants: Mapping[str, Any] | None = None
    ) -> Callable[[Any], Self | None]:
        """Return a function that makes a stored value from the JSON in a row, as `Reference.loader` does.

        Args:
            locate: returns the table, column and primary key of a damaged value, for errors.
            variants: the column's variants by name.
        """
        load = super().loader(locate)
        if not variants:
            return load

        def load_declared(found: Any) -> Any:
            value = load(found)
            return value if value is None else value.declare_variants(variants)

        return load_declared

    @property
    def declared_variants(self) -> Mapping[str, Any]:
        """The variants that the column of this stored value declares, by name, whether they have been made or not."""
        try:
            return cast("Mapping[str, Any]", object.__getattribute__(self, "_declared_variants"))
        except AttributeError:
            return {}

    @property
    def derived_paths(self) -> list[str]:
        """The paths of this value's variants on demand, whether they have been made or not."""
        recipes = [each for each in self.declared_variants.values() if each.make == "on_demand"]
        if not recipes or self.pending or self.get("path") not in self.own_and_foreign_paths[0]:
            return []
        return renditions.derived_paths(self["path"], recipes)

    def declare_variants(self, variants: Mapping[str, Any]) -> Self:
        """Set the variants that the column of this value declares, and return the value."""
        if variants:
            object.__setattr__(self, "_declared_variants", variants)
        return self

    def __init__(
        self,
        content: object,
        depot_name: str | None = None,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        if self:  # called again
            self._must_be_writable()
        super().__init__()
        object.__setattr__(self, "_pending", None)
        if isinstance(content, GeneratorType):
            content = stored_keys(content)  # dataclasses.asdict() rebuilds dictionaries this way
        if isinstance(content, dict):
            if (filename, content_type, meta) != (None, None, None):
                raise InvalidContent(
                    f"{content.get('filename')!r} is stored: for another name or metadata use value.with_(...), for a "
                    "copy with another name or type UploadedFile(FileIntent(value, filename, content_type, meta=...))"
                )
            self._fill(content)
            return
        ready = Content.of(content, filename, content_type)
        self._begin(Pending(ready, depot_chosen=depot_name is not None), depot_name)
        dict.update(self, filename=ready.filename or UNNAMED, content_type=ready.content_type, size=ready.size)
        self._take_meta(content, meta)

    @classmethod
    def of_content(cls, content: object, depot_name: str | None = None) -> Self:
        """Return a pending value; unlike the class itself, refuse the keys of a stored one.

        A dictionary from a request could name the file of any user.

        Raises:
            InvalidContent: the content cannot be stored.
        """
        if isinstance(content, dict | GeneratorType):
            found = "dictionary" if isinstance(content, dict) else "generator"
            raise InvalidContent(f"a {found} is not a file: {EXPECTED}")
        return cls(content, depot_name)

    def _take_meta(self, content: object, meta: Mapping[str, Any] | None = None) -> None:
        if meta is None and isinstance(content, FileIntent):
            source = content.fileinfo[0]
            meta = source.get("meta") if content.meta is None and isinstance(source, DepotFileInfo) else content.meta
        if meta:
            dict.__setitem__(self, "meta", plain_meta(meta))

    def _begin(self, pending: Pending, depot_name: str | None) -> None:
        object.__setattr__(self, "_pending", pending)
        dict.__setitem__(self, "depot_name", self._real_depot(depot_name))
        self._renew_id()

    @staticmethod
    def _real_depot(depot_name: str | None) -> str:
        try:
            return Depots.find(depot_name).name
        except UnknownDepot as error:
            if depot_name is not None and "." in depot_name:
                raise UnknownDepot(f"{error}. Is it a file name? Then give it as filename={depot_name!r}") from None
            raise

    def _renew_id(self) -> None:
        """Take a new id, without files: those of an attempt to store belong to the former id."""
        file_id = new_file_id()
        dict.update(self, files=[], file_id=file_id, path=f"{self['depot_name']}/{file_id}")

    def as_dict(self) -> Any:
        """Return the file as an ordinary dictionary for other programs, ready for JSON."""
        return {key: self.get(key) for key in ("filename", "content_type", "size", "checksum")}

    # --- copies of other values -----------------------------------------------------------------------------------

    @classmethod
    def copy_of(cls, original: DepotFileInfo, depot_name: str | None = None) -> Self:
        """Return a pending copy of a stored value: files of its own, with the same bytes and keys.

        The files are copied when it is stored, into ``depot_name`` or the depot of the original. Another class makes
        other files from the same content, so it takes the content of the main file, with its name and metadata.
        """
        if not isinstance(original, cls):
            stored = Depots.get_file(original["path"])
            return cls(stored, depot_name, filename=original.get("filename"), meta=original.get("meta"))
        value = dict.__new__(cls)
        dict.update(value, copy.deepcopy(dict(original)))
        value._begin(
            Pending(None, original=original, depot_chosen=depot_name is not None), depot_name or original["depot_name"]
        )
        return value

    @classmethod
    def adopting(cls, upload: Upload, filename: str | None = None, meta: Mapping[str, Any] | None = None) -> Self:
        """Return a pending value for a file that a browser has sent directly to the storage.

        Its type and size become known at the flush, which looks the file up and stores a copy.
        """
        value = dict.__new__(cls)
        name = clean_filename(filename) or upload.filename or UNNAMED
        dict.update(value, filename=name, content_type=upload.exact_type or OCTET_STREAM, size=None)
        value._begin(Pending(None, adopts=upload), upload.depot_name)
        value._take_meta(None, meta)
        return value

    def twin(self) -> Self:
        """Return another pending value with the same content and keys, and an id of its own.

        Raises:
            InvalidContent: the content is a stream, which can be stored only once.
        """
        pending = self._pending_state()
        if not self.is_rereadable:
            raise InvalidContent(
                "a stream can be stored only once and was assigned to two attributes: read it to bytes first"
            )
        value = dict.__new__(type(self))
        dict.update(value, copy.deepcopy(dict(self)))
        value._begin(
            Pending(pending.content, pending.original, depot_chosen=pending.depot_chosen, adopts=pending.adopts),
            cast(str, self["depot_name"]),
        )
        return value

    @property
    def is_rereadable(self) -> bool:
        """Whether the content of this pending value can be read more than once. A stream cannot."""
        content = self._pending_state().content
        return content is None or content.rereadable

    @property
    def duplicate_of(self) -> DepotFileInfo | None:
        """The element of the same list of which this pending value is a copy; None for any other value."""
        pending = self._pending_or_none()
        return None if pending is None else pending.duplicate_of

    def mark_duplicate_of(self, element: DepotFileInfo) -> None:
        """Mark this pending value as the copy of an element that its list has already."""
        self._pending_state().duplicate_of = element

    def move_to(self, depot_name: str) -> None:
        """Change the depot of this pending value, unless it was given one."""
        if not self._pending_state().depot_chosen:
            dict.__setitem__(self, "depot_name", Depots.find(depot_name).name)
            dict.__setitem__(self, "path", f"{self['depot_name']}/{self['file_id']}")

    def become(self, kind: type[DepotFileInfo]) -> DepotFileInfo:
        """Return this pending value as an instance of another class; itself if it is one already."""
        if isinstance(self, kind):
            return self
        value = dict.__new__(kind)
        dict.update(value, dict(self))
        # With an id and a state of its own: this value stays pending, and can be assigned after that one is stored.
        object.__setattr__(value, "_pending", replace(self._pending_state(), paths=[], announce=None))
        value._renew_id()
        return value

    @property
    def owner(self) -> tuple[weakref.ref[Any], str] | None:
        """The object (a weak reference to its state) and attribute that took this pending value first."""
        pending = self._pending_or_none()
        return None if pending is None else pending.owner

    def is_free_for(self, state: Any, key: str) -> bool:
        """Return whether this value is stored, or pending for this attribute of the object with this state."""
        pending = self._pending_or_none()
        owner = None if pending is None else pending.owner
        return pending is None or (owner is not None and owner[0]() is state and owner[1] == key)

    def set_owner(self, state: weakref.ref[Any], key: str) -> None:
        """Remember the attribute that this pending value was assigned to."""
        self._pending_state().owner = (state, key)

    # --- pending -> stored ----------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the bytes have not been stored yet."""
        return self._pending_or_none() is not None

    @property
    def original_content(self) -> Any:
        """The assigned content, until the value is stored; None afterwards. For a copy, the original's stored file."""
        pending = self._pending_or_none()
        if pending is None:
            return None
        original = pending.original
        if original is not None:  # which a rollback may have made pending again
            return original.original_content if original.pending else Depots.get_file(original["path"])
        if pending.handed_in is None and pending.content is not None:
            pending.handed_in = pending.content.labelled
        return pending.handed_in

    @abstractmethod
    def process_content(self, content: Any, filename: str | None = None, content_type: str | None = None) -> None:
        """Store the content and set the keys that describe it. Called once for each value, at flush.

        Override it to change the content, or to store more files with it (`store_content`).
        """

    def store(
        self,
        filters: Iterable[FileFilter] = (),
        *,
        variants: Mapping[str, Any] | None = None,
        announce: Callable[[str], None] | None = None,
        completing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Store a pending value and freeze it; do nothing if it is stored already.

        After an error the value is pending again, and no file is left, unless ``announce`` is given.

        Args:
            filters: called in this order once the file is stored.
            variants: the column's variants by name, for classes that make variants.
            announce: called with the path of each file before its first byte moves. After an error the caller deletes
                them, with those of other values in one request.
            completing: gives the context in which the value becomes stored, once all files are. If that raises, the
                value does not.

        Raises:
            InvalidContent: the content cannot be read.
            StorageFailed: the storage failed.
        """
        pending = self.follow_original()
        if pending is None:
            return
        before = dict(self)
        pending.announce = announce
        pending.variants = variants or {}
        try:
            self._make_files(pending.original, filters)
            with completing():
                object.__setattr__(self, "_pending", None)
                self.declare_variants(pending.variants)
                self._freeze()
        except BaseException:
            made = pending.paths[:]
            self.revert(pending, before)
            if announce is None:
                discard(made)
            raise
        finally:
            pending.announce = None

    def _make_files(self, original: DepotFileInfo | None, filters: Iterable[FileFilter]) -> None:
        """Store the files of this value: those of its content, or copies of its original's, and those of filters."""
        if original is None:
            self.process_content(self.original_content)
        else:
            self._copy_files(original)
        # The copy of an original with several files has those of the filters already.
        for each in filters if original is None or len(original.paths) < 2 else ():
            each.on_save(self)

    def revert(self, pending: Pending, before: dict[str, Any]) -> None:
        """Make the value pending again after its files were rolled back: as ``before``, but with a new id."""
        dict.clear(self)
        dict.update(self, before)
        pending.paths.clear()
        object.__setattr__(self, "_pending", pending)
        self._renew_id()

    def snapshot(self) -> tuple[Pending, dict[str, Any]] | None:
        """Return the arguments for `revert`, to be kept before `store`; None for a stored value."""
        pending = self._pending_or_none()
        return None if pending is None else (pending, dict(self))

    def follow_original(self) -> Pending | None:
        """Return the state of a pending value, and None for a stored one.

        Called before values are stored. A copy takes over the content and keys of an original that a rollback has made
        pending again: until then the original may still be stored a second time.
        """
        pending = self._pending_or_none()
        while pending is not None and pending.original is not None and pending.original.pending:
            original, kept = pending.original, {key: self[key] for key in ("depot_name", "file_id", "path", "files")}
            state = original._pending_state()
            pending.content, pending.original, pending.handed_in = state.content, state.original, None
            pending.adopts = state.adopts
            dict.clear(self)
            dict.update(self, copy.deepcopy(dict(original)), **kept)
        return pending

    def store_content(
        self, content: Any, filename: str | None = None, content_type: str | None = None
    ) -> tuple[str, str]:
        """Store one more file of this value, for `process_content` and filters; return its path and id.

        The content is read from its start and not closed.
        """
        storage = Depots.get(self["depot_name"])
        info = self._keep(storage, Content.of(content, filename, content_type), new_file_id())
        return f"{self['depot_name']}/{info.file_id}", info.file_id

    def _opened(self, content: Any, filename: str | None, content_type: str | None) -> Content:
        # The first bytes of the assigned content have been read already. A stream does not have them any more.
        assigned = self._pending_state().content
        if assigned is not None and (content is self.original_content or content is assigned.source):
            content = assigned
        return Content.of(content, filename or self["filename"], content_type or self["content_type"])

    def _keep_main(self, content: Any, filename: str | None, content_type: str | None) -> tuple[FileInfo, str | None]:
        """Store the content as the main file of this value; return its description and public URL."""
        storage = Depots.get(self["depot_name"])
        info = self._keep(storage, self._opened(content, filename, content_type), self["file_id"])
        return info, storage.public_url(info.file_id) if storage.has_urls else None

    def _keep(self, storage: FileStorage, content: Content, file_id: str) -> FileInfo:
        path = f"{self['depot_name']}/{file_id}"
        self._announce(path)
        info = storage.save(content, file_id=file_id)
        self["files"].append(path)
        return info

    def _announce(self, path: str) -> None:
        pending = self._pending_state()
        pending.paths.append(path)
        if pending.announce is not None:
            pending.announce(path)

    def _copy_files(self, original: DepotFileInfo) -> None:
        """Copy each file of the original, and replace the old paths and ids in all keys by the new ones.

        Keys that were set on the pending copy stay as they were set.
        """
        paths = original.paths
        if original["path"] not in paths:
            raise DamagedReference(dict(original), f"the copy of {original.get('filename')!r}")
        changed = {key: each for key, each in self.items() if key not in _OF_STORAGE and each != original.get(key)}
        labels = changed.get("filename"), changed.get("content_type")
        files = (self["depot_name"], self["file_id"], self._announce)
        dict.update(self, copied({**original, **changed}, paths, *files, labels))
        if "filename" in changed:
            dict.pop(self, RENAMED, None)

    @property
    def paths(self) -> list[str]:
        """The paths of all files that belong to the value, as a new list.

        Those that are named under ``files`` belong to it if they are in the same depot as its main file, and their ids
        are well-formed: whoever can write to the row may have put any text there. See `foreign_paths`.
        """
        return list(self["files"]) if self.pending else self.own_and_foreign_paths[0]

    def _must_be_writable(self) -> None:
        self._pending_state()

    def _pending_state(self) -> Pending:
        pending = self._pending_or_none()
        if pending is None:
            raise TypeError("a stored file cannot be changed: assign a new one to the attribute")
        return pending

    def _pending_or_none(self) -> Pending | None:
        try:
            return cast("Pending | None", object.__getattribute__(self, "_pending"))
        except AttributeError:  # a value from a row, whose slot was never set, so that loading is fast
            return None

    def __copy__(self) -> Self:
        return self._pending_copy() if self.pending else self._with_data(dict(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if self.pending:
            return self._pending_copy()
        return self._with_data(copy.deepcopy(dict(self), memo))

    def _with_data(self, data: dict[str, Any]) -> Self:
        """Return a stored value of the same column with other data."""
        return self.of_data(data).declare_variants(self.declared_variants)

    def updated_from(self, present: DepotFileInfo) -> Self:
        """Return this stored value with the data that its row has got by itself since it was loaded, such as variants.

        Args:
            present: the value of the row, of the same file.
        """
        return self

    def _pending_copy(self) -> Self:
        if not self.is_rereadable:
            raise InvalidContent(
                f"{self['filename']!r} is a stream, which can be read only once and not copied: flush the session first"
            )
        return self.twin()

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.pending:
            raise TypeError(
                "a pending file cannot be pickled: its bytes have not been stored yet; flush the session first"
            )
        return _unpickled, (type(self), dict(self), dict(self.declared_variants))


def _unpickled(kind: type[DepotFileInfo], data: dict[str, Any], variants: Mapping[str, Any]) -> DepotFileInfo:
    return kind.of_data(data).declare_variants(variants)


#: The key of a value that was renamed after its file was stored under another name.
RENAMED: Final = "renamed"
# The keys that say where the files are: a copy has its own.
_OF_STORAGE: Final = frozenset({"depot_name", "file_id", "path", "files", "_public_url"})
