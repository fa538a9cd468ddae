"""Probing and verifying: what a header says, what is refused, and how little is read for it."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from depot_lite.errors import ConfigurationError, ImageRefused, StorageFailed
from depot_lite.images import FORMATS, MAX_PIXELS, ImageInfo, probe, render, strip, verify_image
from depot_lite.images.recipes import Crop, Thumbnail
from tests.images import awkward_images as awkward

_SAMPLES = {
    "JPEG": awkward.saved(awkward.quarters(), "JPEG"),
    "PNG": awkward.saved(awkward.quarters(), "PNG"),
    "GIF": awkward.animation("GIF"),
    "WEBP": awkward.animation("WEBP"),
    "AVIF": awkward.saved(awkward.quarters(), "AVIF"),
    "BMP": awkward.saved(awkward.quarters(), "BMP"),
    "TIFF": awkward.saved(awkward.quarters(), "TIFF", compression="tiff_lzw"),
    "HEIF": awkward.heic(),
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
    expected = ImageInfo(name, f"image/{name.lower()}", 96, 64, frames, False)
    assert probe(BytesIO(_SAMPLES[name])) == expected
    assert verify_image(BytesIO(_SAMPLES[name])) == expected


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
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
        "the file is not an image that can be read; JPEG, PNG, GIF, WEBP, AVIF, BMP, TIFF, HEIF are accepted"
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
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )

    def said(module: str) -> str:
        command = [sys.executable, "-c", program, module]
        return subprocess.run(command, input=_SAMPLES["HEIF"], capture_output=True, check=True).stdout.decode()

    assert said("PIL") == "ConfigurationError images need Pillow: pip install 'depot_lite[images]'\n"
    assert said("pillow_heif") == (
        "ImageRefused images of the type HEIC cannot be read: pip install 'depot_lite[heif]'\n"
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
