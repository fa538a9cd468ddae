"""What every value of a file column can do, and the interface of filters.

A value is *pending* (assigned; its id, path, name and type are known and no byte has moved) or *stored* (its bytes
are in the depot, and it is frozen). It is a dictionary (`depot_lite.fields.reference`), which the row holds as JSON.
"""

from __future__ import annotations

import copy
import json
import logging
import re
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import GeneratorType
from typing import Any, ClassVar, Final, Self, cast

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, InvalidContent
from depot_lite.fields.reference import UNREAD, Reference
from depot_lite.io.content import Content, clean_filename
from depot_lite.io.fileid import FILE_ID, new_file_id
from depot_lite.io.interfaces import UNNAMED, FileInfo
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.uploads import Upload

logger: Final = logging.getLogger("depot_lite")


@dataclass(slots=True)
class Pending:
    """A change that waits: what will be stored, and for which attribute.

    ``original`` is the stored value that is to be copied, where that is what was assigned. ``owner`` is set by the
    first attribute that takes the value; a second one gets a value of its own. ``paths`` are the files that storing it
    has made so far, ``announce`` is told of each before its first byte moves. ``handed_in`` is what `process_content`
    and filters are given, ``variants`` are the column's. ``adopts`` is the direct upload whose file becomes the
    content, for the time of a flush (`depot_lite.fields.adoption`). ``stands_for`` is the element of a list of which
    this is a second one: while two elements change places, there are two of one for a moment.
    """

    content: Content | None
    original: DepotFileInfo | None = None
    depot_chosen: bool = False
    owner: tuple[weakref.ref[Any], str] | None = None
    paths: list[str] = field(default_factory=list)
    announce: Callable[[str], None] | None = None
    handed_in: Any = None
    variants: Mapping[str, Any] = field(default_factory=dict)
    adopts: Upload | None = None
    stands_for: DepotFileInfo | None = None


class FileFilter(ABC):
    """What is done with a file once it is stored: a thumbnail made, a key added.

    Filters run at flush, in the order in which the column names them, after the file itself was stored.
    """

    @abstractmethod
    def on_save(self, uploaded_file: Any) -> None:
        """Read ``uploaded_file.original_content``, store more with ``uploaded_file.store_content``, set its keys.

        What it stores belongs to the value and goes with it. An exception stops the flush; nothing is left of it.
        """


