"""The one client of a storage, which all threads share, and the bucket that it is for."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError

from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.boto3.errors import S3_ERRORS, code_of, is_missing, translating
from depot_lite.io.boto3.listing import prepare
from depot_lite.io.boto3.urls import ObjectUrls


@dataclass(frozen=True, slots=True)
class _Made:
    process: int
    client: Any
    urls: ObjectUrls


class S3Connection:
    """A client that is made when it is first wanted, and again in the child after a fork.

    Not in the constructor: looking for credentials may ask the network. And two processes that use one connection get
    each other's answers.
    """

    def __init__(
        self, bucket: str, ready: Any, arguments: Mapping[str, Any], *, create_bucket: bool, acl: str | None
    ) -> None:
        self._bucket = bucket
        self._ready = ready
        self._arguments = arguments
        self._create_bucket = create_bucket
        self._acl = acl
        self._made: _Made | None = None
        self._lock = threading.Lock()
        # Whether the bucket is known to be there.
        self._seen = False

    @property
    def client(self) -> Any:
        """The client, of a bucket that was made if it was missing and shall be."""
        if self._create_bucket and not self._seen:
            client = self._get().client
            with self._lock:
                if not self._seen:
                    self._make_bucket(client)
                    self._seen = True
        return self._get().client

    @property
    def urls(self) -> ObjectUrls:
        """The URLs of the bucket's objects, which need no request and so no bucket."""
        return self._get().urls

    def _get(self) -> _Made:
        made = self._made
        if made is None or made.process != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made.process != os.getpid():
                    client = self._new_client() if self._ready is None else self._ready
                    prepare(client)
                    made = self._made = _Made(os.getpid(), client, ObjectUrls(client, self._bucket))
        return made

    def _new_client(self) -> Any:
        try:
            # A session of its own: that which boto3 shares is not for threads.
            return boto3.Session().client("s3", **self._arguments)
        except (*S3_ERRORS, ValueError, TypeError) as error:
            # Without its text and its traceback, which may quote what was refused.
            name = type(error).__name__
            raise ConfigurationError(f"boto3 makes no client for bucket {self._bucket!r}: {name}") from None

    def check_bucket(self) -> None:
        """Raise `StorageFailed` if there is no bucket.

        Where an object is missing, HEAD does not say whether its bucket is: it has no body. So the first time it is
        asked for, lest all files be called missing because of a typing error.
        """
        if self._seen:
            return
        try:
            self._get().client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _is_no_bucket(error):
                raise StorageFailed(f"there is no bucket {self._bucket!r}") from error
            if code_of(error) not in {"403", "AccessDenied"}:  # it is there, and we may not look at it
                raise
        self._seen = True

    def _make_bucket(self, client: Any) -> None:
        with translating(f"make bucket {self._bucket!r}"):
            try:
                client.head_bucket(Bucket=self._bucket)
                return
            except ClientError as error:
                if not _is_no_bucket(error):
                    raise
            options: dict[str, Any] = {}
            region = client.meta.region_name
            if region not in {None, "us-east-1", "aws-global"}:
                options["CreateBucketConfiguration"] = {"LocationConstraint": region}
            if self._acl is not None:
                options["ObjectOwnership"] = "BucketOwnerPreferred"  # else it takes no ACLs
            try:
                client.create_bucket(Bucket=self._bucket, **options)
            except ClientError as error:
                if code_of(error) != "BucketAlreadyOwnedByYou":  # another process was faster
                    raise
            if self._acl == "public-read":
                client.put_public_access_block(Bucket=self._bucket, PublicAccessBlockConfiguration=_PUBLIC_BY_ACL)


_PUBLIC_BY_ACL = {
    "BlockPublicAcls": False,
    "IgnorePublicAcls": False,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


def _is_no_bucket(error: ClientError) -> bool:
    return is_missing(error) or code_of(error) == "NoSuchBucket"
