"""The parts that storages of objects share, without any of their libraries."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, cast

import pytest

from depot_lite.errors import ConfigurationError, StorageFailed, StoredFileNotFound
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileEntry, FileInfo, StoredFile
from depot_lite.io.objects.clients import BucketConnection, PerProcess
from depot_lite.io.objects.errors import BROKEN, OVERLOADED, REFUSED, ErrorTable
from depot_lite.io.objects.metadata import (
    ATTEMPT,
    MODIFIED,
    crc32_of,
    disposition_of,
    info_in,
    metadata_of,
    now,
    response_headers,
)
from depot_lite.io.objects.options import choice, known, mapping, seconds, web_address
from depot_lite.io.objects.readers import ObjectFile, ResumingReader, SummedReader
from depot_lite.io.objects.storage import ObjectStorage, batches, entries_below

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Refusal(Exception):
    """An error of a library, with a code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Secret(Refusal):
    """An error that quotes a secret."""


class Table(ErrorTable):
    """A translation of these."""

    library = "shelves"
    errors = (Refusal,)
    reasons = (
        (REFUSED, {"WrongKey"}),
        (f"{OVERLOADED}, {{attempts}}", {"Busy", "attempts"}),
        (BROKEN, {ConnectionError}),
    )

    def facts(self, error: BaseException) -> Mapping[str, object]:
        if not isinstance(error, Refusal):
            return {}
        return {"code": error.code} | ({"attempts": "3 attempts"} if error.code == "Slow" else {})

    def is_missing(self, error: Exception) -> bool:
        return isinstance(error, Refusal) and error.code == "Missing"

    def may_have_arrived(self, error: Exception) -> bool:
        return isinstance(error, Refusal) and error.code == "Lost"

    def cause(self, error: Exception) -> Exception | None:
        return None if isinstance(error, Secret) else error


TABLE = Table()


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Refusal("WrongKey"), "the credentials are refused (WrongKey)"),
        (Refusal("Slow"), "the server is overloaded or throttles (Slow), 3 attempts"),
        (ConnectionResetError(), "the connection broke (ConnectionResetError)"),
        (Refusal("Odd"), "shelves failed (Refusal)"),
    ],
)
def test_the_first_row_with_a_mark_of_the_error_gives_the_reason(error: Exception, reason: str) -> None:
    assert str(TABLE.translated("store x", error)) == f"cannot store x: {reason}"


def test_errors_of_the_library_become_ours_and_keep_their_cause() -> None:
    error = Refusal("WrongKey")
    with pytest.raises(StorageFailed) as caught, TABLE.translating("store x"):
        raise error
    assert caught.value.__cause__ is error


def test_an_error_that_quotes_a_secret_is_not_chained() -> None:
    with pytest.raises(StorageFailed) as caught, TABLE.translating("store x"):
        raise Secret("WrongKey")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_missing_object_is_a_missing_file_only_where_a_file_is_expected() -> None:
    with (
        pytest.raises(StoredFileNotFound, match=r"^cannot read abc: file abc is not in its storage$"),
        TABLE.translating("read abc", "abc"),
    ):
        raise Refusal("Missing")
    with pytest.raises(StorageFailed), TABLE.translating("list"):
        raise Refusal("Missing")


