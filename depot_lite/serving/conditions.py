"""Conditional and partial requests: the preconditions and the range of a request (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# --- preconditions ----------------------------------------------------------------------------------------------------

_ETAG: Final = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def failed_precondition(headers: Mapping[str, str], etag: str | None, modified: datetime) -> int | None:
    """Return 412 or 304 if a precondition fails, else None.

    The order is a MUST of RFC 9110: If-Match and If-Unmodified-Since come first, so that lost updates are detected, and
    a date counts only if no tag was sent.
    """
    if (tags := headers.get("if-match")) is not None:
        if not _lists(tags, etag, weakly=False):
            return 412
    elif (date := _date(headers.get("if-unmodified-since"))) and modified > date:
        return 412
    if (tags := headers.get("if-none-match")) is not None:
        return 304 if _lists(tags, etag, weakly=True) else None
    date = _date(headers.get("if-modified-since"))
    return 304 if date and modified <= date else None


def _lists(tags: str, etag: str | None, *, weakly: bool) -> bool:
    """Return whether a list of entity tags, or ``*``, names this one (RFC 9110 section 8.8.3.2)."""
    if tags.strip() == "*":
        return True
    return any(tag == etag and (weakly or not weak) for weak, tag in _ETAG.findall(tags))


def _date(text: str | None) -> datetime | None:
    """Return the time in a header, None if it is malformed: such a header is ignored (RFC 9110 section 13.1.3)."""
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    # The oldest of the three formats names no zone; it means UTC, like the others.
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


# --- ranges -----------------------------------------------------------------------------------------------------------

# As many digits as a file's length may have. A header with more digits is ignored; int() refuses thousands of them.
_RANGE: Final = re.compile(r"([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18})")


def requested_range(headers: Mapping[str, str], etag: str | None, modified: datetime, length: int) -> range | None:
    """Return the bytes to send: None for the whole file, an empty range if the file has none of them."""
    header = headers.get("range")
    if header is None:
        return None
    condition = headers.get("if-range")
    if condition is not None and not _continues(condition.strip(), etag, modified):
        return None
    return parse_range(header, length)


def _continues(condition: str, etag: str | None, modified: datetime) -> bool:
    """Return whether the client's partial copy is of the current file (RFC 9110 section 13.1.5)."""
    # A weak tag begins with W, which is not a date either, so it never matches.
    return condition == etag if condition.startswith('"') else _date(condition) == modified


def parse_range(header: str, length: int) -> range | None:
    """Return the bytes that a ``Range`` header requests: None for all, an empty range if the file has none of them.

    Malformed headers and other units are ignored. So are several ranges, which RFC 9110 section 14.2 allows: a hundred
    small overlapping ranges cost a server more than they are worth to a client.

    >>> parse_range("bytes=0-3", 10), parse_range("bytes=7-", 10), parse_range("bytes=-3", 10)
    (range(0, 4), range(7, 10), range(7, 10))
    >>> parse_range("bytes=10-", 10), parse_range("bytes=0-3,5-6", 10)
    (range(0, 0), None)
    """
    unit, _, listed = header.partition("=")
    ranges = [each.strip() for each in listed.split(",") if each.strip()]
    found = _RANGE.fullmatch(ranges[0]) if len(ranges) == 1 and unit.strip().lower() == "bytes" else None
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return _suffix_range(int(suffix), length)
    if last and int(last) < int(first):
        return None
    stop = min(int(last) + 1, length) if last else length
    return range(int(first), stop) if int(first) < stop else range(0)


def _suffix_range(count: int, length: int) -> range | None:
    """Return the range of the last ``count`` bytes, which is empty if ``count`` is 0."""
    if count and not length:
        # The end of an empty file is satisfiable (RFC 9110 section 14.1.2), but no Content-Range can express it.
        return None
    return range(max(0, length - count), length) if count else range(0)
