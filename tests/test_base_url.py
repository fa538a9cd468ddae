"""URLs with a host: `base_url` of the middleware, and `url_for(absolute=True)`."""

from __future__ import annotations

import io
from typing import Any, Final

import pytest
from PIL import Image

from depot_lite.errors import ConfigurationError
from depot_lite.fields.filters.thumbnails import WithThumbnailFilter
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.urls import url_of
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.middleware import DepotMiddleware
from depot_lite.uploads import upload_ticket
from tests.support.asking import Ask, Elsewhere, _depots, application, ask

__all__ = ["_depots", "ask"]  # fixtures

CDN: Final = "https://cdn.example.org"

VARIANTS: Final = UploadedFileField(
    (), UploadedImage, variants={"small": Thumbnail(9, 9), "large": Thumbnail(31, 31, make="on_demand")}
).variants


def stored(**options: Any) -> UploadedImage:
    """Return an image with a variant of each kind, in a new depot behind a middleware with these options."""
    visibility = options.pop("visibility", "unlisted")
    DepotManager.configure("default", options.pop("storage", MemoryFileStorage()), visibility=visibility)
    DepotManager.make_middleware(application, **options)
    file = io.BytesIO()
    Image.new("RGB", (60, 40)).save(file, "PNG")
    value = UploadedImage(file.getvalue(), filename="a.png")
    value.store([WithThumbnailFilter((20, 20))], variants=VARIANTS)
    return value.declare_variants(VARIANTS)


def urls(value: UploadedImage, **options: Any) -> list[str | None]:
    return [value.url_for(**options), *(each.url_for(**options) for each in value.variants.values())]


@pytest.mark.parametrize("visibility", ["unlisted", "private", "public"])
@pytest.mark.parametrize("base", [CDN, f"{CDN}/", "http://localhost:8080", f"{CDN}/of/ours"])
def test_every_url_begins_with_it_and_the_rest_is_served(ask: Ask, visibility: str, base: str) -> None:
    """The CDN takes a path of its own away."""
    value = stored(visibility=visibility, base_url=base)
    found = [value.url, value.thumb_20x20_url, value.as_dict()["url"], *urls(value), *urls(value, absolute=True)]
    for url in [*found, DepotManager.url_for(value.path, download=True)]:
        assert url is not None
        host, depot, rest = url.partition("/depot/default/")
        assert (host, depot) == (base.rstrip("/"), "/depot/default/")
        assert ask(f"{depot}{rest}")[0] == 200


@pytest.mark.parametrize("visibility", ["unlisted", "private"])
def test_without_one_no_url_is_absolute(visibility: str) -> None:
    value = stored(visibility=visibility)
    assert value.url.startswith("/depot/default/")
    calls: list[Any] = [value, *value.variants.values()]
    for url_for in [
        *(each.url_for for each in calls),
        lambda absolute: DepotManager.url_for(value.path, absolute=True),
    ]:
        with pytest.raises(ConfigurationError, match=r"absolute=True: .* make it with base_url='https://files\."):
            url_for(absolute=True)


class OnOurHost(MemoryFileStorage):
    """A storage whose folder the web server in front of the application shows."""

    def public_url(self, file_or_id: StoredFile | str) -> str:
        return f"/files/{self._id(file_or_id)}"


def test_a_path_of_a_storage_is_not_absolute() -> None:
    value = stored(storage=OnOurHost(), base_url=CDN)
    assert (value.url, value.url_for()) == (f"/files/{value.file_id}",) * 2
    assert value.url_for(absolute=True) == f"{CDN}/depot/default/{value.file_id}"


def test_a_storage_s_own_url_is_absolute_already() -> None:
    value = stored(storage=Elsewhere())
    assert value.url_for(absolute=True) == value.url
    assert value.url.startswith("https://elsewhere/")


def test_the_path_in_a_row_is_not() -> None:
    """Rows of filedepot may have one."""
    file_id, base_url = new_file_id(), CDN
    stored(base_url=base_url)
    assert url_of("default", file_id, "/media/x") == "/media/x"
    assert url_of("default", file_id, "/media/x", absolute=True) == f"{CDN}/depot/default/{file_id}"
    assert url_of("default", file_id, "https://bucket/x", absolute=True) == "https://bucket/x"


def test_a_row_keeps_no_host() -> None:
    """A CDN comes and goes; the attribute has the present one."""
    value = stored(base_url=CDN)
    path = f"/depot/default/{value['thumb_20x20_id']}"
    assert (value["thumb_20x20_url"], value.thumb_20x20_url) == (path, f"{CDN}{path}")
    older = UploadedFile({**value, "thumb_20x20_url": path.replace("/depot", "/former")})
    assert older.thumb_20x20_url == f"{CDN}{path}"


def test_a_file_is_sent_to_the_application_itself() -> None:
    """A CDN takes no PUT, and a browser asks another host first."""
    stored(base_url=CDN)
    assert upload_ticket().url.startswith("/depot/default/")


def test_a_middleware_with_depots_of_its_own_has_one_too() -> None:
    media = MemoryFileStorage()
    middleware = DepotMiddleware(application, depots={"media": media}, base_url=CDN)
    assert middleware.url_for("media/x") == f"{CDN}/depot/media/x"
    assert middleware.path_for("media/x") == "/depot/media/x"


@pytest.mark.parametrize("wrong", ["cdn.example.org", "//cdn.example.org", "/depot", f"{CDN}?x", "https://me:pw@cdn"])
@pytest.mark.parametrize("make", ["make_middleware", "make_asgi_middleware"])
def test_something_else_is_refused(make: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url: expected a URL such as") as caught:
        getattr(DepotManager, make)(application, base_url=wrong)
    assert "pw" not in str(caught.value)
