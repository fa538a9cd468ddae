"""Compact collections of millions of file ids: 16 bytes each, in 256 parts by their first byte.

A Python set of strings takes ten times as much memory. Ids are random, so the parts have about the same size, and two
collections are compared part by part. Parts that exceed the limit of memory are put on disk, and read back one by one;
if one of them is still too large as a set, it is divided by the second byte.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, BinaryIO, Final, Self, cast, overload

from depot_lite.io.fileid import id_of_object_id
from depot_lite.io.interfaces import FileEntry
from depot_lite.io.options import integer
from depot_lite.maintenance.memory import PARTS, Records, memory_limit, temporary_file, write
from depot_lite.maintenance.memory import limited_memory as limited_memory

_WIDTH: Final = 16

#: Files of a listing that are taken per call, and how many of them are held as objects at a time.
_TAKEN: Final = 10_000
_AT_ONCE: Final = 250

#: Bytes of memory that are reckoned for an id in sets and dictionaries; a part may be in several at a time.
_AS_OBJECTS: Final = 4 * 128

#: Size and time; and with the id before them.
_KNOWN: Final = struct.Struct("<qd")
_FOUND: Final = struct.Struct("<16sqd")


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


def is_derived(key: bytes) -> bool:
    """Return whether a packed id belongs to a variant on demand.

    >>> is_derived(packed("00112233-4455-5677-8899-aabbccddeeff"))
    True
    """
    return key[6] >> 4 == 5


#: The part of a collection: the first byte of its ids, or their first two.
Prefix = int | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts of all files, by their ids, so that processes or machines share a job.

    Raises:
        ConfigurationError: the number is not among the parts.
    """

    #: From 1 on.
    number: int
    of: int

    def __post_init__(self) -> None:
        integer("part", self.number, 1, integer("parts", self.of, 1, 1_000_000))

    def __contains__(self, file_id: str) -> bool:
        """Return whether a file is in this part."""
        return int.from_bytes(packed(file_id)[-4:]) % self.of == self.number - 1


class FileIds:
    """A collection of file ids; an id may be added more than once."""

    def __init__(self) -> None:
        self._ids = Records()
        self._held = 0
        #: The first byte of the part that is divided by the second byte, and its parts.
        self._divided: tuple[int, Self] | None = None

    def __len__(self) -> int:
        """Return the number of ids added, repetitions included."""
        first, divided = self._divided or (0, ())
        return sum(map(self._ids.length, range(PARTS))) // _WIDTH + (0 if self._ids.length(first) else len(divided))

    def add(self, file_ids: Iterable[str]) -> None:
        """Add file ids."""
        parts, packed = self._ids.parts, bytes.fromhex  # inlined: this runs once per file
        count = 0
        for each in file_ids:
            key = packed(each.replace("-", ""))
            parts[key[0]] += key if len(key) == _WIDTH else _whole(key)
            count += 1
        self._held += count * _WIDTH
        if self._held > self._ids.limit:
            self._spill()

    def _spill(self) -> None:
        self._ids.spill()
        self._held = 0

    def part(self, prefix: Prefix) -> set[bytes]:
        """Return the packed ids that begin with a byte, or with two."""
        return set(self.keys(prefix))

    def keys(self, prefix: Prefix) -> Iterator[bytes]:
        """Yield the packed ids that begin with a byte, or with two, in the order of adding."""
        if isinstance(prefix, tuple):
            yield from self._divide(prefix[0]).keys(prefix[1])
            return
        for chunk in self._ids.chunks(prefix):
            yield from (chunk[start : start + _WIDTH] for start in range(0, len(chunk), _WIDTH))

    def _divide(self, first: int) -> Self:
        """Return the ids that begin with a byte, divided by the second one."""
        if self._divided is None or self._divided[0] != first:
            divided = type(self)()
            self._fill(divided, first)
            self._divided = first, divided
        return self._divided[1]

    def _fill(self, divided: Self, first: int) -> None:
        parts = divided._ids.parts
        for key in self.keys(first):
            parts[key[1]] += key

    def __iter__(self) -> Iterator[str]:
        """Yield the distinct ids in order."""
        for prefix in prefixes(self):
            yield from map(unpacked, sorted(self.part(prefix)))

    def clear(self, prefix: Prefix) -> None:
        """Forget the ids that begin with a byte, or with two."""
        if isinstance(prefix, tuple):
            self._divide(prefix[0]).clear(prefix[1])
            self.clear(prefix[0])  # the divided ids are a copy
        else:
            self._ids.clear(prefix)


def prefixes(*collections: FileIds, digits: str = "") -> Iterator[Prefix]:
    """Yield prefixes in order, so that each id begins with one, and the ids of each fit in memory as sets.

    Either none or all of them are to be cleared, each before the next one is asked for.

    Args:
        digits: up to four hexadecimal digits; only ids that begin with them begin with one of the prefixes.
    """
    most = memory_limit() // _AS_OBJECTS
    for number in _bytes_from(digits[:2]):
        if sum(each._ids.length(number) for each in collections) // _WIDTH <= most:
            yield number
        else:
            yield from ((number, second) for second in _bytes_from(digits[2:]))


