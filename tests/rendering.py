"""A process that makes variants on demand, and may be killed while it does.

    python -m tests.rendering <folder> <file id> <point>

It says ``ready``, makes the variant when it is told to, for fifty threads at once, and prints how often it has rendered
and the variant's checksum. At a point, ``rendering`` or ``storing``, it says so and waits to be killed.
"""

from __future__ import annotations

import hashlib
import io
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from depot_lite import images, rendering
from depot_lite.depots import Depots
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.local import LocalFileStorage

RECIPE: Final = Thumbnail(64, 64, format="PNG", make="on_demand")
FIELD: Final = UploadedFileField(upload_type=UploadedImage, variants={"small": RECIPE})

_render: Final = images.render
_rendered: Final[list[None]] = []


def wait(point: str) -> None:
    """Say that the process has come to this point, and wait for its end."""
    say(point)
    threading.Event().wait()


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class HalfStored(LocalFileStorage):
    """A folder in which only the first half of a file is stored."""

    def _save(self, file_id: str, content: Content) -> FileInfo:
        with content.open() as file:
            return super()._save(file_id, Content.of(_Half(file.read()), content.filename, content.content_type))


class _Half(io.RawIOBase):
    """A stream that waits after its first half."""

    def __init__(self, data: bytes) -> None:
        self._parts = [data[: len(data) // 2]]

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._parts:
            wait("storing")
        return self._parts.pop()


def main(folder: str, file_id: str, point: str) -> None:
    """Make the variant."""

    def render(*args: Any, **options: Any) -> Any:
        _rendered.append(None)
        if point == "rendering":
            wait(point)
        return _render(*args, **options)

    images.render = render
    Depots.configure("default", (HalfStored if point == "storing" else LocalFileStorage)(folder, durable=False))
    say("ready")
    sys.stdin.readline()
    with ThreadPoolExecutor(50) as threads:
        sums = set(threads.map(lambda _: checksum(file_id), range(50)))
    say(f"{len(_rendered)} {' '.join(sums)}")


def checksum(file_id: str) -> str:
    """Return the checksum of the variant."""
    with rendering.made_file(Depots.find("default"), file_id, RECIPE.fingerprint) as file:
        return hashlib.sha256(file.read()).hexdigest()


if __name__ == "__main__":
    main(*sys.argv[1:])
