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
from dataclasses import replace
from types import GeneratorType
from typing import Any, ClassVar, Final, Self, cast

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, InvalidContent, UnknownDepot
from depot_lite.fields.meta import plain_meta
from depot_lite.fields.pending import Pending
from depot_lite.fields.reference import Reference, stored_keys
from depot_lite.fields.relocation import copied
from depot_lite.io.content import Content, FileIntent, clean_filename
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import UNNAMED, FileInfo, FileStorage
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

    __slots__ = ("__weakref__", "_pending")

    _pending: Pending | None

    #: How many values of this class to store at once even if their storage gains nothing by it. More than 1 for classes
    #: that compute, such as images: each keeps a processor busy.
    workers: ClassVar[int] = 1
    #: Validators of every column of this class, called before the column's own (`depot_lite.fields.validators`).
    validators: ClassVar[Sequence[Any]] = ()

    @classmethod
    def check_variants(cls, variants: Mapping[str, Any]) -> None:
        """Raise ConfigurationError if columns of this class cannot have these variants. Overridden by images."""
        if variants:
            raise ConfigurationError(
                f"variants={variants!r}: {cls.__name__} makes no variants; use upload_type=UploadedImage"
            )

    def __init__(
        self,
        content: object,
        depot_name: str | None = None,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
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

    def _take_meta(self, content: object, meta: Mapping[str, Any] | None = None) -> None:
        found = content.meta if meta is None and isinstance(content, FileIntent) else meta
        if found:
            dict.__setitem__(self, "meta", plain_meta(found))

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

        The files are copied when it is stored, into ``depot_name`` or the depot of the original.
        """
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
            InvalidContent: the content is a stream, which can be stored once only.
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
    ) -> None:
        """Store a pending value and freeze it; do nothing if it is stored already.

        After an error no file is left, and the value is pending again.

        Args:
            filters: called in this order once the file is stored.
            variants: the column's variants by name, for classes that make variants.
            announce: called with the path of each file before its first byte moves.

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
            if pending.original is None:
                self.process_content(self.original_content)
            else:
                self._copy_files(pending.original)
            # The copy of an original with several files has those of the filters already.
            for each in filters if pending.original is None or len(pending.original.paths) < 2 else ():
                each.on_save(self)
        except BaseException:
            made = pending.paths[:]
            self.revert(pending, before)
            discard(made)
            raise
        finally:
            pending.announce = None
        object.__setattr__(self, "_pending", None)
        self._freeze()

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
        return info, storage.public_url(info.file_id)

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
        changed = {key: each for key, each in self.items() if key not in _OF_STORAGE and each != original.get(key)}
        labels = changed.get("filename"), changed.get("content_type")
        files = (self["depot_name"], self["file_id"], self._announce)
        dict.update(self, copied({**original, **changed}, original.paths, *files, labels))
        if "filename" in changed:
            dict.pop(self, RENAMED, None)

    @property
    def paths(self) -> list[str]:
        """The paths of all files that belong to the value, as a new list."""
        files, path = list(self.get("files") or ()), self.get("path")
        return files if path is None or path in files or self.pending else [path, *files]

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
        return self._pending_copy() if self.pending else dict.__new__(type(self))._fill(dict(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if self.pending:
            return self._pending_copy()
        return dict.__new__(type(self))._fill(copy.deepcopy(dict(self), memo))

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
        return _unpickle, (type(self), dict(self))


#: The key of a value that was renamed after its file was stored under another name.
RENAMED: Final = "renamed"
# The keys that say where the files are: a copy has its own.
_OF_STORAGE: Final = frozenset({"depot_name", "file_id", "path", "files", "_public_url"})


def _unpickle(cls: type[DepotFileInfo], data: dict[str, Any]) -> DepotFileInfo:
    return dict.__new__(cls)._fill(data)


def discard(paths: Iterable[str]) -> None:
    """Delete files in as few calls as their storages allow; log those that fail and leave them to maintenance."""
    for path, error in Depots.delete_files(paths).items():
        logger.error("could not delete %s, which is left to maintenance: %s", path, error)
