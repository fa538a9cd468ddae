"""`Pending`: the state of a value whose bytes have not been stored yet; `StorableReference`: a value and its state."""

from __future__ import annotations

import copy
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Self, cast

from depot_lite.depots import Depots, discard
from depot_lite.errors import InvalidContent, UnknownDepot
from depot_lite.fields.meta import plain_meta
from depot_lite.fields.reference import Reference, stored_keys
from depot_lite.io.content import EXPECTED, Content, FileIntent
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import UNNAMED, FileInfo, FileStorage
from depot_lite.uploads import Upload

if TYPE_CHECKING:
    from depot_lite.fields.interfaces import DepotFileInfo, FileFilter


@dataclass(slots=True)
class Pending:
    """The content to store, and the attribute to store it for.

    A value shares its content with its twins and copies; the rest is its own.
    """

    #: None if the content is the file of ``original`` or, outside a flush, the file of ``adopts``.
    content: Content | None
    #: The stored value to copy, if one was assigned.
    original: DepotFileInfo | None = None
    depot_chosen: bool = False
    #: Set by the first attribute that takes the value; a second attribute gets a value of its own.
    owner: tuple[weakref.ref[Any], str] | None = None
    #: The files stored so far.
    paths: list[str] = field(default_factory=list)
    #: Called with the path of each file before its first byte moves.
    announce: Callable[[str], None] | None = None
    #: The argument of `process_content`, and ``original_content`` for filters.
    handed_in: Any = None
    #: The column's variants, while the value is being stored.
    variants: Mapping[str, Any] = field(default_factory=dict)
    #: The direct upload whose file becomes the content during a flush (`depot_lite.fields.adoption`).
    adopts: Upload | None = None
    #: The element of the same list of which this value is a copy. Swapping two elements duplicates one for a moment.
    duplicate_of: DepotFileInfo | None = None

    def source(self) -> Pending:
        """Return the state that has the content: an original's, if a rollback has made the original pending again."""
        state = self
        while state.original is not None and (snapshot := state.original.snapshot()) is not None:
            state = snapshot[0]
        return state


class StorableReference(Reference, ABC):
    """A reference to a file that is stored at a flush; until then it has the content, and may be changed."""

    # Not set for most values from rows, so that loading is fast.
    __slots__ = ("__weakref__", "_pending")

    _pending: Pending | None

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
            meta = content.meta
            if meta is None and isinstance(source, StorableReference):
                meta = source.get("meta")
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
        """Take a new id, without files: the files of a failed attempt belong to the former id."""
        file_id = new_file_id()
        dict.update(self, files=[], file_id=file_id, path=f"{self['depot_name']}/{file_id}")

    # --- the state ------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the bytes have not been stored yet."""
        return self._pending_or_none() is not None

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

    def _must_be_writable(self) -> None:
        self._pending_state()

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

    @property
    def paths(self) -> list[str]:
        """The paths of all files that belong to the value, as a new list.

        Those that are named under ``files`` belong to it if they are in the same depot as its main file, and their ids
        are well-formed: whoever can write to the row may have put any text there. See `foreign_paths`.
        """
        return list(self["files"]) if self.pending else self.own_and_foreign_paths[0]

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

    # --- pending -> stored ----------------------------------------------------------------------------------------

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
                if pending.variants:
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
        """Store the files of this value: its content or copies of its original's files, and the files of filters."""
        if original is None:
            self.process_content(self.original_content)
        else:
            self._copy_files(original)
        # The copy of an original with several files has the files of the filters already.
        for each in filters if original is None or len(original.paths) < 2 else ():
            each.on_save(self)

    @abstractmethod
    def _copy_files(self, original: DepotFileInfo) -> None:
        """Store copies of all files of the original, and set the keys that describe them."""

    def revert(self, pending: Pending, before: dict[str, Any]) -> None:
        """Make the value pending again after its files were rolled back: as ``before``, but with a new id."""
        dict.clear(self)
        dict.update(self, before)
        pending.paths.clear()
        object.__setattr__(self, "_pending", pending)
        self._renew_id()

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
        return info, storage.url_for_row(info.file_id) if storage.has_urls else None

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
