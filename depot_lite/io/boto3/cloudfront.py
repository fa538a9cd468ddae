"""Signed URLs of Amazon CloudFront, by botocore. The extra ``cloudfront`` has what this needs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from botocore.signers import CloudFrontSigner as PolicySigner
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from depot_lite.errors import ConfigurationError


@dataclass(frozen=True)
class CloudFrontSigner:
    """Signs URLs of a CloudFront distribution, for the option ``url_signer``.

    The signatures have a canned policy: one URL until one moment
    (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-urls.html).

    Args:
        key_id: the id of the public key in the distribution's key group.
        private_key: the RSA key as PEM, or the path of its file.

    Raises:
        ConfigurationError: there is no such key. It is not quoted.
    """

    key_id: str
    private_key: str | bytes | os.PathLike[str] = field(repr=False)

    def __post_init__(self) -> None:
        """Load the key."""
        _ = self._key

    def __call__(self, url: str, expires: datetime) -> str:
        """Return the URL with a signature that is valid until then."""
        signed: str = PolicySigner(self.key_id, self._sign).generate_presigned_url(url, date_less_than=expires)
        return signed

    def _sign(self, policy: bytes) -> bytes:
        return self._key.sign(policy, PKCS1v15(), SHA1())  # noqa: S303  # CloudFront requires it

    @cached_property
    def _key(self) -> RSAPrivateKey:
        given = self.private_key
        try:
            text = given.encode() if isinstance(given, str) else given
            if not isinstance(text, bytes) or b"-----BEGIN" not in text:
                text = Path(os.fsdecode(text)).read_bytes()
            key = load_pem_private_key(text, password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            # Without text and traceback, which may quote the key.
            name = type(error).__name__
            raise ConfigurationError(f"private_key: expected PEM, or the path of a file of it ({name})") from None
        if not isinstance(key, RSAPrivateKey):
            raise ConfigurationError(f"private_key: expected an RSA key, got {type(key).__name__}")
        return key
