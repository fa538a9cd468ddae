"""The first lines of a text."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from PIL import Image, ImageFont

#: The bytes that are read.
_READ: Final = 65_536
_WIDTH, _HEIGHT, _MARGIN = 1000, 1300, 50
_FONT, _LINE = 20, 25
_COLUMNS: Final = 75

_ENCODINGS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def first_lines(file: BinaryIO) -> Image.Image:
    """Return a page with the first lines, in black on white. Long lines are wrapped."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), _font()
    for number, line in enumerate(lines_of(file.read(_READ))):
        draw.text((_MARGIN, _MARGIN + number * _LINE), line, fill="#222222", font=font)
    return picture


def lines_of(data: bytes) -> list[str]:
    r"""Return the lines that fit on a page, from the beginning of a file. Its encoding is that of its mark, or UTF-8.

    >>> lines_of("caf\xe9\n\tau lait".encode("utf-16")), len(lines_of(b"x" * 10_000))
    (['café', '        au lait'], 48)
    """
    mark, encoding = next((each for each in _ENCODINGS if data.startswith(each[0])), (b"", "utf-8"))
    text = codecs.getincrementaldecoder(encoding)("replace").decode(data[len(mark) :])
    lines: list[str] = []
    most = (_HEIGHT - 2 * _MARGIN) // _LINE
    for each in re.split("\r\n|\r|\n", text):
        line = _CONTROLS.sub("", each[: most * _COLUMNS].expandtabs(8)).rstrip()
        lines += [line[start : start + _COLUMNS] for start in range(0, len(line), _COLUMNS)] or [""]
        if len(lines) >= most:
            break
    return lines[:most]


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    for name in ("DejaVuSansMono.ttf", "LiberationMono-Regular.ttf", "NotoSansMono-Regular.ttf"):
        try:
            return ImageFont.truetype(name, _FONT)
        except OSError:
            continue
    return ImageFont.load_default(_FONT)
