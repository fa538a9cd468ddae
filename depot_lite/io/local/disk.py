"""System calls of a local storage."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from depot_lite.errors import StorageFailed


@contextmanager
def locked(folder: str) -> Iterator[int]:
    """Yield the folder's descriptor while it is locked against commits and deletions, also by other processes.

    Without the lock, two replacements of one file could each remove the data of the other.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # also unlocks it


def sync_folder(path: str) -> None:
    """Write the entries of a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_small(path: str) -> bytes | None:
    """Return the bytes of a small file, or None if it does not exist."""
    try:
        # Not open(), which makes more system calls: this is done for each file that is served.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        parts = []
        while part := os.read(descriptor, _SMALL):
            parts.append(part)
            if len(part) < _SMALL:  # only the last read of a file on a disk is short
                break
        return b"".join(parts)
    finally:
        os.close(descriptor)


#: Larger than most of these files, so that one read suffices.
_SMALL: Final = 8192


def is_file(path: str) -> bool:
    """Return whether a regular file exists."""
    # os.path.exists would return False for a missing permission.
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def unlink(path: str) -> None:
    """Remove a file if it exists."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def names_in(folder: str) -> Iterator[str]:
    """Yield the names in a folder, in no particular order; none if the folder does not exist."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StorageFailed(f"cannot list {folder}: {error.strerror}") from error
    with entries:
        for entry in entries:
            yield entry.name
