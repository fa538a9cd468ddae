"""What storages of objects share: the requests that methods cost, URLs, and what happens when requests fail."""

from __future__ import annotations

import io
import os
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from depot_lite.errors import ConfigurationError, InvalidContent, StorageFailed, StoredFileNotFound
from depot_lite.io.content import Content
from depot_lite.io.disposition import content_disposition
from depot_lite.io.fileid import new_file_id
from depot_lite.io.objects.metadata import crc32_of
from depot_lite.testing import BreakingFile, some_bytes
from tests.io.backends import Servers
from tests.io.links import MB, Link, every_link, link_to, on_links
from tests.io.s3_proxy import Fault
from tests.support.streams import Stream

#: Whether the content is sent in parts.
in_parts = pytest.mark.parametrize("in_parts", [False, True], ids=["whole", "in parts"])


@pytest.fixture
def link(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Link]:
    with link_to(request.param, servers) as made:
        yield made


def query_of(url: str | None) -> dict[str, str]:
    assert url is not None
    return dict(parse_qsl(urlsplit(url).query))


# --- requests ---------------------------------------------------------------------------------------------------------


@every_link
@pytest.mark.parametrize(
    "content",
    [b"", some_bytes(50_000), io.BytesIO(b"file"), Stream(b"stream")],
    ids=["empty", "bytes", "file", "stream"],
)
def test_small_content_is_one_request(link: Link, content: Any) -> None:
    """No look at the bucket, no list, no look at the object."""
    link.storage.create(content, "a.txt")
    assert link.proxy.taken() == [link.method]


@every_link
@pytest.mark.parametrize("more", [-1, 0, 1, None])
def test_sizes_at_the_edges_come_back(link: Link, more: int | None) -> None:
    """Of one part, and of two."""
    data = some_bytes(2 * link.part if more is None else link.part + more)
    for content in (data, Stream(data)):
        assert link.read(link.storage.create(content)) == data


@every_link
def test_getting_and_reading_is_one_request(link: Link) -> None:
    file_id = link.storage.create(some_bytes(200_000), "a.bin")
    link.proxy.taken()
    with link.storage.get(file_id) as file:
        assert (file.filename, file.content_length) == ("a.bin", 200_000)
        assert file.read() == some_bytes(200_000)
        assert file.read() == b""
    assert link.proxy.taken() == ["GET"]


@every_link
def test_seeking_is_one_request_more_when_it_is_read(link: Link) -> None:
    """And none for a small step forwards, nor where nothing is read."""
    data = some_bytes(2 * MB)
    file_id = link.storage.create(data)
    link.proxy.taken()
    with link.storage.get(file_id) as file:
        file.seek(MB)
        file.seek(0)
        assert file.read(10) == data[:10]
        file.seek(50_000)
        assert file.read(10) == data[50_000:50_010]
        assert link.proxy.taken() == ["GET"]
        file.seek(-10, io.SEEK_END)
        assert file.read() == data[-10:]
        assert link.proxy.taken() == ["GET"]
        file.seek(0, io.SEEK_END)
        assert file.read() == b""
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)
    assert link.proxy.taken() == []


