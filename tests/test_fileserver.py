"""Who gets a file and how: every kind of depot, signature, hook and request, over WSGI and ASGI alike."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from depot_lite.errors import ConfigurationError
from depot_lite.fields.specialized.variants import ImageVariant
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.urls import url_of
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileStorage, StoredFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.serving import fileserver
from depot_lite.serving.fileserver import FileServer
from depot_lite.signing import Signer
from depot_lite.testing import temporary_depots
from tests.support.asking import KEY, Ask, Elsewhere, _depots, ask, over_asgi, over_wsgi, signed

__all__ = ["_depots", "ask"]  # fixtures

DATA: Final = b"0123456789"
NOTHING: Final = {"content-type": "text/plain", "content-length": "0", "cache-control": "no-store"}
#: The headers by which pages of all sites may use what everybody may read.
EVERYWHERE: Final = {
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Accept-Ranges, Content-Disposition, Content-Range, ETag, Retry-After",
}
#: A time that every step of these tests divides.
NOON: Final = 1_800_000_000.0


class Public(Elsewhere):
    """A storage whose files everybody may read there."""

    def public_url(self, file_or_id: StoredFile | str) -> str:
        return f"https://public/{self._id(file_or_id)}"


def put(visibility: str = "unlisted", data: bytes = DATA, name: str = "a.txt", **more: Any) -> str:
    """Store a file in a new depot, and return its path."""
    storage = more.get("storage") or MemoryFileStorage()
    DepotManager.configure("default", storage, visibility=visibility)
    return f"default/{storage.create(data, name)}"


class Hook:
    """An ``authorize`` hook that remembers its arguments."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, str, str]] = []

    def __call__(self, request: fileserver.Request, depot_name: str, file_id: str) -> Any:
        self.asked.append((request.method, request.path, depot_name, file_id))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


# --- who may read it --------------------------------------------------------------------------------------------------

#: Queries of a URL. Those behind the first four are refused everywhere.
QUERIES: Final[dict[str, Callable[[str], str]]] = {
    "unsigned": lambda path: "",
    "unsigned, with a query": lambda path: "?v=2",
    "signed": lambda path: "?" + DepotManager.signer().query(path, 300),
    "signed with the former key": lambda path: "?" + Signer("the key before that").query(path, 300),
    "signed for another file": lambda path: "?" + DepotManager.signer().query(f"default/{new_file_id()}", 300),
    "signed by a stranger": lambda path: "?" + Signer("the key of a stranger").query(path, 300),
    "tampered with": lambda path: "?" + DepotManager.signer().query(path, 300) + "&download=1",
    "a signature alone": lambda path: "?signature=x",
    "no signature at all": lambda path: "?signature",
    "expired": lambda path: "?" + DepotManager.signer().query(path, 4),
}
REFUSED: Final = frozenset(list(QUERIES)[4:])


