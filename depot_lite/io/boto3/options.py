"""The options of an `S3Storage`, converted to arguments of boto3.

Values that may hold a secret are quoted neither in errors nor in representations.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import boto3
from boto3.s3.transfer import S3Transfer, TransferConfig
from botocore.config import Config

from depot_lite.errors import ConfigurationError
from depot_lite.io.boto3.region import is_amazons
from depot_lite.io.objects.options import choice, known, mapping
from depot_lite.io.objects.silence import Patience
from depot_lite.io.options import web_address

_POLICIES: Final = (
    "private",
    "public-read",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
)
# Arguments that belong to one content, or are computed here.
_PER_FILE: Final = ("MpuObjectSize", "ChecksumType")
_CLIENT_OPTIONS: Final = frozenset(inspect.signature(boto3.Session.client).parameters) - {"self", "service_name"}


def either(first: str, first_value: str | None, second: str, second_value: str | None) -> str | None:
    """Return the value of an option with two names.

    Raises:
        ConfigurationError: the two values differ.
    """
    if first_value and second_value and first_value != second_value:
        raise ConfigurationError(f"{first}={first_value!r} and {second}={second_value!r} contradict each other")
    return first_value or second_value or None


def bucket_of(bucket: str | None, bucket_name: str | None, access_key_id: str | None) -> str:
    """Return the name of the bucket; if not set, filedepot's name with the access key."""
    name = either("bucket", bucket, "bucket_name", bucket_name)
    if name is None and access_key_id:
        name = f"filedepot-{access_key_id.lower()}"
    if name is None:
        raise ConfigurationError("bucket is missing: expected the name of a bucket")
    return name


def prefix_of(prefix: str | None, folder_name: str | None) -> str:
    """Return the start of all keys. A prefix is used unchanged, as in filedepot; a folder gets a slash at its end."""
    folder = f"{folder_name.strip('/')}/" if folder_name and folder_name.strip("/") else None
    return either("prefix", prefix, "folder_name", folder) or ""


def upload_arguments(
    policy: str | None, storage_class: str | None, upload_metadata: Mapping[str, Any] | str | None
) -> dict[str, Any]:
    """Return the arguments of every upload. No ACL is among them unless it is configured."""
    found = mapping("upload_metadata", upload_metadata)
    allowed = [
        each
        for each in S3Transfer.ALLOWED_UPLOAD_ARGS
        if each not in _PER_FILE and (not each.startswith("Checksum") or each == "ChecksumAlgorithm")
    ]
    known("upload_metadata", found, allowed)
    policy = choice("policy", policy, _POLICIES)
    for option, value, argument in (("policy", policy, "ACL"), ("storage_class", storage_class, "StorageClass")):
        chosen = either(option, value, f"upload_metadata[{argument!r}]", found.get(argument))
        if chosen is not None:
            found[argument] = chosen
    if not isinstance(found.get("SSECustomerKey", ""), str | bytes):
        raise ConfigurationError("upload_metadata['SSECustomerKey']: expected a string or bytes")
    found["Metadata"] = {str(key): str(value) for key, value in mapping("Metadata", found.get("Metadata")).items()}
    return found


class NewClient(NamedTuple):
    """The options of a client that is not ready."""

    access_key_id: str | None
    secret_access_key: str | None
    region_name: str | None
    endpoint_url: str | None
    connection_kwargs: Mapping[str, Any] | str | None

    @property
    def is_given(self) -> bool:
        """Whether one of the options is given."""
        return bool(self.access_key_id or self.region_name or self.endpoint_url or self.connection_kwargs)

    @property
    def leaves_validation(self) -> bool:
        """Whether the user's config leaves open if boto3 verifies checksums of answers."""
        own = mapping("connection_kwargs", self.connection_kwargs).get("config")
        return getattr(own, "response_checksum_validation", None) is None

    def arguments(self, concurrency: int, patience: Patience, configured: str | None = None) -> dict[str, Any]:
        """Return the arguments of ``boto3.Session.client``.

        Args:
            configured: the endpoint that boto3 takes from its files or the environment, if it is not Amazon's.
        """
        found = mapping("connection_kwargs", self.connection_kwargs)
        known("connection_kwargs", found, _CLIENT_OPTIONS)
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ConfigurationError("access_key_id and secret_access_key: expected both or neither")
        for option, value, argument in (
            ("access_key_id", self.access_key_id, "aws_access_key_id"),
            ("secret_access_key", self.secret_access_key, "aws_secret_access_key"),
            ("region_name", self.region_name, "region_name"),
            ("endpoint_url", self.endpoint_url, "endpoint_url"),
        ):
            if value and found.get(argument, value) != value:
                raise ConfigurationError(f"{option} and connection_kwargs[{argument!r}] contradict each other")
            if value:
                found[argument] = value
        endpoint = found.get("endpoint_url")
        if isinstance(endpoint, str) and endpoint and "://" not in endpoint:
            endpoint = f"https://{endpoint}"  # as Piccolo's page writes it
        found["endpoint_url"] = web_address("endpoint_url", endpoint)
        found["config"] = _config(found.get("config"), found["endpoint_url"] or configured, concurrency, patience)
        return found


def _config(given: Any, endpoint_url: str | None, concurrency: int, patience: Patience) -> Config:
    if given is not None and not isinstance(given, Config):
        raise ConfigurationError("connection_kwargs['config']: expected a botocore.config.Config")
    chosen: dict[str, Any] = {
        # One connection for each transfer, and some for the parts of a large upload.
        "max_pool_connections": concurrency + 10,
        "connect_timeout": patience.connect,
        "read_timeout": patience.read,
        # Otherwise some regions sign URLs by version 2, which most servers no longer accept.
        "signature_version": "s3v4",
    }
    if endpoint_url and not is_amazons(endpoint_url):
        # Since 1.36 boto3 sends checksums in trailers. Servers that do not support these refuse every upload
        # (https://github.com/boto/boto3/issues/4392). `S3Storage` asks for those of answers.
        chosen["request_checksum_calculation"] = chosen["response_checksum_validation"] = "when_required"
    elif not endpoint_url:
        # Otherwise signed URLs lead to the global address, which redirects to a host that was not signed.
        chosen["s3"] = {"addressing_style": "virtual"}
    config = Config(**chosen)
    # The user's settings win.
    return config if given is None else config.merge(given)


def transfer_of(value: TransferConfig | Mapping[str, Any] | str | None) -> TransferConfig:
    """Return the configuration of transfers. They use our client even if awscrt is installed."""
    if isinstance(value, TransferConfig):
        return value
    options = {"preferred_transfer_client": "classic", **mapping("transfer_config", value)}
    try:
        return TransferConfig(**options)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"transfer_config: {error}") from error
