"""Forms with which a browser sends a file to S3: POST with a policy, which S3 enforces.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html. S3 refuses fields that the
policy does not name. The object is private, even in a public storage, and a download, since nobody has checked it yet.
Adoption makes a copy with the ACL, the metadata and the type of a regular file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from depot_lite.io.disposition import content_disposition
from depot_lite.io.interfaces import UNNAMED, FileInfo
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.objects.metadata import metadata_of, now

#: Fields of a form for arguments of an upload that a bucket may require.
_REQUIRED: Final = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "SSEKMSEncryptionContext": "x-amz-server-side-encryption-context",
}
#: ACLs that keep the object private to the owners of object and bucket.
_CLOSED: Final = ("private", "bucket-owner-read", "bucket-owner-full-control")


def can_be_sent(upload: Mapping[str, Any]) -> bool:
    """Return whether a browser can send such objects: not if it would need the encryption key."""
    return not any(name.startswith("SSECustomer") for name in upload)


def form_of(
    client: Any,
    bucket: str,
    key: str,
    upload: Mapping[str, Any],
    max_value: int | None,
    *,
    max_size: int,
    content_type: str | None,
    filename: str | None,
    expires_in: int,
) -> tuple[str, dict[str, str]]:
    """Return the URL and the fields of a form that stores one object.

    Args:
        upload: the arguments of every upload.
        max_value: the longest value of an entry of the metadata; None for no limit.
    """
    info = FileInfo("", filename or UNNAMED, content_type or OCTET_STREAM, 0, now())
    fields = _fields(upload, info, max_value)
    conditions: list[Any] = [["content-length-range", 0, max_size]]
    if content_type is not None and content_type.endswith("/*"):
        conditions.append(["starts-with", "$Content-Type", content_type.removesuffix("*")])
    else:
        fields["Content-Type"] = content_type or OCTET_STREAM
    conditions += [{name: value} for name, value in fields.items()]
    form = client.generate_presigned_post(bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=expires_in)
    return form["url"], form["fields"]


def _fields(upload: Mapping[str, Any], info: FileInfo, max_value: int | None) -> dict[str, str]:
    fields = {f"x-amz-meta-{name}": value for name, value in metadata_of(info, max_value).items()}
    fields["Content-Disposition"] = content_disposition("attachment", info.filename)
    if upload.get("ACL") in _CLOSED:
        fields["acl"] = upload["ACL"]
    for argument, name in _REQUIRED.items():
        if argument in upload:
            fields[name] = str(upload[argument])
    return fields
