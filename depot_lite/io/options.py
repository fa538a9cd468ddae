"""Options of storages, which come as strings from .ini files and the environment."""

from __future__ import annotations

from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Final

from depot_lite.errors import ConfigurationError

_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def boolean(option: str, value: object) -> bool:
    """Return what was meant.

    Raises:
        ConfigurationError: it is neither.

    >>> boolean("durable", "no"), boolean("durable", True)
    (False, True)
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    raise ConfigurationError(f"{option}={value!r}: true or false is wanted")


def permissions(option: str, value: object) -> int | None:
    """Return the mode of a file, None for what the umask says. A string is octal, with or without ``0o``.

    Raises:
        ConfigurationError: it is none, or a mode that would lock the owner out.

    >>> oct(permissions("file_permissions", "640"))
    '0o640'
    """
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    try:
        mode = int(value, 8) if isinstance(value, str) else value
    except ValueError:
        mode = None
    # A decimal 640 is more than 0o777, so that a forgotten 0o is noticed.
    if type(mode) is int and mode <= 0o777 and mode & 0o600 == 0o600:
        return mode
    wanted = "an octal mode is wanted that lets the owner read and write, such as 0o640 or '640'"
    raise ConfigurationError(f"{option}={value!r}: {wanted}")


def directory_mode(file_mode: int) -> int:
    """Return the mode of a directory for files of this mode: who may read them may enter.

    >>> [oct(directory_mode(mode)) for mode in (0o600, 0o640, 0o644)]
    ['0o700', '0o750', '0o755']
    """
    return 0o700 | file_mode | (file_mode & 0o444) >> 2


def integer(option: str, value: object, lowest: int, highest: int) -> int:
    """Return a whole number between two others, both included; a string may hold it.

    >>> integer("concurrency", "16", 1, 1000)
    16

    Raises:
        ConfigurationError: it is none.
    """
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.isdigit():
        text = int(text)
    if isinstance(text, int) and not isinstance(text, bool) and lowest <= text <= highest:
        return text
    raise ConfigurationError(f"{option}={value!r}: a whole number from {lowest} to {highest} is wanted")


def executor_of(option: str, value: object) -> Executor | None:
    """Return an executor of threads, or None.

    Raises:
        ConfigurationError: it is something else. Processes would not see the files that are to be stored.
    """
    if value is None or (isinstance(value, Executor) and not isinstance(value, ProcessPoolExecutor)):
        return value
    raise ConfigurationError(f"{option}={value!r}: a concurrent.futures.Executor of threads is wanted")
