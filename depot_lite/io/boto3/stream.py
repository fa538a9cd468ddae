"""The bytes of an object in S3: as boto3 receives and as it sends them."""

from __future__ import annotations

import io
from typing import Any, Final, cast

from botocore.exceptions import FlexibleChecksumError

from depot_lite.io.boto3.errors import ERRORS
from depot_lite.io.objects.readers import ResumingReader

#: As much as a socket takes at once.
_AT_ONCE: Final = 64 * 1024


class RangeReader(ResumingReader[Any]):
    """The bytes of an object, from bodies of boto3's."""

    table = ERRORS
    lasting = (FlexibleChecksumError,)

    def _take(self, body: Any, size: int) -> bytes:
        piece = cast(bytes, body.read(size))
        if piece and self._body_position + len(piece) == self._length:
            # At its end boto3 gives the connection back, and has verified the checksum.
            body.read(1)
        return piece


class _Body(io.BytesIO):
    """Bytes that boto3 sends piece by piece, each in time: all at once would have to be sent in time as a whole."""


def request_body(data: bytes) -> bytes | _Body:
    """Return the body of a request."""
    return data if len(data) <= _AT_ONCE else _Body(data)


def send_at_once(params: Any, **_: object) -> None:
    """Let boto3 send a `_Body` without asking the server first, as it does for files: it takes a round trip."""
    if isinstance(params.get("body"), _Body):
        params["headers"].pop("Expect", None)
