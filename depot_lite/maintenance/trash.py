"""The trash of a depot: unused files that were marked, and are deleted only some days later.

A marked file stays in its place and can be read. The marks are one note in the storage, and not an object, a tag or a
file for each marked file: a million marks cost one request to read and one to write, in every storage, and no
permission beyond that to store files. A mark only delays: before a file is deleted, all rows are read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.fileid import check_file_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance.ids import packed, unpacked

#: The default time for which unused files are marked before they are deleted.
WEEK: Final = timedelta(days=7)

_NOTE: Final = "trash"
_HEADER: Final = "depot_lite trash 1"

#: Clocks that differ by less are the same: servers tell whole seconds, and answers take time.
_SAME: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class UndeleteReport:
    """The files that are no longer marked."""

    depot: str
    #: The ids of files that were marked, and are not any longer.
    unmarked: tuple[str, ...]
    #: The ids of files that were deleted, and that the storage has brought back.
    restored: tuple[str, ...]
    #: The ids that were given, and are neither.
    unknown: tuple[str, ...]
    #: Whether nothing was changed.
    dry_run: bool = False


def undelete(
    depot_name: str | None = None, file_ids: Iterable[str] | None = None, *, dry_run: bool = False
) -> UndeleteReport:
    """Take the marks off files, so that no later sweep deletes them without marking them again.

    Files that are deleted already come back if the storage keeps them, as a bucket of S3 with versions does.

    Args:
        depot_name: a depot or an alias; by default the default depot.
        file_ids: the files, such as those in a log; by default all that are marked.
        dry_run: only report the files, and change nothing.

    Raises:
        InvalidFileId: an id is malformed.
        MaintenanceStopped: the marks cannot be understood.
        StorageFailed: the storage cannot be read or written.
    """
    name = Depots.resolve_alias(depot_name or Depots.get_default())
    given = None if file_ids is None else [check_file_id(each) for each in file_ids]
    storage = Depots.get(name)

    def take_off() -> UndeleteReport:
        marks = load_marks(storage)
        wanted = marks.keys() if given is None else {packed(each) for each in given}
        taken = marks.keys() & wanted
        if taken and not dry_run:
            update_marks(storage, removed=taken, added={})
        others = [unpacked(key) for key in sorted(wanted - taken)]
        restored = tuple(each for each in others if storage.undelete(each, dry_run=dry_run))
        unknown = tuple(each for each in others if each not in restored)
        return UndeleteReport(name, tuple(unpacked(key) for key in sorted(taken)), restored, unknown, dry_run)

    return off_loop(take_off)


def load_marks(storage: FileStorage) -> dict[bytes, float]:
    """Return the marked files: packed id -> when it was marked, in seconds since 1970 by the storage's clock.

    Raises:
        MaintenanceStopped: the note is damaged, or was written by a later version.
    """
    return _decode(storage, storage.read_note(_NOTE) or b"")


def _decode(storage: FileStorage, note: bytes) -> dict[bytes, float]:
    if not note:
        return {}
    try:
        header, *lines = note.decode("ascii").splitlines()
        if header != _HEADER:
            raise ValueError(f"it begins with {header[:40]!r}")
        found = (line.split(" ") for line in lines)
        return {packed(check_file_id(file_id)): float(when) for file_id, when in found}
    except ValueError as error:
        raise MaintenanceStopped(f"the trash of {storage!r} cannot be understood: {error}") from error


def update_marks(storage: FileStorage, removed: Iterable[bytes], added: Mapping[bytes, float]) -> None:
    """Change the marks as they are now, which another process may have changed since they were loaded.

    Raises:
        MaintenanceStopped: the note is damaged, or was written by a later version.
        StorageFailed: the storage cannot be read or written.
    """
    removed = frozenset(removed)

    def change(note: bytes) -> bytes:
        before = _decode(storage, note)
        marks = {**added, **{key: when for key, when in before.items() if key not in removed}}
        return note if marks == before else _encode(marks)

    if removed or added:
        storage.update_note(_NOTE, change)


def _encode(marks: Mapping[bytes, float]) -> bytes:
    lines = (f"{unpacked(key)} {when:.3f}\n" for key, when in sorted(marks.items()))
    return f"{_HEADER}\n{''.join(lines)}".encode() if marks else b""


@dataclass(frozen=True, slots=True)
class Trash:
    """The marks of a storage as they were at one moment."""

    marks: Mapping[bytes, float]
    #: The age after which marked files are deleted; 0 for files that are deleted without a mark.
    age: timedelta
    #: That moment, in seconds since 1970, as `current_time` tells it.
    now: float
    #: Files that are marked for a week even if the age is 0.
    newer: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, storage: FileStorage, age: timedelta, now: datetime, newer: frozenset[bytes]) -> Self:
        """Return the marks of a storage.

        Raises:
            MaintenanceStopped: the marks cannot be understood.
        """
        return cls(load_marks(storage), age, now.timestamp(), newer)

    def is_due(self, key: bytes) -> bool:
        """Return whether an unused file is to be deleted, and not to be marked or to wait."""
        age = WEEK if key in self.newer and not self.age else self.age
        return not age or (key in self.marks and self.now - self.marks[key] >= age.total_seconds())


def time_of_marks(storage: FileStorage) -> float:
    """Return the time from which the age of new marks counts, by the later of two clocks: in doubt, they are young.

    Raises:
        StorageFailed: the storage cannot be asked.
    """
    return max(storage.now(), datetime.now(UTC)).timestamp()


def current_time(storage: FileStorage) -> datetime:
    """Return the time by the clock of this machine, or by the storage's if that is earlier: in doubt, files are young.

    Raises:
        StorageFailed: the storage cannot be asked.
    """
    theirs, ours = storage.now(), datetime.now(UTC)
    return ours if ours - theirs < _SAME else theirs
