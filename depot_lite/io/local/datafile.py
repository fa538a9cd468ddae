"""DataFile: the bytes of a local file while they are written, with their checksum.

Large content is copied in the kernel (``copy_file_range``, which shares the blocks where the file system can, else
``sendfile``). The checksum is made of what was written, read back from the page cache by a second thread that follows
the writer: so it describes what is stored. When all is written and the second thread is still behind, a CRC, whose
parts can be joined, is finished by both: the writer sums from the end until they meet.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, Self

from depot_lite.errors import StorageFailed
from depot_lite.io.checksums import CHECKSUMS, Crc32

#: How far one call copies: little at first, so that the thread behind can begin, then as much as was copied already.
#: After each call the two threads may wait for one another, and on a busy machine the other has no processor just then.
_FIRST_STEP: Final = 4 * 1024 * 1024
_STEP: Final = 32 * 1024 * 1024
_STREAM_STEP: Final = 1024 * 1024
_READ_BACK: Final = 1024 * 1024
#: What is behind by less than this is read back at the end, without a second thread.
_WORTH_A_THREAD: Final = 8 * 1024 * 1024

#: The file systems or the kernel cannot do it this way for these two files; some sandboxes answer EPERM.
_TRY_ANOTHER: Final = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTSOCK, errno.EPERM}
)


class DataFile:
    """A new file that is being written. Every method may fail with an OSError; the file is the caller's to remove."""

    def __init__(self, descriptor: int, algorithm: str | None, mode: int | None) -> None:
        #: Bytes written so far.
        self.length = 0
        self._descriptor = descriptor
        self._mode = mode
        self._behind = None if algorithm is None else _ReadingBehind(descriptor, algorithm)

    @classmethod
    def create(cls, path: str, algorithm: str | None, mode: int | None) -> Self:
        """Make an empty file that was not there before. It gets its permissions when it is finished.

        Args:
            algorithm: a key of `CHECKSUMS`, or None for no checksum.
            mode: the permissions; None leaves them to the umask.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return cls(os.open(path, flags, 0o666 if mode is None else 0o600), algorithm, mode)

    @classmethod
    def adopt(cls, path: str, source: Path, algorithm: str | None, mode: int | None) -> Self | None:
        """Give the file ``source`` the name ``path`` too, so that no byte moves; None where that cannot be.

        It cannot across file systems, where hard links are unknown or forbidden, and must not where the file has more
        names (who writes to one of them would change ours) or is someone else's.
        """
        try:
            found = os.stat(source, follow_symlinks=False)
            if found.st_nlink != 1 or found.st_uid != os.geteuid():
                return None
            os.link(source, path, follow_symlinks=False)
        except OSError:
            return None
        file = cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), algorithm, mode)
        file._advance(os.fstat(file._descriptor).st_size)
        return file

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            view = view[written:]
            self._advance(written)

    def stream(self, source: BinaryIO) -> None:
        """Add all that ``source`` gives."""
        while chunk := source.read(_STREAM_STEP):
            self.write(chunk)

    def copy(self, source: int, size: int) -> None:
        """Fill the file with the first ``size`` bytes of another descriptor, whose position stays as it is."""
        ways = list(_WAYS)
        while self.length < size:
            step = min(max(self.length, _FIRST_STEP), _STEP, size - self.length)
            try:
                copied = ways[0](source, self._descriptor, step, self.length)
            except OSError as error:
                if len(ways) == 1 or error.errno not in _TRY_ANOTHER:
                    raise
                copied = 0
            # Nothing copied is the end of the source for certain only when it was read: over some file systems the
            # kernel's calls say 0 instead of an error.
            if not copied and len(ways) == 1:
                raise StorageFailed(f"the content shrank while it was stored: {self.length} of {size} bytes were there")
            if copied:
                self._advance(copied)
            else:
                del ways[0]

    def _advance(self, count: int) -> None:
        self.length += count
        if self._behind is not None:
            self._behind.follow(self.length)

    def finish(self, *, durable: bool) -> str | None:
        """Set the permissions, bring the bytes to the disk if they shall be durable, return ``algorithm:digest``."""
        if self._mode is not None:
            os.fchmod(self._descriptor, self._mode)
        if durable:
            os.fsync(self._descriptor)
        return None if self._behind is None else self._behind.result(self.length)

    def close(self) -> None:
        """Close the file, finished or not; a second time does nothing."""
        if self._behind is not None:
            self._behind.stop()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _ReadingBehind:
    """The checksum of a file that grows: what is written is read back, by a thread once it is worth one."""

    def __init__(self, descriptor: int, algorithm: str) -> None:
        self._descriptor = descriptor
        self._algorithm = algorithm
        self._sum = CHECKSUMS[algorithm]()
        # What is between them is for who comes first to take; above is not written yet, or taken from the end.
        self._low = 0
        self._high = 0
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def follow(self, written: int) -> None:
        """Learn how much there is."""
        with self._changed:
            self._high = written
            self._changed.notify()
        if self._thread is None and written - self._low >= _WORTH_A_THREAD:
            thread = threading.Thread(target=self._run, name="depot_lite checksum")
            # There may be none to be had (a limit, the end of the process). Then all is read back at the end.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        try:
            self._sum_up()
        # Any: what it took and did not sum is missing from the checksum.
        except Exception as error:
            self._error = error

    def _sum_up(self) -> None:
        buffer = memoryview(b"")
        while count := self._take():
            if len(buffer) < count:
                buffer = memoryview(bytearray(count))
            part = buffer[:count]
            self._read(part, self._low - count)
            self._sum.update(part)

    def _take(self) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._high > self._low)
            count = max(min(_READ_BACK, self._high - self._low), 0)
            self._low += count
            return count

    def _take_from_the_end(self) -> tuple[int, int]:
        with self._changed:
            count = max(min(_READ_BACK, self._high - self._low), 0)
            self._high -= count
            return self._high, count

    def _read(self, part: memoryview, offset: int) -> None:
        while part:
            count = os.preadv(self._descriptor, [part], offset)
            if not count:
                raise OSError(errno.EIO, "what was written cannot be read back")
            part, offset = part[count:], offset + count

    def result(self, length: int) -> str:
        """Return ``algorithm:digest`` of the first ``length`` bytes, which are all written; raise what went wrong."""
        self._end(length)
        if self._thread is None:
            self._sum_up()
        elif isinstance(self._sum, Crc32):
            self._meet(self._thread, self._sum)
        else:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return f"{self._algorithm}:{self._sum.hexdigest()}"

    def _meet(self, thread: threading.Thread, front: Crc32) -> None:
        parts: list[tuple[Crc32, int]] = []
        buffer = memoryview(bytearray(_READ_BACK))
        while (taken := self._take_from_the_end())[1]:
            offset, count = taken
            self._read(buffer[:count], offset)
            parts.append((Crc32(), count))
            parts[-1][0].update(buffer[:count])
        thread.join()
        for part, count in reversed(parts):
            front.join(part, count)

    def stop(self) -> None:
        """Give up what was not read yet."""
        self._end(0)
        if self._thread is not None:
            self._thread.join()

    def _end(self, written: int) -> None:
        with self._changed:
            self._ended, self._high = True, written
            self._changed.notify()


def _by_copy_file_range(source: int, target: int, count: int, offset: int) -> int:
    return os.copy_file_range(source, target, count, offset, offset)


def _by_sendfile(source: int, target: int, count: int, offset: int) -> int:
    os.lseek(target, offset, os.SEEK_SET)
    return os.sendfile(target, source, offset, count)


def _by_read_and_write(source: int, target: int, count: int, offset: int) -> int:
    return os.pwrite(target, os.pread(source, min(count, _STREAM_STEP), offset), offset)


_WAYS: Final = [
    way
    for call, way in (
        ("copy_file_range", _by_copy_file_range),
        ("sendfile", _by_sendfile),
        ("pread", _by_read_and_write),
    )
    if hasattr(os, call)
]
