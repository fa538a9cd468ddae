"""Media types: recognised by their first bytes, named by extensions; markup that a browser would execute."""

from __future__ import annotations

from typing import Final

#: The type of bytes of which nothing else is known (RFC 2046, section 4.5.1).
OCTET_STREAM: Final = "application/octet-stream"