@pytest.mark.parametrize("visibility", ["private", "unlisted", "public"])
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("hook", [None, True, False], ids=["no hook", "hook lets", "hook refuses"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_gets_a_file(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, visibility: str, query: str, hook: bool | None, method: str
) -> None:
    """A bad signature is refused everywhere, a good one is let; else the hook decides, else the depot's visibility."""
    DepotManager.configure_signing(KEY, "the key before that")
    path = put(visibility)
    monkeypatch.setattr(time, "time", lambda: NOON)
    url = f"/depot/{path}{QUERIES[query](path)}"
    monkeypatch.setattr(time, "time", lambda: NOON + 5)
    asked = None if hook is None else Hook(hook)
    status, headers, body = ask(url, method, authorize=asked)
    signature = query.startswith("signed") and query not in REFUSED
    let = query not in REFUSED and (signature or (visibility != "private" if hook is None else hook))
    assert status == (200 if let else 403)
    if asked is not None:
        # Who has a signed URL is not asked for anything else.
        expected = [(method, path, *path.split("/"))] if query.startswith("unsigned") else []
        assert asked.asked == expected
    if not let:
        for_all = EVERYWHERE if visibility == "public" and hook is None else {}
        assert (headers, body) == (NOTHING | for_all, b"")
        return
    assert (headers["content-length"], body) == ("10", DATA if method == "GET" else b"")
    # A shared cache keeps what everybody may read, and nothing that a hook has to be asked for.
    who = "public" if visibility == "public" and hook is None else "private"
    age = 370 if signature else 604800
    assert headers["cache-control"] == f"{who}, immutable, max-age={age}"


@pytest.mark.parametrize("visibility", ["private", "unlisted", "public"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "OPTIONS", "get"])
def test_other_methods_are_refused_before_anything_is_looked_at(ask: Ask, visibility: str, method: str) -> None:
    path, hook = put(visibility), Hook(True)
    for url in (f"/depot/{path}", signed(path), f"/depot/{path}?signature=x", "/depot/nowhere/x"):
        status, headers, body = ask(url, method, authorize=hook)
        assert (status, body) == (405, b"")
        assert {"GET", "HEAD"} <= set(headers["allow"].split(", "))
    assert hook.asked == []


@pytest.mark.parametrize("visibility", ["private", "unlisted"])
def test_what_is_no_file_is_not_found(ask: Ask, visibility: str) -> None:
    """Of a private depot that is told only to who may read the file, were it there."""
    put(visibility)
    hook = Hook(True)
    for path in ("nowhere/x", "default", "default/a/b/c", "nowhere/x?signature=x"):
        assert ask(f"/depot/{path}", authorize=hook)[0] == 404
    assert hook.asked == []
    gone = f"default/{new_file_id()}"
    assert ask(signed(gone))[0] == 404
    assert ask(f"/depot/{gone}", authorize=hook)[0] == 404
    assert ask(f"/depot/{gone}", authorize=Hook(False))[0] == 403
    for path in (gone, "default/no-id"):
        assert ask(f"/depot/{path}")[0] == (403 if visibility == "private" else 404)


@pytest.mark.parametrize(
    "name",
    [
        "x%00",
        "..",
        "%2e%2e",
        "%2E%2E%2F%2E%2E",
        "%5c..%5c",
        "a" * 3000,
        "B3A1C6DE-0F5B-4B6E-9A3E-2B1C4D5E6F70",
    ],
)
def test_a_hook_is_asked_for_well_formed_ids_only(ask: Ask, name: str) -> None:
    """It may ask a database, which refuses a NUL byte with an error."""
    put()
    hook = Hook(True)
    assert ask(f"/depot/default/{name}", authorize=hook)[0] == 404
    assert ask(f"/depot/default/{name}/plan.pdf", authorize=hook)[0] == 404
    assert hook.asked == []


def test_a_hook_that_fails_lets_nobody(ask: Ask) -> None:
    """The error is the application's, and its server's to answer."""
    path = put()
    with pytest.raises(ZeroDivisionError):
        ask(f"/depot/{path}", authorize=Hook(ZeroDivisionError()))


@pytest.mark.parametrize("answer", [None, 0, "", []], ids=repr)
def test_a_hook_that_says_nothing_lets_nobody(ask: Ask, answer: Any) -> None:
    assert ask(f"/depot/{put()}", authorize=Hook(answer))[0] == 403


def test_a_hook_sees_the_request(ask: Ask) -> None:
    """And where a framework keeps its user."""
    seen: list[fileserver.Request] = []

    def authorize(request: fileserver.Request, depot_name: str, file_id: str) -> bool:
        seen.append(request)
        return True

    path = put()
    ask(f"/depot/{path}/a%20b.txt?v=%202", headers={"Cookie": "session=abc", "X-Who": "Zo\xeb"}, authorize=authorize)
    [request] = seen
    assert (request.method, request.path, request.query) == ("GET", f"{path}/a b.txt", "v=%202")
    assert (request.headers["cookie"], request.headers["x-who"]) == ("session=abc", "Zo\xeb")
    assert request.context.get("REQUEST_METHOD", request.context.get("method")) == "GET"


def test_a_hook_is_told_the_real_depot(ask: Ask) -> None:
    """Whatever alias stands in the URL."""
    path, hook = put("private"), Hook(True)
    DepotManager.alias("uploads", "default")
    url = f"/depot/{path.replace('default', 'uploads')}"
    assert ask(url, authorize=hook)[0] == 200
    assert hook.asked[0][2:] == tuple(path.split("/"))
    assert ask(url)[0] == 403


def test_a_signature_is_for_the_path_that_it_was_made_for(ask: Ask) -> None:
    """A name for people may be changed; an alias is another path."""
    path = put("private")
    DepotManager.alias("uploads", "default")
    query = signed(path).partition("?")[2]
    assert ask(f"/depot/{path}/any%20name.txt?{query}")[0] == 200
    assert ask(f"/depot/{path.replace('default', 'uploads')}?{query}")[0] == 403
    assert ask(signed(path.replace("default", "uploads")))[0] == 200


def test_without_keys_every_signature_is_refused(ask: Ask) -> None:
    """A stranger's URL is no error of the application."""
    with temporary_depots():
        path = put()
        assert ask(f"/depot/{path}?signature=x")[:2] == (403, NOTHING)
        assert ask(f"/depot/{path}")[0] == 200


@pytest.mark.parametrize("kind", ["a function", "an object", "a lambda"])
def test_wsgi_takes_no_hook_that_has_to_be_awaited(kind: str) -> None:
    """A coroutine is true, whatever it would say: everybody would be let."""

    class Checker:
        async def __call__(self, *_: Any) -> bool:
            return False

    checker = Checker()
    path = put()
    hooks: dict[str, Any] = {"a function": checker.__call__, "an object": checker, "a lambda": lambda *a: checker(*a)}
    with pytest.raises(ConfigurationError, match=r"authorize .*which only ASGI can await"):
        over_wsgi("GET", f"/depot/{path}", {}, {"authorize": hooks[kind]})


@pytest.mark.parametrize("answer", [True, False])
def test_asgi_awaits_a_hook_of_any_kind(answer: bool) -> None:
    class Checker:
        async def __call__(self, *_: Any) -> bool:
            return answer

    async def check(*_: Any) -> bool:
        return answer

    path = put("private")
    hooks: list[Callable[..., bool | Awaitable[bool]]] = [Checker(), check, lambda *a: check(*a), lambda *a: answer]
    for hook in hooks:
        assert over_asgi("GET", f"/depot/{path}", {}, {"authorize": hook})[0] == (200 if answer else 403)


# --- other parts of a signature ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("visibility", ["private", "unlisted", "public"])
def test_download_and_name_count_where_they_are_signed(ask: Ask, visibility: str) -> None:
    path = put(visibility)
    headers = ask(signed(path, download=True, filename='plän "b".txt'))[1]
    expected = "attachment; filename=\"plan _b_.txt\"; filename*=UTF-8''pl%C3%A4n%20%22b%22.txt"
    assert headers["content-disposition"] == expected
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert ask(signed(path, filename="b.txt"))[1]["content-disposition"] == 'inline; filename="b.txt"'
    assert ask(signed(path, download=True))[1]["content-disposition"] == 'attachment; filename="a.txt"'


def test_download_and_name_alone_say_nothing(ask: Ask) -> None:
    """Else whoever makes a link could call the site's file as he likes."""
    path = put()
    headers = ask(f"/depot/{path}?download=1&name=virus.exe")[1]
    assert headers["content-disposition"] == 'inline; filename="a.txt"'


def test_no_name_makes_a_page_of_a_download(ask: Ask) -> None:
    path = put(data=b"<!DOCTYPE html><script>x</script>", name="a.html")
    headers = ask(signed(path, filename="a.png"))[1]
    assert headers["content-disposition"] == 'attachment; filename="a.png"'
    assert headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(("age", "left", "expected"), [(60, 300, 60), (604800, 300, 370), (604800, 1, 0), (0, 300, 0)])
def test_nobody_keeps_a_file_longer_than_its_url_works(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, age: int, left: int, expected: int
) -> None:
    path = put("private")
    monkeypatch.setattr(time, "time", lambda: NOON)
    url = signed(path, left)
    monkeypatch.setattr(time, "time", lambda: NOON + (5 if left > 5 else 1.5))
    told = f"private, immutable, max-age={expected}" if expected else "private, no-cache"
    assert ask(url, cache_max_age=age)[1]["cache-control"] == told


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "left", "kept"),
    [
        (604800, None, "private, max-age=300"),
        (60, None, "private, max-age=60"),
        (0, None, "no-store"),
        (604800, 40, "private, max-age=45"),
        (604800, 3600, "private, max-age=300"),
    ],
)
def test_a_redirect_is_forgotten_before_its_target_expires(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, age: int, left: int | None, kept: str
) -> None:
    """And before our own signature does, where there is one."""
    path = put(storage=Elsewhere())
    monkeypatch.setattr(time, "time", lambda: NOON)
    url = f"/depot/{path}" if left is None else signed(path, left)
    monkeypatch.setattr(time, "time", lambda: NOON + 5)
    status, headers, body = ask(url, cache_max_age=age)
    assert (status, body) == (302, b"")
    assert headers == {
        "location": f"https://elsewhere/{path.split('/')[1]}?600&a.txt&inline&text/plain;%20charset=utf-8",
        "content-type": "text/plain",
        "content-length": "0",
        "cache-control": kept,
    }


