"""Signed URLs and forms of a bucket whose depot has no region, or the wrong one; and endpoints from ~/.aws/config."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

from depot_lite.io.boto3 import S3Storage
from depot_lite.io.fileid import new_file_id
from tests.io.amazon import Amazon
from tests.io.s3_server import Server, moto_server
from tests.support.children import in_child

HOME = "eu-central-1"
Make = Callable[..., S3Storage]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with moto_server() as made:
        yield made


@pytest.fixture
def amazon(server: Server) -> Amazon:
    return Amazon(server, HOME)


@pytest.fixture
def make(server: Server, amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return what makes storages of one bucket in HOME."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with server.bucket() as bucket:
        yield lambda region=None, **options: amazon.attach(
            S3Storage(server.access_key, server.secret_key, bucket, region, **options)
        )


def scope_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")[2]


@pytest.mark.parametrize("region", [None, "us-east-1", "ap-south-1"])
def test_a_url_is_right_from_the_first_one_on(make: Make, amazon: Amazon, region: str | None) -> None:
    """In a process that has sent no request before; the region is asked for once, and later requests go straight."""
    file_id = make(region).create(b"bytes")
    storage = make(region)
    amazon.taken()
    assert amazon.get(storage.url(file_id)) == (200, b"bytes")
    asked = amazon.taken()
    assert list(asked) == ["HeadBucket"]
    assert asked["HeadBucket"] <= 2  # boto3 follows the hint
    assert amazon.get(storage.url(file_id, filename="a.txt"))[0] == 200
    with storage.get(file_id) as file:
        assert file.read() == b"bytes"
    assert amazon.taken() == {"GetObject": 1}


@pytest.mark.parametrize("region", [None, "ap-south-1"])
def test_a_form_names_the_bucket_where_it_is(make: Make, region: str | None) -> None:
    url, fields = make(region).upload_form(new_file_id(), max_size=10) or ("", {})
    assert urlsplit(url).netloc.endswith(f".s3.{HOME}.amazonaws.com")
    assert fields["x-amz-credential"].split("/")[2] == HOME


def test_unsigned_urls_are_right_too(make: Make, amazon: Amazon) -> None:
    file_id = make(policy="public-read").create(b"bytes")
    assert amazon.get(make("ap-south-1", sign_urls=False).url(file_id)) == (200, b"bytes")


def test_the_hint_of_an_earlier_request_is_enough(make: Make, amazon: Amazon) -> None:
    storage = make()
    file_id = storage.create(b"bytes")
    assert amazon.taken() == {"PutObject": 2}
    assert amazon.get(storage.url(file_id)) == (200, b"bytes")
    assert storage.exists(file_id)
    assert amazon.taken() == {"HeadObject": 1}


def test_a_right_region_costs_no_request(make: Make, amazon: Amazon) -> None:
    """A request that was accepted proves it. Only a process that begins with a URL has to ask."""
    storage = make(HOME)
    file_id = storage.create(b"bytes")
    assert amazon.get(storage.url(file_id)) == (200, b"bytes")
    assert storage.upload_form(file_id, max_size=10) is not None
    assert amazon.taken() == {"PutObject": 1}
    fresh = make(HOME)
    assert {fresh.url(file_id, expires_in=each) for each in range(60, 3600, 60)}
    assert amazon.taken() == {"HeadBucket": 1}


def test_a_region_without_a_name_is_the_first_one(server: Server, make: Make) -> None:
    """The URL is the one of filedepot."""
    storage = make(sign_urls=False)
    first = Amazon(server, "us-east-1").attach(S3Storage("key", "secret", storage._bucket, sign_urls=False))
    assert first.url(file_id := new_file_id()) == f"https://{storage._bucket}.s3.amazonaws.com/{file_id}"


def test_children_know_what_their_parent_knew(make: Make) -> None:
    """They make clients of their own, which would ask the real Amazon."""
    storage = make()
    storage.create(b"x")
    assert in_child(lambda: scope_of(storage.url(new_file_id()))) == HOME


def test_a_client_of_the_user_signs_for_the_region_too(server: Server, amazon: Amazon, make: Make) -> None:
    """As boto3 configures it: with signatures of version 2 and the global address."""
    made, keys = make(), {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    client = boto3.Session().client("s3", **keys)
    storage = amazon.attach(S3Storage(bucket=made._bucket, client=client))
    url = storage.url(storage.create(b"bytes"))
    assert amazon.get(url) == (200, b"bytes")
    assert (scope_of(url), urlsplit(url).netloc) == (HOME, f"{made._bucket}.s3.{HOME}.amazonaws.com")
    foreign = client.generate_presigned_url("get_object", Params={"Bucket": "another", "Key": "k"})
    assert urlsplit(foreign).netloc == "another.s3.amazonaws.com"


def test_a_bucket_that_has_moved_is_found_again(server: Server, amazon: Amazon, make: Make) -> None:
    storage = make()
    file_id = storage.create(b"bytes")
    amazon._region = "eu-west-1"
    assert storage.exists(file_id)
    assert amazon.get(storage.url(file_id)) == (200, b"bytes")


def test_without_an_answer_the_configured_region_has_to_do(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked for once, for five seconds and without repetitions, and again after a minute."""
    attempts: list[str] = []

    def fail(event_name: str, **_: object) -> None:
        attempts.append(event_name)
        raise EndpointConnectionError(endpoint_url="https://s3.amazonaws.com")

    storage = make("eu-west-3")
    storage._client.meta.events.register_first("before-send.s3", fail)
    timeouts: list[float] = []
    storage._client.meta.events.register(
        "request-created.s3.HeadBucket", lambda request, **_: timeouts.append(request.context["read_timeout"])
    )
    with caplog.at_level(logging.WARNING, "depot_lite"):
        assert scope_of(storage.url(new_file_id())) == scope_of(storage.url(new_file_id())) == "eu-west-3"
    assert (attempts, timeouts) == (["before-send.s3.HeadBucket"], [5.0])
    assert ["cannot be found" in each.message for each in caplog.records] == [True]
    storage._client.meta.events.unregister("before-send.s3", fail)
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert scope_of(storage.url(new_file_id())) == HOME


