"""Probing and verifying: the facts of a header, the refusals, and how little is read for them."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, features

from depot_lite import images
from depot_lite.errors import ConfigurationError, ImageRefused, StorageFailed
from depot_lite.images import FORMATS, MAX_PIXELS, ImageInfo
from depot_lite.images.budget import BUDGET
from depot_lite.images.formats.measures import picture_memory
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.images.source import open_source
from tests.images import attacks
from tests.images import awkward_images as awkward

probe = partial(images.probe, formats=FORMATS)
verify_image = partial(images.verify_image, formats=FORMATS)
render = partial(images.render, formats=FORMATS)
strip = partial(images.strip, formats=FORMATS)

_SAMPLES = {
    "JPEG": awkward.saved(awkward.quarters(), "JPEG"),
    "PNG": awkward.saved(awkward.quarters(), "PNG"),
    "GIF": awkward.animation("GIF"),
    "WEBP": awkward.animation("WEBP"),
    "AVIF": awkward.saved(awkward.quarters(), "AVIF"),
    "BMP": awkward.saved(awkward.quarters(), "BMP"),
    "TIFF": awkward.saved(awkward.quarters(), "TIFF", compression="tiff_lzw"),
    "HEIF": awkward.heic(),
    "ICO": awkward.saved(awkward.quarters(), "ICO", sizes=[(96, 64), (16, 16)]),
    "JPEG2000": awkward.saved(awkward.quarters(), "JPEG2000"),
}


class _Counting(BytesIO):
    """A file that knows how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def refused(data: bytes, **options: Any) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        probe(BytesIO(data), **options)
    return caught.value


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_recognised_by_its_bytes(name: str) -> None:
    frames = 3 if name in ("GIF", "WEBP") else 1
    content_type = {"ICO": "image/vnd.microsoft.icon", "JPEG2000": "image/jp2"}.get(name, f"image/{name.lower()}")
    expected = ImageInfo(name, content_type, 96, 64, frames, False)
    assert probe(BytesIO(_SAMPLES[name])) == expected
    assert verify_image(BytesIO(_SAMPLES[name])) == expected


