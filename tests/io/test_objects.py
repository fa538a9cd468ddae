"""The parts that storages of objects share, without any of their libraries."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Final, cast

import pytest

from depot_lite.errors import ConfigurationError, DepotError, StorageFailed, StorageTimeout, StoredFileNotFound
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.io.objects.clients import BucketConnection, PerProcess
from depot_lite.io.objects.errors import BROKEN, OVERLOADED, REFUSED, TIMED_OUT, ErrorTable, facts_of_network
from depot_lite.io.objects.metadata import (
    ATTEMPT,
    MODIFIED,
    attempt_at,
    crc32_of,
    disposition_of,
    format_crc32,
    info_in,
    metadata_of,
    now,
    response_headers,
)
from depot_lite.io.objects.options import choice, expiry_of, known, mapping, max_value_of
from depot_lite.io.objects.readers import ObjectFile, ResumingReader, SummedReader
from depot_lite.io.objects.storage import ObjectStorage, batches, entries_below
from depot_lite.io.objects.versions import ObjectVersion, VersionedStorage
from depot_lite.io.options import web_address
from tests.support.children import in_child
from tests.support.streams import Stream

#: How long anything may take, in seconds.
DEADLINE: Final = 20
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


def test_a_long_name_is_shortened_in_the_metadata_only() -> None:
    """Before its extension, at the border of a character."""
    info = FileInfo("id", "\u0416" * 80 + ".pdf", "application/pdf", 5, WHEN)
    assert len(metadata_of(info)["x-depot-filename"]) > 256
    shortened = metadata_of(info, 256)
    assert all(len(value) <= 256 for value in shortened.values())
    assert info_in(shortened, "id", "application/pdf", 5, now()).filename == "\u0416" * 42 + ".pdf"
    assert info_in(metadata_of(info, 100), "id", None, 5, now()).filename == "\u0416" * 16 + ".pdf"
    without = replace(info, filename="a." + "b" * 200)
    assert info_in(metadata_of(without, 100), "id", None, 5, now()).filename == "a." + "b" * 98


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
    assert expiry_of("e", "60") == expiry_of("e", timedelta(minutes=1)) == 60
    assert mapping("m", '{"a": 1}') == mapping("m", {"a": 1}) == {"a": 1}
    assert (max_value_of("256"), max_value_of(None)) == (256, None)
    assert mapping("m", None) == mapping("m", "") == {}
    assert web_address("w", "https://cdn.example.com/x/") == "https://cdn.example.com/x"
    assert web_address("w", None) is None
    assert choice("c", "a", {"a": 1}) == "a"
    assert choice("c", "", {"a": 1}) is None
    known("k", {"a": 1}, {"a", "b"})


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: expiry_of("bad", 8 * 24 * 3600),
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


def test_the_facts_of_a_network_are_those_of_the_error_itself() -> None:
    """Not of one that was set aside, and not of another storage, from which the bytes are read."""

    def raised(*, aside: bool) -> Exception:
        try:
            try:
                raise TimeoutError("in vain")
            except TimeoutError as error:
                if aside:
                    raise ConnectionResetError("reset") from None
                raise ConnectionResetError("reset") from error
        except ConnectionResetError as error:
            return error

    assert facts_of_network(raised(aside=False)) == {TIMED_OUT: True}
    assert facts_of_network(raised(aside=True)) == {}
    refused = Refusal("broken")
    refused.__cause__ = StorageTimeout("another storage does not answer")
    assert facts_of_network(refused) == {}


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


def test_a_child_makes_its_own_value_although_its_parent_is_making_one() -> None:
    value, making, go_on = PerProcess[str](), threading.Event(), threading.Event()

    def make() -> str:
        making.set()
        go_on.wait(DEADLINE)
        return "parent's"

    with ThreadPoolExecutor(1) as threads:
        parents = threads.submit(value.get, make)
        assert making.wait(DEADLINE)
        try:
            assert in_child(lambda: value.get(lambda: "child's")) == "child's"
        finally:
            go_on.set()
        assert parents.result() == "parent's"


class Connection(BucketConnection[str]):
    """A connection that counts its requests."""

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


def test_threads_that_make_the_bucket_do_not_wait_for_each_other() -> None:
    """Each would wait for the whole timeout of a silent server."""
    meeting = threading.Barrier(4, timeout=DEADLINE)

    class Silent(Connection):
        def _make_bucket(self, client: Any) -> None:
            meeting.wait()
            raise StorageTimeout("no answer")

    connection = Silent(create_bucket=True)

    def use(_: int) -> None:
        with pytest.raises(StorageTimeout):
            _ = connection.client

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(4)))


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
    assert SummedReader(b"ab", io.BytesIO(b"cd").read, None).read() == b"abcd"
    reader = SummedReader(b"123", io.BytesIO(b"456789").read, 0xCBF43926)
    assert (reader.read(5), reader.read(5), reader.length, reader.sum) == (b"12345", b"6789", 9, 0xCBF43926)
    with pytest.raises(StorageFailed, match="changed"):
        SummedReader(b"1", io.BytesIO(b"2").read, 0).read(5)


# --- the template -----------------------------------------------------------------------------------------------------


#: Bytes and metadata.
Object = tuple[bytes, Mapping[str, str]]


class Shelf(ObjectStorage[str | None, Object]):
    """A storage of objects in a dictionary."""

    table = TABLE
    _batch_limit = 2
    _part_size = 10
    _root = "shelf://b/"

    def __init__(self, *, public: bool = False, **options: Any) -> None:
        given = {"sign_urls": True, "signed_url_expiry": 60, "public_base_url": None} | options
        super().__init__("p/", 1, None, given["sign_urls"], given["signed_url_expiry"], given["public_base_url"])
        self.public = public
        self.objects: dict[str, Object] = {}
        self.batches: list[list[str]] = []
        self.is_there = True
        #: The answer to the next upload, and whether it has stored its object.
        self.answer: tuple[str, bool] | None = None

    def _put(self, info: FileInfo, data: bytes, *, new: bool) -> None:
        metadata = metadata_of(info)
        with self._sending(info.file_id, metadata):
            code, arrives = self.answer or ("", True)
            if arrives:
                self.objects[self._key(info.file_id)] = data, metadata
            if code:
                raise Refusal(code)

    def _put_large(self, info: FileInfo, content: SummedReader, size: int | None, *, new: bool) -> Mapping[str, str]:
        pieces = iter(lambda: content.read(self._part_size), b"")
        self._put(info, b"".join(pieces), new=new)
        return {}

    def _look(self, file_id: str) -> Object:
        if self._key(file_id) not in self.objects:
            raise Refusal("Missing")
        return self.objects[self._key(file_id)]

    def _info_in(self, file_id: str, record: Object) -> FileInfo:
        return info_in(record[1], file_id, None, len(record[0]), now())

    def _metadata_in(self, record: Object) -> Mapping[str, str]:
        return record[1]

    def _check_container(self) -> None:
        if not self.is_there:
            raise StorageFailed("there is no shelf")

    def _open(self, file_id: str) -> StoredFile:
        with TABLE.translating(self._what("read", file_id), file_id):
            data, _ = record = self._look(file_id)
        return ObjectFile(self._info_in(file_id, record), io.BytesIO(data), self.public_url(file_id))

    def _list(self) -> Iterator[FileEntry]:
        return entries_below("p/", ((key, len(data), WHEN) for key, (data, _) in self.objects.items()))

    def _delete_object(self, key: str) -> None:
        if self.objects.pop(key, None) is None:
            raise Refusal("Missing")

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
    mine, other = dict(storage._look(file_id)[1]), {ATTEMPT: "other"}
    storage._unless_stored(file_id, mine, Refusal("Lost"))
    for name, metadata, code in ((file_id, other, "Lost"), (new_file_id(), mine, "Lost"), (file_id, mine, "Busy")):
        with pytest.raises(Refusal, match=code):
            storage._unless_stored(name, metadata, Refusal(code))


@pytest.mark.parametrize("size", [0, 9, 10, 11, 30])
def test_content_is_stored_whole_or_in_parts_with_its_checksum_if_it_is_known_before(size: int) -> None:
    storage, data = Shelf(), bytes(range(size))
    checksum = format_crc32(zlib.crc32(data))
    for content, is_known in ((data, True), (Stream(data), size < storage._part_size)):
        info = storage.save(Content.of(content, "a.bin"))
        assert (info.content_length, info.checksum) == (size, checksum if is_known else None)
        with storage.get(info.file_id) as file:
            assert (file.read(), file.filename, file.checksum) == (data, "a.bin", info.checksum)
        assert storage._info(info.file_id).checksum == info.checksum


@pytest.mark.parametrize("size", [9, 30])
def test_an_upload_that_is_refused_is_an_error_and_one_whose_answer_is_lost_is_none(size: int) -> None:
    storage, data = Shelf(), bytes(size)
    storage.answer = "Lost", True
    assert storage.get(storage.create(data)).read() == data
    for code, arrives in (("Slow", False), ("Lost", False)):
        storage.answer = code, arrives
        with pytest.raises(StorageFailed, match="cannot store shelf://b/p/"):
            storage.create(data)
    assert len(storage.objects) == 1


def test_a_file_of_another_storage_is_verified() -> None:
    storage, other = Shelf(), MemoryFileStorage()
    source = other.create(bytes(30), "a.bin")
    assert storage.save_from(other, source).checksum == other.get(source).checksum
    other._files[source] = other._files[source][0], bytes(29) + b"x"
    with pytest.raises(StorageFailed):
        storage.save_from(other, source)


def test_if_the_container_is_missing_no_file_is_just_missing() -> None:
    storage, file_id = Shelf(), new_file_id()
    assert not storage.exists(file_id)
    storage.delete(file_id)
    with pytest.raises(StoredFileNotFound):
        storage._info(file_id)
    storage.is_there = False
    attempts: list[Callable[[str], object]] = [storage.exists, storage.delete, storage._info]
    for attempt in attempts:
        with pytest.raises(StorageFailed, match="no shelf"):
            attempt(file_id)


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


def test_a_reader_says_what_it_can_do_and_refuses_impossible_positions() -> None:
    with Reader(Body(0), len(DATA), "read x", Body) as reader:
        assert (reader.readable(), reader.seekable(), reader.writable(), reader.tell()) == (True, True, False, 0)
        assert reader.seek(5) == reader.tell() == 5
        for offset, whence in ((-6, io.SEEK_CUR), (-1, io.SEEK_SET), (0, 7)):
            with pytest.raises(ValueError, match="before the start, or whence is invalid"):
                reader.seek(offset, whence)
        assert reader.tell() == 5


def test_a_table_without_more_says_nothing_of_an_error() -> None:
    table, error = ErrorTable(), Refusal("Odd")
    assert (table.facts(error), table.is_missing(error), table.may_have_arrived(error)) == ({}, False, False)
    assert table.cause(error) is table.subject(error) is error


# --- versions ---------------------------------------------------------------------------------------------------------


class VersionedShelf(Shelf, VersionedStorage[str | None, Object]):
    """A shelf whose objects are copied to others without being read."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0
        #: The code with which the next copy is refused.
        self.refusal = ""

    def _open(self, file_id: str) -> StoredFile:
        with TABLE.translating(self._what("read", file_id), file_id):
            record = self._look(file_id)
        return ObjectVersion(self._info_in(file_id, record), io.BytesIO(record[0]), None, self, record)

    def _reaches(self, source: FileStorage) -> bool:
        return isinstance(source, VersionedShelf)

    def _refuses(self, error: DepotError) -> bool:
        return isinstance(error.__cause__, Refusal) and error.__cause__.code == "Forbidden"

    def _description(self, info: FileInfo, record: Object) -> dict[str, Any]:
        return metadata_of(info)

    def _same_description(self, record: Object, when: datetime) -> dict[str, Any]:
        return {**record[1], **attempt_at(when)}

    def _copy_version(
        self, source: VersionedShelf, source_id: str, record: Object, file_id: str, description: Mapping[str, Any]
    ) -> None:
        if self.refusal:
            raise Refusal(self.refusal)
        if source._look(source_id) is not record:
            raise StorageFailed("file was replaced while it was copied")
        self.copies += 1
        self.objects[self._key(file_id)] = record[0], description


