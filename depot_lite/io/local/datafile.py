"""DataFile: the bytes of a local file while they are written, with their checksum.

Large content is copied by the kernel (``copy_file_range``, which shares blocks if the file system can, else
``sendfile``). The checksum describes the stored bytes: a second thread follows the writer and reads them back from the
page cache. If it is still behind when all bytes are written, both threads complete a CRC, whose parts can be joined:
the writer sums from the end until they meet.
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

#: The bytes per call: few at first, so that the second thread can start, then as many as were copied so far. After each
#: call the threads may wait for each other, which on a busy machine takes long.
_FIRST_STEP: Final = 4 * 1024 * 1024
_STEP: Final = 32 * 1024 * 1024
_STREAM_STEP: Final = 1024 * 1024
_READ_BACK: Final = 1024 * 1024
#: If fewer bytes than this are to be read back, it is done at the end, without a second thread.
_WORTH_A_THREAD: Final = 8 * 1024 * 1024

#: The file systems or the kernel do not support a call for these two files; some sandboxes raise EPERM.
_UNSUPPORTED: Final = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTSOCK, errno.EPERM}
)


class DataFile:
    """A new file that is being written. Every method may raise an OSError; then the caller removes the file."""

    def __init__(self, descriptor: int, algorithm: str | None, mode: int | None) -> None:
        #: Bytes written so far.
        self.length = 0
        self._descriptor = descriptor
        self._mode = mode
        self._behind = None if algorithm is None else _FollowingChecksum(descriptor, algorithm)

    @classmethod
    def create(cls, path: str, algorithm: str | None, mode: int | None) -> Self:
        """Create an empty file, which must not exist. It gets its permissions when it is finished.

        Args:
            algorithm: a key of `CHECKSUMS`, or None for no checksum.
            mode: the permissions; None to apply the umask.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return cls(os.open(path, flags, 0o666 if mode is None else 0o600), algorithm, mode)

    @classmethod
    def adopt(cls, path: str, source: Path, algorithm: str | None, mode: int | None) -> Self | None:
        """Link the file ``source`` to ``path``, so that no byte is copied; return None if that is not possible.

        It is not possible across file systems, or if hard links are unsupported or forbidden. It is not done if the
        file has other names, by which it could be changed later, or another owner.
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
        """Append bytes."""
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            view = view[written:]
            self._advance(written)

    def stream(self, source: BinaryIO) -> None:
        """Append all bytes of ``source``."""
        while chunk := source.read(_STREAM_STEP):
            self.write(chunk)

    def copy(self, source: int, size: int) -> None:
        """Fill the file with the first ``size`` bytes of another descriptor, whose position does not change."""
        calls = list(_COPY_CALLS)
        while self.length < size:
            step = min(max(self.length, _FIRST_STEP), _STEP, size - self.length)
            try:
                copied = calls[0](source, self._descriptor, step, self.length)
            except OSError as error:
                if len(calls) == 1 or error.errno not in _UNSUPPORTED:
                    raise
                copied = 0
            # On some file systems the kernel's calls return 0 instead of an error. So 0 means the end of the source
            # only if it was read.
            if not copied and len(calls) == 1:
                raise StorageFailed(f"the content shrank while it was stored: expected {size} bytes, got {self.length}")
            if copied:
                self._advance(copied)
            else:
                del calls[0]

    def _advance(self, count: int) -> None:
        self.length += count
        if self._behind is not None:
            self._behind.follow(self.length)

    def finish(self, *, durable: bool) -> str | None:
        """Set the permissions, sync the file if ``durable``, and return ``algorithm:digest``, or None."""
        if self._mode is not None:
            os.fchmod(self._descriptor, self._mode)
        if durable:
            os.fsync(self._descriptor)
        return None if self._behind is None else self._behind.result(self.length)

    def close(self) -> None:
        """Close the file, finished or not; closing it again does nothing."""
        if self._behind is not None:
            self._behind.stop()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _FollowingChecksum:
    """The checksum of a growing file: its bytes are read back, by a thread if there are enough."""

    def __init__(self, descriptor: int, algorithm: str) -> None:
        self._descriptor = descriptor
        self._algorithm = algorithm
        self._sum = CHECKSUMS[algorithm]()
        # The bytes from low to high are to be summed, by either thread; those above are not written yet, or summed
        # already from the end.
        self._low = 0
        self._high = 0
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def follow(self, written: int) -> None:
        """Note the number of bytes written so far."""
        with self._changed:
            self._high = written
            self._changed.notify()
        if self._thread is None and written - self._low >= _WORTH_A_THREAD:
            thread = threading.Thread(target=self._run, name="depot_lite checksum")
            # No thread may be available (a limit, the end of the process). Then all bytes are read back at the end.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        try:
            self._sum_up()
        # Any error: the bytes taken and not summed are missing from the checksum.
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
                raise OSError(errno.EIO, "written bytes cannot be read back")
            part, offset = part[count:], offset + count

    def result(self, length: int) -> str:
        """Return ``algorithm:digest`` of all ``length`` bytes, or raise the error of the thread."""
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
        """End the thread without reading the rest."""
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


_COPY_CALLS: Final = [
    function
    for name, function in (
        ("copy_file_range", _by_copy_file_range),
        ("sendfile", _by_sendfile),
        ("pread", _by_read_and_write),
    )
    if hasattr(os, name)
]
