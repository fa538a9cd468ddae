"""The bytes of an object of a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from depot_lite.io.objects.readers import ResumingReader
from depot_lite.io.objectstore.errors import ERRORS


class ChunkedBody:
    """A body that comes in chunks.

    Args:
        stream: the chunks.
        following: returns the next chunk, None at the end.
        first: the bytes that have come already.
    """

    def __init__(self, stream: Any, following: Callable[[Any], Any], first: bytes | memoryview = b"") -> None:
        self._stream = stream
        self._following = following
        #: The rest of the last chunk.
        self.rest = memoryview(first)

    def read(self, size: int) -> memoryview:
        """Return up to ``size`` bytes of one chunk, none at the end."""
        while not self.rest:
            chunk = self._following(self._stream)
            if chunk is None:
                break
            self.rest = memoryview(chunk)
        piece, self.rest = self.rest[:size], self.rest[size:]
        return piece

    def close(self) -> None:
        """Let the stream go, and its connection with it."""
        self._stream = None
        self.rest = memoryview(b"")


class ObjectReader(ResumingReader[ChunkedBody]):
    """The bytes of an object, in chunks."""

    table = ERRORS
    nearby = 256 * 1024
    # obstore has repeated the request already.
    patience = 1
    # obstore manages connections by itself, and nothing can be awaited during garbage collection.
    leftover = -1

    def _take(self, body: ChunkedBody, size: int) -> memoryview:
        return body.read(size)

    def _nearby(self) -> int:
        return max(self.nearby, 0 if self._body is None else len(self._body.rest))