@every_link
def test_content_that_changes_while_it_is_stored_is_refused(
    link: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checksum was announced before."""
    path, size = tmp_path / "changing.bin", 2 * link.part + 1000
    path.write_bytes(some_bytes(size))

    def computed_before(content: Content) -> int | None:
        found = crc32_of(content)
        path.write_bytes(some_bytes(size, 1))
        return found

    monkeypatch.setattr("depot_lite.io.objects.storage.crc32_of", computed_before)
    with pytest.raises(StorageFailed, match="changed"):
        link.storage.create(path)
    assert list(link.storage.list()) == link.uploads() == []


@every_link
@pytest.mark.parametrize("parts", [0, 1, 2])
def test_an_upload_that_breaks_off_is_cancelled(link: Link, parts: int) -> None:
    with pytest.raises(InvalidContent, match="the client has gone"):
        link.storage.create(BreakingFile(parts * link.part + 1000))
    assert list(link.storage.list()) == link.uploads() == []


@on_links("s3", "gcs")
def test_a_client_made_before_a_fork_is_not_used_after_it(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on one connection would get each other's answers."""
    file_id = link.storage.create(b"x")
    before = link.storage._connection.client
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert link.storage._connection.client is not before
    assert link.read(file_id) == b"x"


# --- URLs -------------------------------------------------------------------------------------------------------------


@on_links("s3", "gcs")
def test_a_page_rendered_twice_has_the_same_urls(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a fourth of the expiry; each works for all of it at least, and the server's longest is not exceeded."""
    file_id, start, storage = new_file_id(), 1_800_000_000, link.storage
    monkeypatch.setattr(time, "time", lambda: start)
    first = storage.url(file_id, expires_in=400)
    monkeypatch.setattr(time, "time", lambda: start + 99.9)
    assert storage.url(file_id, expires_in=timedelta(seconds=400)) == first
    assert int(query_of(first)[link.expiry]) == 500
    monkeypatch.setattr(time, "time", lambda: start + 100)
    assert storage.url(file_id, expires_in=400) != first
    for expiry in (604_800, 604_799, 600_000, 1, 3):
        assert expiry <= int(query_of(storage.url(file_id, expires_in=expiry))[link.expiry]) <= 604_800


@every_link
@pytest.mark.parametrize("name", ['a"; filename="b.exe', "a\r\nX-Evil: 1", "Grüße.txt"])
def test_names_in_urls_are_harmless(link: Link, name: str) -> None:
    """The header that the server would answer with has no more quotes than it should, and no line break."""
    said = query_of(link.storage.url(new_file_id(), filename=name, disposition="inline"))[link.disposition]
    assert said == content_disposition("inline", name)
    assert said.count('"') == 2
    assert said.isprintable()


@every_link
@pytest.mark.parametrize(
    "options",
    [
        {"disposition": "form-data"},
        {"content_type": "text/html\r\nX-Evil: 1"},
        {"content_type": "nonsense"},
        {"expires_in": 0},
        {"expires_in": 604_801},
    ],
)
def test_impossible_parameters_of_a_url_are_refused(link: Link, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        link.storage.url(new_file_id(), **options)


# --- faults -----------------------------------------------------------------------------------------------------------


@every_link
@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.CUT_REQUEST])
@in_parts
def test_an_upload_that_fails_for_good_leaves_nothing_and_replaces_nothing(
    link: Link, fault: Fault, in_parts: bool
) -> None:
    """And its error has no URL with which anybody could go on."""
    size, storage = 3 * link.part if in_parts else 1000, link.storage
    kept = storage.create(b"kept")
    attempts: list[Callable[[], object]] = [
        lambda: storage.create(some_bytes(size)),
        lambda: storage.replace(kept, some_bytes(size)),
    ]
    for attempt in attempts:
        link.proxy.fail(fault, link.method_of(size), times=20, after=500)
        reason = "overloaded" if fault is Fault.BUSY else r"did not answer|broke"
        with pytest.raises(StorageFailed, match=reason) as caught:
            attempt()
        assert "upload_id" not in "".join(traceback.format_exception(caught.value))
        link.proxy.recover()
    assert link.uploads() == []
    assert list(storage.list()) == [kept]
    assert link.read(kept) == b"kept"


@on_links("s3", "gcs")
def test_an_answer_that_is_lost_for_good_is_not_the_end(link: Link) -> None:
    """The object is there and says that this attempt has made it; so it is stored, replaced, copied."""
    storage = link.storage
    link.proxy.fail(Fault.LOSE_ANSWER, link.method, times=link.tries)
    file_id = storage.create(b"there")
    link.proxy.fail(Fault.LOSE_ANSWER, link.method, times=link.tries)
    storage.replace(file_id, b"new")
    link.proxy.fail(Fault.LOSE_ANSWER, link.method, times=link.tries)
    copied = storage.copy(file_id)
    assert link.proxy.pending() == 0
    assert link.read(file_id) == link.read(copied) == b"new"


@every_link
def test_reading_goes_on_after_a_reset(link: Link) -> None:
    """From where it was, by a range of the same object."""
    data = some_bytes(4 * MB)
    file_id = link.storage.create(data)
    link.proxy.taken()
    link.proxy.fail(Fault.CUT_ANSWER, "GET", times=2, after=MB)
    assert link.read(file_id) == data
    assert link.proxy.pending() == 0
    assert link.proxy.taken() == ["GET"] * 3


@every_link
def test_a_body_that_breaks_off_again_and_again_is_given_up(link: Link) -> None:
    file_id = link.storage.create(some_bytes(MB))
    link.proxy.fail(Fault.CUT_ANSWER, "GET", times=40, after=0)
    with pytest.raises(StorageFailed, match=r"broke|did not answer"):
        link.read(file_id)


@every_link
def test_a_file_that_was_replaced_in_the_middle_is_no_mixture(link: Link) -> None:
    file_id = link.storage.create(some_bytes(4 * MB))
    link.proxy.fail(Fault.CUT_ANSWER, "GET", after=MB)
    with link.storage.get(file_id) as file:
        link.storage.replace(file_id, some_bytes(4 * MB, 1))
        with pytest.raises(StorageFailed, match="replaced while it was read"):
            file.read()


@on_links("s3", "gcs")
def test_a_file_that_was_deleted_in_the_middle_is_not_found(link: Link) -> None:
    """Azure answers as it does for one that was replaced."""
    file_id = link.storage.create(some_bytes(4 * MB))
    link.proxy.fail(Fault.CUT_ANSWER, "GET", after=MB)
    with link.storage.get(file_id) as file:
        link.storage.delete(file_id)
        with pytest.raises(StoredFileNotFound):
            file.read()
