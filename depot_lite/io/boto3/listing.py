"""Listings of a bucket, page by page.

boto3 makes a dictionary for each object, which costs more than the server's own work. So expat reads keys, sizes and
times from the body of an answer, after botocore has received it and before botocore parses it. Signing, redirects,
retries and errors stay with botocore, and so do answers that expat cannot read.

An incomplete list would be mistaken for deletions, so every doubt raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus
from xml.parsers import expat

from botocore.parsers import ResponseParserError

from depot_lite.errors import StorageFailed
from depot_lite.io.boto3.errors import translating
from depot_lite.io.fileid import ID_LENGTH
from depot_lite.io.interfaces import FileEntry
from depot_lite.io.objects.listing import Page, entries_of
from depot_lite.io.objects.storage import entries_below

_EVENT: Final = "before-parse.s3.ListObjectsV2"
#: The body that botocore parses instead.
_EMPTY_ANSWER: Final = b"<ListBucketResult></ListBucketResult>"
#: The key of our objects in the answer; no key of S3's looks like it.
_OBJECTS: Final = "depot_lite objects"

#: The end of the names of directory buckets (S3 Express One Zone).
_DIRECTORY: Final = "--x-s3"

_TRUTHS: Final = {"true": True, "false": False}

_ListedObject = tuple[str, int, datetime]

# Whether this thread makes a request for `listing`: the client may be the user's, whose own listings botocore parses.
_is_listing: Final = ContextVar("_is_listing", default=False)


def prepare(client: Any) -> None:
    """Let `listing` read the answers to its requests through this client. Other requests are not affected."""
    # First: botocore searches each answer for an error, which is needless once it was read here.
    client.meta.events.register_first(_EVENT, _take_over, unique_id="depot_lite.io.boto3.listing")


def listing(ask: Callable[..., Mapping[str, Any]], bucket: str, prefix: str, at_once: int = 1) -> Iterator[FileEntry]:
    """Yield the files directly below the prefix, with few pages of them in memory.

    Args:
        ask: ``list_objects_v2`` of a prepared client; an unprepared one takes longer.
        bucket: its name.
        prefix: of the keys, in front of the file ids.
        at_once: the largest number of requests under way.

    Raises:
        StorageFailed: the list may be incomplete.
    """
    what = f"list s3://{bucket}/{prefix}"

    def page(start: str, token: str | None) -> Page:
        # Objects in further folders below the prefix are not ours, and S3 need not list them.
        where = {"Bucket": bucket, "Prefix": prefix + start, "Delimiter": "/"}
        answer = _asked(ask, what, where if token is None else {**where, "ContinuationToken": token})
        following = _next_token(answer, what)
        if following is not None and following == token:
            raise StorageFailed(f"cannot {what}: the server sends the same page again")
        try:
            return list(entries_below(prefix, _objects(answer))), following
        except (KeyError, TypeError, AttributeError) as error:
            raise StorageFailed(f"cannot {what}: an object has no key, no size or no time") from error

    # The prefixes of directory buckets are whole folders ("Directory buckets" in S3's manual of ListObjectsV2).
    return entries_of(page, 1 if bucket.endswith(_DIRECTORY) else at_once)


def _asked(ask: Callable[..., Mapping[str, Any]], what: str, arguments: Mapping[str, str]) -> Mapping[str, Any]:
    ours = _is_listing.set(True)
    try:
        with translating(what):
            return ask(**arguments)
    except (ResponseParserError, ValueError) as error:
        raise StorageFailed(f"cannot {what}: the server's answer is damaged or no listing") from error
    finally:
        _is_listing.reset(ours)


def _next_token(answer: Mapping[str, Any], what: str) -> str | None:
    more, token = answer.get("IsTruncated"), answer.get("NextContinuationToken")
    if more is None or (more and not token):
        missing = "where the next page begins" if more else "whether there is another page"
        raise StorageFailed(f"cannot {what}: the server does not say {missing}")
    return token if more else None


def _objects(answer: Mapping[str, Any]) -> list[_ListedObject]:
    if _OBJECTS in answer:
        found: list[_ListedObject] = answer[_OBJECTS]
        return found
    # Parsed by botocore: expat could not read it, or a stubbed client made no request.
    return [(each["Key"], each["Size"], each["LastModified"].astimezone(UTC)) for each in answer.get("Contents", ())]


# --- the body of an answer --------------------------------------------------------------------------------------------


def _take_over(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Read the body of an answer to `listing`, and leave the rest of the answer to botocore."""
    if not _is_listing.get() or response_dict["status_code"] != 200:
        return
    try:
        objects, said = _read(response_dict["body"])
        customized_response_dict[_OBJECTS] = _decode(objects, said)
    except (expat.ExpatError, KeyError, ValueError):
        return  # botocore repeats the request where the body is damaged
    customized_response_dict["IsTruncated"] = _TRUTHS.get(said.get("IsTruncated", "").strip().lower())
    if token := said.get("NextContinuationToken", "").strip():
        customized_response_dict["NextContinuationToken"] = token
    response_dict["body"] = _EMPTY_ANSWER


def _read(body: bytes) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """Return key, size and time of each object as written, and the text of other elements by name."""
    objects: list[tuple[str, str, str]] = []
    said: dict[str, str] = {}
    # The texts before the end of an element. Its own is the last: white space between elements comes before it.
    texts: list[str] = []
    name = ""

    def end(ended: str) -> None:
        nonlocal name
        name = ended
        if ended == "Contents":
            # Popped, so that no object inherits values from the one before.
            objects.append((said.pop("Key"), said.pop("Size"), said.pop("LastModified")))
        elif texts:
            said[ended] = texts[-1]
            texts.clear()
        else:
            said[ended] = ""

    parser = expat.ParserCreate()
    parser.buffer_size = len(body)
    parser.buffer_text = True  # each text in one piece
    # As few calls of Python as possible: they are the cost of a listing.
    parser.CharacterDataHandler, parser.EndElementHandler = texts.append, end
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.Parse(body, True)
    if name != "ListBucketResult":
        raise ValueError(f"{name} is no listing")
    return objects, said


def _refuse_doctype(*_: object) -> None:
    raise StorageFailed("the server's listing has a document type, unlike any of S3's, and is not read")


def _decode(objects: list[tuple[str, str, str]], said: Mapping[str, str]) -> list[_ListedObject]:
    decoded = _Decoder() if said.get("EncodingType") == "url" else str
    return [(decoded(key), int(size), _time(when)) for key, size, when in objects]


class _Decoder:
    """Decoder of URL-encoded keys. The part before the file id is the same in most keys, and decoded once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, key: str) -> str:
        # Two characters more than an id, so that no escape is cut.
        end = key[-ID_LENGTH - 2 :]
        if "%" in end or "+" in end:
            return unquote_plus(key)
        start = key[:-ID_LENGTH]
        if start not in self._known:
            self._known[start] = unquote_plus(start)
        return self._known[start] + key[-ID_LENGTH:]


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is not UTC:
        raise ValueError(f"{text} is no time in UTC")
    return found
