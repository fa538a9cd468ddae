"""Signatures of URLs and upload tokens, with an expiry, and of variants on demand, without one.

Each signature covers its purpose and its file, so that it is valid for no other.

>>> signer = Signer("a key that is long enough")
>>> query = signer.query("default/b3a1c6de", 300, download=True, filename="plan.pdf")
>>> signer.grant("default/b3a1c6de", query)
Grant(download=True, filename='plan.pdf')
>>> signer.grant("default/another", query) is None
True

The algorithm is itsdangerous's HMAC-SHA256. Keys can be rotated.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import itsdangerous

from depot_lite.errors import ConfigurationError

#: Seconds that a signed URL works by default.
DEFAULT_EXPIRY: Final = 3600

#: In bytes. Shorter keys could be guessed.
_SHORTEST_KEY: Final = 16

#: The start time is rounded down to a multiple of the expiry divided by this, and the expiry is extended by as much.
_ROUNDING: Final = 4


@dataclass(frozen=True, slots=True)
class Grant:
    """The options that the signature of a URL grants beside reading the file."""

    download: bool = False
    filename: str | None = None
    #: Seconds until the signature expires.
    left: int = field(default=0, repr=False, compare=False)


class Signer:
    """Signs with the first of its keys, and accepts signatures by any of them."""

    def __init__(self, *keys: str | bytes) -> None:
        encoded = [key.encode() if isinstance(key, str) else key for key in keys]
        shortest = min(map(len, encoded), default=0)
        if shortest < _SHORTEST_KEY:
            got = f"one of {shortest} bytes" if encoded else "none"
            raise ConfigurationError(
                f"expected signing keys of at least {_SHORTEST_KEY} bytes, such as secrets.token_urlsafe(32); got {got}"
            )
        # itsdangerous signs with the last one.
        self._keys = encoded[::-1]

    def __repr__(self) -> str:
        """Show the number of keys, but no key."""
        return f"<Signer with {len(self._keys)} keys>"

    def query(
        self,
        path: str,
        expires_in: int | timedelta | None = None,
        *,
        download: bool = False,
        filename: str | None = None,
    ) -> str:
        """Return the query string of a URL that allows reading the file with this path until it expires.

        Raises:
            ConfigurationError: ``expires_in`` is not positive, or not a number.
        """
        start, seconds = rounded(time.time(), positive_seconds(expires_in, DEFAULT_EXPIRY))
        given = {"expires": str(start + seconds)}
        if download:
            given["download"] = "1"
        if filename is not None:
            # JavaScript may send a lone UTF-16 surrogate, which a URL cannot contain.
            given["name"] = filename.encode(errors="replace").decode()
        return urlencode({**given, "signature": self._signature("url", [path, given])})

    def grant(self, path: str, query: str) -> Grant | None:
        """Return the options that a query string grants, None if its signature is invalid or has expired."""
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=10, errors="strict")
        except ValueError:
            return None
        given = {name: value for name, value in pairs if name in _SIGNED}
        signature = dict(pairs).get("signature", "")
        if len(pairs) != len(dict(pairs)) or not self._verified("url", [path, given], signature):
            return None
        left = int(given["expires"]) - time.time()
        return Grant("download" in given, given.get("name"), int(left)) if left > 0 else None

    def token(self, purpose: str, facts: Mapping[str, Any], expires_in: int | timedelta) -> str:
        """Return a token that contains these facts. Everybody can read them, nobody can change them."""
        signed = {**facts, "expires": int(time.time()) + positive_seconds(expires_in, DEFAULT_EXPIRY)}
        payload = itsdangerous.encoding.base64_encode(_canonical_json(signed)).decode()
        return f"{payload}.{self._signature(purpose, [payload])}"

    def facts(self, purpose: str, token: str) -> dict[str, Any] | None:
        """Return the facts in a token of this purpose, None if its signature is invalid or has expired."""
        payload, _, signature = token.rpartition(".")
        # Verified before it is parsed: an attacker's thousand nested brackets would overflow the parser's stack.
        if not self._verified(purpose, [payload], signature):
            return None
        facts: dict[str, Any] = json.loads(itsdangerous.encoding.base64_decode(payload))
        return facts if facts.pop("expires") > time.time() else None

    def variant_signature(self, file_id: str, fingerprint: str) -> str:
        """Return the signature of a variant on demand that depends on the point of its image. It never expires."""
        return self._signature("variant", [file_id, fingerprint])

    def allows_variant(self, file_id: str, fingerprint: str, signature: str) -> bool:
        """Return whether this is the signature of a variant."""
        return self._verified("variant", [file_id, fingerprint], signature)

    def _signer(self, purpose: str) -> itsdangerous.Signer:
        return itsdangerous.Signer(
            self._keys, f"depot_lite.{purpose}", digest_method=hashlib.sha256, key_derivation="hmac"
        )

    def _signature(self, purpose: str, facts: list[Any]) -> str:
        return self._signer(purpose).get_signature(_canonical_json(facts)).decode()

    def _verified(self, purpose: str, facts: list[Any], signature: str) -> bool:
        return signature.isascii() and self._signer(purpose).verify_signature(_canonical_json(facts), signature)


#: The signed parameters of a URL's query.
_SIGNED: Final = ("expires", "download", "name")


def _canonical_json(facts: Any) -> bytes:
    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()


def positive_seconds(expires_in: int | timedelta | None, default: int) -> int:
    """Return a duration as whole seconds.

    Raises:
        ConfigurationError: it is not positive, or not a number.
    """
    if expires_in is None:
        return default
    try:
        seconds = int(expires_in.total_seconds() if isinstance(expires_in, timedelta) else expires_in)
    except (TypeError, ValueError, OverflowError):
        seconds = 0
    if seconds < 1:
        raise ConfigurationError(f"expires_in={expires_in!r}: expected a positive number of seconds or a timedelta")
    return seconds


def rounded(now: float, expires_in: int, longest: int | None = None) -> tuple[int, int]:
    """Return the start time and the expiry to sign, so that a URL works for at least ``expires_in`` seconds from now.

    Both stay the same for a fourth of the expiry, and so does the URL.

    >>> rounded(10_399, 400), rounded(10_301, 400)
    ((10300, 500), (10300, 500))
    """
    step = expires_in // _ROUNDING
    if longest is not None:
        step = min(step, longest - expires_in)
    step = max(1, step)
    expiry = expires_in + step
    return int(now) // step * step, expiry if longest is None else min(expiry, longest)
