"""Cross-origin access: the other sites whose pages may embed the files of a depot and read them in scripts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from depot_lite.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """The origins whose pages may use the files of a depot, beside embedding by pages of the same site."""

    #: Whether these are all origins.
    any: bool = False
    #: Or those, as browsers send them: ``https://app.example.org``.
    origins: frozenset[str] = frozenset()


SAME_SITE: Final = CrossOrigin()
ANY: Final = CrossOrigin(any=True)

_EXPECTED: Final = "expected 'same-site', 'any', or a list of origins such as 'https://app.example.org'"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def parse_cross_origin(value: object, label: str) -> CrossOrigin | None:
    """Return the origins that a setting allows, None if not set. Text may contain several, with spaces or commas.

    Raises:
        ConfigurationError: it is something else.

    >>> parse_cross_origin("any", "a depot")
    CrossOrigin(any=True, origins=frozenset())
    >>> parse_cross_origin(["https://App.example.org:443"], "a depot").origins
    frozenset({'https://app.example.org'})
    """
    if value is None or isinstance(value, CrossOrigin):
        return value
    given = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(given, Iterable) or isinstance(given, bytes) or not (listed := list(given)):
        raise ConfigurationError(f"{label}: cross_origin={value!r}: {_EXPECTED}")
    if listed == ["same-site"]:
        return SAME_SITE
    if listed == ["any"]:
        return ANY
    return CrossOrigin(origins=frozenset(_origin(each, label) for each in listed))


def _origin(given: object, label: str) -> str:
    """Return an origin as browsers send it: lower case, without the default port."""
    try:
        parts = urlsplit(given if isinstance(given, str) else "")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    plain = f"{parts.scheme}://{parts.netloc}"
    # "null" is the origin of every sandboxed page, whoever made it; a wildcard would match none.
    if parts.scheme not in _DEFAULT_PORTS or plain.lower() != str(given).lower() or not host.isascii() or "*" in host:
        raise ConfigurationError(
            f"{label}: cross_origin: {given!r} is not an origin: {_EXPECTED}, without a path, in ASCII"
        )
    if "@" in parts.netloc or not host:
        raise ConfigurationError(f"{label}: cross_origin: {given!r} is not an origin: {_EXPECTED}")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + ("" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}")
