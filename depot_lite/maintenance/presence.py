"""Presence: which of many files a depot lacks."""

from __future__ import annotations

from functools import partial
from typing import Final

from depot_lite.depots import Depots
from depot_lite.fields.tracking.transfers import off_loop, side_by_side
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance.ids import FileIds, ListedFiles, Prefix, prefixes, unpacked
from depot_lite.maintenance.run.reports import Step, Watcher

#: The number of existence checks per call.
_AT_ONCE: Final = 1000


def list_files(title: str, storage: FileStorage, progress: Watcher | None, *, unfinished: bool = True) -> ListedFiles:
    """Return the listing of a storage.

    Args:
        unfinished: whether files count of which the storage has only a part.

    Raises:
        StorageFailed: the storage cannot be listed.
    """
    listed, entries = ListedFiles(), (each for each in storage.list() if unfinished or not each.unfinished)
    with Step(progress, title) as step:
        while count := off_loop(partial(listed.take, entries)):
            step.add(count)
    return listed


def absent_files(depot_name: str, wanted: FileIds, progress: Watcher | None, *, few: int = 0) -> set[bytes]:
    """Return the packed ids of the files that a depot lacks, or has only a part of; ``wanted`` is empty afterwards.

    The storage is listed, and then asked for each file that is not in its listing.

    Args:
        few: the number of files up to which the storage is asked for each of them, and not listed.

    Raises:
        StorageFailed: the storage cannot be asked.
    """
    storage, absent = Depots.get(depot_name), set[bytes]()
    worth_listing = storage.list_is_complete and len(wanted) > few
    listed: FileIds = FileIds()
    if worth_listing:
        listed = list_files(f"listing {depot_name}", storage, progress, unfinished=False)
    with Step(progress, f"asking {depot_name} for files that are not listed") as step:
        for prefix in prefixes(wanted, listed):
            unlisted = off_loop(partial(_difference, wanted, listed, prefix))
            for start in range(0, len(unlisted), _AT_ONCE):
                some = unlisted[start : start + _AT_ONCE]
                side_by_side([(storage, partial(_check, storage, key, absent)) for key in some])
                step.add(len(some))
    return absent


def _difference(wanted: FileIds, listed: FileIds, prefix: Prefix) -> list[bytes]:
    """Return the ids in one part of the first collection but not of the second, and clear that part in both."""
    found = sorted(wanted.part(prefix) - listed.part(prefix))
    wanted.clear(prefix)
    listed.clear(prefix)
    return found


def _check(storage: FileStorage, key: bytes, absent: set[bytes]) -> None:
    if not storage.exists(unpacked(key)):
        absent.add(key)