@pytest.mark.parametrize("storage", [Elsewhere, Public])
def test_head_is_answered_and_not_redirected(ask: Ask, storage: type[FileStorage]) -> None:
    """A signed URL is for GET."""
    path = put(storage=storage())
    status, headers, body = ask(f"/depot/{path}", "HEAD")
    assert (status, headers["content-length"], body) == (200, "10", b"")


def test_a_redirect_says_what_the_signature_says(ask: Ask) -> None:
    path = put(storage=Elsewhere())
    location = ask(signed(path, download=True, filename="b&c.txt"))[1]["location"]
    assert location.partition("?")[2] == "600&b&c.txt&attachment&text/plain;%20charset=utf-8"


def test_a_page_is_redirected_to_as_a_download_of_no_type(ask: Ask) -> None:
    path = put(storage=Elsewhere(), data=b"<!DOCTYPE html><script>x</script>", name="a.html")
    assert ask(f"/depot/{path}")[1]["location"].endswith("?600&a.html&attachment&application/octet-stream")


def test_who_may_not_read_a_file_is_not_redirected(ask: Ask) -> None:
    path = put("private", storage=Elsewhere())
    assert ask(f"/depot/{path}")[:2] == (403, NOTHING)
    assert ask(f"/depot/{path}", authorize=Hook(False))[:2] == (403, NOTHING)
    assert ask(signed(path))[0] == 302


