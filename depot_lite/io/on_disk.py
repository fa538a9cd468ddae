"""`OnDisk`: a file under a path, for programs that take no streams: ffmpeg, pandas, virus scanners.

The file is a link if its bytes are on this machine already, and a temporary file otherwise.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Final

from depot_lite.io.content import CHUNK_SIZE, Content
from depot_lite.io.media_types.vocabulary import with_usual_extension

# A suffix beyond this is no suffix that a program goes by.
_LONGEST_SUFFIX: Final = 16


@dataclass(frozen=True, slots=True)
class DiskSource:
    """The bytes of a file: their name and type, their path if they are on this machine, and how to read them."""

    filename: str
    content_type: str
    path: Path | None
    open: Callable[[], BinaryIO]


def content_source(content: Content, filename: str, content_type: str, closing: ExitStack) -> DiskSource:
    """Return the bytes of content. A stream is kept in a temporary file, so that it can still be stored."""
    content.spool()
    return DiskSource(filename, content_type, content.path, lambda: closing.enter_context(content.open()))


class OnDisk:
    """A context manager, with ``with`` or ``async with``, that gives the path of a file and removes it at its end.

    The path has the suffix of the file's name, or else one of its type, in a folder that only this user can read. It
    must only be read: it may be the stored file itself. It can be used again, but not twice at the same time.

    Args:
        find: returns the bytes; files that it opens are pushed to the stack.

    Raises:
        StoredFileNotFound: the file does not exist any more.
        StorageFailed: the storage failed, or the bytes do not match their checksum.
        RuntimeError: it is in use already.
    """

    def __init__(self, find: Callable[[ExitStack], DiskSource]) -> None:
        self._find = find
        self._closing: ExitStack | None = None

    def __enter__(self) -> Path:
        if self._closing is not None:
            raise RuntimeError("this path is in use: call on_disk() again for another one")
        with ExitStack() as closing:
            folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="depot-lite-"))
            with ExitStack() as reading:
                found = self._find(reading)
                path = Path(folder) / f"file{_suffix(found)}"
                if found.path is None or not _link(found.path, path):
                    with path.open("xb") as file:
                        shutil.copyfileobj(found.open(), file, CHUNK_SIZE)
            self._closing = closing.pop_all()
        return path

    def __exit__(self, *_: object) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing.close()

    async def __aenter__(self) -> Path:
        entering = asyncio.ensure_future(asyncio.to_thread(self.__enter__))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The thread cannot be stopped, and the file that it makes has to be removed.
            entering.add_done_callback(self._remove)
            raise

    def _remove(self, entered: asyncio.Future[Path]) -> None:
        if not entered.cancelled() and entered.exception() is None:
            self.__exit__()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.__exit__)


def _suffix(found: DiskSource) -> str:
    suffix = PurePath(found.filename).suffix
    if not suffix:
        suffix = PurePath(with_usual_extension("file", found.content_type) or "").suffix
    return suffix if len(suffix) <= _LONGEST_SUFFIX else ""


def _link(source: Path, target: Path) -> bool:
    """Link a file, and return False if this system or these folders allow no link.

    A hard link keeps the bytes if the stored file is deleted meanwhile; it needs the same file system.
    """
    for link in (os.link, os.symlink):
        try:
            link(source.resolve(strict=True), target)
        except (OSError, NotImplementedError):
            continue
        return True
    return False
