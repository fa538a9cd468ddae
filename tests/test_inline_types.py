"""The types that a depot lets browsers show: fewer than all that cannot run, or some more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from depot_lite.contrib.admin.display import file_data
from depot_lite.errors import AlreadyConfigured, ConfigurationError
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.disposition import INLINE_TYPES, ON_REQUEST, SANDBOXED_TYPES
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.middleware import DepotMiddleware
from depot_lite.serving.presentation import presentation_of
from tests.support.asking import Ask, Elsewhere, _depots, application, ask
from tests.support.files import pdf, png

__all__ = ["_depots", "ask"]  # fixtures

SVG: Final = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML: Final = b"<!DOCTYPE html><script>alert(1)</script>"
SANDBOX: Final = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
_PICTURES: Final = ("image/jpeg", "image/jpg", "Image/JPEG; x=y", "image/png")
NO_TYPE: Final = "application/octet-stream"


def put(inline_types: Any, data: bytes, name: str, content_type: str | None = None, storage: Any = None) -> str:
    """Store a file in a new depot, and return its URL."""
    depot = DepotManager.configure("default", storage or MemoryFileStorage(), inline_types=inline_types)
    return f"/depot/default/{depot.create(data, name, content_type)}"


def shown(ask: Ask, url: str, **options: Any) -> tuple[str, str]:
    """Return the type and the disposition of the answer, with the check that nothing is left to a browser's guess."""
    _, headers, _ = ask(url, **options)
    assert headers["x-content-type-options"] == "nosniff"
    return headers["content-type"], headers["content-disposition"].partition(";")[0]


