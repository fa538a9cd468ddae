"""Verdicts on stored files: reads a file whole and compares it with the records of its storage and its rows."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, NamedTuple

from depot_lite.errors import MaintenanceStopped, StoredFileNotFound
from depot_lite.io.checksums import CHECKSUMS
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.maintenance.ids import packed
from depot_lite.maintenance.memory import Records
from depot_lite.maintenance.run.pace import Pace

_ALGORITHMS: Final = tuple(CHECKSUMS)


@dataclass(frozen=True, slots=True)
class Finding:
    """A damaged or unreadable file."""

    file_id: str
    #: ``damaged``, ``wrong length`` or ``unreadable``.
    kind: str
    #: The expected and the actual value, in one line.
    detail: str
    #: The rows that name the file: ``movie.poster of the row 7``. Empty without a database.
    rows: tuple[str, ...] = ()


def is_there(storage: FileStorage, file_id: str) -> bool:
    """Return whether a file exists at least in part."""
    try:
        return storage.entry(file_id).size >= 0
    except StoredFileNotFound:
        return False
    except Exception:  # if in doubt, it exists
        return True


class Verdict(NamedTuple):
    """The result of reading one file."""

    finding: Finding | None = None
    size: int = 0
    read: bool = False
    unchecked: bool = False
    gone: bool = False
    unfinished: bool = False


class FileReader:
    """A reader that checks files one by one."""

    def __init__(self, storage: FileStorage, expected: Expected, pace: Pace) -> None:
        self._storage = storage
        self._pace = pace
        self.expected = expected

    @contextmanager
    def pace_until_the_end(self) -> Iterator[None]:
        """End all waits for the pace on exit."""
        try:
            yield
        finally:
            self._pace.stop()

    def numbered(self, number: int, file_id: str) -> tuple[int, Verdict]:
        """Return the number together with the verdict."""
        return number, self.verdict(file_id)

    def verdict(self, file_id: str) -> Verdict:
        """Return the verdict on a file; a finding has to be confirmed by a second reading."""
        found = self._read_once(file_id)
        return found if found.finding is None else self._read_once(file_id)

    def _read_once(self, file_id: str) -> Verdict:
        try:
            return self._compare(file_id)
        except StoredFileNotFound:
            return self._absent(file_id)
        except MaintenanceStopped:
            raise
        except Exception as error:  # a third-party backend may raise anything
            return Verdict(Finding(file_id, "unreadable", f"{type(error).__name__}: {error}"))

    def _absent(self, file_id: str) -> Verdict:
        if not is_there(self._storage, file_id):
            return Verdict(gone=True)
        if not self.expected.of(file_id):
            return Verdict(unfinished=True)
        return Verdict(Finding(file_id, "unreadable", "a row names it, but the storage has only a part of it"))

    def _compare(self, file_id: str) -> Verdict:
        expected = self.expected.of(file_id)
        with self._storage.get(file_id) as file:
            known = _known_algorithm(file.info.checksum)
            # Read as it is, so that a finding describes the damage.
            length, sums = self._read(file.unverified(), {known, *(each.algorithm for each in expected)} - {None})
            problem = _problem(file.info, length, sums, expected)
        unchecked = not sums
        finding = None if problem is None else Finding(file_id, *problem)
        return Verdict(finding, length, read=True, unchecked=unchecked)

    def _read(self, file: Iterable[bytes], algorithms: set[Any]) -> tuple[int, dict[str, str]]:
        length, sums = 0, {name: CHECKSUMS[name]() for name in algorithms}
        for chunk in file:
            length += len(chunk)
            for each in sums.values():
                each.update(memoryview(chunk))
            self._pace.take(len(chunk))
        return length, {name: f"{name}:{each.hexdigest()}" for name, each in sums.items()}


def _known_algorithm(checksum: str | None) -> str | None:
    name = (checksum or "").partition(":")[0]
    return name if name in CHECKSUMS else None


def _problem(
    info: FileInfo, length: int, sums: Mapping[str, str], expected: list[_Expectation]
) -> tuple[str, str] | None:
    """Return kind and detail of a problem, or None."""
    if length != info.content_length:
        return "wrong length", f"{length} bytes where the storage remembers {info.content_length}"
    known = _known_algorithm(info.checksum)
    if known is not None and sums[known] != str(info.checksum).lower():
        return "damaged", f"{sums[known]} where the storage remembers {info.checksum}"
    for each in expected:
        if each.size is not None and each.size != length:
            return "wrong length", f"{length} bytes where a row says {each.size}"
        if each.algorithm is not None and _digest(sums[each.algorithm]) != each.digest:
            return "damaged", f"{sums[each.algorithm]}, and a row says something else"
    return None


# --- expectations -------------------------------------------------------------------------------------------------


class _Expectation(NamedTuple):
    """The properties of a file according to one row."""

    size: int | None
    algorithm: str | None
    #: A short hash of the checksum, because millions of them are kept and SHA-256 is long.
    digest: bytes


class Expected:
    """The properties of files according to their rows, in 33 bytes each, on disk if memory is limited."""

    def __init__(self) -> None:
        self._records = Records()
        self._sorted: tuple[int, dict[bytes, list[_Expectation]]] = (-1, {})
        self._lock = threading.Lock()

    def add(self, file_id: str, size: int | None, checksum: str | None) -> None:
        """Add the properties of a file according to a row."""
        key, algorithm = packed(file_id), _known_algorithm(checksum)
        number = 0 if algorithm is None else _ALGORITHMS.index(algorithm) + 1
        digest = _digest(checksum.lower()) if checksum is not None and number else bytes(8)
        self._records.add(key[0], _RECORD.pack(key, -1 if size is None else size, number, digest))

    def of(self, file_id: str) -> list[_Expectation]:
        """Return the properties of a file according to each row that names it."""
        key = packed(file_id)
        with self._lock:
            if self._sorted[0] != key[0]:  # callers ask in the order of ids, so this happens 256 times
                self._sorted = (key[0], self._read(key[0]))
            return self._sorted[1].get(key, [])

    def _read(self, number: int) -> dict[bytes, list[_Expectation]]:
        found: dict[bytes, list[_Expectation]] = {}
        records = chain.from_iterable(map(_RECORD.iter_unpack, self._records.chunks(number)))
        for key, size, algorithm, digest in records:
            expectation = _Expectation(
                None if size < 0 else size, _ALGORITHMS[algorithm - 1] if algorithm else None, digest
            )
            found.setdefault(key, []).append(expectation)
        return found


_RECORD: Final = struct.Struct("<16sqB8s")


def _digest(checksum: str) -> bytes:
    return blake2b(checksum.encode(), digest_size=8).digest()
