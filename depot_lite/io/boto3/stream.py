"""The bytes of an object in S3."""

from __future__ import annotations

from typing import Any, cast

from botocore.exceptions import FlexibleChecksumError

from depot_lite.io.boto3.errors import ERRORS
from depot_lite.io.objects.readers import ResumingReader


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
