"""Options that storages of objects share. Values that may hold a secret are never quoted in an error."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from depot_lite.errors import ConfigurationError
from depot_lite.io.options import integer, web_address

#: Seven days: S3, Google and Azure's user delegation keys sign for no longer.
LONGEST: Final = 7 * 24 * 3600


def expiry_of(option: str, value: object) -> int:
    """Return the expiry of a signature in seconds.

    >>> expiry_of("expires_in", timedelta(minutes=5))
    300

    Raises:
        ConfigurationError: it is no positive number of seconds, or longer than signatures last.
    """
    return integer(option, int(value.total_seconds()) if isinstance(value, timedelta) else value, 1, LONGEST)


def max_value_of(value: object) -> int | None:
    """Return the option ``max_metadata_value``: None for no limit.

    >>> max_value_of("256")
    256

    Raises:
        ConfigurationError: it is no number of bytes that leaves space for a name.
    """
    return None if value is None else integer("max_metadata_value", value, 64, 8192)


def mapping(option: str, value: object) -> dict[str, Any]:
    """Return a copy of a dictionary; a string holds it as JSON.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError:
            value = None
    elif value is None:
        value = {}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return dict(value)
    raise ConfigurationError(f"{option}: expected a dictionary, or a string that holds one as JSON")


def web_server(option: str, value: str | None) -> str | None:
    """Return the URL of a server, without a slash at its end.

    Raises:
        ConfigurationError: it is no URL, or has more than a host and a port. Signatures cover the path that the server
            sees, which a proxy would have changed.
    """
    found = web_address(option, value)
    if found is not None and urlsplit(found).path:
        raise ConfigurationError(f"{option}: expected a URL without a path, since paths are signed; got {found!r}")
    return found


def known(option: str, names: Collection[str], allowed: Collection[str]) -> None:
    """Check the names in a dictionary of options.

    Raises:
        ConfigurationError: one of them is unknown.
    """
    if unknown := sorted(set(names) - set(allowed)):
        raise ConfigurationError(
            f"{option}: unknown {', '.join(unknown)}; expected some of {', '.join(sorted(allowed))}"
        )


def choice(option: str, value: str | None, choices: Collection[str]) -> str | None:
    """Return one of several values, None if not set.

    Raises:
        ConfigurationError: it is none of them.
    """
    if value and value not in choices:
        raise ConfigurationError(f"{option}: expected one of {', '.join(choices)}, got {value!r}")
    return value or None
