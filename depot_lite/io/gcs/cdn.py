"""Signed URLs of Google Cloud CDN."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from datetime import datetime

from depot_lite.errors import ConfigurationError


@dataclass(frozen=True)
class CloudCDNSigner:
    """Signs URLs of a bucket behind Google Cloud CDN, for the option ``url_signer``.

    No library of Google's does so. The scheme is HMAC-SHA1 of the URL with its expiry and the name of the key
    (https://cloud.google.com/cdn/docs/using-signed-urls#programmatically_creating_signed_urls).

    Args:
        key_name: the name of the key in the backend bucket.
        key: its value: 16 bytes as URL-safe base64, as ``gcloud compute backend-buckets add-signed-url-key`` takes it.

    Raises:
        ConfigurationError: the key is not of this form. It is not quoted.
    """

    key_name: str
    key: str = field(repr=False)

    def __post_init__(self) -> None:
        """Check the key."""
        self._secret()

    def __call__(self, url: str, expires: datetime) -> str:
        """Return the URL with a signature that is valid until then."""
        separator = "&" if "?" in url else "?"
        url = f"{url}{separator}Expires={int(expires.timestamp())}&KeyName={self.key_name}"
        signature = base64.urlsafe_b64encode(hmac.digest(self._secret(), url.encode(), "sha1")).decode()
        return f"{url}&Signature={signature}"

    def _secret(self) -> bytes:
        try:
            secret = base64.b64decode(self.key.strip(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError, AttributeError):
            secret = b""
        if len(secret) != 16:
            raise ConfigurationError("key of the CDN: expected 16 bytes as URL-safe base64")
        return secret
