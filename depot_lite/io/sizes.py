"""Sizes in bytes, parsed from and formatted as text such as ``10 MiB``."""

from __future__ import annotations

import re
from typing import Final

from depot_lite.errors import ConfigurationError

# IEC 80000-13: KiB, MiB and GiB are powers of 1024, kB, MB and GB are powers of 1000.
_UNITS: Final = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_BINARY_UNITS: Final = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_DECIMAL_UNITS: Final = ((1000**3, "GB"), (1000**2, "MB"), (1000, "kB"))
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmg]?i?b)?", re.ASCII | re.IGNORECASE)


def size_of(option: str, value: object) -> int:
    """Return a number of bytes; a string may contain a unit: B, kB, KB, KiB, MB, MiB, GB or GiB.

    Raises:
        ConfigurationError: the value is not a size, or not a whole number of bytes.

    >>> size_of("max", "10 MiB"), size_of("max", "1.5 kB"), size_of("max", 7)
    (10485760, 1500, 7)
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = None if found is None else _UNITS.get((found[2] or "b").lower())
    if found is not None and unit is not None:
        whole, _, fraction = found[1].partition(".")
        size, rest = divmod(int(whole + fraction) * unit, int("1" + "0" * len(fraction)))
        if not rest:
            return size
    raise ConfigurationError(f"{option}={value!r}: expected a number of bytes, or a size such as '10 MiB' or '500 kB'")


def shown_size(size: int, *, decimal: bool = False) -> str:
    """Return a size as text with at most one decimal place; in kB, MB and GB if ``decimal``.

    >>> shown_size(10 * 1024**2), shown_size(1234567, decimal=True), shown_size(1)
    ('10 MiB', '1.2 MB', '1 byte')
    """
    for unit, name in _DECIMAL_UNITS if decimal else _BINARY_UNITS:
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return exact_size(size)


def exact_size(size: int) -> str:
    """Return a size as text, exact to the byte.

    >>> exact_size(1), exact_size(1025)
    ('1 byte', '1025 bytes')
    """
    return "1 byte" if size == 1 else f"{size} bytes"


def is_decimal(value: object) -> bool:
    """Return whether a size is written in kB, MB or GB, so that messages can use the same units.

    >>> is_decimal("10 MB"), is_decimal("10 MiB"), is_decimal(10)
    (True, False, False)
    """
    return isinstance(value, str) and re.search(r"[kmg]b\s*$", value, re.IGNORECASE) is not None