@pytest.mark.parametrize(
    ("content_type", "sent"),
    [
        ("image/svg+xml", "image/svg+xml"),
        ("application/json", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/vtt", "text/vtt; charset=utf-8"),
    ],
)
def test_a_type_is_shown_on_request(ask: Ask, content_type: str, sent: str) -> None:
    """In a sandbox, in which nothing runs."""
    for inline_types, expected in (
        (None, (NO_TYPE, "attachment")),
        (["default"], (NO_TYPE, "attachment")),
        ([content_type], (sent, "inline")),
        (["image/png", content_type.upper()], (sent, "inline")),
    ):
        DepotManager._clear()
        url = put(inline_types, SVG if content_type in SANDBOXED_TYPES else b"x", "a", content_type)
        assert shown(ask, url) == expected
        assert shown(ask, url, method="HEAD") == expected
        assert ask(url)[1]["content-security-policy"] == SANDBOX


def test_the_types_on_request_are_those() -> None:
    """So that nobody adds one without its test."""
    assert {"image/svg+xml", "application/json", "text/csv", "text/vtt"} == ON_REQUEST
    assert not ON_REQUEST & INLINE_TYPES


def test_svg_is_what_its_bytes_are(ask: Ask) -> None:
    """A page that is called a picture is a page."""
    url = put(["default", "image/svg+xml"], SVG, "a.svg")
    assert shown(ask, url) == ("image/svg+xml", "inline")
    page = DepotManager.get().create(HTML, "a.svg", "image/svg+xml")
    assert shown(ask, f"/depot/default/{page}") == (NO_TYPE, "attachment")


def test_a_storage_never_shows_svg(ask: Ask) -> None:
    """Its answers have no policy. Types that cannot run it may show."""
    url = put(["default", "image/svg+xml", "text/csv"], SVG, "a.svg", storage=Elsewhere())
    assert ask(url)[1]["location"].endswith(f"&a.svg&attachment&{NO_TYPE}")
    assert shown(ask, url, proxy=True) == ("image/svg+xml", "inline")
    table = DepotManager.get().create(b"a,b", "a.csv", "text/csv")
    assert ask(f"/depot/default/{table}")[1]["location"].endswith("&a.csv&inline&text/csv;%20charset=utf-8")


def test_a_server_in_front_gets_the_policy(ask: Ask, tmp_path: Path) -> None:
    url = put("image/svg+xml", SVG, "a.svg", storage=LocalFileStorage(tmp_path, durable=False))
    _, headers, _ = ask(url, x_sendfile=True)
    assert (headers["content-type"], headers["content-security-policy"]) == ("image/svg+xml", SANDBOX)


def test_a_depot_may_show_less(ask: Ask) -> None:
    url = put(["image/*", "text/plain"], pdf(), "a.pdf")
    assert shown(ask, url) == (NO_TYPE, "attachment")
    for data, name, expected in (
        (png(), "a.png", ("image/png", "inline")),
        (b"x", "a.txt", ("text/plain; charset=utf-8", "inline")),
        (b"a,b", "a.csv", (NO_TYPE, "attachment")),
        (SVG, "a.svg", (NO_TYPE, "attachment")),
    ):
        assert shown(ask, f"/depot/default/{DepotManager.get().create(data, name)}") == expected


def test_a_redirect_shows_less_too(ask: Ask) -> None:
    url = put(["image/*"], pdf(), "a.pdf", storage=Elsewhere())
    assert ask(url)[1]["location"].endswith(f"&a.pdf&attachment&{NO_TYPE}")


@pytest.mark.parametrize("nothing", [[], "", ()])
def test_a_depot_may_show_nothing(ask: Ask, nothing: Any) -> None:
    assert shown(ask, put(nothing, png(), "a.png")) == (NO_TYPE, "attachment")


def test_a_type_is_shown_by_all_its_names() -> None:
    """Filedepot stored the one that a browser declared."""
    DepotManager.configure("default", MemoryFileStorage(), inline_types="image/jpeg")
    found = {name: presentation_of(name, DepotManager.find().inline_types).is_inline for name in _PICTURES}
    assert found == {"image/jpeg": True, "image/jpg": True, "Image/JPEG; x=y": True, "image/png": False}


def test_a_middleware_with_depots_of_its_own_shows_the_same(ask: Ask) -> None:
    url = put("image/svg+xml", SVG, "a.svg")
    assert shown(ask, url.replace("default", "ours"), depots={"ours": DepotManager.get()}) == (
        "image/svg+xml",
        "inline",
    )


def test_the_admins_have_no_viewer_for_what_is_not_shown() -> None:
    DepotManager.set_middleware(DepotMiddleware(application))
    kinds = {}
    for name, inline_types in (("all", None), ("images", "image/*")):
        DepotManager.configure(name, MemoryFileStorage(), inline_types=inline_types)
        for data, filename in ((pdf(), "a.pdf"), (png(), "a.png")):
            value = UploadedFile(data, name, filename=filename)
            value.store()
            kinds[name, filename] = file_data(value, "0")["kind"]
    assert kinds == {
        ("all", "a.pdf"): "pdf",
        ("all", "a.png"): "image",
        ("images", "a.pdf"): "other",
        ("images", "a.png"): "image",
    }


@pytest.mark.parametrize("setting", ["default image/svg+xml", "default,\n image/SVG+xml", ("image/svg+xml", "default")])
def test_a_setting_may_be_text(setting: Any) -> None:
    configured = {"depot.backend": "depot_lite.io.memory.MemoryFileStorage", "depot.inline_types": setting}
    DepotManager.configure("default", configured)
    assert DepotManager.find().inline_types == INLINE_TYPES | {"image/svg+xml"}
    DepotManager.configure("default", configured | {"depot.inline_types": INLINE_TYPES | {"image/svg+xml"}})
    with pytest.raises(AlreadyConfigured, match="with another inline_types"):
        DepotManager.configure("default", configured | {"depot.inline_types": "default"})


@pytest.mark.parametrize(
    "wrong",
    [
        *("text/html", "application/xhtml+xml", "text/xml", "application/xml", "text/javascript", "text/css"),
        *("application/octet-stream", "application/zip", "multipart/x-mixed-replace", "image/svg", "*/*", "text", "*"),
        *("application/rss+xml", "application/mathml+xml", "model/*", "message/*", "font/woff2", ["image/png", None]),
        *(5, True, b"image/png", ["text/html"], {"image/png": "inline"}),
    ],
    ids=repr,
)
def test_another_type_is_refused(wrong: Any) -> None:
    """The policy must not be all that keeps a page from running."""
    with pytest.raises(ConfigurationError, match=r"depot 'default': inline_types"):
        DepotManager.configure("default", MemoryFileStorage(), inline_types=wrong)
    assert not DepotManager.depot_names()
