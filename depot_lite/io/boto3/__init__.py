"""S3Storage: files in a bucket of Amazon S3, or of a server that speaks its protocol.

The key of an object is ``prefix`` and the file id; name, time and checksum are in its metadata, where filedepot keeps
them too, so that the two libraries read each other's files. Objects are private: no ACL is sent unless a ``policy`` is
given, since many buckets accept none.

The constructor makes no request and reads no credentials; the first use does. A small file is stored with one
PutObject, a large one in parts by boto3's transfers, with constant memory. An object appears in S3 when it is complete,
not before.

If the process dies in the middle of a large upload, its parts stay, invisible and paid for, until a lifecycle rule of
the bucket (``AbortIncompleteMultipartUpload``) removes them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import Executor
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from boto3.s3.transfer import TransferConfig

from depot_lite.errors import ConfigurationError, DepotError, StorageFailed
from depot_lite.io.boto3.client import S3Connection
from depot_lite.io.boto3.copies import CopyDiffers, Original, is_refusal
from depot_lite.io.boto3.errors import CHANGED, CONFLICT, ERRORS, NO_CONDITIONS, S3_ERRORS, code_of, translating
from depot_lite.io.boto3.forms import can_be_sent, form_of
from depot_lite.io.boto3.listing import listing
from depot_lite.io.boto3.objects import arguments_of, arguments_of_copy, encode_crc32, info_of
from depot_lite.io.boto3.options import NewClient, bucket_of, prefix_of, transfer_of, upload_arguments
from depot_lite.io.boto3.stream import RangeReader, request_body
from depot_lite.io.interfaces import FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.objects.metadata import time_of
from depot_lite.io.objects.options import expiry_of, max_value_of, web_server
from depot_lite.io.objects.readers import SummedReader
from depot_lite.io.objects.silence import Patience
from depot_lite.io.objects.versions import ObjectVersion, VersionedStorage
from depot_lite.io.options import boolean
from depot_lite.io.urls import UrlSigner

__all__ = ["S3Storage"]

#: The headers of an object.
Headers = Mapping[str, Any]

#: How many parts S3 takes.
_PART_LIMIT: Final = 10_000

#: How often a conditional request is sent that meets another one.
_ATTEMPTS: Final = 5

#: Codes of servers that cannot delete in batches, or need a checksum of the request that boto3 no longer sends.
_NO_BATCHES: Final = {"NotImplemented", "MethodNotAllowed", "MissingContentMD5", "InvalidRequest", "InvalidArgument"}

#: Arguments of an upload that requests to read the object need too.
_OF_READING: Final = {
    "SSECustomerAlgorithm",
    "SSECustomerKey",
    "SSECustomerKeyMD5",
    "RequestPayer",
    "ExpectedBucketOwner",
}
_OF_ACCESS: Final = {"RequestPayer", "ExpectedBucketOwner"}


class S3Storage(VersionedStorage[str, Headers]):
    """Files in ``bucket``. Options may be strings, as they come from .ini files and the environment.

    The first eight are filedepot's, by position too. Of two names for one option, one is given.

    `ObjectStorage` describes the options for URLs and threads. URLs and forms are for the region of the bucket, which
    is asked for once if no request has told it. Signed URLs end with the credentials if those expire (a role). Unsigned
    URLs give the name, disposition and type that the object was stored with: S3 lets only signed ones change them.
    Objects are public with the policy ``public-read``, with ``sign_urls`` off, and with a ``public_base_url``.
    """

    table = ERRORS

    def __init__(
        self,
        # By default boto3 looks for credentials: in the environment, in files, in the role of the machine.
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        # By default filedepot-<access key>, as in filedepot.
        bucket: str | None = None,
        region_name: str | None = None,
        # A canned ACL, such as "public-read". By default none is sent, and the bucket decides.
        policy: str | None = None,
        storage_class: str | None = None,
        # A server other than Amazon's.
        endpoint_url: str | None = None,
        # The start of all keys, such as "media/".
        prefix: str = "",
        *,
        bucket_name: str | None = None,
        folder_name: str | None = None,
        # More arguments of boto3's client(), such as config=botocore.config.Config(...).
        connection_kwargs: Mapping[str, Any] | str | None = None,
        sign_urls: bool | str = True,
        signed_url_expiry: int | str | timedelta = 3600,
        # Arguments of every upload, out of boto3's ALLOWED_UPLOAD_ARGS: CacheControl, ServerSideEncryption, ...
        upload_metadata: Mapping[str, Any] | str | None = None,
        # The longest value of one entry of the metadata that the server takes: 256 for Swift.
        max_metadata_value: int | str | None = None,
        # A boto3 client, instead of keys, region, endpoint and connection_kwargs.
        client: Any = None,
        public_base_url: str | None = None,
        url_signer: UrlSigner | None = None,
        # The server as browsers reach it, if it has another address for the application: URLs are signed for this one.
        public_endpoint_url: str | None = None,
        # A boto3.s3.transfer.TransferConfig, or its arguments.
        transfer_config: TransferConfig | Mapping[str, Any] | str | None = None,
        # Make the bucket at first use if it is missing.
        create_bucket: bool | str = False,
        concurrency: int | str = 16,
        executor: Executor | None = None,
        timeout: float | str | timedelta = 60,
        copy_timeout: float | str | timedelta = 300,
    ) -> None:
        patience = Patience.of(timeout, copy_timeout)
        self._bucket, prefix = bucket_of(bucket, bucket_name, access_key_id), prefix_of(prefix, folder_name)
        urls = sign_urls, signed_url_expiry, public_base_url
        super().__init__(prefix, concurrency, executor, *urls, patience, url_signer)
        self._upload = upload_arguments(policy, storage_class, upload_metadata)
        self._max_value, self._transfer = max_value_of(max_metadata_value), transfer_of(transfer_config)
        new = NewClient(access_key_id, secret_access_key, region_name, endpoint_url, connection_kwargs)
        public = web_server("public_endpoint_url", public_endpoint_url)
        self._connect(client, new, public, create_bucket=boolean("create_bucket", create_bucket))

    def _connect(self, client: Any, new: NewClient, public: str | None, *, create_bucket: bool) -> None:
        if client is not None and new.is_given:
            raise ConfigurationError("client and the options of a new client contradict each other")
        arguments = partial(new.arguments, self._concurrency, self._silence.patience)
        arguments()  # now, so that invalid options are refused early
        # Unless the user's config decides, the abilities of the server do.
        self._validates = client is None and new.leaves_validation
        acl = self._upload.get("ACL")
        self._connection = S3Connection(self._bucket, client, arguments, public, create_bucket, acl, self._silence)

    @property
    def location(self) -> Hashable:
        """Bucket and prefix, without the server, which may have several addresses."""
        return "s3", self._bucket, self._prefix

    def __repr__(self) -> str:
        """Show where the files are."""
        return f"S3Storage({self._bucket!r}, prefix={self._prefix!r})"

    # --- requests -------------------------------------------------------------------------------------------------

    @property
    def _client(self) -> Any:
        return self._connection.client

    @property
    def _endpoint(self) -> str:
        """The server. Two storages on one server may copy from each other."""
        return str(self._client.meta.endpoint_url)

    def _checksums(self) -> bool:
        """Return whether to send S3's checksums, by the config of the client: some servers do not accept them."""
        if "ChecksumAlgorithm" in self._upload:
            return False  # the user's own is computed by boto3
        return bool(self._client.meta.config.request_checksum_calculation == "when_supported")

    @property
    def _mode(self) -> dict[str, str]:
        """Return the arguments by which a server tells its checksum of an object, if it has one, and boto3 verifies it.

        Not of requests for a part: some servers answer them with the checksum of the whole
        (https://github.com/ceph/ceph/pull/61901).
        """
        validates = self._validates or self._client.meta.config.response_checksum_validation == "when_supported"
        return {"ChecksumMode": "ENABLED"} if validates else {}

    @property
    def _root(self) -> str:
        return f"s3://{self._bucket}/"

    def _where(self, file_id: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._key(file_id)}

    def _arguments(self, names: set[str]) -> dict[str, Any]:
        """Return the arguments of uploads that another request needs too."""
        return {name: value for name, value in self._upload.items() if name in names}

    # --- storing --------------------------------------------------------------------------------------------------

    @property
    def _part_size(self) -> int:  # type: ignore[override]  # read only
        return int(self._transfer.multipart_threshold)

    def _new_info(self, file_id: str, filename: str | None, content_type: str) -> FileInfo:
        return super()._new_info(file_id, filename, self._upload.get("ContentType") or content_type)

    def _put(
        self, info: FileInfo, data: bytes, *, new: bool, condition: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        arguments = {**arguments_of(info, self._upload, self._max_value), **condition}
        if self._checksums():
            # Our own checksum: over HTTPS, boto3 would send its checksum in a trailer.
            arguments["ChecksumCRC32"] = encode_crc32(info.checksum)
        with self._sending(info.file_id, arguments["Metadata"]):
            self._client.put_object(**self._where(info.file_id), Body=request_body(data), **arguments)

    _no_version = "00000000000000000000000000000000"

    def _version_in(self, record: Headers) -> Any:
        return record["ETag"]

    def _put_if(self, info: FileInfo, data: bytes, version: Any) -> bool | None:
        if version is None:
            return self._put_on(info, data, {"IfNoneMatch": "*"})
        # Amazon takes ETags with and without quotes, radosgw only without.
        forms = dict.fromkeys([version.strip('"'), version])
        answers = (self._put_on(info, data, {"IfMatch": each}) for each in forms)
        return next((each for each in answers if each is not False), False)

    def _put_on(
        self, info: FileInfo, data: bytes, condition: Mapping[str, str], attempts: int = _ATTEMPTS
    ) -> bool | None:
        try:
            self._put(info, data, new=False, condition=condition)
        except StorageFailed as error:
            code = code_of(error.__cause__)
            if code == CONFLICT and attempts > 1:
                return self._put_on(info, data, condition, attempts - 1)
            if code not in CHANGED | NO_CONDITIONS:
                raise
            return None if code in NO_CONDITIONS else False
        return True

    def _put_large(self, info: FileInfo, content: SummedReader, size: int | None, *, new: bool) -> Mapping[str, str]:
        """Store content in parts, several at a time; boto3 aborts the upload when anything fails."""
        arguments = arguments_of(info, self._upload, self._max_value)
        if self._checksums() and info.checksum is not None:
            arguments["ChecksumCRC32"] = encode_crc32(info.checksum)
        elif self._checksums():
            arguments |= {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
        metadata: Mapping[str, str] = arguments["Metadata"]
        with self._sending(info.file_id, metadata):
            self._client.upload_fileobj(
                content, **self._where(info.file_id), ExtraArgs=arguments, Config=self._config_for(size)
            )
        return metadata

    def _add_checksum(self, info: FileInfo, metadata: Mapping[str, str], checksum: str) -> FileInfo:
        return replace(info, checksum=checksum)  # of which S3 itself keeps one

    def _config_for(self, size: int | None) -> TransferConfig:
        """Return the transfer's configuration, with parts large enough for S3's limit on their number."""
        config = self._transfer
        smallest = -(-(size or 0) // _PART_LIMIT)
        if smallest > config.multipart_chunksize:
            config = copy(config)
            config.multipart_chunksize = smallest
        return config

    def _reaches(self, source: FileStorage) -> bool:
        return isinstance(source, S3Storage) and source._endpoint == self._endpoint

    def _refuses(self, error: DepotError) -> bool:
        return is_refusal(error)

    def _description(self, info: FileInfo, record: Headers) -> dict[str, Any]:
        return arguments_of(info, self._upload, self._max_value)

    def _same_description(self, record: Headers, when: datetime) -> dict[str, Any]:
        return arguments_of_copy(record, when, self._upload)

    def _copy_version(
        self, source: S3Storage, source_id: str, record: Headers, file_id: str, description: Mapping[str, Any]
    ) -> None:
        original = Original(source._where(source_id), record, source._arguments(_OF_READING))
        try:
            answer = original.copy(self._client, self._where(file_id), description)
        except S3_ERRORS as error:
            self._unless_stored(file_id, description["Metadata"], error)
            return
        if original.differs_from(answer):
            self._delete(file_id)
            raise CopyDiffers(f"file {source_id} was replaced while it was copied")

    # --- finding --------------------------------------------------------------------------------------------------

    def _open(self, file_id: str) -> StoredFile:
        found = self._get(file_id, **self._mode)
        info = info_of(file_id, found)
        reader = RangeReader(
            found["Body"],
            info.content_length,
            self._what("read", file_id),
            partial(self._get_range, file_id, found["ETag"]),
        )
        record = {name: value for name, value in found.items() if name != "Body"}
        return ObjectVersion(info, reader, self._url_beside(file_id), self, record)

    def _get(self, file_id: str, **arguments: str) -> dict[str, Any]:
        with translating(self._what("read", file_id), file_id):
            found: dict[str, Any] = self._client.get_object(
                **self._where(file_id), **self._arguments(_OF_READING), **arguments
            )
        return found

    def _get_range(self, file_id: str, etag: str, start: int) -> Any:
        """Return the body from a position on, of the same object."""
        try:
            found = self._get(file_id, Range=f"bytes={start}-", IfMatch=etag)
        except StorageFailed as error:
            if code_of(error.__cause__) in {"PreconditionFailed", "412"}:
                raise StorageFailed(f"file {file_id} was replaced while it was read") from error
            raise
        if not found.get("ContentRange", "").startswith(f"bytes {start}-"):
            found["Body"].close()
            raise StorageFailed(f"cannot {self._what('read', file_id)}: the server sent another range than requested")
        return found["Body"]

    def _look(self, file_id: str) -> Headers:
        found: Headers = self._client.head_object(**self._where(file_id), **self._arguments(_OF_READING), **self._mode)
        return found

    def _info_in(self, file_id: str, record: Headers) -> FileInfo:
        return info_of(file_id, record)

    def _metadata_in(self, record: Headers) -> Mapping[str, str]:
        metadata: Mapping[str, str] = record["Metadata"]
        return metadata

    def _check_container(self) -> None:
        self._connection.check_bucket()

    def _list(self) -> Iterator[FileEntry]:
        return listing(self._ask, self._bucket, self._prefix, self._concurrency)

    def _now(self) -> datetime:
        """Return the server's time, as the header of its answer tells it."""
        with translating(f"list s3://{self._bucket}/{self._prefix}"):
            answer = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1, **self._arguments(_OF_ACCESS)
            )
        return time_of(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))

    def _ask(self, **where: str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._client.list_objects_v2(**where, **self._arguments(_OF_ACCESS))
        return answer

    # --- deleting -------------------------------------------------------------------------------------------------

    def _delete_object(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=key, **self._arguments(_OF_ACCESS))

    def _undelete(self, file_id: str, *, dry_run: bool) -> bool:
        """Remove the delete markers that hide the last version of the object: each deletion leaves another one."""
        key, access = self._key(file_id), self._arguments(_OF_ACCESS)
        with translating(self._what("restore", file_id)):
            pages = list(
                self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=key, **access)
            )
            markers = [each for page in pages for each in page.get("DeleteMarkers", ()) if each["Key"] == key]
            kept = any(each["Key"] == key for page in pages for each in page.get("Versions", ()))
            if not kept or not any(each["IsLatest"] for each in markers):
                return False
            # The latest one last, so that the file stays deleted if this is interrupted.
            for marker in () if dry_run else sorted(markers, key=lambda each: bool(each["IsLatest"])):
                self._client.delete_object(**self._where(file_id), VersionId=marker["VersionId"], **access)
        return True

    #: What S3 deletes with one request.
    _batch_limit = 1000

    def _delete_batch(self, file_ids: list[str]) -> dict[str, Exception]:
        what = f"delete {len(file_ids)} files of s3://{self._bucket}/{self._prefix}"
        doomed = {"Objects": [{"Key": self._key(each)} for each in file_ids], "Quiet": True}
        try:
            with translating(what):
                answer = self._client.delete_objects(Bucket=self._bucket, Delete=doomed, **self._arguments(_OF_ACCESS))
        except StorageFailed as error:
            if code_of(error.__cause__) in _NO_BATCHES:
                return self._delete_each(file_ids)
            return dict.fromkeys(file_ids, error)
        return {
            each["Key"].removeprefix(self._prefix): StorageFailed(
                f"cannot delete s3://{self._bucket}/{each['Key']}: the server answers {each.get('Code')}"
            )
            for each in answer.get("Errors", ())
            if each.get("Code") != "NoSuchKey"
        }

    # --- URLs -----------------------------------------------------------------------------------------------------

    @property
    def _public(self) -> bool:
        return self._upload.get("ACL") == "public-read" or not self._sign_urls or self._public_base_url is not None

    def _signed_url(self, key: str, expires_in: int, headers: Mapping[str, str]) -> str:
        return self._connection.urls.signed(key, expires_in, headers)

    def _unsigned_url(self, key: str) -> str:
        return self._connection.urls.plain(key)

    def _upload_form(
        self, file_id: str, max_size: int, content_type: str | None, filename: str | None, expires_in: int
    ) -> tuple[str, dict[str, str]] | None:
        if not can_be_sent(self._upload):
            return None
        limits = {"max_size": max_size, "expires_in": expiry_of("expires_in", expires_in)}
        with translating(self._what("sign a form for", file_id)):
            client = self._client  # which makes the bucket if that is asked for
            with self._connection.urls.signing():
                return form_of(
                    client,
                    self._bucket,
                    self._key(file_id),
                    self._upload,
                    self._max_value,
                    content_type=content_type,
                    filename=filename,
                    **limits,
                )
