"""The names of filedepot's ``depot.io.utils``; they are defined in `depot_lite.io.content`."""

from __future__ import annotations

from depot_lite.io.content import INMEMORY_FILESIZE, FileIntent, file_from_content

__all__ = ["INMEMORY_FILESIZE", "FileIntent", "file_from_content"]
