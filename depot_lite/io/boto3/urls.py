"""URLs of objects: plain ones, and signed ones that stay the same for a while.

boto3 signs with the time of the call, so that a page has new URLs at each rendering and browsers cannot use their
caches. Here the time is rounded, and the signature is ours: AWS Signature Version 4 in a query string
(https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html). Other kinds of signatures are left to
boto3.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from botocore.exceptions import NoCredentialsError

from depot_lite.io.boto3.region import BucketRegion, signed_region
from depot_lite.io.objects.options import LONGEST
from depot_lite.signing import rounded


@dataclass(frozen=True, slots=True)
class _Probe:
    """A request that boto3 signed as a sample: its URL, signer and scope."""

    url: str
    signer: Any
    #: ``region/service``; None if it was not signed by version 4.
    scope: str | None
    #: The bucket's region when it was made, None if it was not known.
    region: str | None


class ObjectUrls:
    """The URLs of the objects of one bucket, as one client requests them.

    Makes no request, unless the bucket's region is not known yet.

    Args:
        public_endpoint: the server as browsers reach it, if it has another address for the client.
    """

    def __init__(self, client: Any, bucket: str, region: BucketRegion, public_endpoint: str | None = None) -> None:
        self._client = client
        self._bucket = bucket
        self._region = region
        self._public_endpoint = public_endpoint
        self._probing = threading.local()
        self._found: _Probe | None = None
        client.meta.events.register("before-sign.s3.GetObject", self._capture)
        if public_endpoint is not None:
            client.meta.events.register_last("before-endpoint-resolution.s3", self._lead_outside)

    def plain(self, key: str) -> str:
        """Return the URL without a signature."""
        return self._at(self._probe(), key)

    def signed(self, key: str, expires_in: int, headers: Mapping[str, str]) -> str:
        """Return a URL that works for at least ``expires_in`` seconds.

        Args:
            headers: the result of `response_headers`.

        Raises:
            NoCredentialsError: there are no credentials to sign with.
        """
        probe = self._probe()
        if probe.scope is None:
            named = {_PARAMETERS[name]: value for name, value in headers.items()}
            params = {"Bucket": self._bucket, "Key": key, **named}
            url: str = self._client.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_in)
            return url
        # Each time, since credentials that expire are renewed meanwhile.
        credentials = probe.signer.get_auth_instance("s3", probe.scope.partition("/")[0], "s3v4-query").credentials
        if credentials is None:
            raise NoCredentialsError
        start, expiry = rounded(time.time(), expires_in, LONGEST)
        return _signed(self._at(probe, key), headers, credentials, probe.scope, start, expiry)

    @contextmanager
    def signing(self) -> Iterator[None]:
        """Let the client sign URLs and forms for the bucket's region, and for the server as browsers reach it."""
        self._region.find(self._client)
        endpoint = _endpoint.set(self._public_endpoint)
        try:
            yield
        finally:
            _endpoint.reset(endpoint)

    def _lead_outside(self, builtins: Any, params: Any, **_: object) -> None:
        if _endpoint.get() == self._public_endpoint and params.get("Bucket") == self._bucket:
            builtins["SDK::Endpoint"] = self._public_endpoint

    def _at(self, probe: _Probe, key: str) -> str:
        # "/" stands between the folders of a prefix; "~" is unreserved (RFC 3986).
        return probe.url + quote(key, safe="/~")

    def _probe(self) -> _Probe:
        """Return the sample, made once for each region: host and path depend on region, endpoint and bucket."""
        region, found = self._region.find(self._client), self._found
        if found is None or found.region != region:
            self._probing.request = None
            self._probing.active = True
            params, url = {"Bucket": self._bucket, "Key": "k"}, ""
            try:
                # The unsigned URL needs no credentials: it is captured before boto3 looks for them.
                with self.signing(), suppress(NoCredentialsError):
                    url = self._client.generate_presigned_url("get_object", Params=params, ExpiresIn=60)
            finally:
                self._probing.active = False
            base, signer = self._probing.request
            scope = self._scope(parse_qs(urlsplit(url).query), region)
            found = self._found = _Probe(base.partition("?")[0].removesuffix("k"), signer, scope, region)
        return found

    def _scope(self, query: Mapping[str, list[str]], region: str | None) -> str | None:
        """Return the region and service of a signature of version 4."""
        if "X-Amz-Credential" in query:
            return "/".join(query["X-Amz-Credential"][0].split("/")[-3:-1])
        # By default boto3 signs URLs by version 2, although it signs requests by version 4.
        if "AWSAccessKeyId" in query and self._client.meta.config.signature_version == "s3v4":
            return f"{region or signed_region(self._client.meta.region_name)}/s3"
        return None

    def _capture(self, request: Any, request_signer: Any, **_: object) -> None:
        if getattr(self._probing, "active", False):
            self._probing.request = request.url, request_signer


# The public endpoint for which this thread signs: the client may be the user's, whose own URLs lead elsewhere.
_endpoint: Final[ContextVar[str | None]] = ContextVar("_endpoint", default=None)

#: Parameters of GetObject for headers of the answer.
_PARAMETERS: Final = {
    "response-content-type": "ResponseContentType",
    "response-content-disposition": "ResponseContentDisposition",
}


def _signed(url: str, query: Mapping[str, str], credentials: Any, scope: str, start: int, expiry: int) -> str:
    """Return the URL with a signature of version 4 in its query."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(start))
    full_scope = f"{moment[:8]}/{scope}/aws4_request"
    parameters = {
        **query,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key}/{full_scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expiry),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token:
        parameters["X-Amz-Security-Token"] = credentials.token
    encoded = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in parameters.items())
    text = "&".join(f"{name}={value}" for name, value in encoded)
    parts = urlsplit(url)
    request = f"GET\n{parts.path}\n{text}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(request.encode()).hexdigest()
    signing = f"AWS4-HMAC-SHA256\n{moment}\n{full_scope}\n{digest}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in full_scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{url}?{text}&X-Amz-Signature={hmac.digest(key, signing.encode(), 'sha256').hex()}"
