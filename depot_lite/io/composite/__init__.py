"""The base class of storages that are composed of other storages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Final, TypeVar

from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.composite.outages import Outage
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.options import seconds
from depot_lite.io.stored import FileEntry, FileInfo, StoredFile

T = TypeVar("T")

_WIDTH: Final = 16


class CompositeStorage(FileStorage):
    """A storage composed of others, the first of which has precedence. It holds no files itself.

    A part that nobody answers for is not asked again for a while: calls that need it fail at once, with StorageFailed.

    Args:
        storages: two or more, no two of which may hold the same files.
        retry_after: how long such a part is not asked, in seconds or as a timedelta.

    Raises:
        ConfigurationError: there are fewer than two, one is not a storage, or two may hold the same files.
    """

    def __init__(self, *storages: FileStorage, retry_after: float | str | timedelta = 10) -> None:
        if len(storages) < 2:
            raise ConfigurationError(f"{type(self).__name__}: expected at least two storages, got {len(storages)}")
        for each in storages:
            if not isinstance(each, FileStorage):
                expected = "expected a FileStorage, as returned by DepotManager.from_config(...)"
                raise ConfigurationError(f"{type(self).__name__}: {expected}, got {type(each).__name__}")
        for index, each in enumerate(storages):
            if any(each.shares_files_with(other) for other in storages[:index]):
                raise ConfigurationError(f"{type(self).__name__}: {each!r} is given twice, under one name or two")
        self._storages = storages
        down_for = seconds("retry_after", retry_after)
        # In the order of the storages.
        self._outages = [Outage(each, down_for) for each in storages]

    def _outage_of(self, storage: FileStorage) -> Outage:
        return self._outages[self._storages.index(storage)]

    def _ask(self, storage: FileStorage, call: Callable[[FileStorage], T]) -> T:
        """Return the answer of a part.

        Raises:
            StorageFailed: it fails, or is known to be down.
        """
        with self._outage_of(storage).asked():
            return call(storage)

    def _check(self, *storages: FileStorage) -> None:
        """Raise StorageFailed if a part is known to be down."""
        for each in storages:
            self._outage_of(each).check()

    def _transfer(self, source: FileStorage, source_id: str, target: FileStorage, file_id: str) -> FileInfo:
        """Let a part store a copy of its own file or of another part's."""

        def copy(part: FileStorage) -> FileInfo:
            return part._copy(source_id, file_id) if part is source else part._save_from(source, source_id, file_id)

        self._check(source)
        try:
            return self._ask(target, copy)
        except StorageFailed as error:
            if error.of_source and error.is_down:
                self._outage_of(source).begin(error)
            raise

    def _delete_from(self, storage: FileStorage, file_ids: list[str]) -> dict[str, Exception]:
        """Delete files from a part, and return the failures."""
        try:
            with self._outage_of(storage).asked() as failures:
                failed = storage._delete_many(file_ids)
                failures += failed.values()
        except StorageFailed as error:
            return dict.fromkeys(file_ids, error)
        return failed

    def _entries_of(self, storage: FileStorage) -> Iterator[FileEntry]:
        """Yield the files of a part."""
        entries, first = self._ask(storage, _begun_listing)
        if first is None:
            return
        yield first
        try:
            yield from entries
        except StorageFailed as error:
            self._outage_of(storage).note(error)
            raise

    @property
    def parts(self) -> tuple[FileStorage, ...]:
        """The storages that hold the files."""
        return tuple(part for each in self._storages for part in each.parts)

    @property
    def list_is_complete(self) -> bool:  # type: ignore[override]  # derived from the storages
        """Whether the listing of every storage is complete."""
        return all(each.list_is_complete for each in self._storages)

    @property
    def notes_are_conditional(self) -> bool:  # type: ignore[override]  # derived from the storages
        """Whether the notes of every storage are conditional."""
        return all(each.notes_are_conditional for each in self._storages)

    @property
    def concurrency(self) -> int:
        """The number of transfers that are useful at once for the first storage."""
        return self._storages[0].concurrency

    @property
    def executor(self) -> Executor | None:
        """The executor of the first storage."""
        return self._storages[0].executor

    @abstractmethod
    def _first(self, file_id: str, ask: Callable[[FileStorage], T]) -> T:
        """Return the answer of the first storage that has the file.

        Raises:
            StoredFileNotFound: no storage has it.
        """

    def _open(self, file_id: str) -> StoredFile:
        def open_in(storage: FileStorage) -> StoredFile:
            file = storage._open(file_id)
            file.listen(self._outage_of(storage).note)  # its bytes may be asked for when the storage is down
            return file

        return self._first(file_id, open_in)

    def _info(self, file_id: str) -> FileInfo:
        return self._first(file_id, lambda each: each._info(file_id))

    def _entry(self, file_id: str) -> FileEntry:
        return FileEntry(file_id, lambda: self._first(file_id, lambda each: each._entry(file_id)._details()))

    def _load_note(self, file_id: str) -> bytes | None:
        """Return the note of the first storage that has it, if only an empty one."""
        notes = (self._ask(each, lambda part: part._load_note(file_id)) for each in self._storages)
        return next((note for note in notes if note is not None), None)

    def _change_note(self, file_id: str, change: Callable[[bytes | None], bytes]) -> None:
        """Change the note of the first storage, which starts from another storage's note if it has none."""

        def change_first(text: bytes | None) -> bytes:
            return change(self._load_note(file_id) if text is None else text)

        self._ask(self._storages[0], lambda first: first._change_note(file_id, change_first))

    def _undelete(self, file_id: str, *, dry_run: bool) -> bool:
        # In each of them, and not only in the first that has kept it.
        return (
            sum(self._ask(each, lambda part: part._undelete(file_id, dry_run=dry_run)) for each in self._storages) > 0
        )

    def _now(self) -> datetime:
        # The earliest: by any of the clocks, no file seems older than it is.
        return min(self._ask(each, lambda part: part.now()) for each in self._storages)

    def _exists(self, file_id: str) -> bool:
        return any(self._ask(each, lambda part: part._exists(file_id)) for each in self._storages)

    def _list(self) -> Iterator[FileEntry]:
        """Yield each file once, from the first storage that has it; 16 bytes of memory per file, except in the last."""
        seen = _PackedIds()
        for each in self._storages[:-1]:
            ids: list[FileEntry] = []
            for entry in self._entries_of(each):
                if entry not in seen:
                    yield entry
                    ids.append(entry)
                if len(ids) == 1000:
                    seen.add(ids)
                    ids.clear()
            seen.add(ids)
            seen.sort()
        yield from (entry for entry in self._entries_of(self._storages[-1]) if entry not in seen)

    def __repr__(self) -> str:
        """Show the storages."""
        return f"{type(self).__name__}({', '.join(map(repr, self._storages))})"