@pytest.mark.parametrize("error", [StorageFailed("full"), ValueError("other")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, TABLE.translating("store x"):
        raise error
    assert caught.value is error


# --- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["whale.jpg", "Wal ü.jpg", "50%.txt"])
def test_metadata_are_ascii_and_give_the_info_back(name: str) -> None:
    info = FileInfo("id", name, "image/jpeg", 5, WHEN, "crc32:0000000f")
    metadata = metadata_of(info)
    assert all(value.isascii() for value in metadata.values())
    assert info_in(metadata, "id", "image/jpeg", 5, now()) == info


def test_objects_of_other_programs_have_the_times_of_the_server() -> None:
    info = info_in({MODIFIED: "yesterday"}, "id", None, 5, WHEN, "crc32:00000001")
    assert info == FileInfo("id", "unnamed", "application/octet-stream", 5, WHEN, "crc32:00000001")


def test_each_attempt_has_a_mark_of_its_own() -> None:
    info = FileInfo("id", "a", "text/plain", 0, WHEN)
    assert metadata_of(info)[ATTEMPT] != metadata_of(info)[ATTEMPT]


def test_pages_are_downloads_and_images_are_shown() -> None:
    page = FileInfo("id", "a.html", "text/html", 0, WHEN)
    assert disposition_of(page).startswith("attachment")
    assert disposition_of(replace(page, content_type="image/png")).startswith("inline")


def test_headers_of_an_answer() -> None:
    assert response_headers(None, None, None) == {}
    found = response_headers("a.txt", None, "text/plain")
    assert found["response-content-disposition"].startswith("attachment")
    assert found["response-content-type"] == "text/plain"


@pytest.mark.parametrize("wrong", [(None, "nowhere", None), (None, None, "text"), (None, None, "text/plain\r\nX: y")])
def test_wrong_headers_are_refused(wrong: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        response_headers(*wrong)


def test_a_checksum_is_computed_before_only_if_the_content_can_be_read_twice() -> None:
    assert crc32_of(Content.of(b"123456789")) == 0xCBF43926
    assert (
        crc32_of(Content.of(StoredFile(FileInfo("id", "a", "text/plain", 1, WHEN), lambda: io.BytesIO(b"x")))) is None
    )


# --- options ----------------------------------------------------------------------------------------------------------


def test_options() -> None:
    assert seconds("e", "60") == seconds("e", timedelta(minutes=1)) == 60
    assert mapping("m", '{"a": 1}') == mapping("m", {"a": 1}) == {"a": 1}
    assert mapping("m", None) == mapping("m", "") == {}
    assert web_address("w", "https://cdn.example.com/x/") == "https://cdn.example.com/x"
    assert web_address("w", None) is None
    assert choice("c", "a", {"a": 1}) == "a"
    assert choice("c", "", {"a": 1}) is None
    known("k", {"a": 1}, {"a", "b"})


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: seconds("bad", 8 * 24 * 3600),
        lambda: mapping("bad", "{hush"),
        lambda: mapping("bad", {1: "hush"}),
        lambda: web_address("bad", "cdn.example.com"),
        lambda: web_address("bad", "https://me:hush@cdn.example.com"),
        lambda: web_address("bad", "https://cdn.example.com/?hush"),
        lambda: web_address("bad", "https://[hush"),
        lambda: choice("bad", "c", {"a": 1}),
        lambda: known("bad", {"c": "hush"}, {"a"}),
    ],
)
def test_a_wrong_option_is_named_and_not_quoted(wrong: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match="bad") as caught:
        wrong()
    assert "hush" not in str(caught.value)


# --- clients ----------------------------------------------------------------------------------------------------------


def test_a_value_is_made_once_in_each_process() -> None:
    value = PerProcess[list[int]]()
    assert value.take() is None
    made = value.get(lambda: [1])
    assert value.get(lambda: [2]) is made
    assert value.take() is made
    assert value.get(lambda: [3]) == [3]


def test_a_child_makes_its_own_value_and_keeps_that_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    value = PerProcess[list[int]]()
    value.get(lambda: [1])
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert value.get(lambda: [2]) == [2]
    assert [each for _, each in value._inherited] == [[1]]


class Connection(BucketConnection[str]):
    """A connection that counts what it does."""

    def __init__(self, ready: Any = None, *, create_bucket: bool = False) -> None:
        super().__init__("b", ready, create_bucket=create_bucket)
        self.done: list[str] = []

    def _new_client(self) -> Any:
        self.done.append("client")
        return object()

    def _new_urls(self, client: Any) -> str:
        return "urls"

    def _make_bucket(self, client: Any) -> None:
        self.done.append("bucket")

    def _look_for_bucket(self) -> None:
        self.done.append("look")


def test_the_bucket_is_made_by_the_first_use_of_the_client() -> None:
    connection = Connection(create_bucket=True)
    assert connection.urls == "urls"
    assert connection.done == ["client"]
    assert connection.client is connection.client is connection.bare_client
    connection.check_bucket()
    assert connection.done == ["client", "bucket"]


def test_the_bucket_is_looked_for_once() -> None:
    connection = Connection(client := object())
    connection.check_bucket()
    connection.check_bucket()
    assert connection.client is client
    assert connection.done == ["look"]


# --- readers ----------------------------------------------------------------------------------------------------------

DATA = bytes(range(256)) * 1024


class Body:
    """The bytes from a position on, which break off after some."""

    def __init__(self, start: int, most: int | None = None) -> None:
        self.stream = io.BytesIO(DATA[start:])
        self.left = len(DATA) if most is None else most
        self.closed = False

    def read(self, size: int) -> bytes:
        if not self.left:
            raise Refusal("Lost")
        data = self.stream.read(min(size, self.left))
        self.left -= len(data)
        return data

    def close(self) -> None:
        self.closed = True


class Reader(ResumingReader[Body]):
    """A reader of such bodies."""

    table = TABLE
    lasting = (Secret,)

    def _take(self, body: Body, size: int) -> bytes:
        return body.read(size)


def test_a_body_that_breaks_off_is_continued_where_it_ended() -> None:
    asked = list[int]()

    def request(start: int) -> Body:
        asked.append(start)
        return Body(start, 100_000)

    with Reader(Body(0, 100_000), len(DATA), "read x", request) as reader:
        assert reader.read() == DATA
    assert asked == [100_000, 200_000]


def test_a_body_that_gives_nothing_is_tried_four_times() -> None:
    asked = list[int]()

    def request(start: int) -> Body:
        asked.append(start)
        return Body(len(DATA))

    refused = pytest.raises(StorageFailed, match="cannot read x: the connection broke")
    with Reader(Body(len(DATA)), len(DATA), "read x", request) as reader, refused:
        reader.read()
    assert asked == [0, 0, 0]


def test_an_error_that_would_come_again_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Body, size: int) -> bytes:
        raise Secret("Damaged")

    def request(start: int) -> Body:
        raise AssertionError

    monkeypatch.setattr(Body, "read", refuse)
    reader = Reader(Body(0), len(DATA), "read x", request)
    with pytest.raises(StorageFailed) as caught:
        reader.read(1)
    assert caught.value.__cause__ is None
    reader.close()


