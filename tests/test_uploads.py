"""Direct uploads: tickets, and the endpoint that takes files for storages that cannot, over WSGI and ASGI."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit
from wsgiref.types import StartResponse
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depot_lite.asgi import DepotASGI
from depot_lite.errors import ConfigurationError, StorageFailed, UnknownDepot
from depot_lite.io.content import Content
from depot_lite.io.fileid import is_upload_id, new_file_id, new_upload_id
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.middleware import DepotMiddleware
from depot_lite.testing import some_bytes, temporary_depots
from depot_lite.uploads import Ticket, Upload, adoptable, receivable, sweep_uploads, upload_ticket

KEY = "a key that is long enough"
PNG = b"\x89PNG\r\n\x1a\n" + some_bytes(1000)
NOW = 1_800_000_000


class Breaking(MemoryFileStorage):
    """Fails to store when it is told to."""

    error: OSError | None = None

    def _save(self, file_id: str, content: Content) -> FileInfo:
        if self.error is not None:
            raise StorageFailed(self.error.errno, "the storage failed") if self.error.errno else StorageFailed("failed")
        return super()._save(file_id, content)


class Put(Protocol):
    """Sends a file and returns the status of the answer."""

    def __call__(
        self, url: str, parts: list[bytes], length: int | None = ..., *, gone: bool = ..., method: str = ...
    ) -> int: ...


def put_by_wsgi(
    url: str, parts: list[bytes], length: int | None = None, *, gone: bool = False, method: str = "PUT"
) -> int:
    """Send a file with a length that is known; behind it the connection goes on."""
    data, found = b"".join(parts), list[str]()
    length = len(data) + (1 if gone else 0) if length is None else length
    target = urlsplit(url)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": target.path,
        "QUERY_STRING": target.query,
        "CONTENT_LENGTH": str(length),
        "wsgi.input": BytesIO(data if gone else data + b"the next request"),
    }
    setup_testing_defaults(environ)

    def start(status: str, headers: Any, exc_info: Any = None) -> Any:
        found.append(status)
        return lambda data: None

    middleware = DepotManager.get_middleware()
    assert isinstance(middleware, DepotMiddleware)
    answer = validator(middleware)(environ, start)
    assert b"".join(answer) == b""
    answer.close()  # type: ignore[attr-defined]  # the validator's own has it
    return int(found[0].split()[0])


def put_by_asgi(
    url: str, parts: list[bytes], length: int | None = None, *, gone: bool = False, method: str = "PUT"
) -> int:
    """Send a file in parts; without a length, there is no Content-Length."""
    target, sent = urlsplit(url), list[Any]()
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": each, "more_body": True} for each in parts]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request"})
    scope = {
        "type": "http",
        "method": method,
        "path": target.path,
        "query_string": target.query.encode(),
        "headers": [] if length is None else [(b"content-length", str(length).encode())],
    }

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(DepotASGI()(scope, receive, send))
    assert b"".join(each.get("body", b"") for each in sent) == b""
    return int(sent[0]["status"])


@pytest.fixture(params=[put_by_wsgi, put_by_asgi], ids=["wsgi", "asgi"])
def put(request: pytest.FixtureRequest) -> Put:
    chosen: Put = request.param
    return chosen


def _application(environ: Any, start_response: StartResponse) -> list[bytes]:
    raise AssertionError("no request here is the application's")


@pytest.fixture
def depot() -> Iterator[Breaking]:
    with temporary_depots():
        storage = Breaking()
        DepotManager.configure("default", storage)
        DepotManager.configure("other", MemoryFileStorage())
        DepotManager.alias("uploads", "default")
        DepotManager.configure_signing(KEY)
        DepotManager.make_middleware(_application)
        yield storage


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, to be changed."""
    now = [float(NOW)]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def upload_of(ticket: Ticket) -> Upload:
    found = adoptable(ticket.token)
    assert found is not None
    return found


def stored(depot: MemoryFileStorage) -> list[bytes]:
    found = []
    for each in depot.list():
        with depot.get(each) as file:
            found.append(file.read())
    return found


# --- tickets ----------------------------------------------------------------------------------------------------------


