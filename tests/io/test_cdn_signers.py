"""Signed URLs of CloudFront and Google Cloud CDN, verified as these networks do."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from depot_lite.errors import ConfigurationError
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.boto3.cloudfront import CloudFrontSigner
from depot_lite.io.fileid import new_file_id
from depot_lite.io.gcs import GCSStorage
from depot_lite.io.gcs.cdn import CloudCDNSigner
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots

CDN = "https://d111111abcdef8.cloudfront.net"
KEY = rsa.generate_private_key(65537, 2048)


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def decoded(text: str) -> bytes:
    """Undo CloudFront's alphabet (+ as -, = as _, / as ~)."""
    return base64.b64decode(text.translate(str.maketrans("-_~", "+=/")), validate=True)


@pytest.mark.parametrize("form", ["bytes", "text", "path"])
def test_cloudfront_can_verify_a_url(form: str, tmp_path: Path) -> None:
    """The signature is that of the canned policy: the URL, and the second of its expiry."""
    (tmp_path / "key.pem").write_bytes(pem_of(KEY))
    forms: dict[str, str | bytes | Path] = {
        "bytes": pem_of(KEY),
        "text": pem_of(KEY).decode(),
        "path": tmp_path / "key.pem",
    }
    storage = S3Storage(
        "key", "secret", "bucket", public_base_url=CDN, url_signer=CloudFrontSigner("K123", forms[form])
    )
    before = int(time.time())
    url = storage.url(file_id := new_file_id(), expires_in=60)
    plain, query = f"{CDN}/{file_id}", {name: each for name, (each,) in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{plain}?")
    assert query["Key-Pair-Id"] == "K123"
    assert before + 60 <= int(query["Expires"]) <= int(time.time()) + 75
    condition = {"DateLessThan": {"AWS:EpochTime": int(query["Expires"])}}
    policy = {"Statement": [{"Resource": plain, "Condition": condition}]}
    text = json.dumps(policy, separators=(",", ":")).encode()
    KEY.public_key().verify(decoded(query["Signature"]), text, PKCS1v15(), SHA1())


def test_google_can_verify_a_url() -> None:
    """The example is that of Google's samples (python-docs-samples, cdn/snippets_test.py)."""
    signer = CloudCDNSigner("my-key", "nZtRohdNF9m3cKM24IcK4w==")
    expires = datetime.fromtimestamp(1549751401, UTC)
    expected = "Expires=1549751401&KeyName=my-key&Signature=CRFqQnVfFyiUyR63OQf-HRUpIwc="
    assert signer("http://35.186.234.33/index.html", expires) == f"http://35.186.234.33/index.html?{expected}"
    storage = GCSStorage(bucket="bucket", prefix="media/", public_base_url="https://cdn.example.org", url_signer=signer)
    url = storage.url(file_id := new_file_id(), expires_in=400)
    assert str(url).startswith(f"https://cdn.example.org/media/{file_id}?Expires=")
    assert (storage.url(file_id, expires_in=400, filename="a.txt"), storage.public_url(file_id)) == (url, None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CloudFrontSigner("K123", "hush"),
        lambda: CloudFrontSigner("K123", b"-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----"),
        lambda: CloudFrontSigner("K123", Path("/nowhere/hush")),
        lambda: CloudFrontSigner("K123", pem_of(ec.generate_private_key(ec.SECP256R1()))),
        lambda: CloudCDNSigner("my-key", "hush"),
        lambda: CloudCDNSigner("my-key", "not base64: hush"),
    ],
)
def test_a_wrong_key_is_refused_and_not_quoted(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match="key") as caught:
        make()
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(CloudCDNSigner("k", base64.urlsafe_b64encode(b"hush" * 4).decode()))


def test_a_depot_may_be_configured_again_with_equal_signers() -> None:
    """As when a module is imported twice."""
    with temporary_depots():
        for _ in range(2):
            settings = {
                "depot.backend": "depot_lite.io.boto3.S3Storage",
                "depot.bucket": "bucket",
                "depot.public_base_url": CDN,
                "depot.url_signer": CloudFrontSigner("K123", pem_of(KEY)),
            }
            depot = DepotManager.configure("default", settings)
        assert str(depot.url(new_file_id())).startswith(CDN)


def test_signing_by_the_cdn_and_not_signing_contradict_each_other() -> None:
    signer = CloudCDNSigner("my-key", "nZtRohdNF9m3cKM24IcK4w==")
    with pytest.raises(ConfigurationError, match="sign_urls and url_signer"):
        S3Storage("key", "secret", "bucket", public_base_url=CDN, url_signer=signer, sign_urls=False)