def test_a_copy_has_all_of_its_original_but_the_time_and_the_mark_of_its_attempt() -> None:
    storage = VersionedShelf()
    source = storage.create(b"words", "a.txt")
    info = storage.save_copy(source)
    assert (storage.copies, storage.get(info.file_id).read()) == (1, b"words")
    assert replace(info, file_id=source) == storage._info(source)
    first, second = storage._look(source)[1], storage._look(info.file_id)[1]
    assert first[ATTEMPT] != second[ATTEMPT]
    with pytest.raises(StoredFileNotFound):
        storage.copy(new_file_id())


def test_a_file_that_is_open_is_stored_again_by_a_copy_of_this_version() -> None:
    storage = VersionedShelf()
    source = storage.create(b"words", "a.txt")
    with storage.get(source) as file:
        info = storage.save(Content.of(file, "b.txt"))
        assert (storage.copies, info.filename, info.content_length) == (1, "b.txt", 5)
        assert info.checksum == storage._info(source).checksum
        storage.replace(source, b"other")
        with pytest.raises(StorageFailed, match="replaced while it was copied"):
            storage.save(Content.of(file))
    assert storage.get(info.file_id).read() == b"words"


@pytest.mark.parametrize(("refusal", "copies"), [("", 1), ("Forbidden", 0)])
def test_a_file_of_another_storage_is_copied_by_the_server_or_read_if_it_refuses(refusal: str, copies: int) -> None:
    storage, other = VersionedShelf(), VersionedShelf()
    source = other.create(b"words", "a.txt")
    storage.refusal = refusal
    info = storage.save_from(other, source)
    assert (storage.copies, other.copies) == (copies, 0)
    assert (storage.get(info.file_id).read(), info.filename, info.checksum) == (
        *(b"words", "a.txt", other._info(source).checksum),
    )
    storage.refusal = "WrongKey"
    with pytest.raises(StorageFailed, match="credentials are refused"):
        storage.save_from(other, source)
    with pytest.raises(StoredFileNotFound):
        storage.save_from(other, new_file_id())
