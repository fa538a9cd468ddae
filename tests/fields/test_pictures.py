"""Placeholders, ``srcset`` and ``<picture>``: an image on a page before and while it loads."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image, ImageDraw
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from depot_lite.errors import DamagedReference
from depot_lite.fields.specialized import markup
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images import DEFAULT_FORMATS
from depot_lite.images.placeholder import data_url, placeholder_of
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager


class Base(DeclarativeBase):
    """Tables of this module."""


class Photograph(UploadedImage):
    """With a placeholder."""

    __slots__ = ()
    placeholder = True
    formats = (*DEFAULT_FORMATS, "TIFF")


VARIANTS = {
    "small": Thumbnail(20, 20),
    "medium": Thumbnail(40, 40),
    "large": Thumbnail(400, 400),
    "modern": Thumbnail(40, 40, format="WEBP"),
}


class Page(Base):
    """Images on a page."""

    __tablename__ = "pictures_page"
    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[Photograph | None] = mapped_column(UploadedFileField((), Photograph, variants=VARIANTS))
    plain: Mapped[UploadedImage | None] = mapped_column(UploadedFileField((), UploadedImage))


def picture(width: int = 80, height: int = 60, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """Return a blue image with a yellow quarter."""
    image = Image.new(mode, (width, height), "#3366cc")
    ImageDraw.Draw(image).rectangle((0, 0, width // 2, height // 2), fill="#ffcc00")
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.fixture
def engine(depots: dict[str, FileStorage]) -> Iterator[Engine]:
    """A database in memory, and a middleware that serves the files."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    DepotManager.make_middleware(lambda environ, start_response: [])
    yield engine
    engine.dispose()


def stored(engine: Engine, **files: Any) -> Page:
    """Return a page with these files, loaded from its row."""
    with Session(engine) as session:
        session.add(Page(id=1, **files))
        session.commit()
    with Session(engine) as session:
        return session.get_one(Page, 1)


def photo_of(page: Page) -> Photograph:
    """Return the photo, which is there."""
    assert page.photo is not None
    return page.photo


