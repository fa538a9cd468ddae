"""Variants on demand that follow the focus of their image, as clients see them: nobody else chooses the point."""

from __future__ import annotations

import io
from typing import Any, Final

import pytest
from PIL import Image

from depot_lite import focus
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.fileid import new_file_id
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.renditions import Requested
from depot_lite.testing import temporary_depots
from tests.support.asking import Ask, _depots, application, ask

__all__ = ["_depots", "ask"]  # fixtures

# With a quality that no other column has: recipes are known to the whole process.
SQUARE: Final = Crop(10, 10, format="WEBP", quality=73, focus=True, make="on_demand")
FIELD: Final = UploadedFileField(
    upload_type=UploadedImage,
    variants={"square": SQUARE, "whole": Thumbnail(20, 20, quality=73, make="on_demand")},
)


def picture() -> bytes:
    """Return a PNG whose left half is red, and whose right half is blue."""
    image = Image.new("RGB", (40, 20), "red")
    image.paste((0, 0, 255), (20, 0, 40, 20))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def stored(point: object = None, visibility: str = "unlisted") -> UploadedImage:
    """Store an image in a new depot, which a middleware serves."""
    DepotManager.configure("default", MemoryFileStorage(), visibility=visibility)
    DepotManager.make_middleware(application)
    value = UploadedImage(picture(), filename="me.png", meta={} if point is None else {"focus": point})
    value.store(variants=FIELD.variants)
    return value


def colour(data: bytes) -> str:
    """Return the colour of an image."""
    with Image.open(io.BytesIO(data)) as opened:
        pixel: Any = opened.convert("RGB").resize((1, 1)).getpixel((0, 0))
    red, _, blue = pixel
    return "both" if abs(red - blue) < 60 else "red" if red > blue else "blue"


def files() -> int:
    return len(list(DepotManager.get().list()))


def test_the_url_shows_the_point_of_the_image(ask: Ask) -> None:
    """It is the same each time, and another for another point."""
    value, urls = stored([0, 0.5]), set()
    for point, expected in (([0, 0.5], "red"), ([1, 0.5], "blue"), (None, "both"), ("left", "both")):
        moved = UploadedImage.of_data({**value, "meta": {"focus": point}}).declare_variants(FIELD.variants)
        variant = moved.variants["square"]
        status, headers, body = ask(variant.url)
        assert (status, headers["content-type"], colour(body)) == (200, "image/webp", expected)
        assert variant.url == moved.variants["square"].url
        assert DepotManager.get().exists(variant.file_id)
        assert ask(variant.url_for(download=True))[0] == 200
        urls.add(variant.url)
    assert (len(urls), files()) == (3, 4)


@pytest.mark.parametrize("visibility", ["unlisted", "public", "private"])
def test_only_signed_points_are_made(ask: Ask, visibility: str) -> None:
    """Else a client could have ten thousand crops of each image made, and stored."""
    value = stored([0, 0.5], visibility)
    path, _, query = str(value.variants["square"].url).partition("?")
    depot, recipe, signature = path.split("~")
    forged = [
        f"{depot}~{SQUARE.fingerprint}",
        f"{depot}~{SQUARE.fingerprint}~{signature}",
        f"{depot}~{recipe}",
        f"{depot}~{recipe}~",
        f"{depot}~{recipe}~{signature[:-2]}",
        f"{depot}~{recipe}~{'A' * len(signature)}",
        f"{depot}~{SQUARE.fingerprint}-100050~{signature}",
        f"{depot}~{SQUARE.fingerprint}-101050~{signature}",
        f"{depot}~{SQUARE.fingerprint}-00050~{signature}",
        f"{depot}~{FIELD.variants['whole'].fingerprint}-000050~{signature}",
        f"{depot}~{FIELD.variants['whole'].fingerprint}~{signature}",
    ]
    for each in forged:
        asked = each
        if query:  # somebody who may sign paths, but has not taken this one from a variant
            name = each.removeprefix("/depot/")
            asked = f"{each}?{DepotManager.signer().query(name)}"
            assert ask(f"{each}?{query}")[0] == 403
        assert ask(asked)[0] == 404, each
    assert files() == 1
    assert ask(str(value.variants["square"].url))[0] == 200
    assert ask(path)[0] == (403 if query else 200)


def test_a_signature_is_of_one_image(ask: Ask) -> None:
    """Another one has its own."""
    one = stored([0, 0.5])
    other = UploadedImage(picture(), meta={"focus": [0, 0.5]})
    other.store(variants=FIELD.variants)
    url = str(one.variants["square"].url)
    assert ask(url.replace(one.file_id, other.file_id))[0] == 404
    assert ask(str(other.variants["square"].url))[0] == 200


def test_keys_are_changed_as_for_other_urls(ask: Ask) -> None:
    """URLs by the former key work until it is dropped."""
    url = str(stored().variants["square"].url)
    DepotManager.configure_signing("another key of these tests", "the key of these tests")
    assert ask(url)[0] == 200
    DepotManager.configure_signing("another key of these tests")
    assert ask(url)[0] == 404


def test_urls_need_a_key(ask: Ask) -> None:
    """The error says so; the file itself can be had without one, and other variants need none."""
    with temporary_depots():
        value = stored([1, 0.5])
        with pytest.raises(ConfigurationError, match=r"'square', which follows the focus .*configure_signing"):
            _ = value.variants["square"].url
        with value.variants["square"].file as file:
            assert colour(file.read()) == "blue"
        requested = Requested(value.file_id, value.variants["square"].recipe, "c2lnbmVk")
        assert ask(f"/depot/default/{requested}")[0] == 404
        assert ask(str(value.variants["whole"].url))[0] == 200


def test_a_page_shows_it(ask: Ask) -> None:
    """With its exact width."""
    value = stored([0, 0.5])
    url = value.variants["square"].url
    assert value.srcset("square") == f"{url} 10w"
    assert f'srcset="{url} 10w"' in value.picture("square")
    assert value.as_dict()["variants"]["square"]["url"] == url


def test_the_hook_gets_the_original(ask: Ask) -> None:
    """As for other variants."""
    value, asked = stored(), list[Any]()

    def authorize(request: Any, depot_name: str, file_id: str) -> bool:
        asked.append((depot_name, file_id))
        return False

    assert ask(str(value.variants["square"].url), authorize=authorize)[0] == 403
    assert asked == [("default", value.file_id)]


def test_a_recipe_that_nobody_declares_is_not_made(caplog: pytest.LogCaptureFixture, ask: Ask) -> None:
    """Also with a signature, of a process with other models; it is logged once, whatever the point."""
    value, unknown = stored(), new_file_id().replace("-", "")[-12:]
    for number in range(3):
        recipe = focus.with_point(unknown, (number, 50))
        requested = Requested(value.file_id, recipe, Depots.signer().variant_signature(value.file_id, recipe))
        assert ask(f"/depot/default/{requested}")[0] == 404
    assert sum(f"no column in this process declares its recipe {unknown} " in each for each in caplog.messages) == 1
    assert files() == 1
