"""Output on stdout: readable lines and tables, or one JSON document that is never in memory as a whole."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain, islice
from typing import IO, Any, AnyStr, Final, TextIO, TypeVar

from depot_lite.cli.errors import OutputFailed

T = TypeVar("T")

#: The number of rows that a listing shows; the JSON document contains all of them.
LINES: Final = 20


def open_output() -> TextIO:
    """Return stdout, set up so that every character can be written.

    Raises:
        OutputFailed: stdout is closed.
    """
    stream = sys.stdout
    if stream is None or stream.closed:
        raise OutputFailed("stdout is closed, so there is nowhere to write the report to")
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def write(stream: TextIO, parts: Iterable[str]) -> None:
    """Write all parts; stop without an error if the reader does, as ``head`` does.

    Raises:
        OutputFailed: the stream cannot be written, for example because the disk is full.
    """
    _write(stream, stream, parts)


def write_bytes(stream: TextIO, parts: Iterable[bytes]) -> None:
    """Write all parts as `write` does, without encoding them."""
    _write(stream, stream.buffer, parts)


def _write(stream: TextIO, target: IO[AnyStr], parts: Iterable[AnyStr]) -> None:
    written = iter(parts)
    while True:
        part = next(written, None)  # an error of whatever makes the parts is not one of the stream
        try:
            if part is None:
                target.flush()
                return
            target.write(part)
        except BrokenPipeError:
            _silence(stream)
            return
        except OSError as error:
            _silence(stream)
            raise OutputFailed(f"the report cannot be written: {error.strerror or error}") from error


def _silence(stream: TextIO) -> None:
    """Redirect a broken stream to /dev/null: at exit Python flushes its buffer, and would report the error again."""
    with suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


# --- text ---------------------------------------------------------------------------------------------------------


def with_line_ends(lines: Iterable[str]) -> Iterator[str]:
    """Yield each line with its end."""
    return (f"{line}\n" for line in lines)


def printable(text: object) -> str:
    r"""Return text with all control characters escaped: names of files and keys come from users.

    >>> printable("poster\x1b[2J.png")
    'poster\\x1b[2J.png'
    """
    whole = str(text)
    if whole.isprintable():
        return whole
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in whole)


def format_number(number: int) -> str:
    """Return a number with separators.

    >>> format_number(1234567)
    '1,234,567'
    """
    return f"{number:,}"


def format_count(count: int, unit: str) -> str:
    """Return a number with its unit, given in the plural.

    >>> format_count(1, "files"), format_count(1200, "rows")
    ('1 file', '1,200 rows')
    """
    return f"{count:,} {unit.removesuffix('s') if count == 1 else unit}"


def format_table(rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> Iterator[str]:
    """Yield the indented lines of a table; ``right`` are the numbers of the columns that are aligned right."""
    cells = [[printable(each) for each in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        aligned = [
            each.rjust(width) if number in right else each.ljust(width)
            for number, (each, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(aligned)).rstrip()


def listing(
    rows: Sequence[T],
    headings: Sequence[object],
    cells: Callable[[T], Sequence[object]] | None = None,
    right: Sequence[int] = (),
) -> Iterator[str]:
    """Yield a table of the first rows and the number of the others; nothing for no rows.

    Args:
        cells: makes the cells of a row; not needed if a row is a tuple of them.
    """
    if rows:
        first: Iterable[Any] = islice(rows, LINES)
        yield ""
        yield from format_table(chain([headings], first if cells is None else map(cells, first)), right)
        if len(rows) > LINES:
            yield f"  ... and {format_number(len(rows) - LINES)} more: --json shows all"


def counts(rows: Iterable[tuple[str, int | None, str]]) -> Iterator[str]:
    """Yield a line for each name, count and remark; none where the count is None."""
    yield ""
    yield from format_table(
        [(name, format_number(count), remark) for name, count, remark in rows if count is not None], right=(1,)
    )


# --- JSON ---------------------------------------------------------------------------------------------------------


def json_document(data: Mapping[str, Any]) -> Iterator[str]:
    r"""Yield the parts of a JSON document; an iterator in it becomes an array, element by element.

    >>> "".join(json_document({"files": iter([1, 2]), "done": True}))
    '{\n"files": [\n1,\n2\n],\n"done": true\n}\n'
    """
    yield from _object(data)
    yield "\n"


def _object(data: Mapping[str, Any]) -> Iterator[str]:
    yield "{"
    for separator, (key, value) in zip(chain([""], _commas()), data.items(), strict=False):
        yield f"{separator}\n{json.dumps(key)}: "
        if isinstance(value, Iterator):
            yield from _array(value)
        elif isinstance(value, Mapping) and any(isinstance(each, Iterator) for each in value.values()):
            yield from _object(value)
        else:
            yield _encode(value)
    yield "\n}"


def _array(elements: Iterator[Any]) -> Iterator[str]:
    yield "["
    for separator, element in zip(chain([""], _commas()), elements, strict=False):
        yield f"{separator}\n{_encode(element)}"
    yield "\n]"


def _commas() -> Iterator[str]:
    while True:
        yield ","


def _encode(value: Any) -> str:
    return json.dumps(value, default=_to_text)


def _to_text(value: object) -> str:
    """Return the text of a value without a type in JSON, such as the UUID of a primary key."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
