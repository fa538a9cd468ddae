"""Listings of a bucket: page after page, and in several parts at once where there are many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

from depot_lite.io.interfaces import FileEntry

#: The files of a page, and the token of the next one; None if it was the last.
Page = tuple[list[FileEntry], str | None]

#: Asks for a page: with the beginning of the file ids, and the token of the page.
Ask = Callable[[str, str | None], Page]

_DIGITS: Final = "0123456789abcdef"


def entries_of(ask: Ask, at_once: int) -> Iterator[FileEntry]:
    """Yield the files of a bucket, in the server's order or, if there are many, in none.

    File ids are random, so their first digit parts them evenly. If the first page does not get beyond the digit 0,
    there are sixteen pages or more, and the parts are listed side by side.

    Args:
        ask: called in several threads.
        at_once: the largest number of requests under way; as many pages may wait in memory.
    """
    entries, token = ask("", None)
    if at_once > 1 and token is not None and entries and entries[-1].startswith("0"):
        yield from _side_by_side(ask, at_once)
        return
    yield from entries
    while token is not None:
        entries, token = ask("", token)
        yield from entries


def _side_by_side(ask: Ask, at_once: int) -> Iterator[FileEntry]:
    waiting: deque[tuple[str, str | None]] = deque((digit, None) for digit in _DIGITS)
    running: dict[Future[Page], str] = {}
    # Not the executor of the storage: the caller may run in the last of its threads.
    executor = ThreadPoolExecutor(min(at_once, len(_DIGITS)), "depot_lite listing")
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                digit, token = waiting.popleft()
                running[executor.submit(ask, digit, token)] = digit
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for page in done:
                digit, (entries, token) = running.pop(page), page.result()
                if token is not None:  # asked for while these are looked at
                    running[executor.submit(ask, digit, token)] = digit
                yield from entries
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
