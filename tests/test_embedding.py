"""Pages of other sites: which of them may embed the files of a depot, and read them in scripts (CORP and CORS)."""

from __future__ import annotations

from typing import Any, Final

import pytest

from depot_lite.errors import AlreadyConfigured, ConfigurationError, StorageFailed
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import StoredFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.origins import SAME_SITE, parse_cross_origin
from depot_lite.serving import respond
from tests.support.asking import Ask, Elsewhere, _depots, ask, signed

__all__ = ["_depots", "ask"]  # fixtures

DATA: Final = b"0123456789"
APP: Final = "https://app.example.org"
OTHER: Final = "https://other.example.net"
EXPOSED: Final = "Accept-Ranges, Content-Disposition, Content-Range, ETag, Retry-After"

#: The headers of an answer: for all sites, for one of the list, and for one that is not.
FOR_ALL: Final = {
    "cross-origin-resource-policy": "cross-origin",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": EXPOSED,
}
LISTED: Final = {"vary": "Origin", "access-control-allow-origin": APP, "access-control-expose-headers": EXPOSED}
UNLISTED: Final = {"vary": "Origin"}
CORP: Final = {"cross-origin-resource-policy": "same-site"}


class Failing(MemoryFileStorage):
    """A storage that is down when it is told to."""

    down = False

    def _open(self, file_id: str) -> StoredFile:
        if self.down:
            raise StorageFailed("it is down")
        return super()._open(file_id)


def put(cross_origin: Any = None, visibility: str = "unlisted", storage: Any = None) -> str:
    """Store a file in a new depot, and return its path."""
    made = DepotManager.configure(
        "default", storage or MemoryFileStorage(), visibility=visibility, cross_origin=cross_origin
    )
    return f"default/{made.create(DATA, 'a.txt')}"