def _begun_listing(storage: FileStorage) -> tuple[Iterator[FileEntry], FileEntry | None]:
    """Return the files of a part, from the second one on, and the first one; None if it has none."""
    entries = iter(storage._list())
    return entries, next(entries, None)


class _PackedIds:
    """A set of file ids, packed and sorted: 16 bytes each, in 256 parts by the first byte."""

    def __init__(self) -> None:
        self._parts = [bytearray() for _ in range(256)]

    def add(self, file_ids: list[FileEntry]) -> None:
        """Add ids, which are found after the next `sort`."""
        for each in file_ids:
            key = _packed(each)
            self._parts[key[0]] += key

    def sort(self) -> None:
        for number, part in enumerate(self._parts):
            keys = sorted(bytes(part[at : at + _WIDTH]) for at in range(0, len(part), _WIDTH))
            self._parts[number] = bytearray(b"".join(keys))

    def __contains__(self, file_id: str) -> bool:
        key = _packed(file_id)
        part = self._parts[key[0]]
        low, high = 0, len(part) // _WIDTH
        while low < high:
            middle = (low + high) // 2
            if part[middle * _WIDTH : (middle + 1) * _WIDTH] < key:
                low = middle + 1
            else:
                high = middle
        return part[low * _WIDTH : (low + 1) * _WIDTH] == key


def _packed(file_id: str) -> bytes:
    return bytes.fromhex(file_id.replace("-", ""))
