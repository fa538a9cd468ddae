"""Listings of a bucket, page by page.

Only names, sizes and times are requested, and no objects of Google's library are made. An incomplete list would be
mistaken for deletions, so every doubt raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from depot_lite.errors import StorageFailed
from depot_lite.io.gcs.errors import translating
from depot_lite.io.interfaces import FileEntry
from depot_lite.io.objects.listing import Page, entries_of
from depot_lite.io.objects.storage import entries_below

_FIELDS: Final = "kind,nextPageToken,items(name,size,timeCreated)"


def listing(ask: Callable[..., Mapping[str, Any]], bucket: str, prefix: str, at_once: int = 1) -> Iterator[FileEntry]:
    """Yield the files directly below the prefix, with few pages of them in memory.

    Args:
        ask: ``objects.list`` of the JSON API, with these parameters.
        bucket: its name.
        prefix: of the names, in front of the file ids.
        at_once: the largest number of requests under way.

    Raises:
        StorageFailed: the list may be incomplete.
    """
    what = f"list gs://{bucket}/{prefix}"

    def page(start: str, token: str | None) -> Page:
        # Objects in further folders below the prefix are not ours, and need not be listed.
        where = {"prefix": prefix + start, "delimiter": "/", "fields": _FIELDS}
        try:
            with translating(what):
                answer = ask(where if token is None else {**where, "pageToken": token})
            if answer["kind"] != "storage#objects":
                raise StorageFailed(f"cannot {what}: the server's answer is no listing")
            entries = list(entries_below(prefix, map(_object, answer.get("items", ()))))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageFailed(f"cannot {what}: the server's answer is damaged or no listing") from error
        following = answer.get("nextPageToken")
        if following is not None and following == token:
            raise StorageFailed(f"cannot {what}: the server sends the same page again")
        return entries, following

    return entries_of(page, at_once)


def _object(item: Mapping[str, str]) -> tuple[str, int, datetime]:
    return item["name"], int(item["size"]), datetime.fromisoformat(item["timeCreated"]).astimezone(UTC)
