"""The bytes of a file in GridFS: divided into chunks when written, joined when read."""

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

#: The default of the drivers: a little less than a power of two, so that a chunk's document does not exceed one.
CHUNK: Final = 255 * 1024
#: How many bytes of chunks one request transfers: as pymongo counts, a whole message has to pass within one timeout.
_BATCH: Final = 4 * CHUNK


class ChunkWriter:
    """Writer of the chunks of one file, with their length and checksum."""

    def __init__(self, chunks: Collection[dict[str, Any]], generation: ObjectId) -> None:
        self._chunks = chunks
        self._generation = generation
        #: The number of stored bytes.
        self.length = 0
        self._sum = 0

    @property
    def checksum(self) -> str:
        """The checksum of the stored bytes."""
        return format_crc32(self._sum)

    def take(self, source: BinaryIO) -> None:
        """Store all bytes of a source."""
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
    """Yield the bytes of each chunk; only the last may be shorter. The stream may return smaller pieces."""
    held = bytearray()
    while data := source.read(CHUNK - len(held)):
        held += data
        if len(held) == CHUNK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


class ChunkReader(PiecewiseReader):
    """The content of a file, read page by page: no cursor stays open on the server, or is lost there.

    A page has the requested bytes, and twice as many as the page before while reading is sequential.

    Args:
        document: the file's document.
        what: the attempt, for messages.
        renewed: returns the file's current document, and updates the owner's info. If the file is replaced before
            reading begins, the new version is read; later, reading fails.
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
        # The number of the first chunk of the page; the page; how many chunks the next may have.
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
            StorageFailed: chunks are missing, or the server does not send them.
        """
        self._begin(size)
        return super().read(size)

    def _begin(self, size: int | None) -> None:
        """Settle which version is read. From here on it is this one, or an error."""
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

    def _piece(self, size: int) -> bytes:
        number, start = divmod(self._position, self._size)
        if not self._first <= number < self._first + len(self._page) and not self._fetch(size):
            self._renewed()  # raises if the file was deleted
            raise StorageFailed(f"cannot {self._what}: it was replaced while it was read, or chunk {number} is missing")
        data = self._page[number - self._first]
        return data[start : start + size] if start or size < len(data) else data

    def _fetch(self, size: int) -> bool:
        """Get the chunk at the position and some after it; return whether it exists."""
        number = self._position // self._size
        goes_on = bool(self._page) and number == self._first + len(self._page)
        needed = (self._position + size - 1) // self._size - number + 1
        most = max(1, _BATCH // self._size)
        # Not beyond the end: an empty chunk there, which some drivers wrote, does not belong to the file.
        left = -(-self._length // self._size) - number
        count = min(max(needed, 1, self._ahead if goes_on else 1), most, left)
        self._ahead = min(2 * count, most)
        numbers = {"$gte": number, "$lt": number + count}
        # One more than possible, so that the server knows that nothing follows.
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
