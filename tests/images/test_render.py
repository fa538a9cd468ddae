"""Rendering and stripping: the results of awkward images, pixel by pixel, and the metadata that is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageSequence

from depot_lite import images
from depot_lite.errors import ImageRefused
from depot_lite.images import FORMATS, ImageInfo, Rendition
from depot_lite.images.budget import BUDGET, Budget
from depot_lite.images.recipes import Crop, Pad, Recipe, Thumbnail
from tests.images import awkward_images as awkward
from tests.images.awkward_images import BLUE, GREEN, QUARTERS, RED, YELLOW, near, opened

render = partial(images.render, formats=FORMATS)
strip = partial(images.strip, formats=FORMATS)

_HALF = Thumbnail(48, 48)
_AS_PNG = Thumbnail(48, 48, format="PNG")


def rendered(data: bytes, recipe: Recipe = _AS_PNG) -> Image.Image:
    rendition = render(BytesIO(data), {"it": recipe})[1]["it"]
    image = opened(rendition.data)
    assert (rendition.width, rendition.height) == image.size
    assert rendition.content_type == Image.MIME[image.format or ""]
    return image


# --- orientation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JPEG", "PNG", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(name: str, orientation: int) -> None:
    image = rendered(awkward.oriented(orientation, name))
    assert (image.size, image.mode) == ((48, 32), "RGB")
    assert near(image, QUARTERS)


def test_a_webp_is_not_turned() -> None:
    """No browser turns it."""
    turned = awkward.oriented(6, "WEBP")
    assert rendered(turned).size == (32, 48)
    assert rendered(turned).transpose(Image.Transpose.ROTATE_270).size == (48, 32)
    assert near(rendered(turned).transpose(Image.Transpose.ROTATE_270), QUARTERS)


@pytest.mark.parametrize("orientation", [0, 9, 4711])
def test_an_orientation_that_is_none_counts_as_upright(orientation: int) -> None:
    assert near(rendered(awkward.oriented(orientation)), QUARTERS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_that_is_broken_counts_as_none() -> None:
    """Pillow warns of it, which is its business: the picture is whole."""
    data = awkward.saved(awkward.quarters(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\0\0broken")
    assert near(rendered(data), QUARTERS)
    assert near(rendered(data, Thumbnail(48, 48, metadata=True)), QUARTERS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_focus_of_a_crop_is_a_point_of_what_is_displayed(orientation: int) -> None:
    corner = rendered(awkward.oriented(orientation), Crop(16, 16, focus=(1, 0), format="PNG"))
    left = rendered(awkward.oriented(orientation), Crop(8, 32, focus=(0, 0), format="PNG"))
    assert corner.size == (16, 16)
    assert near(corner.crop((12, 0, 16, 8)), (GREEN,) * 4)
    assert near(left, (RED, RED, BLUE, BLUE), 8)


# --- colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inverted", [awkward.adobe_cmyk()])
def test_inks_that_photoshop_inverted_come_out_right(inverted: bytes) -> None:
    image = rendered(inverted, _HALF)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (48, 32))
    assert near(image, QUARTERS)


@pytest.mark.parametrize("size", [96, 48, 24])
def test_sixteen_bits_do_not_come_out_white(size: int) -> None:
    image = rendered(awkward.grey16(), Thumbnail(size, size))
    assert (image.format, image.mode) == ("PNG", "L")
    assert awkward.four(image) == [0, 64, 128, 255]


def test_sixteen_bits_of_a_tiff_do_not_either() -> None:
    image = rendered(awkward.saved(opened(awkward.grey16()), "TIFF"))
    assert awkward.four(image) == [0, 64, 128, 255]


@pytest.mark.parametrize("size", [96, 48, 24])
def test_a_palette_keeps_its_transparency(size: int) -> None:
    image = rendered(awkward.palette_with_transparency(), Thumbnail(size, size))
    assert image.mode == "RGBA"
    assert [pixel[3] for pixel in awkward.four(image)] == [0, 255, 255, 255]
    assert near(
        image.crop((size // 2, 0, *image.size)), ((*GREEN, 255), (*GREEN, 255), (*YELLOW, 255), (*YELLOW, 255)), 1
    )


@pytest.mark.parametrize("name", ["WEBP", "AVIF", "GIF"])
def test_transparency_lives_on_where_the_format_has_it(name: str) -> None:
    image = rendered(awkward.palette_with_transparency(), Thumbnail(48, 48, format=name)).convert("RGBA")
    assert [pixel[3] for pixel in awkward.four(image)] == [0, 255, 255, 255]


def test_a_jpeg_gets_the_background_where_the_source_is_clear() -> None:
    recipe = Thumbnail(48, 48, format="JPEG", background="#0000ff")
    assert near(rendered(awkward.palette_with_transparency(), recipe), ((0, 0, 255), GREEN, BLUE, YELLOW))


def test_a_clear_colour_of_an_image_without_alpha_is_clear() -> None:
    image = rendered(awkward.saved(awkward.quarters(), "PNG", transparency=GREEN))
    assert awkward.four(image) == [(*RED, 255), (0, 0, 0, 0), (*BLUE, 255), (*YELLOW, 255)]


@pytest.mark.parametrize(
    ("mode", "colours", "expected"),
    [
        ("1", (0, 1, 1, 0), [0, 255, 255, 0]),
        ("L", (0, 90, 180, 255), [0, 90, 180, 255]),
        ("LA", ((0, 255), (90, 255), (0, 0), (255, 128)), [(0, 255), (90, 255), (0, 0), (255, 128)]),
        ("RGBA", ((9, 8, 7, 255),) * 4, [(9, 8, 7, 255)] * 4),
    ],
)
@pytest.mark.parametrize("size", [96, 48, 24])
def test_modes_of_png(mode: str, colours: tuple[Any, ...], expected: list[Any], size: int) -> None:
    data = awkward.saved(awkward.quarters(mode=mode, colours=colours), "PNG")
    assert awkward.four(rendered(data, Thumbnail(size, size))) == expected


@pytest.mark.parametrize("mode", ["F", "I", "LAB", "YCbCr", "CMYK"])
def test_modes_of_tiff_are_rendered(mode: str) -> None:
    data = awkward.saved(Image.new(mode, (96, 64)), "TIFF")
    assert rendered(data, _HALF).size == (48, 32)


def test_colours_are_converted_to_srgb_and_the_profile_goes() -> None:
    data = awkward.saved(awkward.quarters(), "PNG", icc_profile=awkward.wide_gamut())
    image = rendered(data)
    assert near(image, ((30, 220, 30), (180, 30, 30), BLUE, (220, 230, 40)), 2)
    assert "icc_profile" not in image.info


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_colours_and_profile_are_kept_where_that_is_asked(name: str) -> None:
    data = awkward.saved(awkward.quarters(), "PNG", icc_profile=awkward.wide_gamut())
    image = rendered(data, Thumbnail(48, 48, format=name, icc="keep"))
    assert near(image, QUARTERS)
    assert image.info["icc_profile"] == awkward.wide_gamut()


def test_transparency_survives_the_conversion_of_colours() -> None:
    clear = awkward.quarters(mode="RGBA", colours=((*RED, 255), (*GREEN, 128), (*BLUE, 255), (*BLUE, 0)))
    image = rendered(awkward.saved(clear, "PNG", icc_profile=awkward.wide_gamut()))
    assert [pixel[3] for pixel in awkward.four(image)] == [255, 128, 255, 0]
    assert near(image.convert("RGB").crop((0, 0, 24, 16)), ((30, 220, 30),) * 4, 2)


@pytest.mark.parametrize("icc", ["srgb", "keep"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_profile_that_is_broken_or_for_other_colours_is_left_out(icc: Any, mode: str) -> None:
    profile = b"no profile" if mode == "L" else ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    source = awkward.quarters().convert(mode)
    image = rendered(awkward.saved(source, "PNG", icc_profile=profile), Thumbnail(48, 48, icc=icc))
    assert awkward.four(image) == awkward.four(source)
    assert "icc_profile" not in image.info


def test_greys_with_a_profile_of_colours_are_colours() -> None:
    """As browsers take them."""
    source = awkward.quarters().convert("L")
    image = rendered(awkward.saved(source, "PNG", icc_profile=awkward.wide_gamut()))
    assert [pixel[0] for pixel in awkward.four(image)] == awkward.four(source)


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "size"),
    [
        (Thumbnail(48, 48), (48, 32)),
        (Thumbnail(1000, 1000), (96, 64)),
        (Crop(30, 50), (30, 50)),
        (Crop(300, 200), (300, 200)),
        (Pad(48, 48), (48, 48)),
        (Pad(200, 100), (200, 100)),
    ],
)
def test_sizes(recipe: Recipe, size: tuple[int, int]) -> None:
    assert rendered(awkward.saved(awkward.quarters(), "PNG"), recipe).size == size


@pytest.mark.parametrize("recipe", [Thumbnail(128, 128), Crop(50, 50), Pad(50, 50)])
@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000)])
def test_a_line_is_rendered_without_a_picture_of_its_length_squared(recipe: Recipe, size: tuple[int, int]) -> None:
    image = rendered(awkward.saved(Image.new("RGB", size, RED), "PNG"), recipe)
    assert max(image.size) <= 128


def test_the_rest_of_a_padded_image_is_background() -> None:
    opaque = rendered(awkward.saved(awkward.quarters(), "PNG"), Pad(96, 96, background="#102030"))
    assert (opaque.mode, opaque.getpixel((48, 2)), opaque.getpixel((48, 93))) == ("RGB", (16, 32, 48), (16, 32, 48))
    assert opaque.getpixel((10, 20)) == RED
    clear = rendered(awkward.saved(awkward.quarters(), "PNG"), Pad(96, 96, background="transparent"))
    assert (clear.mode, clear.getpixel((48, 2)), clear.getpixel((10, 20))) == ("RGBA", (255, 255, 255, 0), (*RED, 255))


def test_a_padded_jpeg_is_white_where_it_should_be_clear() -> None:
    image = rendered(awkward.saved(awkward.quarters(), "JPEG"), Pad(96, 96, background="transparent"))
    assert image.format == "JPEG"
    assert image.getpixel((48, 2)) == (255, 255, 255)


@pytest.mark.matrix
def test_recipes_in_any_order_give_the_same_pictures() -> None:
    """Each is drawn from a picture twice as large at least, so that none is blurred by the one before."""
    source = Image.effect_noise((1200, 800), 100)
    data = awkward.saved(source, "PNG")
    recipes: dict[str, Recipe] = {str(size): Thumbnail(size, size) for size in (64, 500, 128, 900)}
    recipes["crop"] = Crop(50, 50)
    forwards = render(BytesIO(data), recipes)[1]
    backwards = render(BytesIO(data), dict(reversed(recipes.items())))[1]
    assert forwards == backwards
    assert list(forwards) == list(recipes)
    assert [(each.width, each.height) for each in forwards.values()] == [
        (64, 43), (500, 333), (128, 85), (900, 600), (50, 50),
    ]  # fmt: skip


def test_no_recipes_make_nothing_and_say_what_it_is() -> None:
    info, made = render(BytesIO(awkward.oriented(6)), {})
    assert (info, made) == (ImageInfo("JPEG", "image/jpeg", 96, 64, 1, False), {})


@pytest.mark.parametrize(
    ("source", "extension", "content_type"),
    [
        ("JPEG", ".jpg", "image/jpeg"),
        ("PNG", ".png", "image/png"),
        ("WEBP", ".webp", "image/webp"),
        ("AVIF", ".avif", "image/avif"),
        ("GIF", ".gif", "image/gif"),
        ("BMP", ".jpg", "image/jpeg"),
        ("TIFF", ".jpg", "image/jpeg"),
    ],
)
def test_the_format_is_that_of_the_source_where_browsers_show_it(
    source: str, extension: str, content_type: str
) -> None:
    made = render(BytesIO(awkward.saved(awkward.quarters(), source)), {"it": _HALF})[1]["it"]
    assert (made.extension, made.content_type) == (extension, content_type)
    assert near(opened(made.data).convert("RGB"), QUARTERS, 8)


def test_a_tiff_with_transparency_becomes_a_png() -> None:
    assert rendered(awkward.saved(awkward.quarters().convert("RGBA"), "TIFF"), _HALF).format == "PNG"


def test_quality_counts() -> None:
    data = awkward.saved(Image.effect_noise((200, 200), 90), "PNG")
    for name in ("JPEG", "WEBP", "AVIF"):
        low, high = (len(rendition.data) for rendition in render(
            BytesIO(data), {str(q): Thumbnail(200, 200, format=name, quality=q) for q in (10, 95)}
        )[1].values())  # fmt: skip
        assert low * 2 < high


def test_a_heic_is_upright_and_becomes_a_jpeg() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    assert near(rendered(awkward.heic(), _HALF), QUARTERS)
    image = rendered(awkward.heic(exif=turned.tobytes()), _HALF)
    assert (image.format, image.size) == ("JPEG", (32, 48))
    assert near(image, (BLUE, RED, YELLOW, GREEN))


# --- animations -------------------------------------------------------------------------------------------------------

_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")


@pytest.mark.parametrize("name", _ANIMATED)
def test_an_animation_shows_its_first_frame(name: str) -> None:
    image = rendered(awkward.animation(name), Thumbnail(48, 48, format="JPEG"))
    assert near(image, (RED,) * 4)
    assert getattr(rendered(awkward.animation(name), _HALF), "n_frames", 1) == 1


@pytest.mark.parametrize("source", _ANIMATED)
@pytest.mark.parametrize("made", _ANIMATED)
def test_an_animation_keeps_frames_durations_and_loop_where_that_is_asked(source: str, made: str) -> None:
    image = rendered(awkward.animation(source), Thumbnail(48, 48, animated=True, format=made))
    frames = [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]
    assert [duration for _, duration in frames] == [100, 200, 300]
    assert [frame.size for frame, _ in frames] == [(48, 32)] * 3
    assert all(near(frame, (colour,) * 4, 8) for (frame, _), colour in zip(frames, QUARTERS, strict=False))
    assert image.info.get("loop", 0) == 0


@pytest.mark.parametrize(
    ("source", "loop", "made", "expected"),
    [
        ("GIF", 2, "WEBP", 3),
        ("GIF", None, "WEBP", 1),
        ("GIF", None, "GIF", None),
        ("GIF", 2, "GIF", 2),
        ("WEBP", 3, "GIF", 2),
        ("WEBP", 1, "GIF", None),
        ("PNG", 4, "WEBP", 4),
    ],
)
def test_how_often_it_is_shown_is_said_in_the_words_of_each_format(
    source: str, loop: int | None, made: str, expected: int | None
) -> None:
    """A GIF counts the repetitions, and says nothing where there are none; the others count how often it is shown."""
    image = rendered(awkward.animation(source, loop=loop), Thumbnail(48, 48, animated=True, format=made))
    assert image.info.get("loop") == expected


def test_a_jpeg_is_no_animation_whatever_is_asked() -> None:
    assert near(rendered(awkward.animation("GIF"), Thumbnail(48, 48, animated=True, format="JPEG")), (RED,) * 4)


def test_only_the_recipe_that_asks_for_it_is_animated() -> None:
    recipes = {"still": Thumbnail(48, 48), "moving": Thumbnail(24, 24, animated=True)}
    made = render(BytesIO(awkward.animation("GIF")), recipes)[1]
    assert {name: getattr(opened(each.data), "n_frames", 1) for name, each in made.items()} == {
        "still": 1,
        "moving": 3,
    }


@pytest.mark.matrix
def test_an_animation_of_too_many_pixels_is_refused_as_one_and_shown_as_a_picture() -> None:
    data = awkward.animation("GIF", frames=110, size=(1000, 1000))
    with pytest.raises(ImageRefused) as caught:
        render(BytesIO(data), {"it": Thumbnail(9, 9, animated=True)})
    assert (caught.value.rule, caught.value.limit, caught.value.value) == ("max_pixels", 100_000_000, 110_000_000)
    assert rendered(data, _HALF).size == (48, 48)


# --- metadata ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "GIF"])
def test_nothing_but_the_picture_is_in_a_rendition(name: str) -> None:
    made = render(BytesIO(awkward.from_a_phone()), {"it": Thumbnail(48, 48, format=name)})[1]["it"]
    assert [word for word in (b"SERIAL", b"PLACE", b"REMARK", b"Maker", b"Exif", b"private") if word in made.data] == []
    assert dict(opened(made.data).getexif()) == {}


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_metadata_that_is_kept_is_neither_orientation_nor_position_nor_serial_number(name: str) -> None:
    image = rendered(awkward.from_a_phone(), Thumbnail(48, 48, format=name, metadata=True))
    exif = image.getexif()
    kept = {tag: value for tag, value in exif.items() if tag != 0x8769}
    assert kept == {0x010F: "Maker", 0x0110: "Phone 1"}
    assert exif.get_ifd(0x8769) == {0x9003: "2024:05:06 07:08:09", 0x829A: 0.01}
    assert (image.size, near(image, QUARTERS)) == ((48, 32), True)


def test_a_page_that_hides_in_a_gif_is_gone() -> None:
    data = awkward.html_and_gif()
    assert b"<script>" in data
    made = render(BytesIO(data), {"it": _HALF})[1]["it"]
    assert (made.data[:6], b"<html>" in made.data, b"script" in made.data) == (b"GIF87a", False, False)
    assert near(opened(made.data).convert("RGB"), QUARTERS)


def stripped(data: bytes) -> tuple[Rendition, Image.Image]:
    rendition = strip(BytesIO(data))
    assert rendition is not None
    assert [word for word in (b"SERIAL", b"PLACE", b"REMARK", b"Maker", b"private") if word in rendition.data] == []
    image = opened(rendition.data)
    assert (image.size, dict(image.getexif())) == ((rendition.width, rendition.height), {})
    assert strip(BytesIO(rendition.data)) is None
    return rendition, image


def test_a_photograph_is_stripped_at_full_size_and_upright() -> None:
    rendition, image = stripped(awkward.from_a_phone(quality=91, icc_profile=awkward.wide_gamut()))
    assert (rendition.extension, image.size, image.info["icc_profile"]) == (".jpg", (96, 64), awkward.wide_gamut())
    assert near(image, QUARTERS)
    source: Any = opened(awkward.from_a_phone(quality=91))
    assert getattr(image, "quantization", None) == source.quantization


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_each_format_is_stripped(name: str, orientation: int) -> None:
    _, image = stripped(awkward.oriented(orientation, name, maker="Maker"))
    assert image.format == {"TIFF": "PNG"}.get(name, name)
    if (name, orientation) == ("WEBP", 6):  # it is displayed as it is stored
        image = image.transpose(Image.Transpose.ROTATE_270)
    assert (image.size, near(image, QUARTERS)) == ((96, 64), True)


def test_a_png_is_stripped_without_touching_its_pixels() -> None:
    note = Image.Exif()
    note[0x010F] = "Maker"
    plain = awkward.palette_with_transparency()
    end = plain.index(b"IEND") - 4
    text = awkward.chunk(b"tEXt", b"Comment\0REMARK")
    rendition, _ = stripped(plain[:33] + awkward.chunk(b"eXIf", note.tobytes()) + plain[33:end] + text + plain[end:])
    assert rendition.data == plain


def test_an_animated_webp_is_stripped_with_all_of_its_frames() -> None:
    note = Image.Exif()
    note[0x010F] = "Maker"
    _, image = stripped(awkward.animation("WEBP", exif=note))
    assert getattr(image, "n_frames", 1) == 3


def test_a_heic_is_stripped_into_a_jpeg() -> None:
    note = Image.Exif()
    note[0x010F] = "Maker"
    rendition, image = stripped(awkward.heic(exif=note.tobytes()))
    assert rendition.extension == ".jpg"
    assert near(image, QUARTERS)


@pytest.mark.parametrize("bare", [True, False])
def test_a_jpeg_2000_is_stripped_without_touching_its_pixels(bare: bool) -> None:
    """A codestream may extend to the end of the file, with bytes behind its own end."""

    def written(comment: bytes) -> bytes:
        return awkward.saved(awkward.quarters(), "JPEG2000", no_jp2=bare, comment=comment)

    data, clean = written(b"REMARK"), written(b"      ")
    if not bare:
        start = data.index(b"jp2c") - 4
        data = data[:start] + bytes(4) + data[start + 4 :]
    rendition, _ = stripped(data + b"behind the end")
    assert rendition.data == clean
    assert rendition.extension == ".jp2"


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
def test_there_may_be_nothing_to_strip(name: str) -> None:
    assert strip(BytesIO(awkward.saved(awkward.quarters(), name))) is None


# --- side by side -----------------------------------------------------------------------------------------------------


def in_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_images_are_rendered_by_several_threads_as_by_one() -> None:
    data = awkward.saved(Image.effect_noise((600, 400), 90), "PNG")
    expected = render(BytesIO(data), {"it": _HALF})
    found: list[Any] = []
    in_threads(8, lambda _: found.append(render(BytesIO(data), {"it": _HALF})))
    assert found == [expected] * 8


def test_no_more_is_decoded_at_a_time_than_the_budget_has_except_by_one_alone() -> None:
    budget, lock = Budget(10, largest=30), threading.Lock()
    holding: list[int] = []
    most: list[tuple[int, ...]] = []

    def work(number: int) -> None:
        for cost in (4, 5, 30, number + 1):
            with budget.reserve(cost):
                with lock:
                    holding.append(cost)
                    most.append(tuple(holding))
                with lock:
                    holding.remove(cost)

    in_threads(6, work)
    assert len(most) == 24
    assert [held for held in most if sum(each for each in held if each != 30) > 10 or held.count(30) > 1] == []
    assert budget.held == 0


def test_who_waits_goes_on_when_another_fails() -> None:
    budget, entered, passed = Budget(10), threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        with budget.reserve(8):
            passed.set()

    waiting = threading.Thread(target=wait)

    def fail() -> None:
        with budget.reserve(8):
            waiting.start()
            assert entered.wait(60)
            assert not passed.is_set()
            raise ImageRefused("broken")

    with pytest.raises(ImageRefused, match="broken"):
        fail()
    assert passed.wait(60)
    waiting.join(60)
    assert budget.held == 0


def test_a_broken_image_gives_its_part_of_the_budget_back() -> None:
    data = awkward.saved(Image.effect_noise((600, 400), 90), "PNG")[:5000]
    for _ in range(3):
        with pytest.raises(ImageRefused):
            render(BytesIO(data), {"it": _HALF})
    assert BUDGET.held == 0


def test_frames_of_a_gif_that_are_alike_may_last_long() -> None:
    data = awkward.saved(Image.new("P", (8, 8), 1), "GIF")
    begin = 13 + (3 << (data[10] & 7) + 1)
    frame = b"!\xf9\4\0\xff\xff\0\0" + data[begin:-1]
    info, made = render(BytesIO(data[:begin] + 3 * frame + b";"), {"it": Thumbnail(8, 8, animated=True)})
    assert (info.frames, opened(made["it"].data).size) == (3, (8, 8))
