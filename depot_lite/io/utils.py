"""The names of filedepot's ``depot.io.utils``."""

from __future__ import annotations

import io
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from depot_lite.io.content import CHUNK_SIZE, INMEMORY_FILESIZE, Content, FileIntent
from depot_lite.io.content.sources import reading

__all__ = ["INMEMORY_FILESIZE", "FileIntent", "file_from_content"]


def file_from_content(content: object) -> tuple[bool, BinaryIO]:
    """Return whether the caller has to close the file, and the file itself, at its start (filedepot's helper)."""
    found = Content.of(content)
    source = found.source
    if isinstance(source, bytes):
        return True, io.BytesIO(source)
    if isinstance(source, Path):
        return True, source.open("rb")
    if not found.single_use:
        with reading(source):
            source.seek(0)
        return False, source
    with ExitStack() as closing:
        file = closing.enter_context(tempfile.SpooledTemporaryFile(INMEMORY_FILESIZE))
        with found.open() as opened:
            while chunk := opened.read(CHUNK_SIZE):
                file.write(chunk)
        file.seek(0)
        closing.pop_all()  # from here on the caller closes it
        return True, cast(BinaryIO, file)
