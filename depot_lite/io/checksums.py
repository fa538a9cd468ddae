"""Checksums of files: the supported algorithms, and a CRC-32 that can be combined from parts."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

from depot_lite.errors import ConfigurationError
from depot_lite.io.options import boolean


class _Checksum(Protocol):
    """The used part of the interface of :mod:`hashlib`."""

    def update(self, data: memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class Crc32:
    """CRC-32 as in gzip and S3 (RFC 1952, section 8). The sums of two threads can be joined."""

    def __init__(self) -> None:
        self._sum = 0

    def update(self, data: memoryview, /) -> None:
        """Append bytes."""
        self._sum = zlib.crc32(data, self._sum)

    def hexdigest(self) -> str:
        """Return the eight digits of the sum."""
        return f"{self._sum:08x}"

    def join(self, following: Crc32, length: int) -> None:
        """Append the ``length`` bytes whose sum is ``following``.

        >>> whole, end = Crc32(), Crc32()
        >>> whole.update(memoryview(b"1234"))
        >>> end.update(memoryview(b"56789"))
        >>> whole.join(end, 5)
        >>> whole.hexdigest()
        'cbf43926'
        """
        self._sum = _product(self._sum, _shift(length)) ^ following._sum


#: The algorithms, by the name before the colon of a checksum.
CHECKSUMS: Final[dict[str, Callable[[], _Checksum]]] = {"sha256": hashlib.sha256, "crc32": Crc32}

# Only CRC-32 keeps up with copying by the kernel: two processors can share it, while SHA-256 is sequential (1.8 GB/s,
# the copy 4 GB/s). Object stores verify it too, and for the whole of a multipart upload S3 verifies only a CRC. It
# detects accidents; detecting forgery requires the option "sha256".
_DEFAULT_CHECKSUM: Final = "crc32"


def checksum_algorithm(option: str, value: object) -> str | None:
    """Return the algorithm that an option names: a key of `CHECKSUMS`, the default for true, None for false.

    Raises:
        ConfigurationError: the value is anything else.
    """
    if isinstance(value, str) and value.strip().lower() in CHECKSUMS:
        return value.strip().lower()
    try:
        return _DEFAULT_CHECKSUM if boolean(option, value) else None
    except ConfigurationError:
        expected = f"true, false, {' or '.join(CHECKSUMS)}"
        raise ConfigurationError(f"{option}={value!r}: expected {expected}") from None


# A CRC is the remainder of a polynomial over GF(2); each following byte multiplies it by x**8. In CRC-32 the highest
# bit is the term x**0, so `_ONE` and `_X8` are the polynomials 1 and x**8.
_POLYNOMIAL: Final = 0xEDB88320
_ONE: Final = 1 << 31
_X8: Final = _ONE >> 8


def _product(first: int, second: int) -> int:
    product = 0
    while first:
        if first & _ONE:
            product ^= second
        first = first << 1 & 0xFFFFFFFF
        second = second >> 1 ^ (_POLYNOMIAL if second & 1 else 0)
    return product


@lru_cache(maxsize=64)
def _shift(length: int) -> int:
    """Return x**(8 * ``length``)."""
    power, square = _ONE, _X8
    while length:
        if length & 1:
            power = _product(power, square)
        square = _product(square, square)
        length >>= 1
    return power