def told(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers about other sites."""
    return {
        name: value
        for name, value in headers.items()
        if name in {"vary", "cross-origin-resource-policy"} or name.startswith("access-control-")
    }


ORIGINS: Final = pytest.mark.parametrize(
    ("cross_origin", "origin", "expected"),
    [
        ("same-site", OTHER, {}),
        ("same-site", None, {}),
        ("any", OTHER, FOR_ALL),
        ("any", None, FOR_ALL),
        ([APP], APP, LISTED),
        ([APP, "https://b.example"], APP, LISTED),
        ([APP], OTHER, UNLISTED),
        ([APP], None, UNLISTED),
        ([APP], "null", UNLISTED),
        ([APP], f"{APP}.evil.example", UNLISTED),
        ([APP], "http://app.example.org", UNLISTED),
    ],
    ids=str,
)


@ORIGINS
def test_every_answer_says_who_may_use_it(
    ask: Ask, cross_origin: Any, origin: str | None, expected: dict[str, str]
) -> None:
    """What the page gets, parts, and everything that a script has to tell from a broken connection."""
    storage = Failing()
    path = put(cross_origin, storage=storage)
    sent = {} if origin is None else {"Origin": origin}
    whole = ask(f"/depot/{path}", headers=sent)
    content = expected if cross_origin == "any" else expected | CORP
    assert (whole[0], told(whole[1]), whole[2]) == (200, content, DATA)
    assert told(ask(f"/depot/{path}", "HEAD", headers=sent)[1]) == content
    part = ask(f"/depot/{path}", headers=sent | {"Range": "bytes=2-4"})
    assert (part[0], told(part[1])) == (206, content)

    def check(status: int, url: str = f"/depot/{path}", asked: dict[str, str] | None = None, **options: Any) -> None:
        answer = ask(url, headers=sent | (asked or {}), **options)
        assert (answer[0], told(answer[1])) == (status, expected)

    check(304, asked={"If-None-Match": whole[1]["etag"]})
    check(412, asked={"If-Match": '"x"'})
    check(416, asked={"Range": "bytes=20-"})
    check(404, url=f"/depot/default/{new_file_id()}")
    check(404, url="/depot/default/x")
    check(404, url=f"/depot/{path}~0123456789ab")
    check(403, url=f"/depot/{path}?signature=x")
    check(403, authorize=lambda *_: False)
    storage.down = True
    check(503)


@ORIGINS
def test_a_redirect_and_a_refusal_say_it_too(
    ask: Ask, cross_origin: Any, origin: str | None, expected: dict[str, str]
) -> None:
    path = put(cross_origin, "private", Elsewhere())
    sent = {} if origin is None else {"Origin": origin}
    for url, expected_status in ((signed(path), 302), (f"/depot/{path}", 403)):
        status, headers, _ = ask(url, headers=sent)
        assert (status, told(headers)) == (expected_status, expected)


@pytest.mark.parametrize("visibility", ["unlisted", "private", "public"])
@pytest.mark.parametrize("checked", [False, True])
def test_public_files_are_for_all_sites_by_default(ask: Ask, visibility: str, checked: bool) -> None:
    """Unless a hook decides by user: then they are not everybody's."""
    url = signed(put(visibility=visibility))
    _, headers, _ = ask(url, authorize=(lambda *_: True) if checked else None)
    assert told(headers) == (FOR_ALL if visibility == "public" and not checked else CORP)


def test_a_public_depot_may_have_less(ask: Ask) -> None:
    assert told(ask(f"/depot/{put('same-site', 'public')}")[1]) == CORP


def test_what_is_wrong_before_a_depot_is_known_says_nothing(ask: Ask) -> None:
    put("any")
    for url in ("/depot/nowhere/x", "/depot/default", "/depot/"):
        status, headers, _ = ask(url, headers={"Origin": APP})
        assert (status, told(headers)) == (404, {})


def test_a_view_sends_them_too() -> None:
    depot_name, _, file_id = put([APP]).partition("/")
    with respond("GET", {"origin": APP}, depot_name, file_id) as response:
        assert told({name.lower(): value for name, value in response.headers}) == LISTED | CORP


def test_a_server_in_front_gets_them(ask: Ask, tmp_path: Any) -> None:
    path = put("any", storage=LocalFileStorage(tmp_path, durable=False))
    _, headers, body = ask(f"/depot/{path}", x_sendfile=True)
    assert (body, told(headers)) == (b"", FOR_ALL)


# --- preflight requests -----------------------------------------------------------------------------------------------


def preflight(ask: Ask, url: str, origin: str = APP, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "range"}
    return ask(url, "OPTIONS", headers=asked)


@pytest.mark.parametrize("cross_origin", ["any", [APP]], ids=str)
@pytest.mark.parametrize("visibility", ["unlisted", "private"])
def test_a_browser_that_asks_first_gets_an_answer(ask: Ask, cross_origin: Any, visibility: str) -> None:
    """It asks without cookies, and before the URL is known to lead to a file."""
    put(cross_origin, visibility)
    status, headers, body = preflight(ask, f"/depot/default/{new_file_id()}")
    assert (status, body) == (204, b"")
    assert headers == (FOR_ALL if cross_origin == "any" else LISTED) | {
        "access-control-allow-methods": "GET, HEAD",
        "access-control-allow-headers": (
            "If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range"
        ),
        "access-control-max-age": "7200",
    }


@pytest.mark.parametrize("cross_origin", ["same-site", [OTHER]], ids=str)
def test_a_page_that_may_not_is_told_nothing(ask: Ask, cross_origin: Any) -> None:
    path = put(cross_origin)
    status, headers, _ = preflight(ask, f"/depot/{path}")
    assert (status, headers["allow"], told(headers)) == (405, "GET, HEAD", {})


def test_other_options_requests_are_refused_as_ever(ask: Ask) -> None:
    path = put("any")
    assert ask(f"/depot/{path}", "OPTIONS", headers={"Origin": APP})[0] == 405
    for url in ("/depot/nowhere/x", "/depot/default"):
        assert preflight(ask, url)[0] == 405


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "origins"),
    [
        ("same-site", []),
        ("any", []),
        (f"{APP}, {OTHER}", [APP, OTHER]),
        (f"{APP}\n{OTHER}", [APP, OTHER]),
        (["https://App.Example.org:443"], [APP]),
        (("http://localhost:8080",), ["http://localhost:8080"]),
        ({"http://[::1]:80"}, ["http://[::1]"]),
        (("any",), []),
        ({"same-site"}, []),
    ],
    ids=str,
)
def test_a_setting_is_a_word_or_a_list(setting: Any, origins: list[str]) -> None:
    configured = {"depot.backend": "depot_lite.io.memory.MemoryFileStorage", "depot.cross_origin": setting}
    DepotManager.configure("default", configured)
    found = DepotManager.find("default").cross_origin
    assert found is not None
    assert found.any == ("any" in setting)
    assert found.origins == set(origins)
    # The same again, otherwise written, is no other configuration.
    DepotManager.configure("default", configured | {"depot.cross_origin": found})
    with pytest.raises(AlreadyConfigured, match="with another cross_origin"):
        DepotManager.configure("default", configured | {"depot.cross_origin": "https://elsewhere.example"})


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "*", "all", "null", "app.example.org", "//app.example.org", f"{APP}/", f"{APP}/x", f"{APP}?x"),
        *("https://*.example.org", "https://", "https://me@app.example.org", "https://app:x", "https://bücher.example"),
        *("ftp://app.example.org", "any https://app.example.org", [], [None], 5, True, b"any", ["any", APP]),
    ],
    ids=repr,
)
def test_another_setting_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"depot 'default': cross_origin"):
        DepotManager.configure("default", MemoryFileStorage(), cross_origin=wrong)
    assert not DepotManager.depot_names()


def test_no_setting_is_none() -> None:
    assert parse_cross_origin(None, "a depot") is None


def test_an_argument_replaces_the_setting() -> None:
    """Also for storages that refuse options which they do not know."""
    words = {"visibility": "private", "cross_origin": "any", "inline_types": "image/*"}
    settings = {"depot.storage_path": "media", **{f"depot.{name}": word for name, word in words.items()}}
    DepotManager.configure("default", settings, visibility="public", cross_origin="same-site", inline_types=[])
    depot = DepotManager.find("default")
    assert (depot.visibility, depot.cross_origin, depot.inline_types) == ("public", SAME_SITE, frozenset())
