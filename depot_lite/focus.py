"""Focus: the point around which images are cropped, from their metadata (`Crop` with ``focus=True``).

A point is in hundredths of the width and of the height, from the top left corner, so that an image has few of them. It
is the end of the fingerprint of a recipe for one image:

>>> fingerprint = with_point("0123456789ab", (25, 100))
>>> fingerprint, split_point(fingerprint), split_point("0123456789ab")
('0123456789ab-025100', ('0123456789ab', (25, 100)), ('0123456789ab', None))
"""

from __future__ import annotations

import re
from typing import Any, Final

#: The name of the point in the metadata.
FOCUS: Final = "focus"

#: Hundredths of the width and of the height.
Point = tuple[int, int]

#: The point of an image whose metadata has none.
CENTRE: Final[Point] = (50, 50)

#: A point at the end of a fingerprint, as a regular expression; each point is written in one way only.
DIGITS: Final = r"(?:0[0-9][0-9]|100){2}"

_WITH_POINT: Final = re.compile(rf"([^-]*)-({DIGITS})")


def point_in(meta: Any) -> Point | None:
    """Return the point in the metadata of an image; None if it is missing, or no point.

    >>> point_in({"focus": [0.25, 1]}), point_in({"focus": [25, 100]}), point_in({"focus": None})
    ((25, 100), None, None)
    """
    found = meta.get(FOCUS) if isinstance(meta, dict) else None
    if not isinstance(found, list | tuple) or len(found) != 2 or not all(map(_is_fraction, found)):
        return None
    x, y = found
    return round(100 * x), round(100 * y)


def _is_fraction(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= 1


def with_point(fingerprint: str, point: Point) -> str:
    """Return the fingerprint of a recipe for images with this point."""
    return f"{fingerprint}-{point[0]:03}{point[1]:03}"


def split_point(fingerprint: str) -> tuple[str, Point | None]:
    """Return the fingerprint of a recipe, and the point that was added to it; None if there is none."""
    found = _WITH_POINT.fullmatch(fingerprint)
    return (fingerprint, None) if found is None else (found[1], (int(found[2][:3]), int(found[2][3:])))


def is_moved(before: str, after: str) -> bool:
    """Return whether two fingerprints are those of one recipe for two points.

    >>> is_moved("0123456789ab-050050", "0123456789ab-025100"), is_moved("0123456789ab", "0123456789ab-050050")
    (True, False)
    """
    (recipe, former), (other, point) = split_point(before), split_point(after)
    return recipe == other and None not in (former, point) and former != point
