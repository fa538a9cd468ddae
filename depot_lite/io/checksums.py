"""Checksums of files on local disk: which there are, and sums of parts that become the sum of the whole."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

from depot_lite.errors import ConfigurationError
from depot_lite.io.options import boolean


class _Checksum(Protocol):
    """What :mod:`hashlib` gives, as far as it is used here."""

    def update(self, data: memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class Crc32:
    """CRC-32 as gzip and S3 have it (RFC 1952, section 8). What two threads summed can be joined."""

    def __init__(self) -> None:
        self._sum = 0

    def update(self, data: memoryview, /) -> None:
        """Add bytes at the end."""
        self._sum = zlib.crc32(data, self._sum)

    def hexdigest(self) -> str:
        """Return eight digits."""
        return f"{self._sum:08x}"

    def join(self, following: Crc32, length: int) -> None:
        """Add ``length`` bytes at the end that ``following`` has summed.

        >>> whole, end = Crc32(), Crc32()
        >>> whole.update(memoryview(b"1234"))
        >>> end.update(memoryview(b"56789"))
        >>> whole.join(end, 5)
        >>> whole.hexdigest()
        'cbf43926'
        """
        self._sum = _product(self._sum, _shift(length)) ^ following._sum


#: What a checksum may be called in front of its colon, and how it is made.
CHECKSUMS: Final[dict[str, Callable[[], _Checksum]]] = {"sha256": hashlib.sha256, "crc32": Crc32}

# The only one that keeps up with the kernel's copying: two processors can share it, while SHA-256 of a large file is
# one long chain (1.8 GB/s where the copy does 4). Object stores verify it too, and S3 in multipart uploads nothing
# but a CRC for the whole. It notices accidents; against forgery, sha256 has to be asked for.
_DEFAULT_CHECKSUM: Final = "crc32"


def checksum_algorithm(option: str, value: object) -> str | None:
    """Return a key of `CHECKSUMS`: the one that the option names, the default one for true, and None for false.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(value, str) and value.strip().lower() in CHECKSUMS:
        return value.strip().lower()
    try:
        return _DEFAULT_CHECKSUM if boolean(option, value) else None
    except ConfigurationError:
        wanted = f"true, false, {' or '.join(CHECKSUMS)} is wanted"
        raise ConfigurationError(f"{option}={value!r}: {wanted}") from None


# A CRC is the remainder of a polynomial over GF(2), and bytes that follow multiply it by a power of x. In CRC-32 the
# highest bit is the term x**0, so `_ONE` and `_X8` are the polynomials 1 and x**8.
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
    """Return x to the power of ``length`` bytes."""
    power, square = _ONE, _X8
    while length:
        if length & 1:
            power = _product(power, square)
        square = _product(square, square)
        length >>= 1
    return power