@pytest.mark.parametrize("endpoint", ["https://s3.example.com", "http://127.0.0.1:9"])
def test_other_servers_are_not_asked(endpoint: str) -> None:
    storage = S3Storage("key", "secret", "bucket", "garage", endpoint_url=endpoint)
    assert scope_of(storage.url(new_file_id())) == "garage"


def test_what_another_server_accepts_is_right(server: Server) -> None:
    """Whatever region it says that the bucket is in."""
    with server.bucket() as bucket:
        storage = server.storage(bucket, region_name="garage")
        storage._connection.check_bucket()
        assert scope_of(storage.url(new_file_id())) == "garage"


# --- endpoints that are configured for boto3 --------------------------------------------------------------------------

PLAIN = "[default]\nendpoint_url = https://s3.example.com\n"
SERVICES = "[default]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = https://s3.example.com\n"


def config_of(storage: S3Storage) -> dict[str, Any]:
    config = storage._client.meta.config
    names = ("request_checksum_calculation", "response_checksum_validation", "s3", "signature_version", "read_timeout")
    return {name: getattr(config, name) for name in names} | {
        "url": storage.url("b3a1c6de-0000-4000-8000-000000000000")[:35]
    }


@pytest.mark.parametrize("text", [PLAIN, SERVICES], ids=["endpoint_url", "services"])
def test_an_endpoint_in_a_file_is_like_one_that_is_given(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those in files and the environment; a file can be told to be ignored."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    given = config_of(S3Storage("key", "secret", "bucket", "us-east-1", endpoint_url="https://s3.example.com"))
    assert given["request_checksum_calculation"] == "when_required"
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert config_of(S3Storage("key", "secret", "bucket", "us-east-1")) == given
    own = {"config": Config(request_checksum_calculation="when_supported")}
    chosen = S3Storage("key", "secret", "bucket", "us-east-1", connection_kwargs=own)
    assert config_of(chosen) == given | {"request_checksum_calculation": "when_supported"}
    amazons = S3Storage("key", "secret", "bucket", "us-east-1", endpoint_url="https://s3.us-east-1.amazonaws.com")
    assert amazons._client.meta.config.request_checksum_calculation == "when_supported"
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    ignored = S3Storage("key", "secret", "bucket", "us-east-1")
    assert ignored._client.meta.config.request_checksum_calculation == "when_supported"
