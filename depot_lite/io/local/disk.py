"""The few things that a local storage asks of its file system."""

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
    """Give the folder's descriptor, held against whoever commits or deletes in it, in this process or another.

    It keeps two replacements of one file from each removing what the other has just replaced.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # this unlocks it too


def sync_folder(path: str) -> None:
    """Bring the entries of a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_small(path: str) -> bytes | None:
    """Return the bytes of a small file, or None if there is none."""
    try:
        # Not open(), which asks for more than it needs: this is done for each file that is served.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        parts = []
        while part := os.read(descriptor, _SMALL):
            parts.append(part)
            if len(part) < _SMALL:  # a file on a disk gives less than it was asked for at its end only
                break
        return b"".join(parts)
    finally:
        os.close(descriptor)


#: More than what is read in one go has, as a rule.
_SMALL: Final = 8192


def is_there(path: str) -> bool:
    """Return whether there is a regular file."""
    # os.path.exists would say no where it is not allowed to look.
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def unlink(path: str) -> None:
    """Remove a file, if there is one."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def names(folder: str) -> Iterator[str]:
    """Yield the names in a folder as the system gives them, none if there is no such folder."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StorageFailed(f"cannot list {folder}: {error.strerror}") from error
    with entries:
        for entry in entries:
            yield entry.name
