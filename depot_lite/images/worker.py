"""The program of a `depot_lite.images.processes.WorkerProcess`."""

from __future__ import annotations

import json
import math
import os
import pickle
import resource
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from depot_lite import images
from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.images.budget import BUDGET
from depot_lite.images.headers import CONTENT_TYPES
from depot_lite.images.source import import_decoders

_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    each.__name__: each for each in (images.probe, images.verify_image, images.render, images.strip)
}

_NAMES: Final = {content_type: name for name, content_type in CONTENT_TYPES.items()}


def main() -> None:
    """Answer requests until the other process ends; the arguments are a descriptor, bytes and seconds."""
    number, memory, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    import_decoders()
    BUDGET.largest, BUDGET.longest = memory, math.inf
    limit_memory(memory)
    with socket.socket(fileno=number) as connection:
        connection.sendall(b"+")
        while True:
            head, descriptors, _, _ = socket.recv_fds(connection, 4, 1)
            if len(head) < 4 or not descriptors:
                return
            request = receive(connection, struct.unpack(">I", head)[0])
            connection.sendall(b"+")
            limit_time(seconds)
            with open(descriptors[0], "rb") as file:
                name, arguments, options = pickle.loads(request)  # noqa: S301 - from the process that started this one
                answer, data = _answer(file, name, arguments, options)
            encoded = json.dumps(answer).encode()
            connection.sendall(struct.pack(">I", len(encoded)) + encoded)
            for each in data:
                connection.sendall(each)


def receive(connection: socket.socket, size: int) -> bytes:
    """Return this many bytes, or less if the other process has ended."""
    data = b""
    while len(data) < size and (part := connection.recv(size - len(data))):
        data += part
    return data


def limit_memory(memory: int, before: int | None = None) -> None:
    """Limit the memory of this process to so many bytes more than it has taken so far."""
    _limit(resource.RLIMIT_CORE, 0)
    if (used := used_memory()) is not None:
        _limit(resource.RLIMIT_AS, (used if before is None else before) + memory)


def used_memory() -> int | None:
    """Return the bytes of addresses that this process uses; None on systems that do not enforce their limit."""
    if not os.path.exists("/proc/self/statm"):  # only Linux has it
        return None
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def limit_time(seconds: float) -> None:
    """Limit the processor time of this process to so many seconds more than it has taken so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    # Whole seconds only: at least as many as requested.
    _limit(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime + seconds) + 1)


def _limit(kind: int, limit: int) -> None:
    """Set a limit, within the one that cannot be raised."""
    highest = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (limit if highest == resource.RLIM_INFINITY else min(limit, highest), highest))


def _answer(
    file: BinaryIO, name: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[dict[str, Any], list[bytes]]:
    try:
        found = _FUNCTIONS[name](file, *arguments, **options)
    except ImageRefused as error:
        limit = error.limit if isinstance(error.limit, int | float | str) else None
        value = error.value if isinstance(error.value, int | float | str) else None
        return {"refused": [error.message, error.rule, limit, value]}, []
    except MemoryError:
        return {"refused": ["the image needs more memory than there is", "memory", BUDGET.largest, None]}, []
    except ConfigurationError as error:
        return {"misconfigured": str(error)}, []
    if isinstance(found, images.ImageInfo):
        return {"kind": "info", "info": _info(found), "renditions": {}}, []
    info, made = found if isinstance(found, tuple) else (None, {} if found is None else {"": found})
    entries = {
        name: [_NAMES[each.content_type], each.width, each.height, len(each.data)] for name, each in made.items()
    }
    kind = "rendition" if info is None else "all"
    answer = {"kind": kind, "info": None if info is None else _info(info), "renditions": entries}
    return answer, [each.data for each in made.values()]


def _info(info: images.ImageInfo) -> list[Any]:
    return [info.format, info.width, info.height, info.frames, info.has_alpha]
