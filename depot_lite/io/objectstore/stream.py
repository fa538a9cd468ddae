"""The bytes of an object on their way out, with seeking and resuming."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, Final, cast

from depot_lite.errors import DepotError
from depot_lite.io.interfaces import FileInfo, StoredFile
from depot_lite.io.objects.readers import PiecewiseReader
from depot_lite.io.objectstore.errors import OBSTORE_ERRORS, translating

#: A gap up to this much is read over: a new request takes longer.
_CHEAP: Final = 256 * 1024
#: How often in a row a body may break off before any more of it has come.
_TRIES: Final = 4


class ObjectReader(PiecewiseReader):
    """The bytes of an object, from the body that came with it and, after a seek or a break, from a range of it.

    Args:
        body: what is on its way.
        first: what has come of it already.
        length: how many bytes there are.
        what: the attempt, for errors.
        following: how the next chunk of a body is had; None is its end.
        request: how the body from a position on is had. It is that of the same object, or an error.
    """

    def __init__(
        self,
        body: Any,
        first: memoryview,
        length: int,
        what: str,
        following: Callable[[Any], Any],
        request: Callable[[int], Any],
    ) -> None:
        super().__init__(length)
        self._body = body
        self._rest = first
        self._what = what
        self._following = following
        self._request = request
        # Where what is left of the last chunk begins.
        self._begins = 0

    def _piece(self, size: int) -> memoryview:
        """Return some of the bytes at the position, at least one."""
        for attempt in range(1, _TRIES + 1):
            try:
                self._place()
                self._fill()
                piece = self._rest[:size]
                self._skip(len(piece))
                return piece
            except DepotError:  # of the request for a range, which obstore has repeated already
                self._drop()
                raise
            except OBSTORE_ERRORS:
                self._drop()
                if attempt == _TRIES:
                    with translating(self._what):
                        raise
        raise AssertionError("the last attempt returns or raises")

    def _place(self) -> None:
        """Bring what comes next to the position."""
        gap = self._position - self._begins
        while self._body is not None and 0 < gap <= max(_CHEAP, len(self._rest)):
            self._fill()
            self._skip(min(gap, len(self._rest)))
            gap = self._position - self._begins
        if self._body is None or gap:
            self._drop()
            self._body = self._request(self._position)
            self._begins = self._position

    def _fill(self) -> None:
        while not self._rest:
            chunk = self._following(self._body)
            if chunk is None:
                raise ConnectionResetError("the body ended early")
            self._rest = memoryview(chunk)

    def _skip(self, count: int) -> None:
        self._rest = self._rest[count:]
        self._begins += count

    def _drop(self) -> None:
        """Let the body go, and its connection with it."""
        self._body = None
        self._rest = memoryview(b"")

    def close(self) -> None:
        """Let the body go; a second time does nothing."""
        self._drop()
        super().close()


class StoredObject(StoredFile):
    """A file of an `ObjectStoreStorage`, whose bytes are on their way since `get`."""

    def __init__(self, info: FileInfo, reader: ObjectReader, public_url: str | None) -> None:
        super().__init__(info, lambda: cast(BinaryIO, reader))
        self._reader = reader
        self._public_url = public_url

    @property
    def public_url(self) -> str | None:
        """The URL that needs no signature, or None where the file is not public."""
        return self._public_url

    def close(self) -> None:
        """Let the connection go, read or not; a second time does nothing."""
        if hasattr(self, "_reader"):
            self._reader.close()
        super().close()
