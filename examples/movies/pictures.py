"""Posters and screenshots, drawn by Pillow; the same film gives the same bytes."""

from __future__ import annotations

import io
import textwrap
from typing import Final

from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

from movies.films import Film
from movies.motifs import MOTIFS, Draw

#: Pictures are drawn at this scale and reduced for smooth edges.
_SCALE: Final = 2


def poster(film: Film) -> bytes:
    """Return the poster of a film, a JPEG."""
    image = _scene(film, 480, 720, 0.3)
    draw = ImageDraw.Draw(image)
    lines = textwrap.wrap(film.title.upper(), 14)
    for number, line in enumerate(lines):
        _write(draw, line, 36, 560 + 44 * (number - len(lines) + 2), 40)
    _write(draw, f"A FILM OF {film.year}", 36, 664, 18)
    return _jpeg(image)


def screenshot(film: Film, moment: float) -> bytes:
    """Return a frame of a film, at a moment between 0 and 1, as a JPEG."""
    image = _scene(film, 640, 360, moment)
    _write(ImageDraw.Draw(image), f"00:{int(moment * 59):02}:{int(moment * 977) % 60:02}", 16, 330, 16)
    return _jpeg(image)


def _scene(film: Film, width: int, height: int, moment: float) -> Image.Image:
    above, below, thing, light = film.colours
    size = width * _SCALE, height * _SCALE
    gradient = Image.linear_gradient("L").resize(size)
    image = ImageOps.colorize(gradient, ImageColor.getrgb(above), ImageColor.getrgb(below))
    MOTIFS[film.motif](ImageDraw.Draw(image), *size, thing, light, moment)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _write(draw: Draw, text: str, left: int, top: int, size: int) -> None:
    font = ImageFont.load_default(size)
    draw.text((left + 2, top + 2), text, font=font, fill="#000000")
    draw.text((left, top), text, font=font, fill="#ffffff")


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()
