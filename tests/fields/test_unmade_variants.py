"""Variants that the row does not have: on demand, and those that have yet to be made."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, StoredFileNotFound
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Pad, Thumbnail
from depot_lite.io.fileid import derived_id, is_derived_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager

WEBP = Thumbnail(8, 8, format="WEBP", make="on_demand")
SQUARE = Crop(4, 4, make="on_demand")
VARIANTS = {
    "now": Thumbnail(6, 6),
    "webp": WEBP,
    "square": SQUARE,
    "padded": Pad(20, 20, make="on_demand"),
    "later": Thumbnail(5, 5, make="later"),
}


class Strict(UploadedImage):
    """Shows nothing in place of a variant that has yet to be made."""

    unmade_variants = "none"


class Anything(UploadedImage):
    """Takes files that are no images."""

    optional = True


class Base(DeclarativeBase):
    """Tables of this module."""


class Shot(Base):
    """Images of three classes."""

    __tablename__ = "unmade_shot"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(UploadedFileField((), UploadedImage, variants=VARIANTS))
    strict: Mapped[Strict | None] = mapped_column(UploadedFileField((), Strict, variants=VARIANTS))
    anything: Mapped[Anything | None] = mapped_column(UploadedFileField((), Anything, variants=VARIANTS))


def picture(mode: str = "PNG") -> bytes:
    """Return an image of 16 x 12 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(file, mode)
    return file.getvalue()


@pytest.fixture
def session(depots: dict[str, FileStorage]) -> Iterator[Session]:
    """A session with a row whose files a middleware serves."""
    engine: Engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    DepotManager.make_middleware(lambda environ, start_response: [])
    DepotManager.set_process_later(lambda *job: None)  # a queue whose worker has not come to it
    with Session(engine) as session:
        session.add(Shot(id=1, image=UploadedImage(picture(), filename="red.png"), strict=picture(), anything=b"text"))
        session.commit()
        yield session
    engine.dispose()


@pytest.fixture
def image(session: Session) -> UploadedImage:
    """The image of the row."""
    found = session.get_one(Shot, 1).image
    assert found is not None
    return found


def test_all_declared_variants_are_listed(image: UploadedImage) -> None:
    """In the order of their declaration."""
    assert list(image.variants) == ["now", "webp", "square", "padded", "later"]
    assert len(image.variants) == 5
    assert image["variants"].keys() == {"now"}
    with pytest.raises(KeyError, match="there is 'now', 'webp', 'square', 'padded', 'later'"):
        _ = image.variants["huge"]
    assert image.variants.get("huge") is None


def test_a_variant_on_demand_is_described_without_its_file(image: UploadedImage) -> None:
    """Its size in pixels follows from the recipe and the original."""
    webp = image.variants["webp"]
    assert webp.file_id == derived_id(image.file_id, WEBP.fingerprint)
    assert is_derived_id(webp.file_id)
    assert webp.path == f"default/{webp.file_id}"
    assert (webp.width, webp.height, webp.size) == (8, 6, None)
    assert (webp.content_type, webp.filename, webp.recipe) == ("image/webp", "red-webp.webp", WEBP.fingerprint)
    assert webp.url == f"/depot/default/{image.file_id}~{WEBP.fingerprint}"
    padded = image.variants["padded"]
    assert (padded.width, padded.height, padded.content_type, padded.filename) == (
        20,
        20,
        "image/png",
        "red-padded.png",
    )
    assert image.variants["square"].as_dict() == {
        "url": f"/depot/default/{image.file_id}~{SQUARE.fingerprint}",
        "filename": "red-square.png",
        "content_type": "image/png",
        "size": None,
        "width": 4,
        "height": 4,
    }


def test_its_file_is_made_when_it_is_read(image: UploadedImage, depots: dict[str, FileStorage]) -> None:
    """Once: the second time it is there."""
    webp = image.variants["webp"]
    assert not depots["default"].exists(webp.file_id)
    with webp.file as file:
        assert Image.open(io.BytesIO(file.read())).size == (webp.width, webp.height)
        assert (file.filename, file.content_type) == (webp.filename, webp.content_type)
    first = depots["default"].entry(webp.file_id).last_modified
    with webp.file as file:
        assert file.info.last_modified == first