@pytest.mark.parametrize("name", ["JPEG", "PNG", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_which_is_displayed(name: str, orientation: int) -> None:
    info = probe(BytesIO(awkward.oriented(orientation, name)))
    assert (info.width, info.height) == (96, 64)


@pytest.mark.parametrize(
    ("data", "has_alpha"),
    [
        (awkward.palette_with_transparency(), True),
        (awkward.saved(awkward.quarters().convert("LA"), "PNG"), True),
        (awkward.saved(awkward.quarters(), "PNG", transparency=awkward.RED), True),
        (awkward.saved(awkward.quarters(), "GIF"), False),
        (awkward.saved(awkward.quarters().convert("1"), "PNG"), False),
    ],
)
def test_transparency_is_known_before_decoding(data: bytes, has_alpha: bool) -> None:
    assert probe(BytesIO(data)).has_alpha is has_alpha


def test_the_name_and_the_place_of_the_file_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(_SAMPLES["JPEG"])
    with path.open("rb") as file:
        file.seek(100)
        assert probe(file).format == "JPEG"
        assert not file.closed


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_left_open_and_whole_whatever_is_done_with_it(name: str, tmp_path: Path) -> None:
    """Given a real file, libtiff reads through its descriptor, which would leave Python's buffer behind."""
    path = tmp_path / "image"
    path.write_bytes(_SAMPLES[name])
    with path.open("rb") as file:
        for work in (probe, verify_image, strip, lambda file: render(file, {"small": Thumbnail(9, 9)})):
            work(file)
            file.seek(0)
            assert file.read() == _SAMPLES[name]


def test_what_is_no_image_is_refused_by_its_format() -> None:
    error = refused(b"<html>")
    assert (error.rule, error.value, error.limit) == ("format", None, FORMATS)
    assert error.message == (
        "the file is not an image that can be read; "
        "JPEG, PNG, GIF, WEBP, AVIF, BMP, TIFF, HEIF, ICO, JPEG2000 are accepted"
    )
    assert refused(b"").rule == "format"


def test_a_format_that_is_not_allowed_is_not_opened() -> None:
    error = refused(_SAMPLES["GIF"], formats=["jpg", "png"])
    assert error.message == "the file is an image of the type GIF; JPEG, PNG are accepted"
    assert (error.rule, error.value, error.limit) == ("format", "GIF", ("JPEG", "PNG"))


def test_a_format_that_is_none_is_an_error_of_configuration() -> None:
    with pytest.raises(ConfigurationError, match=r"formats: expected some of JPEG, PNG, .*, got EPS"):
        probe(BytesIO(_SAMPLES["PNG"]), formats=["PNG", "EPS"])


@pytest.mark.parametrize(
    ("data", "width"), [(awkward.bomb_png(), 50_000), (awkward.bomb_webp(), 16_383), (awkward.bomb_gif(), 65_535)]
)
def test_a_bomb_is_refused_by_its_header(data: bytes, width: int) -> None:
    """None of these warns either: warnings are errors here."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for work in (probe, verify_image, strip, lambda file: render(file, {"small": Thumbnail(9, 9)})):
        file = _Counting(data)
        with pytest.raises(ImageRefused) as caught:
            work(file)
        assert file.taken < 1000
        assert (caught.value.rule, caught.value.limit) == ("max_pixels", MAX_PIXELS)
        assert caught.value.value == width * width
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000  # KiB; decoded, it would be millions


def test_the_limit_is_the_last_number_that_is_allowed() -> None:
    assert probe(BytesIO(_SAMPLES["PNG"]), max_pixels=96 * 64).width == 96
    error = refused(_SAMPLES["PNG"], max_pixels=96 * 64 - 1)
    assert error.message == "the image has 96 x 64 pixels, more than 6,143 in all"
    assert (error.rule, error.limit, error.value) == ("max_pixels", 6143, 6144)


def test_without_a_limit_a_header_of_any_size_is_read_without_a_warning() -> None:
    assert probe(BytesIO(awkward.bomb_png()), max_pixels=None).width == 50_000


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("size", [1, *(pytest.param(size, marks=pytest.mark.matrix) for size in (2, 20))])
def test_a_jpeg_that_lacks_only_its_end_is_taken_unless_that_is_refused(size: int, options: Any) -> None:
    """At any scale: for a small rendition it is reduced while it is decoded."""
    data = awkward.saved(Image.effect_noise((400, 300), 60).convert("RGB"), "JPEG", **options)[:-size]
    assert verify_image(BytesIO(data)).width == 400
    for recipe in (Thumbnail(400, 300), Thumbnail(90, 90)):
        made = render(BytesIO(data), {"it": recipe})[1]["it"]
        assert awkward.opened(made.data).width == recipe.width
    for work in (
        partial(verify_image, truncated="refuse"),
        partial(render, recipes={"it": recipe}, truncated="refuse"),
    ):
        with pytest.raises(ImageRefused, match="broken or truncated"):
            work(BytesIO(data))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_whose_last_rows_are_black_lacks_only_its_end(mode: str) -> None:
    image = Image.new("RGB", (400, 400))
    image.paste(Image.effect_noise((400, 300), 60).convert("RGB"))
    data = awkward.saved(image.convert(mode), "JPEG")
    assert verify_image(BytesIO(data[:-2])).width == 400
    with pytest.raises(ImageRefused, match="broken or truncated"):
        verify_image(BytesIO(data[: len(data) // 2]))


def test_a_progressive_jpeg_without_its_last_scan_is_truncated() -> None:
    data = awkward.saved(Image.effect_noise((400, 300), 60).convert("RGB"), "JPEG", progressive=True)
    with pytest.raises(ImageRefused, match="broken or truncated"):
        verify_image(BytesIO(data[: data.rindex(b"\xff\xda")]))


def test_whether_ends_may_be_missing_is_said_in_one_of_two_words() -> None:
    with pytest.raises(ConfigurationError, match="expected 'allow' or 'refuse', got 'maybe'"):
        verify_image(BytesIO(_SAMPLES["JPEG"]), truncated="maybe")


def test_a_raw_photograph_is_refused_instead_of_its_preview() -> None:
    """A DNG is a TIFF whose first page is small."""
    preview = awkward.saved(awkward.quarters(), "TIFF", tiffinfo={254: 1})
    assert "begins with a preview" in refused(preview).message


def test_a_picture_that_is_no_frame_of_an_animation_is_not_shown() -> None:
    frames = [awkward.quarters(), awkward.quarters().transpose(Image.Transpose.ROTATE_180)]
    hidden = Image.new("RGB", (96, 64))
    data = awkward.saved(hidden, "PNG", save_all=True, default_image=True, append_images=frames)
    assert probe(BytesIO(data)).frames == 2
    still, moving = (
        awkward.opened(render(BytesIO(data), {"it": Thumbnail(96, 64, animated=animated)})[1]["it"].data)
        for animated in (False, True)
    )
    assert awkward.near(still.convert("RGB"), awkward.QUARTERS)
    assert getattr(moving, "n_frames", 1) == 2


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("part", [0.4, 0.9])
def test_a_truncated_image_is_refused(name: str, part: float) -> None:
    image = awkward.quarters(640, 480)
    data = (
        awkward.heic()
        if name == "HEIF"
        else awkward.saved(image, name, **({"compression": "tiff_lzw"} if name == "TIFF" else {}))
    )
    cut = data[: int(len(data) * part)]
    for work in (verify_image, lambda file: render(file, {"small": Thumbnail(9, 9)})):
        with pytest.raises(ImageRefused) as caught:
            work(BytesIO(cut))
        assert (caught.value.rule, caught.value.message) == ("decodable", "the image is broken or truncated")


@pytest.mark.parametrize("failure", [StorageFailed("gone"), OSError(errno.EIO, "disk"), ConnectionResetError("gone")])
def test_a_file_that_cannot_be_read_is_not_called_a_broken_image(failure: OSError) -> None:
    class Failing(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 500:
                raise failure
            return super().read(size)

    with pytest.raises(type(failure)) as caught:
        verify_image(Failing(awkward.saved(Image.effect_noise((99, 99), 90), "PNG")))
    assert caught.value is failure


@pytest.mark.matrix
def test_pillow_is_left_as_it_was() -> None:
    program = (
        "import io, sys\n"
        "from PIL import Image, ImageFile\n"
        "Image.init()\n"
        "def state():\n"
        "    limits = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES\n"
        "    return sorted(Image.OPEN), sorted(Image.SAVE), limits\n"
        "before = state()\n"
        "from depot_lite.images import verify_image\n"
        "verify_image(io.BytesIO(sys.stdin.buffer.read()))\n"
        "assert state() == before\n"
    )
    subprocess.run([sys.executable, "-c", program], input=_SAMPLES["HEIF"], check=True)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.matrix
def test_a_missing_library_is_named_with_its_extra() -> None:
    """None in `sys.modules` is how Python says that a module cannot be imported."""
    program = (
        "import io, sys\n"
        "sys.modules[sys.argv[1]] = None\n"
        "from depot_lite.images import probe\n"
        "try:\n    probe(io.BytesIO(sys.stdin.buffer.read()))\n"
        "except Exception as error:\n    print(type(error).__name__, error, *getattr(error, '__notes__', []))\n"
    )

    def said(module: str) -> str:
        command = [sys.executable, "-c", program, module]
        return subprocess.run(command, input=_SAMPLES["HEIF"], capture_output=True, check=True).stdout.decode()

    assert said("PIL") == "ConfigurationError images need Pillow: pip install 'depot_lite[images]'\n"
    assert said("pillow_heif") == (
        "ImageRefused images of the type HEIC cannot be read here pip install 'depot_lite[heif]'\n"
    )


@pytest.mark.matrix
@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_whatever_is_broken_is_refused_or_rendered(name: str, data: st.DataObject) -> None:
    sample = bytearray(_SAMPLES[name])
    for _ in range(data.draw(st.integers(0, 6))):
        # The header more often than not: there is where most decoders can be led astray.
        end = data.draw(st.sampled_from([64, 256, len(sample)]))
        sample[data.draw(st.integers(0, min(end, len(sample)) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(sample[: data.draw(st.sampled_from([len(sample)] * 3 + [len(sample) // 2, len(sample) - 9, 30]))])
    recipes = {"thumbnail": Thumbnail(20, 20, animated=True, metadata=True), "crop": Crop(9, 9, format="JPEG")}
    for work in (lambda file, **limits: render(file, recipes, **limits), strip, verify_image):
        assert _rule(work, cut) in (None, "format", "max_pixels", "decodable")


def _rule(work: Callable[..., object], data: bytes) -> str | None:
    """Return by which rule an image is refused; anything else that is raised fails the test."""
    try:
        work(BytesIO(data), max_pixels=1_000_000)
    except ImageRefused as error:
        return error.rule
    return None


def test_libraries_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that has them."""
    heif = BytesIO(awkward.heic())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageRefused, match=r"pip install 'depot_lite\[heif\]'"):
        probe(heif)


def test_a_pillow_without_openjpeg_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "jpg_2000")
    with pytest.raises(ConfigurationError, match="JPEG2000 need a Pillow that was built with OpenJPEG"):
        probe(BytesIO(_SAMPLES["JPEG2000"]))
    assert probe(BytesIO(_SAMPLES["ICO"])).format == "ICO"


