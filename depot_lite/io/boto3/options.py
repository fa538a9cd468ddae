"""The options of an `S3Storage`, as programs and .ini files give them, made into what boto3 takes.

No value of an option that may hold a secret is ever quoted: not in an error, and not in a representation.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import S3Transfer, TransferConfig
from botocore.config import Config

from depot_lite.errors import ConfigurationError
from depot_lite.io.objects.options import choice, known, mapping, web_address

_POLICIES: Final = (
    "private",
    "public-read",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
)
# What belongs to one content and not to all, or is computed here.
_OF_ONE_FILE: Final = ("MpuObjectSize", "ChecksumType")
_CLIENT_OPTIONS: Final = frozenset(inspect.signature(boto3.Session.client).parameters) - {"self", "service_name"}


def either(first: str, first_value: str | None, second: str, second_value: str | None) -> str | None:
    """Return the value of an option that has two names.

    Raises:
        ConfigurationError: they say different things.
    """
    if first_value and second_value and first_value != second_value:
        raise ConfigurationError(f"{first}={first_value!r} and {second}={second_value!r} contradict each other")
    return first_value or second_value or None


def bucket_of(bucket: str | None, bucket_name: str | None, access_key_id: str | None) -> str:
    """Return the name of the bucket; where none is given, the one that filedepot makes of the access key."""
    name = either("bucket", bucket, "bucket_name", bucket_name)
    if name is None and access_key_id:
        name = f"filedepot-{access_key_id.lower()}"
    if name is None:
        raise ConfigurationError("bucket is missing: the name of a bucket is wanted")
    return name


def prefix_of(prefix: str | None, folder_name: str | None) -> str:
    """Return what all keys begin with. A prefix is taken as it is, as filedepot does; a folder ends in a slash."""
    folder = f"{folder_name.strip('/')}/" if folder_name and folder_name.strip("/") else None
    return either("prefix", prefix, "folder_name", folder) or ""


def upload_arguments(
    policy: str | None, storage_class: str | None, upload_metadata: Mapping[str, Any] | str | None
) -> dict[str, Any]:
    """Return the arguments that every upload gets. No ACL is among them unless one was asked for."""
    found = mapping("upload_metadata", upload_metadata)
    allowed = [
        each
        for each in S3Transfer.ALLOWED_UPLOAD_ARGS
        if each not in _OF_ONE_FILE and (not each.startswith("Checksum") or each == "ChecksumAlgorithm")
    ]
    known("upload_metadata", found, allowed)
    policy = choice("policy", policy, _POLICIES)
    for option, value, argument in (("policy", policy, "ACL"), ("storage_class", storage_class, "StorageClass")):
        chosen = either(option, value, f"upload_metadata[{argument!r}]", found.get(argument))
        if chosen is not None:
            found[argument] = chosen
    if not isinstance(found.get("SSECustomerKey", ""), str | bytes):
        raise ConfigurationError("upload_metadata['SSECustomerKey']: a string or bytes are wanted")
    found["Metadata"] = {str(key): str(value) for key, value in mapping("Metadata", found.get("Metadata")).items()}
    return found


def client_arguments(
    access_key_id: str | None,
    secret_access_key: str | None,
    region_name: str | None,
    endpoint_url: str | None,
    connection_kwargs: Mapping[str, Any] | str | None,
    concurrency: int,
) -> dict[str, Any]:
    """Return the arguments of ``boto3.Session.client``."""
    found = mapping("connection_kwargs", connection_kwargs)
    known("connection_kwargs", found, _CLIENT_OPTIONS)
    if bool(access_key_id) != bool(secret_access_key):
        raise ConfigurationError("access_key_id and secret_access_key: both are wanted or none")
    for option, value, argument in (
        ("access_key_id", access_key_id, "aws_access_key_id"),
        ("secret_access_key", secret_access_key, "aws_secret_access_key"),
        ("region_name", region_name, "region_name"),
        ("endpoint_url", endpoint_url, "endpoint_url"),
    ):
        if value and found.get(argument, value) != value:
            raise ConfigurationError(f"{option} and connection_kwargs[{argument!r}] contradict each other")
        if value:
            found[argument] = value
    found["endpoint_url"] = web_address("endpoint_url", found.get("endpoint_url"))
    found["config"] = _config(found.get("config"), found["endpoint_url"], concurrency)
    return found


def _config(own: Any, endpoint_url: str | None, concurrency: int) -> Config:
    if own is not None and not isinstance(own, Config):
        raise ConfigurationError("connection_kwargs['config']: a botocore.config.Config is wanted")
    chosen: dict[str, Any] = {
        # As many connections are kept as there may be transfers, and those that one large upload adds.
        "max_pool_connections": concurrency + 10,
        # Else some regions sign URLs by version 2, which most servers have given up.
        "signature_version": "s3v4",
    }
    endpoint = endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and not (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        # Servers that do not know the checksums that boto3 sends behind the content since 1.36 refuse every upload
        # (https://github.com/boto/boto3/issues/4392).
        chosen["request_checksum_calculation"] = chosen["response_checksum_validation"] = "when_required"
    elif not endpoint:
        # Else signed URLs lead to the address for all regions, which redirects to another host than was signed.
        chosen["s3"] = {"addressing_style": "virtual"}
    config = Config(**chosen)
    # What the user's says wins.
    return config if own is None else config.merge(own)


def transfer_of(value: TransferConfig | Mapping[str, Any] | str | None) -> TransferConfig:
    """Return how large content is sent: unlike boto3's default through our client, also where awscrt is installed."""
    if isinstance(value, TransferConfig):
        return value
    options = {"preferred_transfer_client": "classic", **mapping("transfer_config", value)}
    try:
        return TransferConfig(**options)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"transfer_config: {error}") from error
