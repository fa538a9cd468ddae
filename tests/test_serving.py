"""Serving: every answer to every kind of request, without a server."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from depot_lite.errors import StorageFailed
from depot_lite.io.content import CHUNK_SIZE, Content, clean_filename
from depot_lite.io.disposition import INLINE_TYPES, content_disposition
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.io.local import LocalFileStorage, LocalStoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.serving import Body, Response, respond
from depot_lite.serving.conditions import parse_range
from depot_lite.serving.fileserver import parse_path
from depot_lite.testing import some_bytes, temporary_depots

DATA = b"0123456789"
#: The headers of an answer without a body.
NOTHING = {"Content-Type": "text/plain", "Content-Length": "0", "Cache-Control": "no-store"}
LONG_AGO = datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LONG_AGO_TEXT = "Thu, 02 Jan 2020 03:04:05 GMT"


class Fixed(FileStorage):
    """One file, described as a test wants it, which remembers whether it was opened and closed."""

    def __init__(
        self,
        data: bytes = DATA,
        *,
        filename: str = "a.txt",
        content_type: str = "text/plain",
        last_modified: datetime = LONG_AGO,
        checksum: str | None = "crc32:a684c7c6",
        public_url: str | None = None,
    ) -> None:
        self.info = FileInfo(new_file_id(), filename, content_type, len(data), last_modified, checksum)
        self.data = data
        self.own_url = public_url
        self.given: list[StoredFile] = []
        self.opened = 0

    def _open(self, file_id: str) -> StoredFile:
        if file_id != self.info.file_id:
            raise self._missing(file_id)
        self.given.append(StoredFile(self.info, self._stream))
        return self.given[-1]

    def _stream(self) -> BinaryIO:
        self.opened += 1
        return io.BytesIO(self.data)

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        self._id(file_or_id)
        return self.own_url

    def _save(self, file_id: str, content: Content) -> FileInfo:
        raise StorageFailed("read only")

    def _delete(self, file_id: str) -> None:
        raise StorageFailed("read only")

    def _exists(self, file_id: str) -> bool:
        return file_id == self.info.file_id

    def _list(self) -> Iterator[Any]:
        return iter(())


@pytest.fixture(autouse=True)
def _depots() -> Iterator[None]:
    with temporary_depots():
        yield


def put(storage: FileStorage, name: str = "default") -> FileStorage:
    return DepotManager.configure(name, storage)


def ask(storage: Fixed, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the answer, with the check that nothing stays open."""
    with temporary_depots():
        put(storage)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with respond(method, sent, "default", storage.info.file_id) as response:
            body = b"" if response.body is None else b"".join(response.body)
    assert all(file.closed for file in storage.given)
    assert len(dict(response.headers)) == len(response.headers)
    return response.status, dict(response.headers), body


def etag_of(storage: Fixed) -> str:
    return ask(storage, "HEAD")[1]["ETag"]


