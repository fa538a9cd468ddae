"""What is written to stdout: lines to read, or one JSON document, which never is in memory as a whole."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import chain
from typing import Any, TextIO

from depot_lite.cli.failures import OutputFailed


def open_output() -> TextIO:
    """Return stdout, on which every character can be written.

    Raises:
        OutputFailed: it is closed.
    """
    stream = sys.stdout
    if stream is None or stream.closed:
        raise OutputFailed("stdout is closed, so there is nowhere to write the report to")
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def write(stream: TextIO, parts: Iterable[str]) -> None:
    """Write everything. Who reads may stop reading, as ``head`` does.

    Raises:
        OutputFailed: it cannot be written, such as on a full disk.
    """
    try:
        for part in parts:
            stream.write(part)
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        raise OutputFailed(f"the report cannot be written: {error.strerror or error}") from error


def _silence(stream: TextIO) -> None:
    """Let what is left in the buffer go nowhere: Python writes it at its end, and would complain."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def lines(text: Iterable[str]) -> Iterator[str]:
    """Yield lines with their ends."""
    return (f"{line}\n" for line in text)


def document(data: Mapping[str, Any]) -> Iterator[str]:
    r"""Yield the parts of a JSON document; an iterator in it becomes an array, element by element.

    >>> "".join(document({"files": iter([1, 2]), "done": True}))
    '{\n"files": [\n1,\n2\n],\n"done": true\n}\n'
    """
    yield "{"
    for before, (key, value) in zip(chain([""], _commas()), data.items(), strict=False):
        yield f"{before}\n{json.dumps(key)}: "
        if isinstance(value, Iterator):
            yield from _array(value)
        else:
            yield _encoded(value)
    yield "\n}\n"


def _array(elements: Iterator[Any]) -> Iterator[str]:
    yield "["
    for before, element in zip(chain([""], _commas()), elements, strict=False):
        yield f"{before}\n{_encoded(element)}"
    yield "\n]"


def _commas() -> Iterator[str]:
    while True:
        yield ","


def _encoded(value: Any) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: object) -> str:
    """Return what JSON has no word for, such as the UUID of a primary key, as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
