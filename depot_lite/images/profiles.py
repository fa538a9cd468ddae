"""Colour profiles made from numbers: what PNG says about its colours without a profile (ICC.1:2022)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

Point = tuple[float, float]

#: Primaries and white points by the numbers of ITU-T H.273, table 2: red, green, blue and white, as x and y.
_D65: Final = (0.3127, 0.329)
PRIMARIES: Final[dict[int, tuple[Point, Point, Point, Point]]] = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}

#: A curve as the parameters of ICC's parametricCurveType: the exponent alone, or with a, b, c and d of its function 3.
Curve = Sequence[float]

_SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_SMPTE_240M: Final = (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0912)

#: Curves by the numbers of ITU-T H.273, table 3. Those of HDR (16 and 18) have no equivalent here.
CURVES: Final[dict[int, Curve]] = {
    **dict.fromkeys((1, 6, 14, 15), (2.4,)),  # as displays do (ITU-R BT.1886)
    4: (2.2,),
    5: (2.8,),
    7: _SMPTE_240M,
    8: (1.0,),
    13: _SRGB_CURVE,
}

#: The curves that stand for that of sRGB where pictures name them, among them "not specified".
_LIKE_SRGB: Final = {1, 2, 6, 13, 14, 15}

#: The white of all profiles, D50, as X, Y and Z.
_D50: Final = (0.9642, 1.0, 0.8249)
#: Bradford's cone responses.
_BRADFORD: Final = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))

Vector = Sequence[float]
Matrix = Sequence[Vector]


def profile(primaries: tuple[Point, Point, Point, Point] | None, curve: Curve) -> bytes:
    """Return the profile of a display with these primaries, its white and its curve; without primaries, of greys.

    Raises:
        ZeroDivisionError: the points make no colours.
    """
    tags = {b"wtpt": _xyz(_D50)}
    if primaries is None:
        tags[b"kTRC"] = _parametric(curve)
    else:
        for name, column in zip((b"r", b"g", b"b"), _columns(*primaries), strict=True):
            tags[name + b"XYZ"], tags[name + b"TRC"] = _xyz(column), _parametric(curve)
    offset, table, data = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(content))
        data += content
    space = b"GRAY" if primaries is None else b"RGB "
    head = struct.pack(">I4xI", offset + len(data), 0x04300000) + b"mntr" + space + b"XYZ "
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def profile_of_picture(primaries: int, curve: int) -> bytes | None:
    """Return the profile of an AVIF or HEIC by the numbers of its box ``colr``; None if it counts as sRGB."""
    if curve not in CURVES and curve not in _LIKE_SRGB:
        return None
    if curve in _LIKE_SRGB:
        return profile(PRIMARIES[primaries], _SRGB_CURVE) if primaries in PRIMARIES and primaries != 1 else None
    return profile(PRIMARIES.get(primaries, PRIMARIES[1]), CURVES[curve])


def _columns(red: Point, green: Point, blue: Point, white: Point) -> Matrix:
    """Return X, Y and Z of each primary, adapted to D50."""
    points = [_of_point(each) for each in (red, green, blue)]
    scales = _product(_inverse(_transposed(points)), _of_point(white))
    columns = [[scale * part for part in point] for scale, point in zip(scales, points, strict=True)]
    seen, wanted = _product(_BRADFORD, _of_point(white)), _product(_BRADFORD, _D50)
    scaled = [[to / of * part for part in row] for of, to, row in zip(seen, wanted, _BRADFORD, strict=True)]
    adaptation = _transposed([_product(_inverse(_BRADFORD), column) for column in _transposed(scaled)])
    return [_product(adaptation, column) for column in columns]


def _of_point(point: Point) -> Vector:
    x, y = point
    return x / y, 1.0, (1 - x - y) / y


def _product(matrix: Matrix, vector: Vector) -> Vector:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def _transposed(matrix: Matrix) -> Matrix:
    return list(zip(*matrix, strict=True))


def _inverse(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    rows = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    return [[part / determinant for part in row] for row in rows]


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: Vector) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _parametric(curve: Curve) -> bytes:
    kind = 0 if len(curve) == 1 else 3
    return struct.pack(">4s4xHxx", b"para", kind) + b"".join(map(_fixed, curve))
