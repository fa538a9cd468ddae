"""A report as it is shown: lines to read, data for machines, and whether something was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, TypeVar

from depot_lite.cli.text import counted, number, table

T = TypeVar("T")

#: How many files a report names; all of them stand in the JSON document.
LINES: Final = 20


@dataclass(frozen=True, slots=True)
class View:
    """A report as it is shown."""

    lines: Iterable[str]
    #: The keys of the JSON document; an iterator becomes an array.
    data: Mapping[str, Any]
    #: Whether something was found that somebody should look at.
    found: bool


def listing(
    rows: Sequence[T],
    headings: Sequence[object],
    cells: Callable[[T], Sequence[object]] | None = None,
    right: Sequence[int] = (),
) -> Iterator[str]:
    """Yield a table of the first rows, and how many more there are; nothing where there are none.

    Args:
        cells: makes the cells of a row; a row that is a tuple of them needs none.
    """
    if rows:
        first: Iterable[Any] = islice(rows, LINES)
        yield ""
        yield from table(chain([headings], first if cells is None else map(cells, first)), right)
        if len(rows) > LINES:
            yield f"  ... and {number(len(rows) - LINES)} more: --json shows all"


def counts(rows: Iterable[tuple[str, int, str]]) -> Iterator[str]:
    """Yield what was counted and what that means, a line each."""
    yield ""
    yield from table([(name, number(count), about) for name, count, about in rows], right=(1,))


def failures(failed: Mapping[str, Exception], what: str) -> Iterator[str]:
    """Yield which files something could not be done with, and why."""
    if failed:
        yield ""
        yield f"{counted(len(failed), 'files')} could not be {what}:"
        yield from listing(list(failed.items()), ("file", "why"))


def shown_key(key: tuple[Any, ...]) -> str:
    """Return a primary key as people read it."""
    return ", ".join(map(str, key)) or "(no primary key)"
