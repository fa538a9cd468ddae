"""The program of a `depot_lite.previews.pool.PreviewProcess`."""

from __future__ import annotations

import io
import json
import os
import resource
import socket
import struct
import sys
from collections import OrderedDict
from typing import Any, BinaryIO, Final, cast

from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.images import Rendition
from depot_lite.images.source import import_decoders
from depot_lite.images.worker import limit_memory, limit_time, receive, used_memory
from depot_lite.images.writing import save
from depot_lite.previews import pdf, text, video
from depot_lite.previews.pool import MAX_PART

#: The parts of a file that are kept, since decoders come back to them.
_PARTS: Final = 32


def main() -> None:
    """Answer questions until the other process ends; the arguments are a descriptor, bytes and seconds."""
    number, memory, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # decoders write no files
    import_decoders()
    libraries = _Libraries(memory)
    with socket.socket(fileno=number) as connection:
        connection.sendall(b"+")
        while len(head := receive(connection, 4)) == 4:
            request = json.loads(receive(connection, struct.unpack(">I", head)[0]))
            connection.sendall(b"+")
            answer, data = _answer(connection, request, libraries, seconds)
            encoded = json.dumps(answer).encode()
            connection.sendall(b"." + struct.pack(">I", len(encoded)) + encoded)
            connection.sendall(data)


class _Libraries:
    """The decoders that were loaded, without which memory is counted."""

    def __init__(self, memory: int) -> None:
        self._memory, self._loaded = memory, {"text"}
        self._before = used_memory()

    def load(self, kind: str) -> None:
        """Import the libraries that a kind of preview needs, and limit the memory."""
        if kind not in self._loaded:
            used = used_memory()
            limit_memory(self._memory, (self._before or 0) + 1024**3)
            (pdf if kind == "pdf" else video).library()
            self._loaded.add(kind)
            self._before = (self._before or 0) + max(0, (used_memory() or 0) - (used or 0))
        limit_memory(self._memory, self._before)


def _answer(
    connection: socket.socket, request: dict[str, Any], libraries: _Libraries, seconds: float
) -> tuple[dict[str, Any], bytes]:
    answer: dict[str, Any] = {"info": None, "renditions": {}}
    try:
        libraries.load(request["kind"])
        limit_time(seconds)
        with io.BufferedReader(RemoteFile(connection, request["size"])) as file:
            made = _preview(request["kind"], cast(BinaryIO, file), request["content_type"], seconds)
    except ConfigurationError as error:
        return {"misconfigured": str(error)}, b""
    except ImageRefused as error:
        return {"refused": [error.message, error.rule, None, None]}, b""
    except MemoryError:
        return {"refused": ["the preview needs more memory than there is", "memory", None, None]}, b""
    except (TypeError, AttributeError, ImportError) as error:  # a version of a library that is not known here
        return {"misconfigured": f"previews of the kind {request['kind']!r} fail: {error!r}"}, b""
    except Exception as error:  # of decoders, which broken data makes nearly arbitrary
        return {"refused": [f"no preview can be made: {type(error).__name__}", "decodable", None, None]}, b""
    answer["renditions"][""] = ["BMP", made.width, made.height, len(made.data)]
    return answer, made.data


def _preview(kind: str, file: BinaryIO, content_type: str, seconds: float) -> Rendition:
    match kind:
        case "pdf":
            picture = pdf.first_page(file)
        case "video":
            picture = video.frame(file, content_type, seconds / 2)
        case _:
            picture = text.first_lines(file)
    return save([picture], "BMP", {})


class RemoteFile(io.RawIOBase):
    """A file that the other process reads, in parts that are kept for a while."""

    def __init__(self, connection: socket.socket, size: int) -> None:
        self._connection, self._size, self._position = connection, size, 0
        self._parts: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position, and return it."""
        start = (0, self._position, self._size)[whence]
        if start + offset < 0:
            raise ValueError("a position before the file")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer from one part of the file, and return the number of bytes."""
        number, begin = divmod(self._position, MAX_PART)
        data = self._part(number)[begin : begin + len(buffer)] if self._position < self._size else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _part(self, number: int) -> bytes:
        if number in self._parts:
            self._parts.move_to_end(number)
            return self._parts[number]
        self._connection.sendall(b"r" + struct.pack(">QI", number * MAX_PART, MAX_PART))
        length = receive(self._connection, 4)
        if len(length) < 4:  # the other process has closed the connection; decoders would try to go on
            os._exit(1)
        data = receive(self._connection, struct.unpack(">I", length)[0])
        self._parts[number] = data
        if len(self._parts) > _PARTS:
            self._parts.popitem(last=False)
        return data
