"""The sizes that streams of AV1 and HEVC declare, in streams that are written bit by bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from depot_lite.errors import ImageRefused
from depot_lite.images.formats.coded import av1_extent, hevc_extent
from depot_lite.images.formats.measures import Steps

SEQUENCE, FRAME = 1, 6


def steps(limit: int = 100) -> Steps:
    return Steps(limit, 1000)


def bits(*fields: tuple[int, int] | str) -> bytes:
    """Return the bytes of fields: a number and its width, or the bits themselves."""
    text = "".join(each if isinstance(each, str) else f"{each[0]:0{each[1]}b}" for each in fields)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def golomb(number: int) -> str:
    return f"{number + 1:b}".zfill(2 * (number + 1).bit_length() - 1)


def size(width: int, height: int) -> list[tuple[int, int]]:
    """Return the end of AV1's header: the widths of two fields, and the fields."""
    return [(15, 4), (15, 4), (width - 1, 16), (height - 1, 16)]


def obu(kind: int, payload: bytes, *, extended: bool = False, sized: bool = True) -> bytes:
    length = bytes([len(payload) & 0x7F | 0x80, len(payload) >> 7]) if sized else b""
    return bytes([kind << 3 | extended << 2 | sized << 1]) + b"\0" * extended + length + payload


STILL = bits((0, 4), "1", (0, 5), *size(640, 480))


def video(timing: str, *, display_delay: bool) -> bytes:
    """Return the header of a video with two operating points, the second of a high level."""
    model = {"none": "0", "picture": "1" + "0" * 64 + "1" + golomb(5) + "0", "model": "1" + "0" * 64 + "01"}[timing]
    delay = [(9, 5), (0, 42)] if timing == "model" else []
    points: list[tuple[int, int] | str] = []
    for level, has_more in (("00100", "1"), ("01001" + "0", "0")):
        points += [(0, 12), level]
        points += ([has_more] + ["0" * 21] * int(has_more)) if timing == "model" else []
        points += ([has_more] + ["0" * 4] * int(has_more)) if display_delay else []
    return bits((0, 4), "0", model, *delay, str(int(display_delay)), (1, 5), *points, *size(1920, 1080))


@pytest.mark.parametrize(("extended", "sized"), [(False, False), (False, True), (True, False), (True, True)])
def test_the_size_of_a_still_picture_of_av1(extended: bool, sized: bool) -> None:
    """The last part may have no length: it ends with the data."""
    data = obu(FRAME, b"x" * 300) + obu(SEQUENCE, STILL, extended=extended, sized=sized)
    assert av1_extent(data, steps(), 1) == (640, 480, 1)


@pytest.mark.parametrize("display_delay", [False, True])
@pytest.mark.parametrize("timing", ["none", "picture", "model"])
def test_the_size_of_a_video_of_av1(timing: str, display_delay: bool) -> None:
    """Optional fields stand before it."""
    assert av1_extent(obu(SEQUENCE, video(timing, display_delay=display_delay)), steps(), 1) == (1920, 1080, 0)


def test_the_largest_header_of_av1_counts() -> None:
    data = obu(SEQUENCE, STILL) + obu(SEQUENCE, bits((0, 4), "1", (0, 5), *size(20, 4000)))
    assert av1_extent(data, steps(), 1) == (640, 4000, 0)


@pytest.mark.parametrize(
    "data", [obu(SEQUENCE, STILL[:4]), obu(SEQUENCE, b""), bytes([SEQUENCE << 3 | 2]), obu(FRAME, b"") * 3]
)
def test_a_broken_or_too_long_stream_of_av1_is_refused(data: bytes) -> None:
    with pytest.raises(ImageRefused, match=r"broken or truncated|too many frames"):
        av1_extent(data, steps(), 2)


def test_a_length_of_av1_ends_after_eight_bytes() -> None:
    """A longer one is none: it is no reason to read on."""
    assert av1_extent(bytes([FRAME << 3 | 2]) + b"\xff" * 9, steps(), 1) == (0, 0, 1)


def test_tiny_parts_without_end_are_refused() -> None:
    with pytest.raises(ImageRefused, match="too many parts"):
        av1_extent(b"\x12\0" * 11, steps(10), 1)
    with pytest.raises(ImageRefused, match="too many parts"):
        hevc_extent(iter([b""] * 11), steps(10), 1)


def parameters(width: int, height: int, *, layers: int = 0, chroma: int = 1) -> bytes:
    """Return a sequence parameter set of HEVC, whose last layers have a profile, a level or both."""
    flags = ["10", "01", "11"][:layers]
    more = "".join("0" * (88 * int(each[0]) + 8 * int(each[1])) for each in flags)
    gap = "0" * (2 * (8 - layers)) if layers else ""
    plane = "0" if chroma == 3 else ""
    # A one before the flags: so many zeros would need the bytes that keep a start code from appearing.
    size = golomb(0) + golomb(chroma) + plane + golomb(width) + golomb(height)
    return bytes([33 << 1, 1]) + bits((0, 4), (layers, 3), "1" * 97, *flags, gap, more, size)


def units(*data: bytes) -> Iterator[bytes]:
    return iter(data)


@pytest.mark.parametrize(("layers", "chroma"), [(0, 1), (0, 3), (1, 1), (2, 1), (3, 3)])
def test_the_size_of_a_picture_of_hevc(layers: int, chroma: int) -> None:
    escaped = parameters(640, 480, layers=layers, chroma=chroma)
    assert hevc_extent(units(b"", escaped, parameters(20, 4000)), steps(), 1) == (640, 4000)


def test_bytes_that_only_keep_a_start_code_away_are_no_bits_of_hevc() -> None:
    """Two zeros are followed by a three, which is left out."""
    plain = parameters(640, 480, layers=1)
    position = plain.index(b"\0\0")
    assert hevc_extent(units(plain[: position + 2] + b"\3" + plain[position + 2 :]), steps(), 1) == (640, 480)


def test_each_first_slice_of_hevc_is_a_picture() -> None:
    """Other slices are parts of the same one, and a unit that is cut off is none."""
    first, other, cut = b"\0\1\x80", b"\0\1\0", b"\0\1"
    assert hevc_extent(units(first, other, other, cut), steps(), 1) == (0, 0)
    with pytest.raises(ImageRefused, match="too many frames"):
        hevc_extent(units(first, other, first), steps(), 1)


@pytest.mark.parametrize("data", [b"\x42\1", b"\x42\1\0\0", parameters(640, 480)[:15] + b"\0" * 6])
def test_a_broken_parameter_set_of_hevc_is_refused(data: bytes) -> None:
    """Also one with a number of more than 32 bits."""
    with pytest.raises(ImageRefused, match="broken or truncated"):
        hevc_extent(units(data), steps(), 1)
