"""Objects that the server copies by itself, so that no byte comes here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from boto3.s3.transfer import TransferConfig

from depot_lite.errors import DepotError, StorageFailed
from depot_lite.io.boto3.errors import code_of
from depot_lite.io.boto3.stream import RangeReader
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.objects.readers import ObjectFile

#: What S3 copies with one request, and how large the parts of what is larger are.
_COPY_LIMIT: Final = 5 * 1024**3
_COPY_PART: Final = 512 * 1024**2

#: How servers refuse to copy what this client may not read, or what they cannot copy as it is asked for. A bucket or an
#: object of another account may be said not to be there.
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
    """The server has copied something else than what was looked at, or says so."""


class S3Object(ObjectFile):
    """A file that knows its storage and its version, so that S3 can copy just that."""

    def __init__(
        self, info: FileInfo, reader: RangeReader, url: str | None, storage: FileStorage, found: Mapping[str, Any]
    ) -> None:
        super().__init__(info, reader, url)
        self.storage = storage
        self.found = {name: value for name, value in found.items() if name != "Body"}


@dataclass(frozen=True, slots=True)
class Original:
    """An object that is to be copied.

    Args:
        where: its bucket and its key.
        found: the headers that it had when it was looked at.
        reading: the arguments that whoever reads it has to give.
    """

    where: Mapping[str, str]
    found: Mapping[str, Any]
    reading: Mapping[str, Any]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of a copy that speak of the original."""
        keys = {f"CopySource{name}": value for name, value in self.reading.items() if name.startswith("SSECustomer")}
        # What was looked at, and not what may have taken its place.
        return {**keys, "CopySourceIfMatch": self.found["ETag"]}

    def copy(self, client: Any, where: Mapping[str, str], described: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let the server copy it to a bucket and a key, and return the answer; there is none to a copy in parts."""
        arguments = {**described, **self.arguments(), "MetadataDirective": "REPLACE"}
        if self.found["ContentLength"] <= _COPY_LIMIT:
            answer: Mapping[str, Any] = client.copy_object(**where, CopySource=dict(self.where), **arguments)
            return answer
        config = TransferConfig(multipart_threshold=_COPY_LIMIT, multipart_chunksize=_COPY_PART)
        client.copy(dict(self.where), **where, ExtraArgs=arguments, Config=config)
        return {}

    def differs_from(self, answer: Mapping[str, Any]) -> bool:
        """Return whether the answer tells that something else was copied.

        Some servers, radosgw for one, copy whatever is there, on whichever condition.
        """
        before, after = _md5_in(self.found), _md5_in({**answer, **answer.get("CopyObjectResult", {})})
        return None not in (before, after) and before != after


def is_refusal(error: DepotError) -> bool:
    """Return whether the server has refused to copy, and might let the bytes be read and stored all the same."""
    return isinstance(error, CopyDiffers) or code_of(error.__cause__) in _REFUSALS


def _md5_in(headers: Mapping[str, Any]) -> str | None:
    """Return the MD5 of an object; None where its ETag is none, as that of several parts or of an encrypted object."""
    etag = str(headers.get("ETag", "-")).strip('"')
    encrypted = headers.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in headers
    return None if encrypted or "-" in etag else etag
