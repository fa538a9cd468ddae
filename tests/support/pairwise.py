"""Few rows of a large table that hold every pair of its values."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations
from zlib import crc32


def pairwise(rows: Sequence[Sequence[Hashable]]) -> list[int]:
    """Return the numbers of some rows, in order, that hold every pair of values which any row holds.

    A row has one value for each axis of the table, two axes at least. A combination that the table leaves out is not
    chosen, since only rows are. The row that adds most pairs is always taken next.

    >>> table = [(action, end, database) for action in "abcd" for end in "xyz" for database in (1, 2, 3)]
    >>> len(table), len(pairwise(table))
    (36, 12)
    """
    missing = {pair for row in rows for pair in _pairs(row)}
    # Every row with the number of pairs that it adds, as far as known: it can only have become smaller. Rows that add
    # equally many are taken in an order that is mixed and always the same: in the order of the table, the first value
    # of an axis would get nearly all of them.
    waiting = [(-len(row) * (len(row) - 1) // 2, crc32(b"%d" % number), number) for number, row in enumerate(rows)]
    heapq.heapify(waiting)
    chosen = []
    while missing:
        known, order, number = heapq.heappop(waiting)
        adds = [pair for pair in _pairs(rows[number]) if pair in missing]
        if len(adds) == -known:
            chosen.append(number)
            missing.difference_update(adds)
        elif adds:
            heapq.heappush(waiting, (-len(adds), order, number))
    return sorted(chosen)


def _pairs(row: Sequence[Hashable]) -> Iterator[Hashable]:
    return combinations(enumerate(row), 2)
