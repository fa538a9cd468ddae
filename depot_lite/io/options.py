"""Parsing of storage options, which .ini files and the environment give as strings."""

from __future__ import annotations

import re
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from depot_lite.durations import parse_duration
from depot_lite.errors import ConfigurationError

_BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
#: The characters of a URL (RFC 3986) without query, fragment and user name.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9:/._~!$&'()*+,;=%\[\]-]+")
#: A year; longer timeouts overflow in some libraries.
_LONGEST: Final = 366 * 24 * 3600


def boolean(option: str, value: object) -> bool:
    """Return True or False; a string may also be yes, no, on, off, 1 or 0.

    Raises:
        ConfigurationError: the value is anything else.

    >>> boolean("durable", "no"), boolean("durable", True)
    (False, True)
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    raise ConfigurationError(f"{option}={value!r}: expected true or false")


def permissions(option: str, value: object) -> int | None:
    """Return the mode of a file, or None to apply the umask. A string is octal, with or without ``0o``.

    Raises:
        ConfigurationError: the value is not a mode, or would lock out the owner.

    >>> oct(permissions("file_permissions", "640"))
    '0o640'
    """
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    try:
        mode = int(value, 8) if isinstance(value, str) else value
    except ValueError:
        mode = None
    # A decimal 640 exceeds 0o777, so a missing 0o is noticed.
    if type(mode) is int and mode <= 0o777 and mode & 0o600 == 0o600:
        return mode
    expected = "expected an octal mode by which the owner can read and write, such as 0o640 or '640'"
    raise ConfigurationError(f"{option}={value!r}: {expected}")


def directory_mode(file_mode: int) -> int:
    """Return the mode of a directory for files of this mode: those who may read them may enter it.

    >>> [oct(directory_mode(mode)) for mode in (0o600, 0o640, 0o644)]
    ['0o700', '0o750', '0o755']
    """
    return 0o700 | file_mode | (file_mode & 0o444) >> 2


def integer(option: str, value: object, lowest: int, highest: int) -> int:
    """Return a whole number between two limits, both included; a string is converted.

    >>> integer("concurrency", "16", 1, 1000)
    16

    Raises:
        ConfigurationError: the value is not such a number.
    """
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.isdigit():
        text = int(text)
    if isinstance(text, int) and not isinstance(text, bool) and lowest <= text <= highest:
        return text
    raise ConfigurationError(f"{option}={value!r}: expected a whole number from {lowest} to {highest}")


def seconds(option: str, value: object) -> float:
    """Return a duration in seconds: a number of them, a timedelta, or a string such as ``90s``.

    >>> seconds("timeout", "1m"), seconds("timeout", 2.5)
    (60.0, 2.5)

    Raises:
        ConfigurationError: the value is not a duration, or not above zero.
    """
    found = 0.0
    if isinstance(value, str):
        with suppress(ConfigurationError):
            value = parse_duration(value)
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    if not 0 < found < _LONGEST:
        raise ConfigurationError(f"{option}={value!r}: expected a duration above zero, in seconds or such as '1m'")
    return found


def executor_of(option: str, value: object) -> Executor | None:
    """Return an executor of threads, or None.

    Raises:
        ConfigurationError: the value is anything else. Other processes cannot read the open files of this one.
    """
    if value is None or (isinstance(value, Executor) and not isinstance(value, ProcessPoolExecutor)):
        return value
    raise ConfigurationError(f"{option}={value!r}: expected a concurrent.futures.Executor of threads")


def web_address(option: str, value: str | None) -> str | None:
    """Return a URL without a slash at its end.

    Raises:
        ConfigurationError: it is no URL, or has more than a host, a port and a path. A password would be repeated by
            every error about a connection; a line break, which `urlsplit` overlooks, would be in every header.
    """
    if not value:
        return None
    try:
        parts = urlsplit(value)
        plain = (
            parts.scheme in {"http", "https"}
            and parts.hostname
            and parts.port != 0  # raises ValueError for a number above 65535
            and _ADDRESS.fullmatch(value)
        )
    except ValueError:
        plain = False
    if not plain:
        raise ConfigurationError(
            f"{option}: expected a URL such as 'https://cdn.example.com', in ASCII, without user name, password, query "
            "or white space"
        )
    return value.rstrip("/")
