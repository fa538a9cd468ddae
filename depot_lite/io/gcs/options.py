"""The options of a `GCSStorage`, converted to arguments of Google's library.

Values that may hold a secret are quoted neither in errors nor in representations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.oauth2.credentials import Credentials as UserCredentials
from google.oauth2.service_account import Credentials as ServiceAccount

from depot_lite.errors import ConfigurationError
from depot_lite.io.objects.options import choice
from depot_lite.io.options import integer

#: The names of policies in options and in requests. Nothing is sent for "private", the default of buckets: a bucket
#: with uniform access, as new ones have it, refuses every ACL.
_POLICIES: Final = {
    "private": None,
    "public-read": "publicRead",
    "authenticated-read": "authenticatedRead",
    "project-private": "projectPrivate",
    "bucket-owner-read": "bucketOwnerRead",
    "bucket-owner-full-control": "bucketOwnerFullControl",
}

#: Pieces of a resumable upload are multiples of this, except the last.
_PIECE_UNIT: Final = 256 * 1024


def bucket_of(bucket: str | None) -> str:
    """Return the name of the bucket.

    Raises:
        ConfigurationError: it is missing or invalid.
    """
    if not bucket:
        raise ConfigurationError("bucket is missing: expected the name of a bucket")
    if not all(character.isascii() and (character.isalnum() or character in "-_.") for character in bucket):
        raise ConfigurationError(f"bucket={bucket!r}: expected the name of a bucket, without 'gs://' and '/'")
    return bucket


def predefined_acl(policy: str | None) -> str | None:
    """Return the ACL of uploads, None if not set.

    Raises:
        ConfigurationError: the policy is unknown.
    """
    policy = choice("policy", policy, _POLICIES)
    return _POLICIES[policy] if policy else None


def piece_size(option: str, value: object) -> int:
    """Return how many bytes of large content one request sends: a multiple of 256 KiB.

    >>> piece_size("chunk_size", "1000000")
    1048576
    """
    size = integer(option, value, 1, 1024**3)
    return -(-size // _PIECE_UNIT) * _PIECE_UNIT


def credentials_of(value: Any) -> Credentials | None:
    """Return the credentials, None to take them from the environment.

    Args:
        value: credentials of google-auth; or the content of a service account's file, as a dictionary or JSON; or the
            path of the file.

    Raises:
        ConfigurationError: the value is something else. It is not quoted.
    """
    if value is None or value == "" or isinstance(value, Credentials):
        return value or None
    # Only these kinds: a file from a stranger could name a server that is asked for a token.
    info = value if isinstance(value, Mapping) else _read(value)
    kinds: dict[object, Callable[[dict[str, Any]], Any]] = {
        "service_account": ServiceAccount.from_service_account_info,
        "authorized_user": UserCredentials.from_authorized_user_info,
    }
    kind = kinds.get(info.get("type", "service_account"))
    if kind is None:
        raise ConfigurationError(
            f"credentials: expected a service account or a user, got {info['type']!r}; of other kinds, give"
            " google-auth's object, or let GOOGLE_APPLICATION_CREDENTIALS name the file"
        )
    try:
        found: Credentials = kind(dict(info))
    except (GoogleAuthError, ValueError, TypeError, AttributeError, KeyError) as error:
        # Without text and traceback, which may quote the key.
        raise ConfigurationError(f"credentials are incomplete or damaged ({type(error).__name__})") from None
    return found


def _read(value: Any) -> Mapping[str, Any]:
    """Return the content of a JSON text, or of a JSON file."""
    expected = "credentials: expected a dictionary, JSON, the path of a JSON file, or credentials of google-auth"
    if not isinstance(value, str | Path):
        raise ConfigurationError(f"{expected}, got {type(value).__name__}")
    text = str(value)
    if not text.lstrip().startswith("{"):
        try:
            text = Path(value).read_text("utf-8")
        except (OSError, ValueError) as error:
            # Without the path, too: it may be a key that was pasted in its place.
            raise ConfigurationError(f"{expected}; no file can be read there ({type(error).__name__})") from None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{expected}; this JSON is damaged")
    return found