class TestWholeFile:
    def test_get_gives_all_of_it_and_says_what_it_is(self) -> None:
        """The full answer, header by header."""
        status, headers, body = ask(Fixed(filename="plan.txt"))
        assert (status, body) == (200, DATA)
        assert re.fullmatch('"[0-9a-f]{32}"', headers.pop("ETag"))
        assert headers == {
            "Last-Modified": LONG_AGO_TEXT,
            "Cache-Control": "private, immutable, max-age=604800",
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": 'inline; filename="plan.txt"',
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": (
                "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
            ),
            "Cross-Origin-Resource-Policy": "same-site",
            "Content-Length": "10",
        }

    def test_head_gives_the_same_headers_and_no_body(self) -> None:
        """And opens nothing: an object store charges for it."""
        storage = Fixed()
        got, (status, headers, body) = ask(storage), ask(storage, "HEAD")
        assert (status, headers, body) == (200, got[1], b"")
        assert storage.opened == 1

    def test_an_empty_file_is_a_file(self) -> None:
        status, headers, body = ask(Fixed(b""))
        assert (status, headers["Content-Length"], body) == (200, "0", b"")

    def test_a_large_file_comes_in_chunks(self) -> None:
        """No answer holds a file in memory."""
        data = some_bytes(2 * CHUNK_SIZE + 7)
        storage = put(MemoryFileStorage())
        with respond("GET", {}, "default", storage.create(data)) as response:
            assert response.body is not None
            assert response.body.is_whole
            chunks = list(response.body)
        assert [len(chunk) for chunk in chunks] == [CHUNK_SIZE, CHUNK_SIZE, 7]
        assert b"".join(chunks) == data

    @pytest.mark.parametrize(
        ("age", "expected"),
        [(60, "private, immutable, max-age=60"), (0, "private, no-cache"), (-1, "private, no-cache")],
    )
    def test_cache_max_age_says_how_long_it_is_kept(self, age: int, expected: str) -> None:
        """Nothing means that the browser asks each time, as files may be replaced in place."""
        storage = Fixed()
        put(storage)
        with respond("HEAD", {}, "default", storage.info.file_id, cache_max_age=age) as response:
            assert dict(response.headers)["Cache-Control"] == expected

    def test_last_modified_is_never_in_the_future(self) -> None:
        """A storage whose clock is ahead must not make a cache keep a file too long (RFC 9110 section 8.8.2.1)."""
        before = datetime.now(UTC).replace(microsecond=0)
        headers = ask(Fixed(last_modified=before + timedelta(days=1)))[1]
        told = datetime.strptime(headers["Last-Modified"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
        assert before <= told <= datetime.now(UTC)

    def test_last_modified_is_told_in_gmt(self) -> None:
        """Whatever the zone is that a storage uses."""
        eastern = LONG_AGO.astimezone(UTC).astimezone(datetime.strptime("+0500", "%z").tzinfo)
        assert ask(Fixed(last_modified=eastern))[1]["Last-Modified"] == LONG_AGO_TEXT

    def test_an_alias_leads_to_the_file(self) -> None:
        storage = put(MemoryFileStorage())
        DepotManager.alias("uploads", "default")
        with respond("GET", {}, "uploads", storage.create(DATA)) as response:
            assert response.status == 200


class TestRefused:
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", ""])
    def test_only_get_and_head_are_served(self, method: str) -> None:
        """405 comes first: it says what may be asked of any path, and nothing of this one."""
        for file_id in (new_file_id(), "../secret"):
            response = respond(method, {}, "nowhere", file_id)
            assert (response.status, response.body) == (405, None)
            assert dict(response.headers) == {"Allow": "GET, HEAD"} | NOTHING

    @pytest.mark.parametrize(
        "file_id",
        ["", "..", "../../etc/passwd", "a" * 36, "\x00", f"{new_file_id()}\n", new_file_id().upper(), "é" * 36],
        ids=["empty", "parent", "path", "no id", "NUL", "line end", "upper case", "not ASCII"],
    )
    def test_what_is_no_file_id_is_not_found(self, file_id: str) -> None:
        put(MemoryFileStorage())
        assert respond("GET", {}, "default", file_id).status == 404

    def test_nothing_tells_why_something_is_not_found(self) -> None:
        """An unknown depot, a missing file and a malformed id have one answer, also with conditions."""
        put(MemoryFileStorage())
        cases = [("nowhere", new_file_id()), ("default", new_file_id()), ("default", "x"), ("", "")]
        answers = [respond("GET", {"if-none-match": "*", "if-match": '"x"'}, *case) for case in cases]
        assert answers == [Response(404, tuple(NOTHING.items()))] * len(cases)

    def test_a_file_that_goes_before_it_is_opened_is_not_found(self, tmp_path: Path) -> None:
        """No headers have been sent by then."""

        class Vanishing(LocalFileStorage):
            def _open(self, file_id: str) -> LocalStoredFile:
                file = super()._open(file_id)
                self._delete(file_id)
                return file

        storage = put(Vanishing(tmp_path, durable=False))
        assert respond("GET", {}, "default", storage.create(DATA)).status == 404

    def test_a_file_that_is_replaced_before_it_is_opened_is_sent_as_it_is_now(self, tmp_path: Path) -> None:
        """Length and tag are those of the bytes that follow; the old ones would cut them off."""

        class Replacing(LocalFileStorage):
            replacing = False

            def _open(self, file_id: str) -> LocalStoredFile:
                file = super()._open(file_id)
                if self.replacing:
                    self.replacing = False
                    self.replace(file_id, b"longer than it was before")
                return file

        storage = Replacing(tmp_path, durable=False)
        put(storage)
        file_id = storage.create(DATA)
        storage.replacing = True
        with respond("GET", {"range": "bytes=-6"}, "default", file_id) as response:
            assert response.body is not None
            assert b"".join(response.body) == b"before"
        assert dict(response.headers)["Content-Range"] == "bytes 19-24/25"
        with respond("HEAD", {}, "default", file_id) as now:
            assert dict(now.headers)["ETag"] == dict(response.headers)["ETag"]

    def test_a_storage_that_fails_is_logged_and_says_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """The error may hold a path or a bucket: it goes to the log alone."""

        class Failing(Fixed):
            def _stream(self) -> BinaryIO:
                raise StorageFailed("/srv/secret/path")

        storage = Failing()
        with caplog.at_level(logging.ERROR, "depot_lite"):
            status, headers, body = ask(storage)
        assert (status, headers, body) == (503, NOTHING | {"Retry-After": "5"}, b"")
        assert "/srv/secret/path" in caplog.text
        assert storage.info.file_id in caplog.text

    def test_an_unexpected_error_leaves_nothing_open(self) -> None:
        """A backend of somebody else's may raise anything; the server answers that."""

        class Broken(Fixed):
            def _stream(self) -> BinaryIO:
                raise RuntimeError("a bug")

        storage = Broken()
        put(storage)
        with pytest.raises(RuntimeError, match="a bug"):
            respond("GET", {}, "default", storage.info.file_id)
        assert [file.closed for file in storage.given] == [True]

    def test_a_file_that_ends_too_early_is_an_error(self) -> None:
        """Nothing else tells the client that its file is incomplete."""
        short = StoredFile(Fixed().info, lambda: io.BytesIO(DATA[:4]))
        with short as file, pytest.raises(StorageFailed, match="damaged: expected 10 bytes, got 4"):
            list(Body(file, range(10)))
        short = StoredFile(Fixed().info, lambda: io.BytesIO(DATA[:4]))
        with short.unverified() as file, pytest.raises(StorageFailed, match="ends 6 bytes too early"):
            list(Body(file, range(10)))


class TestRedirect:
    def test_a_storage_with_urls_of_its_own_gets_the_request(self) -> None:
        """Whatever was asked of the file: its storage answers that. Kept for minutes, as such a URL may expire."""
        storage = Fixed(public_url="https://s3.example/b/k?X-Signature=a%2Fb%3D&x=1")
        status, headers, body = ask(storage, if_none_match="*", range="bytes=0-1")
        assert (status, body, storage.opened) == (302, b"", 0)
        kept = {"Cache-Control": "private, max-age=300"}
        assert headers == NOTHING | kept | {"Location": "https://s3.example/b/k?X-Signature=a%2Fb%3D&x=1"}

    def test_head_is_answered_without_it(self) -> None:
        """A URL that was signed for GET refuses HEAD, and nobody can see in a URL whether it was."""
        storage = Fixed(public_url="https://s3.example/b/k?X-Signature=a%2Fb%3D&x=1")
        status, headers, body = ask(storage, "HEAD", range="bytes=0-1")
        assert (status, headers, body) == (200, ask(Fixed(), "HEAD")[1] | {"ETag": headers["ETag"]}, b"")
        assert storage.opened == 0
        assert ask(storage, "HEAD", if_none_match=headers["ETag"])[0] == 304

    def test_a_url_that_only_the_file_tells_counts(self) -> None:
        """Backends that were written for filedepot tell it there."""

        class Public(StoredFile):
            @property
            def public_url(self) -> str:
                return "https://cdn.example/x"

        class Old(Fixed):
            def _open(self, file_id: str) -> StoredFile:
                self.given.append(Public(self.info, self._stream))
                return self.given[-1]

        assert ask(Old())[1]["Location"] == "https://cdn.example/x"

    def test_no_url_splits_the_headers(self) -> None:
        location = ask(Fixed(public_url='https://cdn.example/é "\r\nSet-Cookie: a=b'))[1]["Location"]
        assert location == "https://cdn.example/%C3%A9%20%22%0D%0ASet-Cookie:%20a=b"

    def test_what_is_missing_is_not_redirected(self) -> None:
        """The storage's own page about a missing file tells the name of a bucket."""
        put(Fixed(public_url="https://s3.example/b/k"))
        assert respond("GET", {}, "default", new_file_id()).status == 404


class TestETag:
    def test_other_bytes_have_another_one(self) -> None:
        """Also under the same id, of the same length and at the same time."""
        storage = MemoryFileStorage()
        put(storage)
        file_id = storage.create(b"one")
        seen = set()
        for data in (b"one", b"two"):
            storage.replace(file_id, data)
            with respond("HEAD", {}, "default", file_id) as response:
                seen.add(dict(response.headers)["ETag"])
        assert len(seen) == 2

    def test_two_files_with_the_same_bytes_have_two(self) -> None:
        """The tag alone must not tell that somebody else has the same file."""
        assert etag_of(Fixed()) != etag_of(Fixed())

    def test_it_lasts(self, tmp_path: Path) -> None:
        """A restarted process gives the same one, so that caches stay good."""
        file_id = LocalFileStorage(tmp_path, durable=False).create(DATA)
        seen = set()
        for _ in range(2):
            with temporary_depots():
                put(LocalFileStorage(tmp_path))
                seen.add(dict(respond("HEAD", {}, "default", file_id).headers)["ETag"])
        assert len(seen) == 1

    def test_without_a_checksum_there_is_none(self) -> None:
        """A time and a length are no strong validator; the time is sent as ``Last-Modified``."""
        headers = ask(Fixed(checksum=None))[1]
        assert "ETag" not in headers
        assert headers["Last-Modified"] == LONG_AGO_TEXT

    def test_any_checksum_makes_a_valid_one(self) -> None:
        """Some storages put quotes around theirs."""
        assert re.fullmatch('"[0-9a-f]{32}"', etag_of(Fixed(checksum='etag:"é\r\n\\')))


BEFORE, AT, AFTER = "Thu, 02 Jan 2020 03:04:04 GMT", LONG_AGO_TEXT, "Thu, 02 Jan 2020 03:04:06 GMT"

#: The headers of a request, where ETAG stands for the tag of the file, and the status of its answer.
CONDITIONS: list[tuple[dict[str, str], int]] = [
    # If-None-Match: compared weakly, as only the same content counts.
    ({"if_none_match": "ETAG"}, 304),
    ({"if_none_match": "W/ETAG"}, 304),
    ({"if_none_match": '"a", W/"b,c" ,ETAG'}, 304),
    ({"if_none_match": "*"}, 304),
    ({"if_none_match": " * "}, 304),
    ({"if_none_match": '"other"'}, 200),
    ({"if_none_match": "no tag"}, 200),
    ({"if_none_match": ""}, 200),
    # A date counts only where no tag was sent.
    ({"if_none_match": '"other"', "if_modified_since": AFTER}, 200),
    # If-Modified-Since: in whole seconds.
    ({"if_modified_since": BEFORE}, 200),
    ({"if_modified_since": AT}, 304),
    ({"if_modified_since": AFTER}, 304),
    ({"if_modified_since": "Thursday, 02-Jan-20 03:04:05 GMT"}, 304),
    ({"if_modified_since": "Thu Jan  2 03:04:05 2020"}, 304),
    ({"if_modified_since": "Thu Jan  2 03:04:04 2020"}, 200),
    ({"if_modified_since": "yesterday"}, 200),
    ({"if_modified_since": "Thu, 99 Jan 2020 03:04:05 GMT"}, 200),
    ({"if_modified_since": "Thu, 02 Jan 99999999999 03:04:05 GMT"}, 200),
    # If-Match: compared strongly.
    ({"if_match": "ETAG"}, 200),
    ({"if_match": '"other", ETAG'}, 200),
    ({"if_match": "*"}, 200),
    ({"if_match": "W/ETAG"}, 412),
    ({"if_match": '"other"'}, 412),
    ({"if_match": ""}, 412),
    ({"if_match": "ETAG", "if_unmodified_since": BEFORE}, 200),
    # If-Unmodified-Since
    ({"if_unmodified_since": BEFORE}, 412),
    ({"if_unmodified_since": AT}, 200),
    ({"if_unmodified_since": AFTER}, 200),
    ({"if_unmodified_since": "yesterday"}, 200),
    # Both: what must match is looked at first (RFC 9110 section 13.2.2).
    ({"if_match": '"other"', "if_none_match": "ETAG"}, 412),
    ({"if_match": "ETAG", "if_none_match": "ETAG"}, 304),
    ({"if_unmodified_since": BEFORE, "if_none_match": "ETAG"}, 412),
    # Conditions come before ranges.
    ({"if_none_match": "ETAG", "range": "bytes=0-1"}, 304),
    ({"if_none_match": "ETAG", "range": "bytes=10-"}, 304),
    ({"if_match": '"other"', "range": "bytes=10-"}, 412),
    ({"if_match": "ETAG", "range": "bytes=10-"}, 416),
    ({"if_match": "ETAG", "range": "bytes=0-1"}, 206),
    # If-Range: the part is sent if it is one of the same file, else the whole.
    ({"range": "bytes=0-1", "if_range": "ETAG"}, 206),
    ({"range": "bytes=0-1", "if_range": " ETAG "}, 206),
    ({"range": "bytes=0-1", "if_range": "W/ETAG"}, 200),
    ({"range": "bytes=0-1", "if_range": '"other"'}, 200),
    ({"range": "bytes=0-1", "if_range": AT}, 206),
    ({"range": "bytes=0-1", "if_range": BEFORE}, 200),
    ({"range": "bytes=0-1", "if_range": AFTER}, 200),
    ({"range": "bytes=0-1", "if_range": "yesterday"}, 200),
    ({"range": "bytes=0-1", "if_range": ""}, 200),
    ({"range": "bytes=10-", "if_range": '"other"'}, 200),
    ({"range": "bytes=10-", "if_range": "ETAG"}, 416),
    ({"if_range": "ETAG"}, 200),
]


class TestConditions:
    @pytest.mark.parametrize(("headers", "expected"), CONDITIONS, ids=str)
    def test_each_has_its_answer(self, headers: dict[str, str], expected: int) -> None:
        """The status, and that a file is opened only to be sent."""
        storage = Fixed()
        etag = etag_of(storage)
        sent = {name: value.replace("ETAG", etag) for name, value in headers.items()}
        status, _, body = ask(storage, **sent)
        assert status == expected
        assert body == {200: DATA, 206: DATA[:2]}.get(status, b"")
        assert storage.opened == (status in {200, 206})

    @pytest.mark.parametrize(("headers", "expected"), CONDITIONS, ids=str)
    def test_head_has_the_same_conditions_and_no_ranges(self, headers: dict[str, str], expected: int) -> None:
        """RFC 9110 section 14.2: a range means nothing to HEAD."""
        storage = Fixed()
        etag = etag_of(storage)
        sent = {name: value.replace("ETAG", etag) for name, value in headers.items()}
        status, answered, body = ask(storage, "HEAD", **sent)
        assert (status, body) == ({206: 200, 416: 200}.get(expected, expected), b"")
        assert storage.opened == 0
        assert status != 200 or answered["Content-Length"] == "10"

    def test_not_modified_tells_what_a_cache_needs(self) -> None:
        """And nothing of a body that does not come (RFC 9110 section 15.4.5)."""
        storage = Fixed()
        _, headers, body = ask(storage, if_none_match="*")
        assert headers == {
            "ETag": etag_of(storage),
            "Last-Modified": LONG_AGO_TEXT,
            "Cache-Control": "private, immutable, max-age=604800",
        }
        assert body == b""

    def test_without_a_checksum_only_times_match(self) -> None:
        """Files that filedepot stored: no tag matches, resuming goes by the date."""
        storage = Fixed(checksum=None)
        assert ask(storage, if_none_match='"x"')[0] == 200
        assert ask(storage, if_match='"x"')[0] == 412
        assert ask(storage, if_match="*")[0] == 200
        assert ask(storage, range="bytes=0-1", if_range='""')[0] == 200
        assert ask(storage, range="bytes=0-1", if_range=AT)[0] == 206
        assert ask(storage, if_modified_since=AT)[0] == 304

    @pytest.mark.matrix
    @settings(deadline=None)
    @given(text=st.text(st.characters(max_codepoint=255)) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ [\d:]+ [-+\w]+"))
    def test_no_date_breaks_anything(self, text: str) -> None:
        """A date that cannot be understood is ignored, whatever it is."""
        for name in ("if_modified_since", "if_unmodified_since"):
            assert ask(Fixed(), **{name: text})[0] in {200, 304, 412}
        assert ask(Fixed(), range="bytes=0-1", if_range=text)[0] in {200, 206}

    @settings(deadline=None)
    @given(text=st.text(st.sampled_from('W/"*, ab\t\\\xff')))
    def test_no_list_of_tags_breaks_anything(self, text: str) -> None:
        """None of these is the tag of the file, so only ``*`` matches."""
        star = text.strip() == "*"
        assert ask(Fixed(), if_none_match=text)[0] == (304 if star else 200)
        assert ask(Fixed(), if_match=text)[0] == (200 if star else 412)

    @pytest.mark.matrix
    @settings(deadline=None)
    @given(seconds=st.integers(-5, 5))
    def test_a_date_is_compared_in_whole_seconds(self, seconds: int) -> None:
        date = format_datetime(LONG_AGO.replace(microsecond=0) + timedelta(seconds=seconds), usegmt=True)
        assert ask(Fixed(), if_modified_since=date)[0] == (200 if seconds < 0 else 304)
        assert ask(Fixed(), if_unmodified_since=date)[0] == (412 if seconds < 0 else 200)


#: A Range header, and what of ten bytes it gets: a part, None for the whole file, "" where there are none such.
RANGES: list[tuple[str, bytes | None]] = [
    ("bytes=0-0", b"0"),
    ("bytes=0-3", b"0123"),
    ("bytes=4-", b"456789"),
    ("bytes=0-", DATA),
    ("bytes=9-9", b"9"),
    ("bytes=8-99", b"89"),
    ("bytes=-1", b"9"),
    ("bytes=-10", DATA),
    ("bytes=-99", DATA),
    ("bytes=000-003", b"0123"),
    ("Bytes=0-3", b"0123"),
    ("bytes= 0-3 ", b"0123"),
    ("bytes=,0-3,", b"0123"),
    ("bytes=10-", b""),
    ("bytes=10-20", b""),
    ("bytes=-0", b""),
    ("bytes=999999999999999999-", b""),
    ("bytes=3-0", None),
    ("bytes=0-1,3-4", None),
    ("bytes=0-1, 99-", None),
    ("bytes=" + "0-1," * 1000, None),
    ("bytes=" + "9" * 5000 + "-", None),
    ("bytes=0-" + "9" * 5000, None),
    ("bytes=-" + "9" * 5000, None),
    ("bytes=0", None),
    ("bytes=-", None),
    ("bytes=", None),
    ("bytes", None),
    ("", None),
    ("bytes=a-b", None),
    ("bytes=0-3 5", None),
    ("bytes=+1-3", None),
    ("bytes=--3", None),
    ("bytes=1_0-", None),
    ("bytes=\u0661-\u0663", None),
    ("bytes=0x0-0x3", None),
    ("items=0-3", None),
    ("bytes 0-3", None),
]


class TestRanges:
    @pytest.mark.parametrize(("header", "expected"), RANGES, ids=lambda value: repr(value)[:30])
    def test_each_has_its_answer(self, header: str, expected: bytes | None) -> None:
        storage = Fixed()
        status, headers, body = ask(storage, range=header)
        if expected is None:
            assert (status, body, headers["Content-Length"]) == (200, DATA, "10")
            assert "Content-Range" not in headers
        elif expected:
            start = DATA.index(expected)
            assert (status, body) == (206, expected)
            assert headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/10"
            assert headers["Content-Length"] == str(len(expected))
            assert headers["ETag"] == etag_of(storage)
        else:
            assert (status, body) == (416, b"")
            assert headers == NOTHING | {"Content-Range": "bytes */10", "Accept-Ranges": "bytes"}

    def test_a_part_is_described_as_the_whole_is(self) -> None:
        """Also by what makes it safe (RFC 9110 section 15.3.7)."""
        storage = Fixed()
        whole, part = ask(storage)[1], ask(storage, range="bytes=0-1")[1]
        del part["Content-Range"]
        assert part | {"Content-Length": "10"} == whole

    @pytest.mark.parametrize(("header", "status"), [("bytes=0-", 416), ("bytes=-5", 200), ("bytes=-0", 416)])
    def test_an_empty_file_has_no_first_byte(self, header: str, status: int) -> None:
        """But an end, which no Content-Range can express: it is the whole file."""
        assert ask(Fixed(b""), range=header)[0] == status

    @settings(deadline=None)
    @given(start=st.integers(0, 40), count=st.integers(1, 40), length=st.integers(0, 30))
    def test_a_closed_range_is_what_a_slice_is(self, start: int, count: int, length: int) -> None:
        found = parse_range(f"bytes={start}-{start + count - 1}", length)
        assert found is not None
        assert list(found) == list(range(length))[start : start + count]

    @settings(deadline=None)
    @given(start=st.integers(0, 40), length=st.integers(0, 30))
    def test_an_open_range_goes_to_the_end(self, start: int, length: int) -> None:
        found = parse_range(f"bytes={start}-", length)
        assert found is not None
        assert list(found) == list(range(length))[start:]

    @settings(deadline=None)
    @given(count=st.integers(1, 40), length=st.integers(1, 30))
    def test_a_suffix_is_the_end(self, count: int, length: int) -> None:
        found = parse_range(f"bytes=-{count}", length)
        assert found is not None
        assert list(found) == list(range(length))[-count:]

    @settings(deadline=None)
    @given(
        header=st.text()
        | st.from_regex(r"\Abytes=[-0-9, ]*\Z")
        | st.text(st.characters(categories=["Nd"])).map("bytes={}-".format),
        length=st.integers(0, 10**15),
    )
    def test_no_header_asks_for_what_is_not_there(self, header: str, length: int) -> None:
        """Whatever is sent, the range that is read lies inside of the file, and is one piece."""
        found = parse_range(header, length)
        if found:
            assert 0 <= found.start < found.stop <= length
            assert found.step == 1


class TestDescription:
    @pytest.mark.parametrize("content_type", sorted(INLINE_TYPES))
    def test_passive_types_are_shown(self, content_type: str) -> None:
        headers = ask(Fixed(content_type=content_type))[1]
        assert headers["Content-Disposition"].startswith("inline;")
        assert headers["Content-Type"].partition(";")[0] == content_type

    @pytest.mark.parametrize(
        "content_type",
        [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "application/xhtml+xml",
            "image/svg+xml",
            "text/xml",
            "application/xml",
            "text/javascript",
            "application/javascript",
            "text/css",
            "text/csv",
            "multipart/x-mixed-replace",
            "message/rfc822",
            "application/zip",
            "application/octet-stream",
            "application/x-shockwave-flash",
            "image/png, text/html",
            "image/png\r\nSet-Cookie: a=b",
            "image/png\x00",
            "image",
            "",
        ],
    )
    def test_everything_else_is_a_download_of_no_type(self, content_type: str) -> None:
        """A browser would execute some of it, and some of it is not even a type."""
        status, headers, body = ask(Fixed(content_type=content_type))
        assert (status, body) == (200, DATA)
        assert headers["Content-Type"] == "application/octet-stream"
        assert headers["Content-Disposition"] == 'attachment; filename="a.txt"'
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].endswith("; sandbox")

    def test_no_type_that_executes_is_passive(self) -> None:
        """So that nobody adds one without noticing."""
        assert not [each for each in INLINE_TYPES if re.search("xml|html|script|svg|css|json|flash|mixed", each)]

    def test_parameters_of_a_type_do_not_hide_it(self) -> None:
        """A file of filedepot has the type as the browser had declared it, parameters and all."""
        assert ask(Fixed(content_type="Image/PNG; name=x"))[1]["Content-Type"] == "image/png"

    def test_a_pdf_has_no_sandbox(self) -> None:
        """In one, the viewers of Chrome and Safari show nothing (https://github.com/whatwg/html/issues/3958)."""
        policy = ask(Fixed(content_type="application/pdf"))[1]["Content-Security-Policy"]
        assert policy == "base-uri 'none'; form-action 'none'"

    def test_a_video_may_be_played_by_the_page_that_a_browser_makes_for_it(self) -> None:
        """Opened by itself, it is loaded a second time from the same URL."""
        policy = ask(Fixed(content_type="video/mp4"))[1]["Content-Security-Policy"]
        assert "media-src 'self'" in policy


class TestContentDisposition:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("plan.pdf", 'inline; filename="plan.pdf"'),
            ("two words.pdf", 'inline; filename="two words.pdf"'),
            ("a;b=c,d'.pdf", 'inline; filename="a;b=c,d\'.pdf"'),
            ('a"b.pdf', "inline; filename=\"a_b.pdf\"; filename*=UTF-8''a%22b.pdf"),
            ("100%41.pdf", "inline; filename=\"100_41.pdf\"; filename*=UTF-8''100%2541.pdf"),
            ("naïve.pdf", "inline; filename=\"naive.pdf\"; filename*=UTF-8''na%C3%AFve.pdf"),
            ("報告.pdf", "inline; filename=\"BaoGao.pdf\"; filename*=UTF-8''%E5%A0%B1%E5%91%8A.pdf"),
            ("😀.png", "inline; filename=\"_.png\"; filename*=UTF-8''%F0%9F%98%80.png"),
            (
                "Łódź Крупный 🎉.pdf",
                "inline; filename=\"Lodz Krupnyy.pdf\"; filename*=UTF-8''%C5%81%C3%B3d%C5%BA%20%D0%9A%D1%80%D1%83"
                "%D0%BF%D0%BD%D1%8B%D0%B9%20%F0%9F%8E%89.pdf",
            ),
            ("é (1)*'~.txt", "inline; filename=\"e (1)*'~.txt\"; filename*=UTF-8''%C3%A9%20%281%29%2A%27~.txt"),
            ("../../etc/passwd", 'inline; filename="passwd"'),
            ("C:\\temp\\a.txt", 'inline; filename="a.txt"'),
            ("a\r\nSet-Cookie: b=c", 'inline; filename="aSet-Cookie: b=c"'),
            ("photo\u202egpj.exe", 'inline; filename="photogpj.exe"'),
            ("\ud800.txt", "inline; filename=\"_.txt\"; filename*=UTF-8''%EF%BF%BD.txt"),
            ("", "inline"),
            ("..", "inline"),
        ],
    )
    def test_each_name_has_its_header(self, name: str, expected: str) -> None:
        assert content_disposition("inline", name) == expected

    @settings(deadline=None)
    @given(name=st.text() | st.text(st.sampled_from("\"\\\r\n;%'*=/é\ud800\u202e\x00 a.")))
    def test_no_name_gets_out_of_its_quotes(self, name: str) -> None:
        """The grammar of RFC 6266 and RFC 8187, character by character."""
        value = content_disposition("attachment", name)
        quoted, extended = r'"[ !#-\$&-\[\]-~]+"', r"UTF-8''([A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+"
        assert re.fullmatch(rf"attachment(; filename={quoted}(; filename\*={extended})?)?", value)
        assert len(value) < 1100

    @settings(deadline=None)
    @given(name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp"]), max_size=40))
    def test_a_client_reads_the_name_that_was_stored(self, name: str) -> None:
        """As Werkzeug reads it, which knows both forms."""
        assume(clean_filename(name) == name)
        assert parse_options_header(content_disposition("attachment", name)) == ("attachment", {"filename": name})

    def test_a_very_long_name_keeps_its_ending(self) -> None:
        """A proxy refuses headers of many kilobytes."""
        value = content_disposition("inline", "é" * 10_000 + ".pdf")
        assert value.endswith(".pdf")
        assert len(value) < 1100


class TestParsePath:
    @pytest.mark.parametrize("path", ["", "/", "a", "a/", "/b", "a//c", "a/b/", "a/b/c/", "a/b/c/d", "//", "/a/b"])
    def test_what_is_no_path_of_a_file(self, path: str) -> None:
        assert parse_path(path) is None

    @pytest.mark.parametrize("path", ["a/b", "a/b/c", "a/b/..", "a/b/c d.pdf"])
    def test_a_name_for_people_is_ignored(self, path: str) -> None:
        assert parse_path(path) == ("a", "b")
