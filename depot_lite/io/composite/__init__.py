"""What storages have in common that are made of other storages."""

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
    """A storage made of others, the first of which counts most. It keeps no file itself.

    Args:
        storages: two or more, none of which holds files of another.

    Raises:
        ConfigurationError: there are fewer than two, one is no storage, or two of them may hold the same files.
    """

    def __init__(self, *storages: FileStorage) -> None:
        if len(storages) < 2:
            raise ConfigurationError(f"{type(self).__name__}: two storages are wanted, or more")
        for each in storages:
            if not isinstance(each, FileStorage):
                wanted = "a FileStorage is wanted, such as DepotManager.from_config(...) makes"
                raise ConfigurationError(f"{type(self).__name__}: {type(each).__name__} is no storage; {wanted}")
        for index, each in enumerate(storages):
            if any(each.shares_files_with(other) for other in storages[:index]):
                raise ConfigurationError(f"{type(self).__name__}: {each!r} is there twice, under one name or two")
        self._storages = storages

    @property
    def parts(self) -> tuple[FileStorage, ...]:
        """The storages that hold the files."""
        return tuple(part for each in self._storages for part in each.parts)

    @property
    def list_is_complete(self) -> bool:  # type: ignore[override]  # a storage made of others has no say of its own
        """Whether no listing leaves anything out."""
        return all(each.list_is_complete for each in self._storages)

    @property
    def concurrency(self) -> int:
        """How many transfers at once the first one gains from."""
        return self._storages[0].concurrency

    @property
    def executor(self) -> Executor | None:
        """Where transfers of the first one run."""
        return self._storages[0].executor

    @abstractmethod
    def _first(self, file_id: str, ask: Callable[[FileStorage], T]) -> T:
        """Return what the first storage answers that has the file.

        Raises:
            StoredFileNotFound: none has.
        """

    def _open(self, file_id: str) -> StoredFile:
        return self._first(file_id, lambda each: each._open(file_id))

    def _info(self, file_id: str) -> FileInfo:
        return self._first(file_id, lambda each: each._info(file_id))

    def _entry(self, file_id: str) -> FileEntry:
        return FileEntry(file_id, lambda: self._first(file_id, lambda each: each._entry(file_id)._details()))

    def _exists(self, file_id: str) -> bool:
        return any(each._exists(file_id) for each in self._storages)

    def _list(self) -> Iterator[FileEntry]:
        """Yield the files of each storage that those before it have not: 16 bytes of memory for each but the last's."""
        seen = _Seen()
        for each in self._storages[:-1]:
            ids: list[FileEntry] = []
            for entry in each._list():
                if entry not in seen:
                    yield entry
                    ids.append(entry)
                if len(ids) == 1000:
                    seen.note(ids)
                    ids.clear()
            seen.note(ids)
            seen.sort()
        yield from (entry for entry in self._storages[-1]._list() if entry not in seen)

    def __repr__(self) -> str:
        """Show the storages."""
        return f"{type(self).__name__}({', '.join(map(repr, self._storages))})"


class _Seen:
    """File ids that were seen, packed and sorted: 16 bytes each, in 256 parts by their first byte."""

    def __init__(self) -> None:
        self._parts = [bytearray() for _ in range(256)]

    def note(self, file_ids: list[FileEntry]) -> None:
        """Add ids; they are found once `sort` was called."""
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