def test_an_error_of_ours_ends_reading() -> None:
    def request(start: int) -> Body:
        raise StorageFailed("it was replaced")

    with Reader(Body(0, 1), len(DATA), "read x", request) as reader, pytest.raises(StorageFailed, match="replaced"):
        reader.read()


def test_a_small_gap_is_read_over_and_a_large_one_requested() -> None:
    asked = list[int]()

    def request(start: int) -> Body:
        asked.append(start)
        return Body(start)

    with Reader(Body(0), len(DATA), "read x", request) as reader:
        reader.seek(60_000)
        assert reader.read(5) == DATA[60_000:60_005]
        assert asked == []
        reader.seek(200_000)
        assert reader.read(5) == DATA[200_000:200_005]
        reader.seek(-5, io.SEEK_END)
        assert reader.read() == DATA[-5:]
    assert asked == [200_000]


def test_closing_reads_a_small_rest_so_that_the_connection_serves_again() -> None:
    small, large = Body(200_000), Body(0)
    Reader(small, len(DATA) - 200_000, "read x", Body).close()
    Reader(large, len(DATA), "read x", Body).close()
    assert small.closed
    assert large.closed
    assert small.stream.tell() == len(DATA) - 200_000
    assert large.stream.tell() == 0


def test_content_that_changes_while_it_is_stored_is_refused() -> None:
    assert SummedReader(b"ab", io.BytesIO(b"cd"), None).read() == b"abcd"
    reader = SummedReader(b"123", io.BytesIO(b"456789"), 0xCBF43926)
    assert (reader.read(5), reader.read(5), reader.length, reader.sum) == (b"12345", b"6789", 9, 0xCBF43926)
    with pytest.raises(StorageFailed, match="changed"):
        SummedReader(b"1", io.BytesIO(b"2"), 0).read(5)


# --- the template -----------------------------------------------------------------------------------------------------


