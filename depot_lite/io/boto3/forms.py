"""Forms with which a browser sends a file to S3: POST with a policy that S3 holds the form against.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html. What the policy does not name is
refused, so nobody adds a field. The object is private, whatever those of the storage are, and a download: nobody has
looked at it yet. What adopts it makes a copy with the ACL, the metadata and the type that every file has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from depot_lite.io.disposition import content_disposition
from depot_lite.io.interfaces import UNNAMED, FileInfo
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.objects.metadata import now
from depot_lite.io.objects.s3 import described

#: Fields of a form for those arguments of an upload that a bucket may insist on.
_INSISTED: Final = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "SSEKMSEncryptionContext": "x-amz-server-side-encryption-context",
}
#: ACLs that show the object to nobody whom its bucket's owner does not know.
_CLOSED: Final = ("private", "bucket-owner-read", "bucket-owner-full-control")


def can_be_sent(upload: Mapping[str, Any]) -> bool:
    """Return whether a browser can send such objects: not where it would have to know the key of their encryption."""
    return not any(name.startswith("SSECustomer") for name in upload)


def form_of(
    client: Any,
    bucket: str,
    key: str,
    upload: Mapping[str, Any],
    *,
    max_size: int,
    content_type: str | None,
    filename: str | None,
    expires_in: int,
) -> tuple[str, dict[str, str]]:
    """Return the URL and the fields of a form that stores one object.

    Args:
        upload: the arguments of every upload.
    """
    fields = _fields(upload, FileInfo("", filename or UNNAMED, content_type or OCTET_STREAM, 0, now()))
    conditions: list[Any] = [["content-length-range", 0, max_size]]
    if content_type is not None and content_type.endswith("/*"):
        conditions.append(["starts-with", "$Content-Type", content_type.removesuffix("*")])
    else:
        fields["Content-Type"] = content_type or OCTET_STREAM
    conditions += [{name: value} for name, value in fields.items()]
    form = client.generate_presigned_post(bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=expires_in)
    return form["url"], form["fields"]


def _fields(upload: Mapping[str, Any], info: FileInfo) -> dict[str, str]:
    metadata = described(info, {"Metadata": {}})["Metadata"]
    fields = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
    fields["Content-Disposition"] = content_disposition("attachment", info.filename)
    if upload.get("ACL") in _CLOSED:
        fields["acl"] = upload["ACL"]
    for argument, name in _INSISTED.items():
        if argument in upload:
            fields[name] = str(upload[argument])
    return fields