def test_what_everybody_may_read_there_has_its_plain_url(ask: Ask) -> None:
    """Unless it is to be saved, which only a signed one can say."""
    path = put(storage=Public())
    file_id = path.split("/")[1]
    assert ask(f"/depot/{path}")[1]["location"] == f"https://public/{file_id}"
    assert ask(signed(path, download=True))[1]["location"].startswith(f"https://elsewhere/{file_id}?600&a.txt&attach")


def test_a_private_file_is_never_redirected_to_its_lasting_url(ask: Ask) -> None:
    """Access was granted for a while, by a signature or by the hook."""
    path = put("private", storage=Public())
    for url, hook in ((signed(path), None), (f"/depot/{path}", Hook(True))):
        location = ask(url, authorize=hook)[1]["location"]
        assert location.startswith(f"https://elsewhere/{path.split('/')[1]}?600&")


def test_a_private_file_without_another_url_is_sent(ask: Ask) -> None:
    class OnlyPublic(MemoryFileStorage):
        def public_url(self, file_or_id: StoredFile | str) -> str:
            return f"https://public/{self._id(file_or_id)}"

    path = put("private", storage=OnlyPublic())
    assert ask(signed(path))[::2] == (200, DATA)


@pytest.mark.parametrize("storage", [Elsewhere, Public])
@pytest.mark.parametrize("proxy", [True, "yes"])
def test_a_proxy_sends_the_bytes(ask: Ask, storage: type[FileStorage], proxy: bool | str) -> None:
    path = put(storage=storage())
    status, headers, body = ask(f"/depot/{path}", proxy=proxy, headers={"Range": "bytes=2-4"})
    assert (status, headers["content-range"], body) == (206, "bytes 2-4/10", b"234")


