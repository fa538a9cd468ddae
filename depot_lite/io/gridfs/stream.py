"""The bytes of a file in GridFS: cut into chunks on their way in, put together on their way out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final, cast

from bson import ObjectId
from pymongo.collection import Collection

from depot_lite.errors import StorageFailed
from depot_lite.io.gridfs.errors import translating
from depot_lite.io.objects.metadata import format_crc32
from depot_lite.io.objects.readers import PiecewiseReader

#: The size that drivers cut files into: a little under a power of two, so that the document is one at most.
CHUNK: Final = 255 * 1024
#: How many bytes of chunks travel at once, either way. A message of MongoDB's has 48 MB at most.
_BATCH: Final = 16 * CHUNK


class ChunkWriter:
    """Stores what it reads as the chunks of one file, and knows then how much that was."""

    def __init__(self, chunks: Collection[dict[str, Any]], generation: ObjectId) -> None:
        self._chunks = chunks
        self._generation = generation
        #: How many bytes were stored.
        self.length = 0
        self._sum = 0

    @property
    def checksum(self) -> str:
        """The checksum of what was stored."""
        return format_crc32(self._sum)

    def take(self, source: BinaryIO) -> None:
        """Store all that a source gives."""
        batch: list[dict[str, Any]] = []
        for number, data in enumerate(_pieces(source)):
            batch.append({"files_id": self._generation, "n": number, "data": data})
            self._sum = zlib.crc32(data, self._sum)
            self.length += len(data)
            if len(batch) * CHUNK >= _BATCH:
                self._chunks.insert_many(batch)
                batch = []
        if batch:
            self._chunks.insert_many(batch)


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    """Yield bytes of one chunk each; only the last may have less. A stream may give them in smaller ones."""
    held = bytearray()
    while data := source.read(CHUNK - len(held)):
        held += data
        if len(held) == CHUNK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


class ChunkReader(PiecewiseReader):
    """The content of a file, which is asked for page by page: no cursor is left open on the server, or lost there.

    A page is what is wanted now, and twice as much as the one before as long as reading goes on where that ended.

    Args:
        document: what the collection of files has of it.
        what: what is being done, for messages.
        renewed: returns the document again. Who begins to read when another has replaced the file is given the new one,
            of which this tells its owner; in the middle it is too late.
    """

    def __init__(
        self,
        chunks: Collection[dict[str, Any]],
        document: Mapping[str, Any],
        what: str,
        renewed: Callable[[], Mapping[str, Any]],
    ) -> None:
        super().__init__(int(document["length"]))
        self._chunks = chunks
        self._what = what
        self._renewed = renewed
        self._describe(document)
        # The number of the first chunk of the page, and the page; how many the next may have.
        self._first, self._page = 0, list[bytes]()
        self._ahead = 1
        self._begun = False

    def _describe(self, document: Mapping[str, Any]) -> None:
        self._id = document["_id"]
        self._length = int(document["length"])
        self._size = int(document["chunkSize"])

    def read(self, size: int | None = -1, /) -> bytes:
        """Return ``size`` bytes, fewer at the end only, all of them if it is negative or None.

        Raises:
            StorageFailed: chunks are missing, or the server does not give them.
        """
        self._begin(size)
        return super().read(size)

    def _begin(self, size: int | None) -> None:
        """Make sure of the file: from here on it is this one, whoever replaces it, or an error."""
        while not self._begun and self._position < self._length:
            if self._fetch(self._length if size is None or size < 0 else size):
                self._begun = True
            elif self._is_replaced():
                if self._position:
                    raise StorageFailed(f"cannot {self._what}: it was replaced while it was read")
            else:
                raise self._damaged(f"chunk {self._position // self._size} is missing")

    def _is_replaced(self) -> bool:
        before, document = self._id, self._renewed()
        self._describe(document)
        return bool(before != self._id)

    def _piece(self, wanted: int) -> bytes:
        number, start = divmod(self._position, self._size)
        if not self._first <= number < self._first + len(self._page) and not self._fetch(wanted):
            self._renewed()  # raises if the file was deleted
            raise StorageFailed(f"cannot {self._what}: it was replaced while it was read, or chunk {number} is missing")
        data = self._page[number - self._first]
        return data[start : start + wanted] if start or wanted < len(data) else data

    def _fetch(self, wanted: int) -> bool:
        """Get the chunk at the position and some of those behind it; return whether it is there."""
        number = self._position // self._size
        goes_on = bool(self._page) and number == self._first + len(self._page)
        needed = (self._position + wanted - 1) // self._size - number + 1
        most = max(1, _BATCH // self._size)
        # Not beyond the end: an empty chunk behind it, which some drivers wrote, is none of the file.
        left = -(-self._length // self._size) - number
        count = min(max(needed, 1, self._ahead if goes_on else 1), most, left)
        self._ahead = min(2 * count, most)
        numbers = {"$gte": number, "$lt": number + count}
        # One more than can be found, so that the server knows that nothing follows.
        with translating(self._what):
            found = list(self._chunks.find({"files_id": self._id, "n": numbers}, batch_size=count + 1).sort("n", 1))
        self._first, self._page = number, self._checked(number, found)
        return bool(found)

    def _checked(self, number: int, found: list[dict[str, Any]]) -> list[bytes]:
        page = []
        for expected, each in enumerate(found, number):
            data = cast(bytes, each["data"])
            if each["n"] != expected:
                raise self._damaged(f"chunk {expected} is missing")
            if len(data) != min(self._size, self._length - expected * self._size):
                raise self._damaged(f"chunk {expected} has {len(data)} bytes")
            page.append(data)
        return page

    def _damaged(self, how: str) -> StorageFailed:
        return StorageFailed(f"cannot {self._what}: it is damaged, {how}")
