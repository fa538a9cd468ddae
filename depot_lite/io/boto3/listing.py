"""What a bucket holds, page by page.

boto3 makes dictionaries of all that S3 says of an object, at a cost that exceeds the server's own. Here the body of an
answer is read by expat, for keys, sizes and times only, between botocore's receiving and its parsing it: signing,
redirects, attempts and errors stay botocore's. An answer that is not understood here, a broken one included, is left to
botocore as it came.

A list that is silently shorter than what is there would be mistaken for deletions, so whatever leaves a doubt raises.
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
from depot_lite.io.boto3.errors import failing
from depot_lite.io.fileid import ID_LENGTH, is_file_id
from depot_lite.io.interfaces import FileEntry

_EVENT: Final = "before-parse.s3.ListObjectsV2"
#: What botocore is left with.
_EMPTY: Final = b"<ListBucketResult></ListBucketResult>"
#: Under which key of the answer our objects are. None of S3's is written so.
_OBJECTS: Final = "depot_lite objects"

_TRUTHS: Final = {"true": True, "false": False}

_Object = tuple[str, int, datetime]

# Whether the request of this thread is one of ours: the client may be the user's too, who gets what botocore makes.
_reading: Final = ContextVar("_reading", default=False)


def prepare(client: Any) -> None:
    """Let `listing` read the answers that come to this client. What others ask through it is not touched."""
    # First: botocore looks through each answer for an error, and need not look through what was read here.
    client.meta.events.register_first(_EVENT, _take_over, unique_id="depot_lite.io.boto3.listing")


def listing(ask: Callable[..., Mapping[str, Any]], bucket: str, prefix: str) -> Iterator[FileEntry]:
    """Yield the files directly below the prefix, with no more than one page of them in memory.

    Args:
        ask: ``list_objects_v2`` of a client that was prepared. Of another one, it takes longer.

    Raises:
        StorageFailed: it cannot be told whether these are all.
    """
    # What is in further folders below the prefix is not ours, and S3 need not list it.
    where = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
    what = f"list s3://{bucket}/{prefix}"
    token: str | None = None
    while True:
        answer = _asked(ask, what, where if token is None else {**where, "ContinuationToken": token})
        before, token = token, _next_token(answer, what)
        if token is not None and token == before:
            raise StorageFailed(f"cannot {what}: the server gives the same page again")
        try:
            yield from list(_entries(_objects(answer), prefix))
        except (KeyError, TypeError, AttributeError) as error:
            raise StorageFailed(f"cannot {what}: an object has no key, no size or no time") from error
        if token is None:
            return


def _asked(ask: Callable[..., Mapping[str, Any]], what: str, arguments: Mapping[str, str]) -> Mapping[str, Any]:
    ours = _reading.set(True)
    try:
        with failing(what):
            return ask(**arguments)
    except (ResponseParserError, ValueError) as error:
        raise StorageFailed(f"cannot {what}: the server's answer is damaged or no listing") from error
    finally:
        _reading.reset(ours)


def _next_token(answer: Mapping[str, Any], what: str) -> str | None:
    more, token = answer.get("IsTruncated"), answer.get("NextContinuationToken")
    if more is None or (more and not token):
        raise StorageFailed(f"cannot {what}: the server does not say {'how it goes on' if more else 'if that is all'}")
    return token if more else None


def _objects(answer: Mapping[str, Any]) -> list[_Object]:
    if _OBJECTS in answer:
        found: list[_Object] = answer[_OBJECTS]
        return found
    # botocore has parsed it, because we could not or were not called: a stubbed client makes no request.
    return [(each["Key"], each["Size"], each["LastModified"].astimezone(UTC)) for each in answer.get("Contents", ())]


def _entries(objects: list[_Object], prefix: str) -> Iterator[FileEntry]:
    start = len(prefix)
    for key, size, when in objects:
        if key.startswith(prefix) and is_file_id(key[start:]):
            yield FileEntry.told(key[start:], size, when)


# --- the body of an answer --------------------------------------------------------------------------------------------


def _take_over(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """Read the body of a listing of ours, and leave the rest of the answer to botocore."""
    if not _reading.get() or response_dict["status_code"] != 200:
        return
    try:
        objects, said = _read(response_dict["body"])
        customized_response_dict[_OBJECTS] = _understood(objects, said)
    except (expat.ExpatError, KeyError, ValueError):
        return  # botocore repeats the request where the body is damaged
    customized_response_dict["IsTruncated"] = _TRUTHS.get(said.get("IsTruncated", "").strip().lower())
    if token := said.get("NextContinuationToken", "").strip():
        customized_response_dict["NextContinuationToken"] = token
    response_dict["body"] = _EMPTY


def _read(body: bytes) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
    """Return key, size and time of each object as they are written, and the other elements with text: name -> text."""
    objects: list[tuple[str, str, str]] = []
    said: dict[str, str] = {}
    # What stands before the end of an element: its text is the last, as white space between elements comes before it.
    texts: list[str] = []
    name = ""

    def end(ended: str) -> None:
        nonlocal name
        name = ended
        if ended == "Contents":
            # Taken out, so that no object inherits what the next one lacks.
            objects.append((said.pop("Key"), said.pop("Size"), said.pop("LastModified")))
        elif texts:
            said[ended] = texts[-1]
            texts.clear()
        else:
            said[ended] = ""

    parser = expat.ParserCreate()
    parser.buffer_size = len(body)
    parser.buffer_text = True  # each text in one piece
    # As few calls of Python's as can be: they are what a listing costs.
    parser.CharacterDataHandler, parser.EndElementHandler = texts.append, end
    parser.StartDoctypeDeclHandler = _refuse
    parser.Parse(body, True)
    if name != "ListBucketResult":
        raise ValueError(f"{name} is no listing")
    return objects, said


def _refuse(*_: object) -> None:
    raise StorageFailed("the server's listing defines a document type, which none of S3 does: it is not read")


def _understood(objects: list[tuple[str, str, str]], said: Mapping[str, str]) -> list[_Object]:
    decoded = _Decoder() if said.get("EncodingType") == "url" else str
    return [(decoded(key), int(size), _time(when)) for key, size, when in objects]


class _Decoder:
    """URL-encoded keys as they are. What stands before the file id is the same in most, and decoded once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, key: str) -> str:
        # Two characters more than an id has, so that no escape is cut in two.
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
