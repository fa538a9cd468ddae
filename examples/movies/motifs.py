"""Motifs of the films: shapes drawn over a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from PIL import ImageDraw

Draw = ImageDraw.ImageDraw
#: Draws on this, so wide and high, in the colour of things and in that of light, at a moment between 0 and 1.
Motif = Callable[[Draw, int, int, str, str, float], None]

#: Its multiples, without the whole part, are scattered evenly, and at every start in the same way.
_GOLDEN: Final = 0.618034


def _disc(draw: Draw, x: float, y: float, radius: float, fill: str | None, line: str | None = None) -> None:
    box = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(box, fill=fill, outline=line, width=max(2, int(radius / 40)))


def _sea(draw: Draw, width: int, height: int, thing: str, light: str, moment: float) -> None:
    _disc(draw, width * (0.2 + 0.6 * moment), height * 0.38, width * 0.13, light)
    for wave in range(6):
        base = height * (0.5 + 0.09 * wave)
        crest = [
            (x, base + height * 0.025 * math.sin(x / width * 9 + wave * 1.7 + moment * 6))
            for x in range(0, width + 8, 8)
        ]
        draw.polygon([*crest, (width, height), (0, height)], fill=thing if wave % 2 else "#25476a")


def _stars(draw: Draw, width: int, height: int, thing: str, light: str, moment: float) -> None:
    for star in range(140):
        x, y = (star * _GOLDEN + moment / 7) % 1 * width, star * _GOLDEN**2 * 1.7 % 1 * height
        _disc(draw, x, y, 1.5 + star % 4, "#ffffff")
    x, y, size = width * (0.3 + 0.4 * moment), height * (0.62 - 0.3 * moment), min(width, height) * 0.22
    draw.polygon([(x + size, y - size), (x - size, y + size / 4), (x - size / 5, y + size / 5)], fill=light)
    draw.polygon([(x + size, y - size), (x - size / 4, y + size), (x - size / 5, y + size / 5)], fill="#ffd6a5")
    draw.rectangle((0, height * 0.86, width, height), fill=thing)


def _arches(draw: Draw, width: int, height: int, thing: str, light: str, moment: float) -> None:
    _disc(draw, width * (0.85 - 0.6 * moment), height * 0.25, width * 0.1, light)
    for row in range(3):
        top, step = height * (0.42 + 0.19 * row), width / (3 + row)
        draw.rectangle((0, top, width, top + height * 0.06), fill=thing)
        for pier in range(5 + row):
            x = (pier - moment - row / 3) * step
            draw.rectangle((x, top, x + step * 0.16, height), fill=thing)
            draw.arc((x, top + height * 0.03, x + step * 1.1, top + height * 0.3), 180, 360, fill=thing, width=16)


def _peaks(draw: Draw, width: int, height: int, thing: str, light: str, moment: float) -> None:
    shades = ("#90e0ef", "#0096c7", thing)
    for row, shade in enumerate(shades):
        for peak in range(5):
            x = ((peak + 0.4 * row) / 4 - 0.3 * moment * (row + 1) / 3) * width
            top, foot = height * (0.2 + 0.17 * row + 0.1 * math.sin(peak * 2.4 + row)), width * 0.24
            draw.polygon([(x, top), (x - foot, height), (x + foot, height)], fill=shade)
            snow, slope = height * 0.09, foot / (height - top)
            left, right = (x - snow * slope, top + snow), (x + snow * slope * 1.6, top + snow * 1.6)
            draw.polygon([(x, top), left, (x, top + snow * 0.7), right], fill=light)


def _rings(draw: Draw, width: int, height: int, thing: str, light: str, moment: float) -> None:
    for horn in range(7):
        x, y = (horn * _GOLDEN + moment / 3) % 1 * width, (0.2 + horn * _GOLDEN**2 % 0.6) * height
        for ring in range(5, 0, -1):
            _disc(draw, x, y, min(width, height) * 0.05 * ring, thing if ring % 2 else light, "#283618")


def _contours(draw: Draw, width: int, height: int, thing: str, light: str, moment: float) -> None:
    for level in range(26, 0, -1):
        line = []
        x, y = width * (0.35 + 0.3 * moment), height * 0.42
        for step in range(121):
            angle = step * math.tau / 120
            reach = level * max(width, height) * 0.032 * (1 + 0.22 * math.sin(3 * angle + moment * 5 + level / 6))
            line.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
        draw.line(line, fill=light if level % 5 == 0 else thing, width=6 if level % 5 == 0 else 3)


def _planet(draw: Draw, width: int, height: int, thing: str, light: str, moment: float) -> None:
    for star in range(90):
        _disc(draw, star * _GOLDEN % 1 * width, star * _GOLDEN**2 * 1.3 % 1 * height, 1 + star % 3, "#ffffff")
    x, y, radius = width * (0.65 - 0.3 * moment), height * 0.4, min(width, height) * 0.26
    _disc(draw, x, y, radius, thing)
    _disc(draw, x - radius * 0.25, y - radius * 0.25, radius * 0.6, "#e85d04")
    for ring in range(4):
        wide = radius * (1.5 + 0.14 * ring)
        draw.arc((x - wide, y - wide * 0.3, x + wide, y + wide * 0.3), -25, 205, fill=light, width=10 - 2 * ring)


MOTIFS: Final[dict[str, Motif]] = {
    "sea": _sea,
    "stars": _stars,
    "arches": _arches,
    "peaks": _peaks,
    "rings": _rings,
    "contours": _contours,
    "planet": _planet,
}
