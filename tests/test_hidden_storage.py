"""A middleware that is a proxy: every URL of values, variants, admins and tickets leads to it, none to the storage."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from PIL import Image

from depot_lite.asgi import DepotASGI
from depot_lite.contrib.admin.display import file_data
from depot_lite.errors import ConfigurationError, DepotError, InvalidFileId, UnknownDepot
from depot_lite.fields.filters.thumbnails import WithThumbnailFilter
from depot_lite.fields.specialized.image import UploadedImage, UploadedImageWithThumb
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.urls import url_of
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileStorage, StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.middleware import DepotMiddleware
from depot_lite.testing import temporary_depots
from depot_lite.uploads import upload_ticket
from tests.support.asking import KEY, Ask, Elsewhere, _depots, application, ask

__all__ = ["_depots", "ask"]  # fixtures

#: Declared, so that the middleware may make it.
SMALL: Final = UploadedFileField((), UploadedImage, variants={"small": Thumbnail(21, 21, make="on_demand")})


class Hidden(Elsewhere):
    """A storage behind a host that no client reaches: it has URLs of every kind."""

    def public_url(self, file_or_id: StoredFile | str) -> str:
        return f"https://hidden/{self._id(file_or_id)}"

    def url(self, file_or_id: StoredFile | str, **options: Any) -> str:
        return f"https://hidden/{self._id(file_or_id)}?{options}"

    def _upload_form(self, file_id: str, *_: Any) -> tuple[str, dict[str, str]]:
        return "https://hidden/", {"key": file_id}


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["private", "public"])
def depot(request: pytest.FixtureRequest) -> FileStorage:
    return DepotManager.configure("default", Hidden(), visibility=request.param)


@pytest.fixture
def _proxy(depot: FileStorage) -> None:
    DepotManager.make_middleware(application, proxy="yes")


def stored(kind: type[UploadedFile] = UploadedFile, **more: Any) -> Any:
    value = kind(picture(), filename="a.png", **more)
    value.store()
    return value


@pytest.mark.usefixtures("_proxy")
class TestURLs:
    def check(self, ask: Ask, url: Any, content_type: str = "image/png", size: tuple[int, int] = (60, 40)) -> None:
        """Check that the URL leads to the middleware, which sends an image."""
        assert url.startswith("/depot/default/")
        status, headers, body = ask(url, proxy=True)
        assert (status, headers["content-type"]) == (200, content_type)
        assert Image.open(io.BytesIO(body)).size == size

    def test_a_file_has_the_middleware_s(self, ask: Ask) -> None:
        value = stored()
        assert value["_public_url"] == f"https://hidden/{value.file_id}"  # what a later configuration may use
        for url in (value.url, value.url_for(), value.url_for(expires_in=60), value.as_dict()["url"]):
            self.check(ask, url)

    def test_a_download_is_saved_under_its_name(self, ask: Ask) -> None:
        _, headers, _ = ask(stored().url_for(download=True), proxy=True)
        assert headers["content-disposition"] == 'attachment; filename="a.png"'

    def test_a_thumbnail_has_it(self, ask: Ask) -> None:
        value = stored(UploadedImageWithThumb)
        self.check(ask, value.thumb_url)

    def test_the_file_of_a_filter_has_it_whatever_the_row_says(self, ask: Ask) -> None:
        value = UploadedFile(picture())
        value.store([WithThumbnailFilter((30, 30))])
        self.check(ask, value.thumb_30x30_url, size=(30, 20))
        of_former_times = {**value, "thumb_30x30_url": f"https://hidden/{value['thumb_30x30_id']}"}
        value = UploadedFile(of_former_times)
        self.check(ask, value.thumb_30x30_url, size=(30, 20))

    def test_a_depot_that_is_not_configured_has_none(self) -> None:
        with pytest.raises(UnknownDepot):
            url_of("elsewhere", new_file_id())

    def test_a_variant_on_demand_is_made_and_sent(self, ask: Ask) -> None:
        value = stored(UploadedImage).declare_variants(SMALL.variants)
        for _ in range(2):  # made, and found
            self.check(ask, value.variants["small"].url, size=(21, 14))

    def test_the_pages_of_the_admins_have_no_other(self) -> None:
        for value in (stored(), stored(UploadedImageWithThumb)):
            data = file_data(value, "0")
            assert data["url"].startswith("/depot/default/")
            assert "hidden" not in json.dumps(data)

    def test_a_ticket_is_for_the_middleware(self) -> None:
        ticket = upload_ticket(content_type="image/png")
        assert (ticket.method, ticket.fields) == ("PUT", {})
        assert ticket.url.startswith("/depot/default/")

    def test_a_malformed_id_has_none(self) -> None:
        with pytest.raises(InvalidFileId):
            url_of("default", "../secret")


def test_without_it_urls_are_the_storage_s() -> None:
    DepotManager.configure("default", Hidden())
    DepotManager.make_middleware(application)
    value = stored()
    assert value.url.startswith("https://hidden/")
    assert upload_ticket().method == "POST"


def test_a_middleware_hides_the_depots_that_it_serves() -> None:
    for name in ("media", "other"):
        DepotManager.configure(name, Hidden())
    DepotManager.set_middleware(DepotMiddleware(application, depots={"media": DepotManager.get("media")}, proxy=True))
    assert stored(depot_name="media").url.startswith("/depot/media/")
    assert stored(depot_name="other").url.startswith("https://hidden/")


def test_a_second_middleware_changes_no_url() -> None:
    DepotManager.configure("default", Hidden())
    DepotManager.make_middleware(application)
    DepotASGI(application, proxy=True)
    assert stored().url.startswith("https://hidden/")


class Foreign:
    """A middleware that an application has written itself."""

    def url_for(self, path: str) -> str:
        return f"/files/{path}"


def test_a_middleware_of_the_application_s_own_needs_no_more_than_url_for() -> None:
    DepotManager.configure("default", Hidden())
    DepotManager.configure("here", MemoryFileStorage())
    DepotManager.set_middleware(Foreign())
    assert stored().url.startswith("https://hidden/")
    value = stored(depot_name="here")
    assert value.url == f"/files/{value.path}"


@pytest.fixture
def _no_keys() -> Iterator[None]:
    with temporary_depots():
        yield


@pytest.mark.usefixtures("_no_keys")
@pytest.mark.parametrize("make", ["make_middleware", "make_asgi_middleware"])
def test_files_that_nobody_could_read_are_an_error_at_the_start(make: str) -> None:
    """A private depot whose own URLs are hidden, and no keys to sign those of the middleware."""
    DepotManager.configure("default", Hidden(), visibility="private")
    with pytest.raises(ConfigurationError, match="'default' is private, but nothing signs its URLs"):
        getattr(DepotManager, make)(application, proxy=True)
    assert not DepotManager.has_middleware()
    getattr(DepotManager, make)(application, proxy=True, authorize=lambda *_: True)
    assert DepotManager.has_middleware()
    with pytest.raises(DepotError):
        _ = stored().url  # which no key signs
    DepotManager.configure_signing(KEY)
    assert stored().url.startswith("/depot/default/")