# --- the web server in front ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name has to be quoted."""
    return tmp_path / "médias & co?%2F"


def data_of(folder: Path, path: str) -> Path:
    file_id = path.split("/")[1]
    [found] = [each for each in (folder / file_id[:2]).iterdir() if each.suffix != ".json"]
    return found


@pytest.fixture
def local(folder: Path) -> str:
    """The path of a file in it."""
    return put(storage=LocalFileStorage(folder, durable=False))


@pytest.mark.parametrize("option", ["x_sendfile", "x_accel_redirect"])
class TestHandedOver:
    """A file is handed over by its path: to Apache and lighttpd by one header, to nginx by another."""

    def options(self, option: str, folder: Path) -> dict[str, Any]:
        return {option: True if option == "x_sendfile" else {str(folder): "/protected files/"}}

    def test_the_header_names_the_file(self, ask: Ask, option: str, folder: Path, local: str) -> None:
        plain = ask(f"/depot/{local}")[1]
        status, headers, body = ask(f"/depot/{local}", **self.options(option, folder))
        named = headers.pop("x-sendfile" if option == "x_sendfile" else "x-accel-redirect")
        data = data_of(folder, local)
        expected = str(data) if option == "x_sendfile" else f"/protected files/{data.relative_to(folder)}"
        assert (status, unquote(named), body) == (200, expected, b"")
        assert named.isascii()
        assert not set(" ?&\n") & set(named)
        # The headers about browsers are as ever; those about sending are the server's.
        del plain["accept-ranges"]
        assert headers == plain | {"content-length": "0"}
        assert data.read_bytes() == DATA

    @pytest.mark.parametrize(
        "asked",
        [
            {"Range": "bytes=2-4"},
            {"Range": "bytes=20-"},
            {"Range": "bytes=2-4", "If-Range": '"x"'},
            {"If-Match": '"of the web server in front"'},
            {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        ],
        ids=str,
    )
    def test_parts_and_versions_are_for_the_server_in_front(
        self, ask: Ask, option: str, folder: Path, local: str, asked: dict[str, str]
    ) -> None:
        """It has the whole file, and may have given the client another tag."""
        whole = ask(f"/depot/{local}", **self.options(option, folder))
        assert ask(f"/depot/{local}", headers=asked, **self.options(option, folder)) == whole

    def test_what_a_client_has_is_not_handed_over_again(self, ask: Ask, option: str, folder: Path, local: str) -> None:
        tag = ask(f"/depot/{local}")[1]["etag"]
        status, headers, _ = ask(f"/depot/{local}", headers={"If-None-Match": tag}, **self.options(option, folder))
        assert (status, set(headers)) == (304, {"etag", "last-modified", "cache-control"})

    def test_head_is_answered_here(self, ask: Ask, option: str, folder: Path, local: str) -> None:
        status, headers, _ = ask(f"/depot/{local}", "HEAD", **self.options(option, folder))
        assert (status, headers["content-length"]) == (200, "10")
        assert not {"x-sendfile", "x-accel-redirect"} & set(headers)

    def test_an_empty_file_is_handed_over_too(self, ask: Ask, option: str, folder: Path) -> None:
        path = put(data=b"", storage=LocalFileStorage(folder, durable=False))
        headers = ask(f"/depot/{path}", **self.options(option, folder))[1]
        assert {"x-sendfile", "x-accel-redirect"} & set(headers)

    def test_who_may_not_read_it_is_told_no_path(self, ask: Ask, option: str, folder: Path, local: str) -> None:
        told = ask(f"/depot/{local}", authorize=Hook(False), **self.options(option, folder))
        assert told == (403, NOTHING, b"")

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({}, (200, DATA)),
            ({"Range": "bytes=2-4"}, (206, b"234")),
            ({"Range": "bytes=20-"}, (416, b"")),
            ({"If-Match": '"x"'}, (412, b"")),
        ],
        ids=str,
    )
    def test_what_has_no_path_is_sent_from_here(
        self, ask: Ask, option: str, folder: Path, asked: dict[str, str], expected: tuple[int, bytes]
    ) -> None:
        """Parts and all."""
        status, headers, body = ask(f"/depot/{put()}", headers=asked, **self.options(option, folder))
        assert (status, body) == expected
        assert not {"x-sendfile", "x-accel-redirect"} & set(headers)