class DepotFileInfo(Reference, ABC):
    """The reference to a file, as the row keeps it.

    Args:
        content: what is to be stored (see `depot_lite.io.content.Content`), or the dictionary of a stored value.
        depot_name: the depot, or an alias of it; the default depot where not given. A column's ``upload_storage``
            takes the place of the default, not of a depot named here.
        filename: the name to remember, where the content has none or another.
        content_type: the declared type, which counts where the bytes do not tell.

    Raises:
        InvalidContent: this cannot be stored.
        ConfigurationError: there is no such depot.
    """

    __slots__ = ("__weakref__", "_pending")

    _pending: Pending | None

    #: How many values of this class are worth storing at once, whatever their storage gains: one that computes, as
    #: images do, keeps a processor busy.
    workers: ClassVar[int] = 1
    #: What every column of this class refuses, before its own validators (`depot_lite.fields.validators`).
    validators: ClassVar[Sequence[Any]] = ()

    @classmethod
    def check_variants(cls, variants: Mapping[str, Any]) -> None:
        """Raise ConfigurationError if a column of this class cannot have these variants; overridden by images."""
        if variants:
            raise ConfigurationError(
                f"variants={variants!r}: {cls.__name__} makes none; upload_type=UploadedImage does"
            )

    def __init__(
        self,
        content: object,
        depot_name: str | None = None,
        *,
        filename: str | None = None,
        content_type: str | None = None,
    ) -> None:
        super().__init__()
        object.__setattr__(self, "_pending", None)
        if isinstance(content, GeneratorType):
            content = _stored_keys(content)  # as dataclasses.asdict() rebuilds dictionaries
        if isinstance(content, dict):
            dict.update(self, content)
            return
        ready = Content.of(content, filename, content_type)
        self._begin(Pending(ready, depot_chosen=depot_name is not None), depot_name)
        dict.update(self, filename=ready.filename or UNNAMED, content_type=ready.content_type, size=ready.size)

    def _begin(self, pending: Pending, depot_name: str | None) -> None:
        object.__setattr__(self, "_pending", pending)
        dict.__setitem__(self, "depot_name", self._real_depot(depot_name))
        self._renew_id()

    @staticmethod
    def _real_depot(depot_name: str | None) -> str:
        return Depots.resolve_alias(Depots.get_default() if depot_name is None else depot_name)

    def _renew_id(self) -> None:
        """Take an id that was never used; the files that storing it made belong to the former one."""
        file_id = new_file_id()
        dict.update(self, files=[], file_id=file_id, path=f"{self['depot_name']}/{file_id}")

    # --- values that come from rows, and values that copy others --------------------------------------------------

    @classmethod
    def loader(cls) -> Callable[[Any], Self | None]:
        """Return the function that makes a stored value of the JSON text in a row, and None of NULL.

        The text is parsed when something is asked of the value. The function is called for every row that is loaded,
        which is why it looks nothing up.
        """
        # On an empty dictionary setdefault does what __setitem__ does, at half the price.
        new, put = dict.__new__, dict.setdefault

        def load(data: Any) -> Any:
            if data.__class__ is not str:  # NULL, or JSON that a driver has parsed already
                return None if data is None else new(cls)._fill(data)
            if not data or data == "null":  # JSON's null is what a JSON column of somebody else's keeps for None
                return None
            value = new(cls)
            put(value, UNREAD, data)
            return value

        return load

    @classmethod
    def decode(cls, data: str) -> Self:
        """Return the stored value that JSON text describes (filedepot's name)."""
        return cls.of_data(json.loads(data))

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> Self:
        """Return the stored value that a dictionary from a row describes."""
        return dict.__new__(cls)._fill(data)

    def encode(self) -> str:
        """Return the value as JSON text (filedepot's name)."""
        return json.dumps(self)

    @classmethod
    def copy_of(cls, original: DepotFileInfo, depot_name: str | None = None) -> Self:
        """Return a pending value that will be a copy of a stored one: other files, the same bytes and keys.

        It goes into ``depot_name``, by default into the depot of the original; the copy is made when it is stored.
        """
        value = dict.__new__(cls)
        dict.update(value, copy.deepcopy(dict(original)))
        value._begin(
            Pending(None, original=original, depot_chosen=depot_name is not None), depot_name or original["depot_name"]
        )
        return value

    @classmethod
    def adopting(cls, upload: Upload, filename: str | None = None) -> Self:
        """Return a pending value that will be a copy of the file that a browser has sent to the storage itself.

        Its type and size are known when it is stored.
        """
        value = dict.__new__(cls)
        name = clean_filename(filename) or upload.filename or UNNAMED
        dict.update(value, filename=name, content_type=upload.exact_type or OCTET_STREAM, size=None)
        value._begin(Pending(None, adopts=upload), upload.depot_name)
        return value

    def twin(self) -> Self:
        """Return another pending value with the same content and keys, and an id of its own.

        Raises:
            InvalidContent: the content is a stream, which can be stored only once.
        """
        pending = self._waiting()
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
        """Whether the content of this pending value can be read more than once; not that of a stream."""
        content = self._waiting().content
        return content is None or content.rereadable

    @property
    def stands_for(self) -> DepotFileInfo | None:
        """The element of a list of which this pending value is a second one."""
        pending = self._pending_or_none()
        return None if pending is None else pending.stands_for

    def second(self, copy: DepotFileInfo) -> DepotFileInfo:
        """Let a pending value be a second one of this, which is in its list already."""
        copy._waiting().stands_for = self
        return copy

    def move_to(self, depot_name: str) -> None:
        """Let a pending value that chose no depot go into this one."""
        if not self._waiting().depot_chosen:
            dict.__setitem__(self, "depot_name", self._real_depot(depot_name))
            dict.__setitem__(self, "path", f"{self['depot_name']}/{self['file_id']}")

    def become(self, kind: type[DepotFileInfo]) -> DepotFileInfo:
        """Return this pending value as one of another class, the same value if it is one already."""
        if isinstance(self, kind):
            return self
        value = dict.__new__(kind)
        dict.update(value, dict(self))
        # An id and a state of its own: this one stays pending, and may be assigned again when that one is stored.
        object.__setattr__(value, "_pending", replace(self._waiting(), paths=[], announce=None))
        value._renew_id()
        return value

    @property
    def owner(self) -> tuple[weakref.ref[Any], str] | None:
        """The object (its state, weakly) and the attribute that took this pending value first."""
        pending = self._pending_or_none()
        return None if pending is None else pending.owner

    def own(self, state: weakref.ref[Any], key: str) -> None:
        """Tie this pending value to the attribute that it was assigned to."""
        self._waiting().owner = (state, key)

    # --- pending -> stored ----------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the bytes have not moved yet."""
        return self._pending_or_none() is not None

    @property
    def original_content(self) -> Any:
        """What was assigned, while the value is pending and while it is being stored; None afterwards.

        For a value that is to be a copy it is the stored file of the original.
        """
        pending = self._pending_now()
        if pending is None:
            return None
        if pending.original is not None:
            return Depots.get_file(pending.original["path"])
        if pending.handed_in is None and pending.content is not None:
            pending.handed_in = pending.content.labelled
        return pending.handed_in

    @abstractmethod
    def process_content(self, content: Any, filename: str | None = None, content_type: str | None = None) -> None:
        """Store the content and set the keys that describe it. Called once for each value, at flush.

        Overridden to change what is stored, or to store more beside it (`store_content`).
        """

    def store(
        self,
        filters: Iterable[FileFilter] = (),
        *,
        variants: Mapping[str, Any] | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        """Store what is pending and freeze the value; a stored value is left as it is.

        Args:
            filters: what is done with the file once it is there.
            variants: what a class that makes variants shall make, by name.
            announce: called with the path of each file before its first byte moves.

        Raises:
            InvalidContent: the content cannot be read.
            StorageFailed: the storage could not. In every case nothing is left in it, and the value is pending again.
        """
        pending = self._pending_now()
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
            # A copy has the files that filters made for its original, if there were any.
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

    def revert(self, pending: Pending, before: dict[str, Any]) -> None:
        """Make the value pending again, as it was ``before``, with a new id: its files went with a rollback."""
        dict.clear(self)
        dict.update(self, before)
        pending.paths.clear()
        object.__setattr__(self, "_pending", pending)
        self._renew_id()

    def waiting(self) -> tuple[Pending, dict[str, Any]] | None:
        """Return what `revert` needs to undo `store`, or None if there is nothing to store."""
        pending = self._pending_now()
        return None if pending is None else (pending, dict(self))

    def adopting_now(self) -> Pending | None:
        """Return what waits if it is the file of a direct upload, else None."""
        pending = self._pending_now()
        return pending if pending is not None and pending.adopts is not None and pending.original is None else None

    def store_content(
        self, content: Any, filename: str | None = None, content_type: str | None = None
    ) -> tuple[str, str]:
        """Store one more file that belongs to this value and return its path and id.

        For `process_content` and filters. The content is opened from its start and not closed.
        """
        info = self._keep(Content.of(content, filename, content_type), new_file_id())
        return f"{self['depot_name']}/{info.file_id}", info.file_id

    def _keep(self, content: Content, file_id: str) -> FileInfo:
        path = f"{self['depot_name']}/{file_id}"
        self._announce(path)
        info = Depots.get(self["depot_name"]).save(content, file_id=file_id)
        self["files"].append(path)
        return info

    def _announce(self, path: str) -> None:
        pending = self._waiting()
        pending.paths.append(path)
        if pending.announce is not None:
            pending.announce(path)

    def _copy_files(self, original: DepotFileInfo) -> None:
        """Copy each file of the original and let every key that named an old file name the new one."""
        depot_name, moved = self["depot_name"], {}
        for path in original.paths:
            old_depot, _, old_id = path.partition("/")
            new_id = self["file_id"] if path == original["path"] else new_file_id()
            new_path = f"{depot_name}/{new_id}"
            self._announce(new_path)
            source, target = Depots.get(old_depot), Depots.get(depot_name)
            if source is target:
                source.save_copy(old_id, file_id=new_id)
            else:
                with source.get(old_id) as stored:
                    target.save(Content.of(stored), file_id=new_id)
            moved[path] = new_path
        dict.update(self, relocated(dict(original), moved), depot_name=depot_name)

    @property
    def paths(self) -> list[str]:
        """The path of every file that belongs to the value, as a new list."""
        files = list(self.get("files") or ())
        path = self.get("path")
        return files if path is None or path in files or self.pending else [path, *files]

    def _must_be_writable(self) -> None:
        self._waiting()

    def _waiting(self) -> Pending:
        pending = self._pending_or_none()
        if pending is None:
            raise TypeError("a stored file cannot be changed: assign a new one to the attribute")
        return pending

    def _pending_or_none(self) -> Pending | None:
        try:
            return cast("Pending | None", object.__getattribute__(self, "_pending"))
        except AttributeError:  # a value from a row: the slot was never filled, which keeps loading fast
            return None

    def _pending_now(self) -> Pending | None:
        """Return what waits; a copy whose original a rollback has made pending again waits for the same content."""
        pending = self._pending_or_none()
        while pending is not None and pending.original is not None and pending.original.pending:
            original, place = pending.original, {key: self[key] for key in ("depot_name", "file_id", "path", "files")}
            waiting = original._waiting()
            pending.content, pending.original, pending.handed_in = waiting.content, waiting.original, None
            pending.adopts = waiting.adopts
            dict.clear(self)
            dict.update(self, copy.deepcopy(dict(original)), **place)
        return pending

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

    def _fill(self, data: dict[str, Any]) -> Self:
        object.__setattr__(self, "_pending", None)
        dict.update(self, data)
        return self


def _stored_keys(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return the keys of a stored value of which its items are given.

    Raises:
        InvalidContent: these are no items of a stored value.
    """
    keys = dict(each for each in pairs if isinstance(each, tuple) and len(each) == 2)
    if not keys.get("path"):
        raise InvalidContent("a generator is not a file: read it to bytes first")
    if not keys.get("files"):
        raise InvalidContent(
            f"{keys.get('filename')!r} is not stored yet, so it cannot be copied: flush the session first"
        )
    return keys


def _unpickle(cls: type[DepotFileInfo], data: dict[str, Any]) -> DepotFileInfo:
    return dict.__new__(cls)._fill(data)


def relocated(data: Any, moved: Mapping[str, str]) -> Any:
    """Return JSON data of a row once files have gone elsewhere: what named an old one names the new one.

    Old paths and ids are replaced wherever a string holds them, ``depot_name`` where the file beside it moved, and the
    URLs that the former storage had given (``_public_url``, ``_thumb_public_url``) by those of the new one.

    Args:
        moved: old path -> new path. One that is mapped to itself stays, and so does its id within it.
    """
    ids = {old.partition("/")[2]: new.partition("/")[2] for old, new in moved.items() if old != new}
    return _relocated(data, moved, ids) if ids else data


def _relocated(data: Any, moved: Mapping[str, str], ids: Mapping[str, str]) -> Any:
    if isinstance(data, dict):
        found = {key: _relocated(each, moved, ids) for key, each in data.items()}
        for key in data:
            beside: str | None = "file_id" if key == "depot_name" else _id_beside(key)
            old = f"{data.get('depot_name')}/{data.get(beside)}"
            new = old if beside is None else moved.get(old, old)
            if new != old:
                depot_name, _, file_id = new.partition("/")
                found[key] = depot_name if key == "depot_name" else Depots.get(depot_name).public_url(file_id)
        return found
    if isinstance(data, list):
        return [_relocated(each, moved, ids) for each in data]
    return _renamed(data, moved, ids) if isinstance(data, str) else data


def _renamed(text: str, moved: Mapping[str, str], ids: Mapping[str, str]) -> str:
    parts, done = [], 0
    for match in _FILE_ID.finditer(text):
        if match[0] in ids:
            # The longest path: of two depots with a file of the same id, one's name may end as the other's.
            path = max((old for old in moved if text.endswith(old, done, match.end())), key=len, default="")
            parts += [text[done : match.end() - len(path or match[0])], moved[path] if path else ids[match[0]]]
            done = match.end()
    return "".join(parts) + text[done:]


_FILE_ID: Final = re.compile(FILE_ID)


def _id_beside(key: str) -> str | None:
    """Return the key of the file whose public URL is under this one; None if it is no such key."""
    if key == "_public_url":
        return "file_id"
    return f"{key[1:-11]}_id" if key.startswith("_") and key.endswith("_public_url") else None


def discard(paths: Iterable[str]) -> None:
    """Delete files in as few calls as their storages allow; what fails is logged and left to maintenance."""
    for path, error in Depots.delete_files(paths).items():
        logger.error("could not delete %s, which is left to maintenance: %s", path, error)
