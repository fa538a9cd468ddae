"""The options of a `GCSStorage`, as programs and .ini files give them, made into what Google's library takes.

No value of an option that may hold a secret is ever quoted: not in an error, and not in a representation.
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

#: What a policy is called in options, and in requests. Nothing is sent for "private", which is what objects are in a
#: bucket that nobody has opened: a bucket with uniform access, as new ones have it, refuses every ACL.
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
        ConfigurationError: there is none, or it is none.
    """
    if not bucket:
        raise ConfigurationError("bucket is missing: the name of a bucket is wanted")
    if not all(character.isascii() and (character.isalnum() or character in "-_.") for character in bucket):
        raise ConfigurationError(f"bucket={bucket!r}: the name of a bucket is wanted, without 'gs://' and without '/'")
    return bucket


def predefined_acl(policy: str | None) -> str | None:
    """Return the ACL that is asked for with each upload, None for none.

    Raises:
        ConfigurationError: there is no such policy.
    """
    policy = choice("policy", policy, _POLICIES)
    return _POLICIES[policy] if policy else None


def piece_size(option: str, value: object) -> int:
    """Return how many bytes of large content one request sends: a multiple of 256 KiB.

    >>> piece_size("chunk_size", "1000000")
    1048576
    """
    wanted = integer(option, value, 1, 1024**3)
    return -(-wanted // _PIECE_UNIT) * _PIECE_UNIT


def credentials_of(value: Any) -> Credentials | None:
    """Return the credentials, None for those of the environment.

    Args:
        value: those of google-auth; a dictionary as it is in the file that Google gives for a service account, that as
            JSON, or the path of the file.

    Raises:
        ConfigurationError: it is none of these, without a word of what it says.
    """
    if value is None or value == "" or isinstance(value, Credentials):
        return value or None
    # The kinds are chosen here: a file that a stranger has written could else name a server to ask for a token.
    info = value if isinstance(value, Mapping) else _read(value)
    kinds: dict[object, Callable[[dict[str, Any]], Any]] = {
        "service_account": ServiceAccount.from_service_account_info,
        "authorized_user": UserCredentials.from_authorized_user_info,
    }
    kind = kinds.get(info.get("type", "service_account"))
    if kind is None:
        raise ConfigurationError(
            f"credentials: those of a service account or of a user are wanted; of another kind ({info['type']!r}), give"
            " google-auth's object, or let GOOGLE_APPLICATION_CREDENTIALS name the file"
        )
    try:
        found: Credentials = kind(dict(info))
    except (GoogleAuthError, ValueError, TypeError, AttributeError, KeyError) as error:
        # Without its text and its traceback, which may quote the key.
        raise ConfigurationError(f"credentials are incomplete or damaged ({type(error).__name__})") from None
    return found


def _read(value: Any) -> Mapping[str, Any]:
    """Return what a JSON text holds, or a file with one."""
    wanted = "credentials: a dictionary, JSON, the path of a JSON file, or credentials of google-auth are wanted"
    if not isinstance(value, str | Path):
        raise ConfigurationError(f"{wanted}, not {type(value).__name__}")
    text = str(value)
    if not text.lstrip().startswith("{"):
        try:
            text = Path(value).read_text("utf-8")
        except (OSError, ValueError) as error:
            # The path is not told either: it may be a key that was pasted in its place.
            raise ConfigurationError(f"{wanted}; there is no file that can be read ({type(error).__name__})") from None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{wanted}; this JSON is damaged")
    return found
