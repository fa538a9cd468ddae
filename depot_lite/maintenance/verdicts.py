"""Verdicts on stored files: each is read whole, and held against what its storage and its rows remember."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from depot_lite.errors import MaintenanceStopped, StoredFileNotFound
from depot_lite.io.checksums import CHECKSUMS
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.maintenance.ids import packed
from depot_lite.maintenance.run.pace import Pace

_ALGORITHMS: Final = tuple(CHECKSUMS)


@dataclass(frozen=True, slots=True)
class Finding:
    """A file with which something is wrong."""

    file_id: str
    #: ``damaged``, ``wrong length`` or ``unreadable``.
    kind: str
    #: What was wanted and what was found, in a line.
    detail: str
    #: The rows that name the file: ``movie.poster of the row 7``. Empty where no database was given.
    rows: tuple[str, ...] = ()


def is_there(storage: FileStorage, file_id: str) -> bool:
    """Return whether anything is left of a file, whole or not."""
    try:
        return storage.entry(file_id).size >= 0
    except StoredFileNotFound:
        return False
    except Exception:  # what cannot be looked at is there
        return True


class Verdict(NamedTuple):
    """What came of reading one file."""

    finding: Finding | None = None
    size: int = 0
    read: bool = False
    unchecked: bool = False
    gone: bool = False
    unfinished: bool = False


class FileReader:
    """Reads files whole and says what is wrong with them."""

    def __init__(self, storage: FileStorage, expected: Expected, pace: Pace) -> None:
        self._storage = storage
        self._pace = pace
        self.expected = expected

    @contextmanager
    def pace_until_the_end(self) -> Iterator[None]:
        """Let nobody wait for the pace any more when this ends."""
        try:
            yield
        finally:
            self._pace.stop()

    def numbered(self, number: int, file_id: str) -> tuple[int, Verdict]:
        """Return the number with the verdict."""
        return number, self.verdict(file_id)

    def verdict(self, file_id: str) -> Verdict:
        """Return what is wrong with a file if it is so twice."""
        found = self._once(file_id)
        return found if found.finding is None else self._once(file_id)

    def _once(self, file_id: str) -> Verdict:
        try:
            return self._held_against(file_id)
        except StoredFileNotFound:
            return self._absent(file_id)
        except MaintenanceStopped:
            raise
        except Exception as error:  # a backend of somebody else's may raise anything
            return Verdict(Finding(file_id, "unreadable", f"{type(error).__name__}: {error}"))

    def _absent(self, file_id: str) -> Verdict:
        if not is_there(self._storage, file_id):
            return Verdict(gone=True)
        if not self.expected.of(file_id):
            return Verdict(unfinished=True)
        return Verdict(Finding(file_id, "unreadable", "a row names it, and the storage has but a part of it"))

    def _held_against(self, file_id: str) -> Verdict:
        said = self.expected.of(file_id)
        with self._storage.get(file_id) as file:
            known = _algorithm_of(file.info.checksum)
            length, sums = self._read(file, {known, *(each.algorithm for each in said)} - {None})
            problem = _problem(file.info, length, sums, said)
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


def _algorithm_of(checksum: str | None) -> str | None:
    name = (checksum or "").partition(":")[0]
    return name if name in CHECKSUMS else None


def _problem(info: FileInfo, length: int, sums: Mapping[str, str], said: list[_Said]) -> tuple[str, str] | None:
    """Return kind and detail of what is wrong with a file, None where nothing is."""
    if length != info.content_length:
        return "wrong length", f"{length} bytes where the storage remembers {info.content_length}"
    known = _algorithm_of(info.checksum)
    if known is not None and sums[known] != str(info.checksum).lower():
        return "damaged", f"{sums[known]} where the storage remembers {info.checksum}"
    for each in said:
        if each.size is not None and each.size != length:
            return "wrong length", f"{length} bytes where a row says {each.size}"
        if each.algorithm is not None and _digest(sums[each.algorithm]) != each.digest:
            return "damaged", f"{sums[each.algorithm]}, and a row says something else"
    return None


# --- what is expected ---------------------------------------------------------------------------------------------


class _Said(NamedTuple):
    """What a row says of a file."""

    size: int | None
    algorithm: str | None
    #: A hash of the checksum, since that of SHA-256 is long and millions are remembered.
    digest: bytes


class Expected:
    """What rows say of files, in 33 bytes each."""

    def __init__(self) -> None:
        self._parts = [bytearray() for _ in range(256)]
        self._sorted: tuple[int, dict[bytes, list[_Said]]] = (-1, {})
        self._lock = threading.Lock()

    def add(self, file_id: str, size: int | None, checksum: str | None) -> None:
        """Remember what a row says of a file."""
        key, algorithm = packed(file_id), _algorithm_of(checksum)
        number = 0 if algorithm is None else _ALGORITHMS.index(algorithm) + 1
        digest = _digest(checksum.lower()) if checksum is not None and number else bytes(8)
        self._parts[key[0]] += _RECORD.pack(key, -1 if size is None else size, number, digest)

    def of(self, file_id: str) -> list[_Said]:
        """Return what rows say of a file, nothing where none names it."""
        key = packed(file_id)
        with self._lock:
            if self._sorted[0] != key[0]:  # files are asked for in order, so this comes 256 times
                self._sorted = (key[0], self._read(key[0]))
            return self._sorted[1].get(key, [])

    def _read(self, number: int) -> dict[bytes, list[_Said]]:
        found: dict[bytes, list[_Said]] = {}
        for key, size, algorithm, digest in _RECORD.iter_unpack(self._parts[number]):
            said = _Said(None if size < 0 else size, _ALGORITHMS[algorithm - 1] if algorithm else None, digest)
            found.setdefault(key, []).append(said)
        return found


_RECORD: Final = struct.Struct("<16sqB8s")


def _digest(checksum: str) -> bytes:
    return blake2b(checksum.encode(), digest_size=8).digest()