def test_formats_have_other_names() -> None:
    for other, name in (("jpg", "JPEG"), ("Tif", "TIFF"), ("heic", "HEIF"), ("jp2", "JPEG2000")):
        assert images.probe(BytesIO(_SAMPLES[name]), formats=[other]).format == name


@pytest.mark.parametrize("kind", ["png", "bmp"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_the_largest_picture_of_an_ico_is_read(kind: str, mode: str) -> None:
    """Whichever stands first, and whatever the directory says of it."""
    image = awkward.quarters().quantize(4) if mode == "P" else awkward.quarters().convert(mode)
    large, small = (
        awkward.saved(each, "ICO", sizes=[each.size], bitmap_format=kind) for each in (image, Image.new("L", (16, 16)))
    )
    data = attacks.ico(small[22:], large[22:], small[22:])
    info, made = render(BytesIO(data), {"a": Thumbnail(48, 48, format="PNG")})
    assert (info.width, info.height) == (96, 64)
    assert awkward.near(awkward.opened(made["a"].data).convert("RGB"), awkward.QUARTERS)


@pytest.mark.parametrize(
    "options",
    [
        {"no_jp2": True},
        {"tile_size": (32, 32), "quality_layers": [20, 10, 1], "plt": True, "comment": "Hello"},
        {"irreversible": True, "progression": "RPCL", "precinct_size": (64, 64)},
        {"offset": (100, 100), "tile_offset": (50, 50), "tile_size": (77, 77)},
        {"num_resolutions": 1, "codeblock_size": (4, 4)},
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_kind_of_jpeg_2000_that_pillow_writes_is_read(mode: str, options: dict[str, Any]) -> None:
    data = awkward.saved(awkward.quarters().convert(mode), "JPEG2000", **options)
    info, made = render(BytesIO(data), {"a": Thumbnail(48, 48, format="PNG")})
    assert (info.width, info.height, info.has_alpha) == (96, 64, mode == "RGBA")
    assert awkward.near(awkward.opened(made["a"].data).convert("RGB"), awkward.QUARTERS, 20)


def test_the_colour_profile_of_a_jpeg_2000_is_applied() -> None:
    """Pillow neither reads nor writes it."""
    plain, profile = _SAMPLES["JPEG2000"], awkward.wide_gamut()
    start = plain.index(b"colr") - 4
    end = start + int.from_bytes(plain[start : start + 4], "big")
    colours = attacks.box(b"colr", b"\2\0\0" + profile)
    header = plain.index(b"jp2h") - 4
    size = int.from_bytes(plain[header : header + 4], "big") + len(colours) - (end - start)
    data = plain[:header] + size.to_bytes(4, "big") + plain[header + 4 : start] + colours + plain[end:]
    recipe = {"a": Thumbnail(96, 64, format="PNG")}
    expected, made, without = (
        awkward.four(awkward.opened(render(BytesIO(each), recipe)[1]["a"].data))
        for each in (awkward.saved(awkward.quarters(), "PNG", icc_profile=profile), data, plain)
    )
    assert made == expected != without


def test_a_jpeg_2000_of_16_bits_is_scaled_to_eight() -> None:
    image = awkward.opened(awkward.grey16())
    made = render(BytesIO(awkward.saved(image, "JPEG2000")), {"a": Thumbnail(96, 64, format="PNG")})[1]["a"]
    assert awkward.four(awkward.opened(made.data)) == [0, 64, 128, 255]


def test_a_decoder_that_stops_all_threads_is_limited_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BUDGET, "longest", 0.001)
    error = refused(_SAMPLES["JPEG2000"])
    assert (error.rule, error.limit) == ("time", 0.001)
    assert probe(BytesIO(_SAMPLES["PNG"])).width == 96


def test_the_cost_of_a_picture_is_known_before_it_is_decoded() -> None:
    """A progressive JPEG needs more than its pixels, since all its coefficients are kept."""

    def cost(**options: Any) -> int:
        out = BytesIO()
        Image.new("RGB", (100, 80)).save(out, "JPEG", **options)
        return open_source(BytesIO(out.getvalue()), FORMATS, None).cost()

    assert cost() == picture_memory(100, 80)
    # 13 x 10 blocks of luminance and twice 7 x 5 of colour, with 64 coefficients of two bytes each.
    assert cost(progressive=True) == picture_memory(100, 80) + 200 * 128
