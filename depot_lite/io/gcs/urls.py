"""URLs of objects: plain ones, and signed ones that stay the same for a while; and forms for browsers.

Google's library signs with the time of the call, so that a page has new URLs at each rendering and browsers cannot use
their caches. Here the time is rounded, and the signature is ours: version 4 in a query string
(https://cloud.google.com/storage/docs/access-control/signing-urls-manually). Forms are left to the library.

Signing needs a private key. A service account's credentials have one; the credentials of a machine, a container or a
user do not, and then nothing is signed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlsplit

from google.auth.credentials import Signing

from depot_lite.io.disposition import content_disposition
from depot_lite.io.interfaces import UNNAMED, FileInfo
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.objects.metadata import now
from depot_lite.io.objects.options import LONGEST
from depot_lite.signing import rounded

#: The names in forms of ACLs that keep the object private to the owners of project, bucket and object.
_CLOSED: Final = {
    "projectPrivate": "project-private",
    "bucketOwnerRead": "bucket-owner-read",
    "bucketOwnerFullControl": "bucket-owner-full-control",
}


def can_sign(credentials: object) -> bool:
    """Return whether these credentials sign."""
    return isinstance(credentials, Signing)


class ObjectUrls:
    """The URLs of the objects of one bucket. Only credentials that impersonate make a request, to sign."""

    def __init__(self, endpoint: str, bucket: str, credentials: Any) -> None:
        self._endpoint = endpoint
        self._bucket = bucket
        self._credentials = credentials
        # The same text is signed repeatedly while the rounded time stays, and RSA is slow.
        self._signature = lru_cache(maxsize=1024)(self._new_signature)

    @property
    def can_sign(self) -> bool:
        """Whether there is a key to sign with."""
        return can_sign(self._credentials)

    def plain(self, key: str) -> str:
        """Return the URL without a signature."""
        return self._endpoint + self._path(key)

    def signed(self, key: str, expires_in: int, headers: Mapping[str, str]) -> str:
        """Return a URL that works for at least ``expires_in`` seconds.

        Args:
            headers: the result of `response_headers`.
        """
        start, expiry = rounded(time.time(), expires_in, LONGEST)
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(start))
        scope = f"{moment[:8]}/auto/storage/goog4_request"
        parameters = {
            **headers,
            "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
            "X-Goog-Credential": f"{self._credentials.signer_email}/{scope}",
            "X-Goog-Date": moment,
            "X-Goog-Expires": str(expiry),
            "X-Goog-SignedHeaders": "host",
        }
        query = "&".join(
            sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in parameters.items())
        )
        host = urlsplit(self._endpoint).netloc
        request = f"GET\n{self._path(key)}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = self._signature(f"GOOG4-RSA-SHA256\n{moment}\n{scope}\n{digest}")
        return f"{self.plain(key)}?{query}&X-Goog-Signature={signature}"

    def _new_signature(self, text: str) -> str:
        signed: bytes = self._credentials.sign_bytes(text.encode())
        return signed.hex()

    def _path(self, key: str) -> str:
        # "/" stands between the folders of a prefix; "~" is unreserved (RFC 3986).
        return f"/{self._bucket}/{quote(key, safe='/~')}"


def form_of(
    client: Any,
    url: str,
    bucket: str,
    key: str,
    acl: str | None,
    described: Callable[[FileInfo], Mapping[str, Any]],
    *,
    max_size: int,
    content_type: str | None,
    filename: str | None,
    expires_in: int,
) -> tuple[str, dict[str, str]]:
    """Return the URL and the fields of a form that stores one object; the fields do not depend on the URL.

    Google refuses fields that the policy does not name. The object is a download, and no more public than its bucket,
    since nobody has checked it yet. Adoption makes a copy with the ACL, the metadata and the type of a regular file.

    Args:
        described: returns the resource of a file.
    """
    label = described(FileInfo("", filename or UNNAMED, content_type or OCTET_STREAM, 0, now()))
    fields = {f"x-goog-meta-{name}": value for name, value in label["metadata"].items()}
    fields["Content-Disposition"] = content_disposition("attachment", filename or UNNAMED)
    if acl in _CLOSED:
        fields["acl"] = _CLOSED[acl]
    conditions: list[Any] = [["content-length-range", 0, max_size]]
    if content_type is not None and content_type.endswith("/*"):
        conditions.append(["starts-with", "$Content-Type", content_type.removesuffix("*")])
    else:
        fields["Content-Type"] = content_type or OCTET_STREAM
    form = client.generate_signed_post_policy_v4(
        bucket, key, timedelta(seconds=expires_in), conditions=conditions, fields=fields
    )
    return url, form["fields"]
