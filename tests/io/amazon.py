"""Amazon's regions in front of moto: a bucket is in one of them, and requests that were signed for another are refused.

moto takes any region. The refusals and hints are those that Amazon documents
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html and .../API/ErrorResponses.html).
"""

from __future__ import annotations

import http.client
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.awsrequest import AWSResponse

from depot_lite.io.boto3 import S3Storage
from tests.io.s3_server import Server

Answer = tuple[int, dict[str, str], bytes]

_HOST = re.compile(r"(?P<bucket>[^.]+)\.s3(\.(?P<region>[a-z0-9-]+))?\.amazonaws\.com")


class Amazon:
    """S3 with a bucket in one region; clients reach it when they are attached, and browsers by `get`."""

    def __init__(self, server: Server, region: str) -> None:
        self._moto = urlsplit(server.url).netloc
        self._region = region
        #: How often each operation was sent, redirected attempts included.
        self.requests: Counter[str] = Counter()

    def attach(self, storage: S3Storage) -> S3Storage:
        """Let the requests of a storage come here instead of leaving the machine."""
        storage._connection.bare_client.meta.events.register("before-send.s3", self._receive)
        return storage

    def taken(self) -> dict[str, int]:
        """Return the counts since the last time, and begin anew."""
        counts = dict(self.requests)
        self.requests.clear()
        return counts

    def get(self, url: str) -> tuple[int, bytes]:
        """Return status and body, as a browser gets them."""
        scope = parse_qs(urlsplit(url).query).get("X-Amz-Credential", [""])[0]
        status, _, body = self._answer("GET", url, {}, None, scope)
        return status, body

    def _receive(self, request: Any, event_name: str, **_: object) -> AWSResponse:
        self.requests[event_name.rpartition(".")[2]] += 1
        headers = {
            name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
        }
        scope = headers.get("Authorization", "").partition("Credential=")[2].partition(",")[0]
        body = request.body.read() if hasattr(request.body, "read") else request.body
        status, found, data = self._answer(request.method, request.url, headers, body, scope)
        return AWSResponse(request.url, status, found, _Raw(data))

    def _answer(self, method: str, url: str, headers: Mapping[str, str], body: Any, scope: str) -> Answer:
        """Return the answer to a request: its refusal, or moto's."""
        parts = urlsplit(url)
        host = _HOST.fullmatch(parts.netloc)
        assert host is not None, parts.netloc
        if host["region"] not in {None, self._region}:
            return self._refusal(method, 301, "PermanentRedirect", "")
        if scope and scope.split("/")[2] != self._region:
            return self._refusal(method, 400, "AuthorizationHeaderMalformed", f"<Region>{self._region}</Region>")
        connection = http.client.HTTPConnection(self._moto, timeout=30)
        try:
            path = f"/{host['bucket']}{parts.path}" + (f"?{parts.query}" if parts.query else "")
            connection.request(method, path, body, {**headers, "Host": self._moto})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            found |= {"x-amz-bucket-region": self._region} if "x-amz-bucket-region" in found else {}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def _refusal(self, method: str, status: int, code: str, more: str) -> Answer:
        text = b"" if method == "HEAD" else f"<Error><Code>{code}</Code><Message>no</Message>{more}</Error>".encode()
        return status, {"x-amz-bucket-region": self._region, "content-type": "application/xml"}, text


class _Raw(io.BytesIO):
    """The body of an answer, as urllib3 gives it."""

    def stream(self, amount: int = 65536, **_: object) -> Iterator[bytes]:
        while piece := self.read(amount):
            yield piece
