"""Numbers, times and tables as people read them, without anything that a terminal would obey."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta


def clean(text: object) -> str:
    r"""Return text in which nothing is left that a terminal would obey; names of files and keys are users' words.

    >>> clean("poster\x1b[2J.png")
    'poster\\x1b[2J.png'
    """
    whole = str(text)
    if whole.isprintable():
        return whole
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in whole)


def number(value: int) -> str:
    """Return a number with its thousands apart.

    >>> number(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def counted(count: int, unit: str) -> str:
    """Return how many there are of something, which is named in the plural.

    >>> counted(1, "files"), counted(1200, "rows")
    ('1 file', '1,200 rows')
    """
    return f"{count:,} {unit.removesuffix('s') if count == 1 else unit}"


def shown_time(seconds: float) -> str:
    """Return how long something takes.

    >>> shown_time(0.42), shown_time(75), shown_time(7500), shown_time(200000)
    ('0.4 s', '1:15 min', '2:05 h', '2 d 7 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole // 60 % 60:02} h"
    return f"{whole // 86400} d {whole // 3600 % 24} h"


def shown_duration(time: timedelta) -> str:
    """Return a duration as it is written on the command line.

    >>> shown_duration(timedelta(hours=24)), shown_duration(timedelta(minutes=90)), shown_duration(timedelta(days=2))
    ('24h', '90m', '2d')
    """
    seconds = time.total_seconds()
    for unit, size, least in (("d", 86400, 2), ("h", 3600, 1), ("m", 60, 1)):
        if seconds >= size * least and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def shown_when(when: datetime) -> str:
    """Return a time to the second, in UTC."""
    return f"{when:%Y-%m-%d %H:%M:%S}"


def table(rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> Iterator[str]:
    """Yield lines with the columns under each other, indented; ``right`` are those that end at the same place."""
    cells = [[clean(each) for each in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        aligned = [
            each.rjust(width) if place in right else each.ljust(width)
            for place, (each, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(aligned)).rstrip()