def test_a_ticket_says_where_to_send_the_file_and_for_how_long(depot: Breaking, clock: list[float]) -> None:
    ticket = upload_ticket(
        "uploads", max_size="1 KiB", content_type="Image/PNG", filename="C:\\a\\b.png", expires_in=60
    )
    upload = upload_of(ticket)
    assert (ticket.method, ticket.fields, ticket.headers) == ("PUT", {}, {"Content-Type": "image/png"})
    assert urlsplit(ticket.url).path == f"/depot/default/{upload.file_id}"
    assert ticket.expires_at == datetime.fromtimestamp(NOW + 60, UTC)
    assert upload == Upload("default", upload.file_id, 1024, "image/png", "b.png")
    assert receivable(parse_qs(urlsplit(ticket.url).query)["ticket"][0]) == upload


def test_a_ticket_goes_through_json(depot: Breaking, clock: list[float]) -> None:
    ticket = upload_ticket()
    assert json.loads(json.dumps(ticket.as_dict())) == {
        "method": "PUT",
        "url": ticket.url,
        "fields": {},
        "headers": {},
        "token": ticket.token,
        "expires_at": "2027-01-15T08:10:00+00:00",
    }


def test_two_tickets_are_for_two_files(depot: Breaking) -> None:
    assert upload_of(upload_ticket()).file_id != upload_of(upload_ticket()).file_id


def test_the_token_outlives_the_ticket_by_an_hour(depot: Breaking, clock: list[float]) -> None:
    ticket = upload_ticket(expires_in=60)
    sending = parse_qs(urlsplit(ticket.url).query)["ticket"][0]
    clock[0] += 60
    assert (receivable(sending), adoptable(ticket.token) is None) == (None, False)
    clock[0] += 3600
    assert adoptable(ticket.token) is None


def test_what_is_in_the_url_does_not_adopt_and_the_token_does_not_send(depot: Breaking) -> None:
    """A URL is in the logs of servers."""
    ticket = upload_ticket()
    sending = parse_qs(urlsplit(ticket.url).query)["ticket"][0]
    assert adoptable(f"depot-upload:{sending}") is None
    assert receivable(ticket.token.removeprefix("depot-upload:")) is None
    assert put_by_wsgi(ticket.url.replace(sending, ticket.token.removeprefix("depot-upload:")), [b"x"]) == 403


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"content_type": "image"}, "content_type='image'"),
        ({"content_type": "*/*"}, r"content_type='\*/\*'"),
        ({"content_type": "image/p*"}, "content_type="),
        ({"max_size": "much"}, "max_size='much'"),
        ({"expires_in": 0}, "expires_in=0"),
    ],
)
def test_what_cannot_be_is_refused(depot: Breaking, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        upload_ticket(**options)


def test_a_ticket_needs_a_depot_keys_and_somebody_who_takes_the_file() -> None:
    with temporary_depots():
        DepotManager.configure("default", MemoryFileStorage())
        with pytest.raises(UnknownDepot, match="'nowhere'"):
            upload_ticket("nowhere")
        with pytest.raises(ConfigurationError, match="configure_signing"):
            upload_ticket()
        DepotManager.configure_signing(KEY)
        with pytest.raises(ConfigurationError, match="make_middleware"):
            upload_ticket()


def test_without_keys_nothing_was_signed() -> None:
    with temporary_depots():
        assert (adoptable("depot-upload:e30.x"), receivable("e30.x")) == (None, None)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text().map("depot-upload:".__add__))
def test_no_text_is_a_token(text: str) -> None:
    with temporary_depots():
        DepotManager.configure_signing(KEY)
        assert (adoptable(text), receivable(text)) == (None, None)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1000), st.characters(min_codepoint=33, max_codepoint=0x2FF), st.integers(0, 1000))
def test_no_character_of_a_token_can_be_changed(place: int, other: str, end: int) -> None:
    """The token is another one each time, so no example may depend on it."""
    with temporary_depots():
        DepotManager.configure("default", MemoryFileStorage())
        DepotManager.configure_signing(KEY)
        DepotManager.make_middleware(_application)
        token = upload_ticket(filename="ü.png").token
        # The last character of base64 holds bits that mean nothing.
        place %= len(token) - 1
        # base64 has two alphabets, and those who read one read the other too.
        if other not in {token[place], {"-": "+", "_": "/"}.get(token[place])}:
            assert adoptable(token[:place] + other + token[place + 1 :]) is None
        assert adoptable(token[: end % len(token)]) is None