class Tags(HTMLParser):
    """The tags of a text, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.found.append((tag, dict(attrs)))


# --- placeholders -----------------------------------------------------------------------------------------------------


def test_the_row_gets_a_placeholder(engine: Engine) -> None:
    """28 characters and a colour, and no file besides those of the variants."""
    photo = photo_of(stored(engine, photo=picture()))
    assert photo.blurhash is not None
    assert (len(photo.blurhash), photo.dominant_colour) == (28, "#3366cc")
    assert len(photo.files) == 1 + len(VARIANTS)
    assert set(photo["variants"]) == set(VARIANTS)


def test_apis_get_it(engine: Engine) -> None:
    """Programs in a browser draw it themselves; other images have no such keys."""
    page = stored(engine, photo=picture(), plain=picture())
    data = photo_of(page).as_dict()
    assert (data["blurhash"], data["dominant_colour"]) == (photo_of(page).blurhash, "#3366cc")
    assert page.plain is not None
    assert "blurhash" not in page.plain.as_dict()


def test_the_placeholder_looks_like_the_image(engine: Engine) -> None:
    """It has its aspect ratio, and yellow and blue where it has them."""
    photo = photo_of(stored(engine, photo=picture()))
    assert photo.placeholder_url is not None
    kind, _, data = photo.placeholder_url.partition(",")
    drawn = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (kind, drawn.size) == ("data:image/png;base64", (12, 9))
    yellow, blue = drawn.getpixel((2, 2)), drawn.getpixel((10, 7))
    assert isinstance(yellow, tuple)
    assert isinstance(blue, tuple)
    assert yellow[0] > 200 > yellow[2]
    assert blue[2] > 150 > blue[0]


def test_an_upright_image_has_more_waves_from_top_to_bottom() -> None:
    """And as many characters."""
    file = io.BytesIO()
    Image.new("L", (8, 32), 128).save(file, "PNG")
    found = placeholder_of(file.getvalue())
    assert (len(found.blurhash), found.dominant_colour) == (28, "#808080")
    assert found.blurhash[0] != placeholder_of(picture(32, 8)).blurhash[0]


def test_transparent_pixels_count_as_white() -> None:
    """As on most pages."""
    file = io.BytesIO()
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(file, "PNG")
    assert placeholder_of(file.getvalue()).dominant_colour == "#ffffff"


def test_other_classes_have_none(engine: Engine) -> None:
    """It costs a rendition."""
    page = stored(engine, plain=picture())
    assert page.plain is not None
    assert (page.plain.blurhash, page.plain.dominant_colour, page.plain.placeholder_url) == (None, None, None)


def test_copies_keep_it_and_new_images_get_their_own(engine: Engine) -> None:
    """Copied from another row, and after a replacement."""
    first = photo_of(stored(engine, photo=picture()))
    with Session(engine) as session:
        copied = Page(id=2, photo=first)
        session.add(copied)
        session.commit()
        assert photo_of(copied).blurhash == first.blurhash
        file = io.BytesIO()
        Image.new("RGB", (8, 8), "#112233").save(file, "PNG")
        copied.photo = file.getvalue()  # type: ignore[assignment]
        session.commit()
        assert photo_of(copied).dominant_colour == "#112233"


def test_a_copy_into_a_column_with_placeholders_gets_one(engine: Engine) -> None:
    """The other column made none."""
    page = stored(engine, plain=picture())
    with Session(engine) as session:
        copied = Page(id=2, photo=page.plain)
        session.add(copied)
        session.commit()
        assert photo_of(copied).dominant_colour == "#3366cc"


def test_a_damaged_placeholder_is_named(engine: Engine) -> None:
    """It says where."""
    stored(engine, photo=picture())
    with engine.begin() as connection:
        connection.execute(text("UPDATE pictures_page SET photo = json_set(photo, '$.blurhash', 'é')"))
    with Session(engine) as session, pytest.raises(DamagedReference, match="blurhash"):
        _ = photo_of(session.get_one(Page, 1)).placeholder_url


@pytest.mark.parametrize(
    "blurhash", ["", "L", "LeC@XI=:I^9,$XxUWFNN9[Iws*-", "~~~~~~~~", "LeC@XI=:I^9,$XxUWFNN9[Iws*-é"]
)
def test_text_that_is_no_blurhash_is_refused(blurhash: str) -> None:
    """By one error."""
    with pytest.raises(ValueError, match="BlurHash"):
        data_url(blurhash, 4, 3)


# --- srcset and picture -----------------------------------------------------------------------------------------------


def test_srcset_lists_variants_by_width(engine: Engine) -> None:
    """The narrowest first; a thumbnail is never wider than its original."""
    photo = photo_of(stored(engine, photo=picture()))
    urls = {name: each.url for name, each in photo.variants.items()}
    assert photo.srcset("large", "small") == f"{urls['small']} 20w, {urls['large']} 80w"


def test_srcset_lists_each_width_once(engine: Engine) -> None:
    """The first of the names."""
    photo = photo_of(stored(engine, photo=picture()))
    assert photo.srcset("modern", "medium") == f"{photo.variants['modern'].url} 40w"


def test_an_undeclared_variant_is_an_error(engine: Engine) -> None:
    """Not an image that is missing on a page."""
    photo = photo_of(stored(engine, photo=picture()))
    with pytest.raises(KeyError, match="huge"):
        photo.srcset("huge")
    with pytest.raises(KeyError, match="huge"):
        photo.picture("huge")


def test_a_pending_image_has_neither(engine: Engine) -> None:
    """A form is shown again, for example."""
    photo = Photograph(picture())
    assert (photo.srcset(), photo.picture()) == ("", "")


def test_picture_offers_each_format(engine: Engine) -> None:
    """Modern ones in sources, the others in the image, with its size."""
    photo = photo_of(stored(engine, photo=picture()))
    tags = Tags(photo.picture("small", "medium", "modern", sizes="50vw", alt="Yellow & blue", class_="wide")).found
    assert [name for name, _ in tags] == ["picture", "source", "img"]
    source, image = tags[1][1], tags[2][1]
    assert source == {"type": "image/webp", "srcset": photo.srcset("modern"), "sizes": "50vw"}
    assert image["src"] == photo.variants["medium"].url
    assert image["srcset"] == photo.srcset("small", "medium")
    assert (image["width"], image["height"], image["loading"]) == ("80", "60", "lazy")
    assert (image["alt"], image["class"], image["sizes"]) == ("Yellow & blue", "wide", "50vw")
    assert image["style"] == f"background: #3366cc url({photo.placeholder_url}) center / cover no-repeat"


def test_picture_takes_the_alt_text_of_the_metadata(engine: Engine) -> None:
    """And an image without one is decoration."""
    photo = photo_of(stored(engine, photo=Photograph(picture(), meta={"alt": '"A" <b>'})))
    assert 'alt="&quot;A&quot; &lt;b&gt;"' in photo.picture()
    assert 'alt=""' in photo.with_(meta={}).picture()


def test_picture_without_variants_shows_the_image(engine: Engine) -> None:
    """Without a srcset."""
    page = stored(engine, plain=picture())
    assert page.plain is not None
    tags = Tags(page.plain.picture(loading=None, data_id=7)).found
    assert tags[1] == ("img", {"src": page.plain.url, "alt": "", "width": "80", "height": "60", "data-id": "7"})


def test_an_image_that_browsers_do_not_show_is_not_the_fallback(engine: Engine) -> None:
    """A variant is."""
    photo = photo_of(stored(engine, photo=picture(kind="TIFF")))
    image = Tags(photo.picture("modern")).found[-1][1]
    assert image["src"] == photo.variants["modern"].url


@pytest.mark.parametrize("name", ["on click", "a>b", "x=y", "é"])
def test_other_names_of_attributes_are_refused(engine: Engine, name: str) -> None:
    """They would break out of the tag."""
    photo = photo_of(stored(engine, photo=picture()))
    with pytest.raises(ValueError, match="expected the name of an HTML attribute"):
        photo.picture(**{name: "1"})


def test_html_is_not_escaped_again() -> None:
    """Template engines ask for `__html__`."""
    assert markup.Html("<b>").__html__() == "<b>"


def test_urls_cannot_end_their_candidate() -> None:
    """A comma at the end of a URL would."""

    class Odd:
        url, content_type, width = "https://example.org/a,b,", "image/png", 10

    class Unknown:
        url, content_type, width = "https://example.org/x", None, None

    assert markup.srcset([Odd()]) == "https://example.org/a,b%2C 10w"
    assert markup.srcset([Unknown(), Odd()]) == "https://example.org/a,b%2C 10w"
    assert markup.srcset([Unknown()]) == "https://example.org/x"
