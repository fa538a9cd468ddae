"""What filedepot's manual imports from ``depot.io.utils``, under the same names; our own home of it is ``content``."""

from __future__ import annotations

from depot_lite.io.content import INMEMORY_FILESIZE, FileIntent, file_from_content

__all__ = ["INMEMORY_FILESIZE", "FileIntent", "file_from_content"]