# --- the endpoint -----------------------------------------------------------------------------------------------------


def test_a_file_is_stored_under_the_id_of_the_ticket(depot: Breaking, put: Put) -> None:
    ticket = upload_ticket(content_type="image/*", filename="photo.png", max_size=len(PNG))
    assert put(ticket.url, [PNG[:10], b"", PNG[10:]]) == 201
    with depot.get(upload_of(ticket).file_id) as file:
        assert (file.read(), file.filename, file.content_type) == (PNG, "photo.png", "image/png")


def test_an_empty_file_is_a_file(depot: Breaking, put: Put) -> None:
    assert put(upload_ticket().url, []) == 201
    assert stored(depot) == [b""]


def test_a_ticket_works_once(depot: Breaking, put: Put) -> None:
    ticket = upload_ticket()
    assert [put(ticket.url, [b"first"]), put(ticket.url, [b"second"])] == [201, 409]
    assert stored(depot) == [b"first"]


@pytest.mark.parametrize("length", [None, 1_001])
def test_one_byte_too_many_is_refused(depot: Breaking, put: Put, length: int | None) -> None:
    """By the length that was announced, and by counting."""
    assert put(upload_ticket(max_size=1000).url, [some_bytes(1000), b"x"], length) == 413
    assert put(upload_ticket(max_size=1_000_000).url, [some_bytes(1_000_000), b"x"], None) == 413
    assert stored(depot) == []


def test_who_announces_too_much_is_not_read() -> None:
    class Unread:
        def read(self, size: int) -> bytes:
            raise AssertionError("nobody shall read this")

    with temporary_depots():
        DepotManager.configure("default", MemoryFileStorage())
        DepotManager.configure_signing(KEY)
        middleware = DepotManager.make_middleware(_application)
        url, found = urlsplit(upload_ticket(max_size=10).url), list[str]()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "PUT",
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "CONTENT_LENGTH": "11",
            "wsgi.input": Unread(),
        }
        setup_testing_defaults(environ)
        middleware(environ, lambda status, headers, *_: found.append(status))  # type: ignore[arg-type]  # nobody writes
        assert found[0].startswith("413 ")


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"just text", b""])
def test_another_type_is_refused_by_its_bytes(depot: Breaking, put: Put, data: bytes) -> None:
    """Whatever it is called."""
    assert put(upload_ticket(content_type="image/png", filename="a.png").url, [data]) == 415
    assert stored(depot) == []


def test_what_bytes_do_not_tell_is_believed(depot: Breaking, put: Put) -> None:
    assert put(upload_ticket(content_type="text/csv").url, [b"a,b"]) == 201
    assert put(upload_ticket(content_type="text/*", filename="a.md").url, [b"# A"]) == 201
    assert put(upload_ticket(content_type="text/csv").url, [PNG]) == 415


def test_a_client_that_goes_leaves_nothing(depot: Breaking, put: Put) -> None:
    assert put(upload_ticket().url, [some_bytes(100_000)], gone=True) == 400
    assert stored(depot) == []


