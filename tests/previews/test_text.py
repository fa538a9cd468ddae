"""Previews of texts: their encodings, and how little of a long one is read."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from depot_lite import previews
from depot_lite.previews import pool
from depot_lite.previews.text import first_lines, lines_of


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_the_encoding_is_that_of_the_mark_or_utf_8(encoding: str) -> None:
    assert lines_of("Größe\r\n\r\n\tµ".encode(encoding)) == ["Größe", "", "        µ"]


def test_what_is_no_text_is_replaced_or_left_out() -> None:
    assert lines_of(b"a\xffb\x00c\x1b[31m") == ["a\ufffdbc[31m"]
    assert lines_of("a\u202egpj.exe".encode()) == ["agpj.exe"]
    assert lines_of(b"") == [""]


def test_a_long_line_is_wrapped_and_a_long_text_cut() -> None:
    assert [len(each) for each in lines_of(b"x" * 100)] == [75, 25]
    assert len(lines_of(b"\n" * 5000)) == len(lines_of(b"x" * 65_536)) == 48


def test_a_text_is_dark_on_white() -> None:
    page = first_lines(BytesIO(b"Dear Sir,\n"))
    box = Image.eval(page.convert("L"), lambda value: 255 - value).getbbox()
    assert box is not None
    assert page.getpixel((0, 0)) == (255, 255, 255)
    assert 40 < box[0] < box[2] < 300
    assert 40 < box[1] < box[3] < 90


class Endless(BytesIO):
    """A gigabyte of one line, which counts what is read."""

    count = at = 0

    def seek(self, position: int, whence: int = 0, /) -> int:
        self.at = position + (1_000_000_000 if whence == 2 else 0)
        return self.at

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.count += size
        return b"x" * size


def test_of_a_gigabyte_only_the_beginning_is_read() -> None:
    file = Endless()
    try:
        made = previews.preview(file, "text/plain")
    finally:
        pool.close_pool()
    assert (made.width, made.height, made.content_type) == (1000, 1300, "image/bmp")
    assert 0 < file.count <= pool.MAX_PART
