"""Compact collections of millions of file ids: 16 bytes each, in 256 parts by their first byte.

A Python set of strings takes ten times as much memory. Ids are random, so the parts have about the same size, and two
collections are compared part by part.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final, overload

from depot_lite.io.fileid import id_of_object_id
from depot_lite.io.interfaces import FileEntry

_PARTS: Final = 256
_WIDTH: Final = 16

#: Files of a listing that are taken per call, and how many of them are held as objects at a time.
_TAKEN: Final = 10_000
_AT_ONCE: Final = 250


def packed(file_id: str) -> bytes:
    """Return the 16 bytes of a file id.

    >>> packed("00112233-4455-4677-8899-aabbccddeeff").hex()
    '00112233445546778899aabbccddeeff'
    """
    return _whole(bytes.fromhex(file_id.replace("-", "")))


def _whole(key: bytes) -> bytes:
    """Return 16 bytes, also for the 12 of an ObjectId in a row of filedepot, whose file is listed as a UUID."""
    return key if len(key) == _WIDTH else packed(id_of_object_id(key.hex()))


def unpacked(key: bytes) -> str:
    """Return the file id of 16 bytes.

    >>> unpacked(packed("00112233-4455-4677-8899-aabbccddeeff"))
    '00112233-4455-4677-8899-aabbccddeeff'
    """
    text = key.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class FileIds:
    """A collection of file ids; an id may be added more than once."""

    def __init__(self) -> None:
        self._parts = [bytearray() for _ in range(_PARTS)]

    def __len__(self) -> int:
        """Return the number of ids added, repetitions included."""
        return sum(map(len, self._parts)) // _WIDTH

    def add(self, file_ids: Iterable[str]) -> None:
        """Add file ids."""
        parts, packed = self._parts, bytes.fromhex  # inlined: this runs once per file
        for each in file_ids:
            key = packed(each.replace("-", ""))
            parts[key[0]] += key if len(key) == _WIDTH else _whole(key)

    def part(self, number: int) -> set[bytes]:
        """Return the packed ids whose first byte is ``number``."""
        return set(_keys(self._parts[number]))

    def keys(self, number: int) -> Iterator[bytes]:
        """Yield the packed ids whose first byte is ``number``, in the order of adding."""
        return _keys(self._parts[number])

    def __iter__(self) -> Iterator[str]:
        """Yield the distinct ids in order."""
        for number in range(_PARTS):
            yield from map(unpacked, sorted(self.part(number)))

    def clear(self, number: int) -> None:
        """Forget the ids whose first byte is ``number``."""
        self._parts[number] = bytearray()


def _keys(part: bytearray) -> Iterator[bytes]:
    whole = bytes(part)
    return (whole[start : start + _WIDTH] for start in range(0, len(whole), _WIDTH))


class ListedFiles(FileIds):
    """File ids from a listing, with size and time if the listing contains them."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes = [array("q") for _ in range(_PARTS)]
        self._times = [array("d") for _ in range(_PARTS)]

    def add_known(self, files: Iterable[tuple[str, int, datetime]]) -> None:
        """Add file ids with their sizes and times."""
        for file_id, size, last_modified in files:
            key = packed(file_id)
            self._parts[key[0]] += key
            self._sizes[key[0]].append(size)
            self._times[key[0]].append(last_modified.timestamp())

    def take(self, entries: Iterator[FileEntry]) -> int:
        """Add the next files of a listing and return their number; 0 at its end."""
        count = 0
        # A few hundred at a time: more objects at once would keep Python's garbage collector busy.
        while count < _TAKEN and (some := list(islice(entries, _AT_ONCE))):
            count += len(some)
            if all(each.known for each in some):
                self.add_known((each, each.size, each.last_modified) for each in some)
            else:
                self.add(some)
        return count

    def known(self, number: int) -> dict[bytes, tuple[int, float]]:
        """Return size and time (seconds since 1970) by packed id for one part; empty unless all of them are known."""
        if len(self._sizes[number]) * _WIDTH != len(self._parts[number]):
            return {}
        return dict(zip(self.keys(number), zip(self._sizes[number], self._times[number], strict=True), strict=True))

    def clear(self, number: int) -> None:
        """Forget the ids whose first byte is ``number``, with their sizes and times."""
        super().clear(number)
        self._sizes[number], self._times[number] = array("q"), array("d")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of a depot: its id, its size in bytes, and the time of storing."""

    file_id: str
    size: int
    last_modified: datetime


class FoundFiles(Sequence[FoundFile]):
    """A sequence of `FoundFile`, in 32 bytes each."""

    def __init__(self) -> None:
        self._keys = bytearray()
        self._sizes = array("q")
        self._times = array("d")

    def append(self, key: bytes, size: int, when: float) -> None:
        """Add a file: its packed id, its size in bytes, its time in seconds since 1970."""
        self._keys += key
        self._sizes.append(size)
        self._times.append(when)

    @property
    def bytes(self) -> int:
        """The total size."""
        return sum(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> FoundFile: ...
    @overload
    def __getitem__(self, index: slice) -> list[FoundFile]: ...
    def __getitem__(self, index: int | slice) -> FoundFile | list[FoundFile]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        key = bytes(self._keys[number * _WIDTH : (number + 1) * _WIDTH])
        return FoundFile(unpacked(key), self._sizes[number], datetime.fromtimestamp(self._times[number], UTC))