@pytest.mark.parametrize(
    ("error", "status"), [(OSError(errno.ENOSPC, "full"), 507), (OSError(errno.EIO, "broken"), 503), (OSError(), 503)]
)
def test_a_storage_that_fails_says_nothing(
    depot: Breaking, put: Put, error: OSError, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    depot.error = error
    ticket = upload_ticket()
    assert put(ticket.url, [b"x"]) == status
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("ERROR", None)
    depot.error = None
    assert put(ticket.url, [b"x"]) == 201


def test_a_ticket_that_has_expired_is_refused(depot: Breaking, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    past = time.time() - 61
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: past)
        ticket = upload_ticket(expires_in=60)
    assert put(ticket.url, [b"x"]) == 403
    assert stored(depot) == []


def test_a_ticket_is_for_one_depot_and_one_file(depot: Breaking, put: Put) -> None:
    url = upload_ticket().url
    path = urlsplit(url).path
    for other in (f"/depot/default/{new_file_id()}", path.replace("default", "other"), path + "/name", "/depot/x"):
        assert put(url.replace(path, other), [b"x"]) == 403
    assert put(url + "&ticket=x", [b"x"]) == 403
    assert put(url + "x", [b"x"]) == 403
    assert stored(depot) == []


def test_without_a_ticket_nothing_is_received(depot: Breaking, put: Put) -> None:
    url = upload_ticket().url
    assert put(url.partition("?")[0], [b"x"]) == 405
    assert [put(url, [b"x"], method=each) for each in ("POST", "PATCH", "DELETE")] == [405, 405, 405]
    assert put(url, [], method="GET") == 404
    assert stored(depot) == []


def test_a_depot_that_is_gone_is_not_found(depot: Breaking, put: Put) -> None:
    url = upload_ticket("other").url
    DepotManager._clear()
    DepotManager.configure("default", depot)
    DepotManager.configure_signing(KEY)
    DepotManager.make_middleware(_application)
    assert put(url, [b"x"]) == 404


def wsgi_status(url: str, **environ: Any) -> str:
    target, found = urlsplit(url), list[str]()
    environ |= {"REQUEST_METHOD": "PUT", "PATH_INFO": target.path, "QUERY_STRING": target.query}
    setup_testing_defaults(environ)

    def start(status: str, headers: Any, exc_info: Any = None) -> Any:
        found.append(status)

    middleware = DepotManager.get_middleware()
    assert isinstance(middleware, DepotMiddleware)
    assert list(middleware(environ, start)) == []
    return found[0].partition(" ")[0]


def test_a_body_without_a_length_needs_a_server_that_ends_it(depot: Breaking) -> None:
    body = {"wsgi.input": BytesIO(b"chunked"), "CONTENT_LENGTH": ""}
    assert wsgi_status(upload_ticket().url, **body) == "411"
    assert wsgi_status(upload_ticket().url, **body, **{"wsgi.input_terminated": True}) == "201"
    assert (
        wsgi_status(upload_ticket(max_size=3).url, **{"wsgi.input": BytesIO(b"four"), "wsgi.input_terminated": True})
        == "413"
    )
    for length in ("many", "9" * 5000):  # of which Python makes no number
        assert wsgi_status(upload_ticket().url, **{**body, "CONTENT_LENGTH": length}) == "400"
    assert stored(depot) == [b"chunked"]


def test_a_cancelled_request_leaves_nothing(depot: Breaking) -> None:
    """A server cancels it where the client has gone, say."""
    url = urlsplit(upload_ticket().url)
    scope = {"type": "http", "method": "PUT", "path": url.path, "query_string": url.query.encode(), "headers": []}

    async def main() -> None:
        waiting = asyncio.Event()
        messages = [{"type": "http.request", "body": some_bytes(9000), "more_body": True}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            waiting.set()
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            raise AssertionError("nobody is there")

        task = asyncio.create_task(DepotASGI()(scope, receive, send))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert stored(depot) == []


# --- files that nobody adopts -----------------------------------------------------------------------------------------


def test_what_was_sent_and_not_adopted_in_time_is_swept(depot: Breaking) -> None:
    """And nothing else: a file of a row may be as old, and was never sent under such an id."""
    storage = depot
    kept = storage.create(b"of a row")
    sent = [storage.create(b"sent", file_id=new_upload_id()) for _ in range(3)]
    assert sweep_uploads() == []
    assert sorted(sweep_uploads("default", older_than=timedelta(seconds=-1))) == sorted(sent)
    assert [str(each) for each in storage.list()] == [kept]


def test_a_ticket_names_an_id_that_is_swept(depot: Breaking) -> None:
    found = adoptable(upload_ticket().token)
    assert found is not None
    assert is_upload_id(found.file_id)


def test_an_upload_that_cannot_be_deleted_is_told(depot: Breaking, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = depot
    sent = storage.create(b"sent", file_id=new_upload_id())
    monkeypatch.setattr(storage, "_delete_many", lambda file_ids: {sent: OSError("no")})
    with pytest.raises(StorageFailed, match=f"1 of 1 uploads could not be deleted, {sent} among them"):
        sweep_uploads(older_than=timedelta(seconds=-1))