def test_a_file_outside_of_the_folders_is_sent_from_here(ask: Ask, folder: Path, local: str, tmp_path: Path) -> None:
    options = {"x_accel_redirect": {str(tmp_path / "other"): "/other", f"{folder}2": "/two"}}
    assert ask(f"/depot/{local}", **options)[2] == DATA
    assert ask(f"/depot/{local}", headers={"Range": "bytes=2-4"}, **options)[::2] == (206, b"234")


def test_a_file_outside_of_the_folders_goes_by_x_sendfile_where_both_are_set(
    ask: Ask, local: str, folder: Path, tmp_path: Path
) -> None:
    headers = ask(f"/depot/{local}", x_accel_redirect={str(tmp_path / "other"): "/o"}, x_sendfile="on")[1]
    assert unquote(headers["x-sendfile"]) == str(data_of(folder, local))


def test_the_option_may_come_from_an_ini_file(ask: Ask, folder: Path, local: str) -> None:
    headers = ask(f"/depot/{local}", x_accel_redirect=f"{folder}=/protected")[1]
    assert unquote(headers["x-accel-redirect"]) == f"/protected/{data_of(folder, local).relative_to(folder)}"


@pytest.mark.parametrize("named", ["by its link", "by itself"])
def test_a_folder_is_found_by_any_of_its_names(ask: Ask, tmp_path: Path, named: str) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    os.symlink(real, link)
    storage, mapped = (real, link) if named == "by its link" else (link, real)
    path = put(storage=LocalFileStorage(storage, durable=False))
    headers = ask(f"/depot/{path}", x_accel_redirect={str(mapped): "/protected"})[1]
    assert headers["x-accel-redirect"] == f"/protected/{data_of(real, path).relative_to(real)}"


@pytest.mark.parametrize(
    "wrong", ["/srv/media", "media=/protected", "/srv/media=protected", {"media": "/x"}, {"/srv": ""}], ids=str
)
def test_a_mapping_that_cannot_work_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="x_accel_redirect="):
        FileServer(x_accel_redirect=wrong)


@pytest.mark.parametrize("option", ["proxy", "x_sendfile"])
def test_a_switch_is_on_or_off(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option}='maybe'"):
        FileServer(**{option: "maybe"})  # type: ignore[arg-type]  # which option it is mypy does not see


# --- URLs -------------------------------------------------------------------------------------------------------------


def stored(storage: FileStorage, visibility: str = "unlisted") -> UploadedFile:
    """Return a stored value in a new depot, with a middleware to serve it."""
    DepotManager.configure("default", storage, visibility=visibility)
    DepotManager.set_middleware(FileServer())
    value = UploadedFile(DATA, filename="a.txt")
    value.store()
    return value


