"""`Sample`: the first bytes of a file, with a way to read others; `Finding`: the types that its bytes allow."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from depot_lite.io.media_types.vocabulary import ancestors, is_strict, is_text_type

#: The number of bytes from the start of a file that are read in any case.
HEAD_SIZE: Final = 8192


@dataclass(frozen=True, slots=True)
class Sample:
    """The first bytes of a file. ``reader`` returns bytes from a position, fewer at the end; None for a stream."""

    head: bytes
    size: int | None = None
    reader: Callable[[int, int], bytes] | None = None

    def at(self, start: int, size: int) -> bytes:
        """Return the bytes at a position, or as many of them as can be read."""
        if self.length is not None and start >= self.length:
            return b""
        if start + size <= len(self.head) or self.reader is None or len(self.head) < HEAD_SIZE:
            return self.head[start : start + size] if start >= 0 else b""
        return self.reader(start, size)

    def tail(self, size: int) -> bytes:
        """Return the last bytes, b"" if the size of the file is not known."""
        length = len(self.head) if len(self.head) < HEAD_SIZE else self.size
        return b"" if length is None else self.at(max(length - size, 0), size)

    @property
    def length(self) -> int | None:
        """The number of bytes, None if it is not known."""
        return len(self.head) if len(self.head) < HEAD_SIZE else self.size


@dataclass(frozen=True, slots=True)
class Finding:
    """The type that the bytes of a file show, and the types that a name or a declaration may choose instead.

    Those are the type itself, the types ``within`` and their kinds; for a file without a signature (``rest``) all text
    types, or all types of which files need no signature.
    """

    media_type: str
    within: tuple[str, ...] = ()
    rest: Literal["text", "binary", None] = None

    def allows(self, media_type: str) -> bool:
        """Return whether a file with these bytes may be of a type, which has its canonical name."""
        if media_type == self.media_type:
            return True
        if self.within and any(each in self.within for each in ancestors(media_type)):
            return True
        if self.rest is None or is_strict(media_type):
            return False
        if self.media_type == "text/html" and not media_type.startswith(("text/", "application/")):
            return False
        return self.rest == "binary" or is_text_type(media_type)


def is_text(head: bytes) -> bool:
    """Return whether bytes are text: without control characters but for spaces, or in UTF-16 or UTF-32."""
    if not _CONTROL_BYTES.search(head):
        return True
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        return True
    # UTF-16 without a mark: most characters of most texts have a zero as one of their bytes.
    first = head[: min(len(head), 512) & ~1]
    for zeros, others in ((first[1::2], first[::2]), (first[::2], first[1::2])):
        if len(first) >= 16 and zeros.count(0) > 0.8 * len(zeros) and not _CONTROL_BYTES.search(others):
            return True
    return False


# The bytes that do not occur in text (WHATWG MIME Sniffing, section 3, "binary data byte").
_CONTROL_BYTES: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
