"""The base class of storages that are composed of other storages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Final, TypeVar

from depot_lite.errors import ConfigurationError
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.stored import FileEntry, FileInfo, StoredFile

T = TypeVar("T")

_WIDTH: Final = 16


class CompositeStorage(FileStorage):
    """A storage composed of others, the first of which has precedence. It holds no files itself.

    Args:
        storages: two or more, no two of which may hold the same files.

    Raises:
        ConfigurationError: there are fewer than two, one is not a storage, or two may hold the same files.
    """

    def __init__(self, *storages: FileStorage) -> None:
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

    @property
    def parts(self) -> tuple[FileStorage, ...]:
        """The storages that hold the files."""
        return tuple(part for each in self._storages for part in each.parts)

    @property
    def list_is_complete(self) -> bool:  # type: ignore[override]  # derived from the storages
        """Whether the listing of every storage is complete."""
        return all(each.list_is_complete for each in self._storages)

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
        return self._first(file_id, lambda each: each._open(file_id))

    def _info(self, file_id: str) -> FileInfo:
        return self._first(file_id, lambda each: each._info(file_id))

    def _entry(self, file_id: str) -> FileEntry:
        return FileEntry(file_id, lambda: self._first(file_id, lambda each: each._entry(file_id)._details()))

    def read_note(self, name: str) -> bytes | None:
        """Return the note of the first storage that has it."""
        return next((note for each in self._storages if (note := each.read_note(name)) is not None), None)

    def _undelete(self, file_id: str, *, dry_run: bool) -> bool:
        # In each of them, and not only in the first that has kept it.
        return sum(each._undelete(file_id, dry_run=dry_run) for each in self._storages) > 0

    def _exists(self, file_id: str) -> bool:
        return any(each._exists(file_id) for each in self._storages)

    def _list(self) -> Iterator[FileEntry]:
        """Yield each file once, from the first storage that has it; 16 bytes of memory per file, except in the last."""
        seen = _PackedIds()
        for each in self._storages[:-1]:
            ids: list[FileEntry] = []
            for entry in each._list():
                if entry not in seen:
                    yield entry
                    ids.append(entry)
                if len(ids) == 1000:
                    seen.add(ids)
                    ids.clear()
            seen.add(ids)
            seen.sort()
        yield from (entry for entry in self._storages[-1]._list() if entry not in seen)

    def __repr__(self) -> str:
        """Show the storages."""
        return f"{type(self).__name__}({', '.join(map(repr, self._storages))})"


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