class TestURLs:
    def test_an_unlisted_file_has_a_plain_one(self) -> None:
        value = stored(MemoryFileStorage())
        assert value.url == value.url_for() == f"/depot/{value.path}"

    def test_a_private_file_has_a_signed_one(self, ask: Ask) -> None:
        value = stored(MemoryFileStorage(), "private")
        path, _, query = value.url.partition("?")
        assert (path, [name for name, _ in parse_qsl(query)]) == (f"/depot/{value.path}", ["expires", "signature"])
        assert ask(value.url)[2] == DATA
        assert ask(path)[0] == 403

    def test_it_says_how_long_and_what_for(self, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        value = stored(MemoryFileStorage())
        monkeypatch.setattr(time, "time", lambda: NOON)
        url = value.url_for(expires_in=timedelta(seconds=40), download=True, filename="plan.txt")
        expected = {"expires": f"{NOON + 50:.0f}", "download": "1", "name": "plan.txt"}
        assert {name: text for name, text in parse_qsl(urlsplit(url).query) if name != "signature"} == expected
        assert ask(url)[1]["content-disposition"] == 'attachment; filename="plan.txt"'
        monkeypatch.setattr(time, "time", lambda: NOON + 50)
        assert ask(url)[0] == 403

    def test_a_download_has_the_file_s_name(self, ask: Ask) -> None:
        value = stored(MemoryFileStorage())
        assert ask(value.url_for(download=True))[1]["content-disposition"] == 'attachment; filename="a.txt"'

    def test_a_pending_file_has_its_url_already(self, ask: Ask) -> None:
        """It is not found until it is stored, and nobody remembers that."""
        stored(MemoryFileStorage(), "private")
        value = UploadedFile(b"new", filename="b.txt")
        assert ask(value.url)[:2] == (404, NOTHING)

    def test_a_storage_s_own_is_taken_where_it_has_one(self) -> None:
        value = stored(Elsewhere(), "private")
        own = f"https://elsewhere/{value.file_id}"
        assert value.url == f"{own}?None&None&None&None"
        assert value.url_for(expires_in=60) == f"{own}?60&None&None&None"
        assert value.url_for(download=True) == f"{own}?None&a.txt&attachment&None"
        assert value.url_for(filename="b.txt") == f"{own}?None&b.txt&None&None"

    def test_the_row_s_own_is_taken_unless_it_cannot_say_what_is_wanted(self) -> None:
        """Nor of a depot that is private today: it leads past every signature."""
        stored(MemoryFileStorage())
        DepotManager.configure("secret", MemoryFileStorage(), visibility="private")
        file_id = new_file_id()
        assert url_of("default", file_id, "https://cdn/x") == "https://cdn/x"
        assert url_of("default", file_id, "https://cdn/x", download=True).startswith(f"/depot/default/{file_id}?")
        assert url_of("secret", file_id, "https://cdn/x").startswith(f"/depot/secret/{file_id}?expires=")

    def test_a_variant_has_them_too(self, ask: Ask) -> None:
        value = stored(MemoryFileStorage(), "private")
        variant = ImageVariant(
            name="small",
            depot_name="default",
            path=value.path,
            file_id=value.file_id,
            filename="small.txt",
            width=1,
            height=1,
            content_type="text/plain",
            size=10,
            recipe="",
        )
        assert ask(variant.url)[2] == DATA
        disposition = ask(variant.url_for(download=True, expires_in=60))[1]["content-disposition"]
        assert disposition == 'attachment; filename="small.txt"'
        assert ask(variant.url_for(filename="b.txt"))[1]["content-disposition"] == 'inline; filename="b.txt"'

    def test_a_depot_that_has_gone_has_no_private_files(self) -> None:
        """`DepotManager.url_for` gives URLs, and asks no storage."""
        DepotManager.set_middleware(FileServer("/f"))
        assert DepotManager.url_for("gone/x") == "/f/gone/x"

    def test_without_keys_a_private_file_has_none(self) -> None:
        with temporary_depots():
            value = stored(MemoryFileStorage(), "private")
            with pytest.raises(ConfigurationError, match="no signing keys have been set"):
                _ = value.url

    @pytest.mark.parametrize("wrong", [0, -1, timedelta(0)])
    def test_one_that_would_never_work_is_refused(self, wrong: Any) -> None:
        value = stored(MemoryFileStorage())
        with pytest.raises(ConfigurationError, match="expires_in="):
            value.url_for(expires_in=wrong)