def _bytes_from(digits: str) -> range:
    """Return the bytes whose two digits begin with these.

    >>> list(_bytes_from("ff")), len(_bytes_from("f")), len(_bytes_from(""))
    ([255], 16, 256)
    """
    width = 16 ** (2 - len(digits))
    first = int(digits or "0", 16) * width
    return range(first, first + width)


class ListedFiles(FileIds):
    """File ids from a listing, with size and time if the listing contains them."""

    def __init__(self) -> None:
        super().__init__()
        self._known = Records()

    def add_known(self, files: Iterable[tuple[str, int, datetime]]) -> None:
        """Add file ids with their sizes and times."""
        ids, known, pack, packed = self._ids.parts, self._known.parts, _KNOWN.pack, bytes.fromhex
        for file_id, size, last_modified in files:  # inlined: this runs once per file
            key = packed(file_id.replace("-", ""))
            key = key if len(key) == _WIDTH else _whole(key)
            first = key[0]
            ids[first] += key
            known[first] += pack(size, last_modified.timestamp())
            self._held += 2 * _WIDTH
        if self._held > self._ids.limit:
            self._spill()

    def _spill(self) -> None:
        self._known.spill()
        super()._spill()

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

    def known(self, prefix: Prefix) -> dict[bytes, tuple[int, float]]:
        """Return size and time (seconds since 1970) by packed id for a prefix; empty unless all of them are known."""
        if isinstance(prefix, tuple):
            return self._divide(prefix[0]).known(prefix[1])
        if self._known.length(prefix) != self._ids.length(prefix):
            return {}
        return dict(zip(self.keys(prefix), self._sizes_and_times(prefix), strict=True))

    def _sizes_and_times(self, number: int) -> Iterator[tuple[Any, ...]]:
        for chunk in self._known.chunks(number):
            yield from _KNOWN.iter_unpack(chunk)

    def _fill(self, divided: Self, first: int) -> None:
        if self._known.length(first) != self._ids.length(first):
            super()._fill(divided, first)
            return
        ids, known = divided._ids.parts, divided._known.parts
        for key, told in zip(self.keys(first), self._sizes_and_times(first), strict=True):
            ids[key[1]] += key
            known[key[1]] += _KNOWN.pack(*told)

    def clear(self, prefix: Prefix) -> None:
        """Forget the ids that begin with a byte, or with two, with their sizes and times."""
        super().clear(prefix)
        if not isinstance(prefix, tuple):
            self._known.clear(prefix)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of a depot: its id, its size in bytes, and the time of storing."""

    file_id: str
    size: int
    last_modified: datetime


class FoundFiles(Sequence[FoundFile]):
    """A sequence of `FoundFile`, in 32 bytes each, on disk if memory is limited."""

    def __init__(self) -> None:
        #: The total size in bytes.
        self.bytes = 0
        self._limit = memory_limit() // 4
        self._last = bytearray()
        self._file: BinaryIO | None = None
        self._on_disk = 0

    def append(self, key: bytes, size: int, when: float) -> None:
        """Add a file: its packed id, its size in bytes, its time in seconds since 1970."""
        self._last += _FOUND.pack(key, size, when)
        self.bytes += size
        if len(self._last) > self._limit:
            self._file = self._file or temporary_file(self)
            write(self._file, self._last)
            self._on_disk += len(self._last)
            self._last.clear()

    def __len__(self) -> int:
        return (self._on_disk + len(self._last)) // _FOUND.size

    @overload
    def __getitem__(self, index: int) -> FoundFile: ...
    @overload
    def __getitem__(self, index: slice) -> list[FoundFile]: ...
    def __getitem__(self, index: int | slice) -> FoundFile | list[FoundFile]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        key, size, when = _FOUND.unpack(self._record(range(len(self))[index]))
        return FoundFile(unpacked(key), size, datetime.fromtimestamp(when, UTC))

    def key(self, index: int) -> bytes:
        """Return the packed id of a file."""
        return self._record(index)[:_WIDTH]

    def _record(self, number: int) -> bytes:
        start = number * _FOUND.size
        if start < self._on_disk and self._file is not None:
            self._file.seek(start)
            record = self._file.read(_FOUND.size)
            self._file.seek(0, os.SEEK_END)
            return record
        start -= self._on_disk
        return bytes(self._last[start : start + _FOUND.size])


@dataclass(frozen=True, slots=True)
class KeysInOrder(Container[object]):
    """The packed ids of files that are in the order of their ids, looked up without a copy in memory."""

    files: FoundFiles

    def __contains__(self, key: object) -> bool:
        """Return whether a packed id is among them."""
        place = bisect_left(range(len(self.files)), cast(bytes, key), key=self.files.key)
        return place < len(self.files) and self.files.key(place) == key
