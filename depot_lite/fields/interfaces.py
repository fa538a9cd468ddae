"""`DepotFileInfo` and `FileFilter`: the base classes of the values of file columns, and of filters.

A value is *pending* (assigned: its id, path, name and type are known and no byte has moved) or *stored* (its bytes are
in the depot, and it is frozen). It is a dictionary (`depot_lite.fields.reference`), kept as JSON in the row.
"""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, Self, cast

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, DamagedReference, InvalidContent
from depot_lite.fields.pending import Pending, StorableReference
from depot_lite.fields.relocation import copied
from depot_lite.io.content import clean_filename
from depot_lite.io.interfaces import UNNAMED, StoredFile
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.uploads import Upload

logger: Final = logging.getLogger("depot_lite")

#: The key of a row for the names of the analyzers that were called for its file.
ANALYZED: Final = "analyzed"


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


class DepotFileInfo(StorableReference):
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

    __slots__ = ()

    #: How many values of this class to store at once even if their storage gains nothing by it. More than 1 for classes
    #: that compute, such as images: each keeps a processor busy.
    workers: ClassVar[int] = 1
    #: Validators of every column of this class, called before the column's own (`depot_lite.fields.validators`).
    validators: ClassVar[Sequence[Any]] = ()
    #: Analyzers of every column of this class, called before the column's own (`depot_lite.fields.analyzers`).
    analyzers: ClassVar[Sequence[Any]] = ()
    #: The keys that a row may get after the COMMIT of its file, from the file itself.
    derived_keys: ClassVar[Sequence[str]] = ("facts", ANALYZED)

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

    def as_dict(self) -> Any:
        """Return the file as an ordinary dictionary for other programs, ready for JSON."""
        return {key: self.get(key) for key in ("filename", "content_type", "size", "checksum")}

    def updated_from(self, present: DepotFileInfo, is_born: Callable[[str], bool]) -> Self:
        """Return this stored value with the data that its row has got by itself since it was loaded, such as variants.

        Args:
            present: the value of the row, of the same file.
            is_born: returns whether a file was stored for this value in the open transaction, which the row may not
                name yet.
        """
        changed = {key: present[key] for key in self.derived_keys if key in present and present[key] != self.get(key)}
        return self._with_data({**self, **changed}) if changed else self

    def with_keys(self, changed: Mapping[str, Any]) -> Self:
        """Return this stored value with other values of keys that are derived from its file, such as facts."""
        return self._with_data({**self, **changed}) if changed else self

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

    def __copy__(self) -> Self:
        return self._pending_copy() if self.pending else self._with_data(dict(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if self.pending:
            return self._pending_copy()
        return self._with_data(copy.deepcopy(dict(self), memo))

    def _pending_copy(self) -> Self:
        if not self.is_rereadable:
            raise InvalidContent(
                f"{self['filename']!r} is a stream, which can be read only once and not copied: flush the session first"
            )
        return self.twin()

    def _with_data(self, data: dict[str, Any]) -> Self:
        """Return a stored value of the same column with other data."""
        return self.of_data(data).declare_variants(self.declared_variants)

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