def test_url_options_are_signed(image: UploadedImage) -> None:
    """As those of any file."""
    DepotManager.configure_signing("a key for this test")
    url = image.variants["webp"].url_for(download=True, expires_in=60)
    assert url is not None
    path, _, query = url.partition("?")
    assert path == image.variants["webp"].url
    grant = Depots.signer().grant(path.removeprefix("/depot/"), query)
    assert grant is not None
    assert (grant.download, grant.filename) == (True, "red-webp.webp")
    assert Depots.signer().grant(f"default/{image.file_id}~{SQUARE.fingerprint}", query) is None


def test_a_renamed_image_has_its_name_in_urls(session: Session, image: UploadedImage) -> None:
    """Those of its variants, too."""
    shot = session.get_one(Shot, 1)
    shot.image = image.with_(filename="blue.png")
    session.commit()
    assert shot.image is not None
    url = shot.image.variants["webp"].url
    assert url == f"/depot/default/{image.file_id}~{WEBP.fingerprint}/blue-webp.webp"


def test_a_variant_that_has_yet_to_be_made_shows_the_original(image: UploadedImage) -> None:
    """Or nothing."""
    later = image.variants["later"]
    assert (later.url, later.url_for(download=False)) == (image.url, image.url)
    assert (later.path, later.width, later.size) == (image.path, 16, image.size)
    assert later.as_dict()["url"] == image.as_dict()["url"]
    assert [name for name, each in image.variants.items() if each.is_unmade] == ["later"]
    with later.file as file:
        assert file.read() == picture()


def test_a_variant_that_has_yet_to_be_made_shows_nothing_if_so_configured(session: Session) -> None:
    """It is described as it will be."""
    strict = session.get_one(Shot, 1).strict
    assert strict is not None
    later = strict.variants["later"]
    assert (later.url, later.url_for(), later.as_dict()["url"], later.width, later.height) == (None, None, None, 5, 4)
    with pytest.raises(StoredFileNotFound, match="'later'"):
        _ = later.file


def test_a_file_that_is_no_image_has_no_variants(session: Session) -> None:
    """Whatever its column declares."""
    anything = session.get_one(Shot, 1).anything
    assert anything is not None
    assert (dict(anything.variants), anything.as_dict()["variants"]) == ({}, {})


def test_rows_from_before_a_variant_was_declared_have_it(image: UploadedImage) -> None:
    """Also those of other classes, which do not know the size of the image."""
    old: dict[str, Any] = {key: each for key, each in image.items() if key not in ("variants", "width", "height")}
    found = UploadedImage(old).declare_variants(VARIANTS)
    assert (found.variants["webp"].width, found.variants["webp"].height) == (None, None)
    assert (found.variants["square"].width, found.variants["now"].url) == (4, found.url)


@pytest.mark.parametrize("recipe", [WEBP, SQUARE])
def test_a_stored_variant_of_another_recipe_is_not_shown_on_demand(image: UploadedImage, recipe: Any) -> None:
    """The recipe of the column was changed, and the variant is on demand from now on."""
    entry = dict(image["variants"]["now"])
    older = UploadedImage({**image, "variants": {"any": entry}}).declare_variants({"any": recipe})
    assert older.variants["any"].recipe == recipe.fingerprint
    same = UploadedImage({**image, "variants": {"any": {**entry, "recipe": recipe.fingerprint}}})
    assert same.declare_variants({"any": recipe}).variants["any"].path == entry["path"]


def test_variants_survive_copies_and_pickles(image: UploadedImage) -> None:
    """As values do."""
    webp = image.variants["webp"]
    assert copy.copy(webp) == copy.deepcopy(webp) == pickle.loads(pickle.dumps(webp)) == webp
    assert pickle.loads(pickle.dumps(webp)).url == webp.url
    assert hash(webp) == hash(image.variants["webp"])


def test_the_setting_is_checked() -> None:
    """When the class is made."""
    with pytest.raises(ConfigurationError, match="unmade_variants"):
        type("Wrong", (UploadedImage,), {"unmade_variants": "some"})
