"""What a bucket holds, page by page.

Only names, sizes and times are asked for, and no object of Google's library is made of each. A list that is silently
shorter than what is there would be mistaken for deletions, so whatever leaves a doubt raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from depot_lite.errors import StorageFailed
from depot_lite.io.fileid import is_file_id
from depot_lite.io.gcs.errors import failing
from depot_lite.io.interfaces import FileEntry

_FIELDS: Final = "kind,nextPageToken,items(name,size,timeCreated)"


def listing(ask: Callable[..., Mapping[str, Any]], bucket: str, prefix: str) -> Iterator[FileEntry]:
    """Yield the files directly below the prefix, with no more than one page of them in memory.

    Args:
        ask: ``objects.list`` of the JSON API, with these parameters.

    Raises:
        StorageFailed: it cannot be told whether these are all.
    """
    # What is in further folders below the prefix is not ours, and need not be listed.
    where = {"prefix": prefix, "delimiter": "/", "fields": _FIELDS}
    what = f"list gs://{bucket}/{prefix}"
    token: str | None = None
    while True:
        try:
            with failing(what):
                answer = ask(where if token is None else {**where, "pageToken": token})
            if answer["kind"] != "storage#objects":
                raise StorageFailed(f"cannot {what}: the server's answer is no listing")
            entries = list(_entries(answer.get("items", ()), prefix))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageFailed(f"cannot {what}: the server's answer is damaged or no listing") from error
        yield from entries
        before, token = token, answer.get("nextPageToken")
        if token is None:
            return
        if token == before:
            raise StorageFailed(f"cannot {what}: the server gives the same page again")


def _entries(items: list[Mapping[str, str]], prefix: str) -> Iterator[FileEntry]:
    start = len(prefix)
    for each in items:
        name = each["name"]
        size, when = int(each["size"]), _time(each["timeCreated"])
        if name.startswith(prefix) and is_file_id(name[start:]):
            yield FileEntry.told(name[start:], size, when)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