class Shelf(ObjectStorage[str | None]):
    """A storage of objects in a dictionary."""

    table = TABLE
    _batch_limit = 2
    _root = "shelf://b/"

    def __init__(self, *, public: bool = False, **options: Any) -> None:
        given = {"sign_urls": True, "signed_url_expiry": 60, "public_base_url": None} | options
        super().__init__("p/", 1, None, given["sign_urls"], given["signed_url_expiry"], given["public_base_url"])
        self.public = public
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.batches: list[list[str]] = []

    def _save(self, file_id: str, content: Content) -> FileInfo:
        with content.open() as source:
            data = source.read()
        info = FileInfo(file_id, content.filename or "unnamed", content.content_type, len(data), now())
        self.objects[self._key(file_id)] = data, metadata_of(info)
        return info

    def _metadata(self, file_id: str) -> Mapping[str, str]:
        if self._key(file_id) not in self.objects:
            raise Refusal("Missing")
        return self.objects[self._key(file_id)][1]

    def _open(self, file_id: str) -> StoredFile:
        with TABLE.translating(self._what("read", file_id), file_id):
            info = info_in(self._metadata(file_id), file_id, None, len(self.objects[self._key(file_id)][0]), now())
        return ObjectFile(info, io.BytesIO(self.objects[self._key(file_id)][0]), self.public_url(file_id))

    def _exists(self, file_id: str) -> bool:
        return self._key(file_id) in self.objects

    def _list(self) -> Iterator[FileEntry]:
        return entries_below("p/", ((key, len(data), WHEN) for key, (data, _) in self.objects.items()))

    def _delete(self, file_id: str) -> None:
        self.objects.pop(self._key(file_id), None)

    def _delete_batch(self, file_ids: list[str]) -> dict[str, Exception]:
        self.batches.append(file_ids)
        return self._delete_each(file_ids)

    @property
    def _public(self) -> bool:
        return self.public

    def _signed_url(self, key: str, expires_in: int, headers: Mapping[str, str]) -> str | None:
        return f"signed {key} {expires_in} {sorted(headers)}"

    def _unsigned_url(self, key: str) -> str | None:
        return f"plain {key}"


def test_files_are_deleted_in_batches_without_duplicates() -> None:
    storage = Shelf()
    ids = [storage.create(b"x") for _ in range(3)]
    assert storage.delete_many([*ids, ids[0]]) == {}
    assert storage.batches == [ids[:2], ids[2:]]
    assert list(storage.list()) == []
    assert list(batches([], 2)) == []


def test_only_file_ids_directly_below_the_prefix_are_listed() -> None:
    storage = Shelf()
    file_id = storage.create(b"x")
    for key in (f"p/q/{file_id}", f"q/{file_id}", "p/readme", "p/"):
        storage.objects[key] = b"", {}
    assert [(each, each.size) for each in storage.list()] == [(file_id, 1)]


def test_an_upload_whose_answer_was_lost_counts_if_the_object_has_its_mark() -> None:
    storage = Shelf()
    file_id = storage.create(b"x")
    mine, other = dict(storage._metadata(file_id)), {ATTEMPT: "other"}
    storage._unless_stored(file_id, mine, Refusal("Lost"))
    for name, metadata, code in ((file_id, other, "Lost"), (new_file_id(), mine, "Lost"), (file_id, mine, "Busy")):
        with pytest.raises(Refusal, match=code):
            storage._unless_stored(name, metadata, Refusal(code))


def test_urls() -> None:
    file_id = new_file_id()
    assert Shelf().url(file_id) == f"signed p/{file_id} 60 []"
    assert Shelf().url(file_id, expires_in=5, filename="a") == f"signed p/{file_id} 5 ['response-content-disposition']"
    assert Shelf(sign_urls="no").url(file_id) == f"plain p/{file_id}"
    based = Shelf(public_base_url="https://cdn.example.com/", public=True)
    assert based.url(file_id) == based.public_url(file_id) == f"https://cdn.example.com/p/{file_id}"
    assert Shelf().public_url(file_id) is None


def test_a_file_gives_its_public_url_and_closes_its_reader() -> None:
    storage = Shelf(public=True)
    file_id = storage.create(b"x")
    file = storage.get(file_id)
    assert file.public_url == f"plain p/{file_id}"
    file.close()
    assert cast(BinaryIO, cast(ObjectFile, file)._reader).closed
    with pytest.raises(StoredFileNotFound):
        storage.get(new_file_id())


def test_no_library_of_a_backend_is_needed() -> None:
    code = (
        "import sys, pkgutil, importlib, depot_lite.io.objects as objects\n"
        "names = [f'{objects.__name__}.{each.name}' for each in pkgutil.iter_modules(objects.__path__)]\n"
        "assert [importlib.import_module(name) for name in names]\n"
        "print({'boto3', 'botocore', 'google', 'obstore', 'pymongo', 'bson', 'requests'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
