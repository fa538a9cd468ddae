"""Copies made by the server itself, so that no bytes come here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from boto3.s3.transfer import TransferConfig

from depot_lite.errors import DepotError, StorageFailed
from depot_lite.io.boto3.errors import code_of

#: The largest object that S3 copies with one request, and the size of parts for larger ones.
_COPY_LIMIT: Final = 5 * 1024**3
_COPY_PART: Final = 512 * 1024**2

#: Codes of servers that refuse a copy: this client may not read the source, or they do not support such a copy. Buckets
#: and objects of other accounts may be reported as missing.
_REFUSALS: Final = {
    "AccessDenied",
    "AllAccessDisabled",
    "Forbidden",
    "403",
    "NoSuchBucket",
    "NoSuchKey",
    "NotFound",
    "404",
    "NotImplemented",
    "MethodNotAllowed",
    "InvalidRequest",
    "InvalidArgument",
}


class CopyDiffers(StorageFailed):
    """Raised when the server has copied another version than the known one, or says so."""


@dataclass(frozen=True, slots=True)
class Original:
    """The source of a copy.

    Args:
        where: its bucket and its key.
        found: its headers.
        reading: the arguments that requests to read it need.
    """

    where: Mapping[str, str]
    found: Mapping[str, Any]
    reading: Mapping[str, Any]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a copy that concern its source."""
        keys = {f"CopySource{name}": value for name, value in self.reading.items() if name.startswith("SSECustomer")}
        # This version, and no later one.
        return {**keys, "CopySourceIfMatch": self.found["ETag"]}

    def copy(self, client: Any, where: Mapping[str, str], described: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let the server copy it to a bucket and a key; return the answer, empty for a copy in parts."""
        arguments = {**described, **self.arguments(), "MetadataDirective": "REPLACE"}
        if self.found["ContentLength"] <= _COPY_LIMIT:
            answer: Mapping[str, Any] = client.copy_object(**where, CopySource=dict(self.where), **arguments)
            return answer
        config = TransferConfig(multipart_threshold=_COPY_LIMIT, multipart_chunksize=_COPY_PART)
        client.copy(dict(self.where), **where, ExtraArgs=arguments, Config=config)
        return {}

    def differs_from(self, answer: Mapping[str, Any]) -> bool:
        """Return whether the answer shows that another version was copied.

        Some servers, radosgw for one, ignore the condition of a copy.
        """
        before, after = _md5_in(self.found), _md5_in({**answer, **answer.get("CopyObjectResult", {})})
        return None not in (before, after) and before != after


def is_refusal(error: DepotError) -> bool:
    """Return whether the server refused the copy, but may let the bytes be read and stored."""
    return isinstance(error, CopyDiffers) or code_of(error.__cause__) in _REFUSALS


def _md5_in(headers: Mapping[str, Any]) -> str | None:
    """Return the MD5 of an object; None if its ETag is no MD5: after an upload in parts, or with encryption."""
    etag = str(headers.get("ETag", "-")).strip('"')
    encrypted = headers.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in headers
    return None if encrypted or "-" in etag else etag
