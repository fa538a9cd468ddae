"""The client of an `S3Storage`, and its bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError

from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.boto3.errors import S3_ERRORS, code_of, is_missing, translating
from depot_lite.io.boto3.listing import prepare
from depot_lite.io.boto3.region import BucketRegion, is_amazons
from depot_lite.io.boto3.stream import send_at_once
from depot_lite.io.boto3.urls import ObjectUrls
from depot_lite.io.boto3.waiting import Waiting
from depot_lite.io.objects.clients import BucketConnection
from depot_lite.io.objects.silence import Silence


class S3Connection(BucketConnection[ObjectUrls]):
    """The client of an `S3Storage`, and its bucket."""

    def __init__(
        self,
        bucket: str,
        ready: Any,
        arguments: Callable[[str | None], Mapping[str, Any]],
        public_endpoint: str | None,
        create_bucket: bool,
        acl: str | None,
        silence: Silence,
    ) -> None:
        super().__init__(bucket, ready, create_bucket=create_bucket)
        self._arguments = arguments
        self._public_endpoint = public_endpoint
        self._acl = acl
        # A client of the caller's has timeouts and repetitions of its own.
        self._waiting = Waiting(silence, decides=ready is None)
        self._region = BucketRegion(bucket)

    def _new_urls(self, client: Any) -> ObjectUrls:
        prepare(client)
        self._waiting.watch(client)
        self._region.watch(client)
        client.meta.events.register_last("before-call.s3", send_at_once)
        return ObjectUrls(client, self.bucket, self._region, self._public_endpoint)

    def _new_client(self) -> Any:
        try:
            # A new session: the one that boto3 shares is not safe for threads.
            session = boto3.Session()
            client = session.client("s3", **self._arguments(None))
            # It may come from the environment or from ~/.aws/config, and is treated like one that is given.
            if not _is_default(endpoint := client.meta.endpoint_url):
                client = session.client("s3", **self._arguments(endpoint))
            return client
        except (*S3_ERRORS, ValueError, TypeError) as error:
            # Without text and traceback, which may quote the refused value.
            name = type(error).__name__
            raise ConfigurationError(f"boto3 makes no client for bucket {self.bucket!r}: {name}") from None

    def _look_for_bucket(self) -> None:
        try:
            self.bare_client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if _is_no_bucket(error):
                raise StorageFailed(f"there is no bucket {self.bucket!r}") from error
            if code_of(error) not in {"403", "AccessDenied"}:  # it exists, and we may not look at it
                raise

    def _make_bucket(self, client: Any) -> None:
        with translating(f"make bucket {self.bucket!r}"):
            try:
                client.head_bucket(Bucket=self.bucket)
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
                client.create_bucket(Bucket=self.bucket, **options)
            except ClientError as error:
                # Another thread or process was faster, or is about to.
                if code_of(error) not in {"BucketAlreadyOwnedByYou", "OperationAborted"}:
                    raise
            if self._acl == "public-read":
                client.put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration=_PUBLIC_BY_ACL)


_PUBLIC_BY_ACL = {
    "BlockPublicAcls": False,
    "IgnorePublicAcls": False,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


def _is_default(endpoint: str) -> bool:
    """Return whether boto3 chooses this endpoint by itself; a VPC's is Amazon's, too, and has to be configured."""
    return is_amazons(endpoint) and (urlsplit(endpoint).hostname or "").startswith("s3")


def _is_no_bucket(error: ClientError) -> bool:
    return is_missing(error) or code_of(error) == "NoSuchBucket"
