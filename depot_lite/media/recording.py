"""`Recording`: the properties of sound and moving pictures, within bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

#: Three years: a longer duration is none.
_MAX_DURATION: Final = 1e8
_MAX_SIDE: Final = 1_000_000
_MAX_BITRATE: Final = 10**11
#: The characters of a tag that are kept.
MAX_TEXT: Final = 200

#: The tags that are kept.
TAGS: Final = ("title", "artist", "album")


@dataclass(slots=True)
class Recording:
    """The properties that the headers of a file give. None, or no entry, if they do not give one."""

    #: Seconds.
    duration: float | None = None
    #: Pixels, as the picture is displayed.
    width: int | None = None
    height: int | None = None
    #: Bits per second: the average.
    bitrate: int | None = None
    #: Texts by the names of `TAGS`.
    tags: dict[str, str] = field(default_factory=dict)
    #: The reason why the file was not read to its end.
    problem: str | None = None

    def set_tag(self, name: str, text: str) -> None:
        """Set a tag that is not set yet, in printable characters; an empty text is none."""
        clean = "".join(each if each.isprintable() else " " for each in text[: 2 * MAX_TEXT].partition("\0")[0])
        clean = " ".join(clean.split())[:MAX_TEXT]
        if clean and name not in self.tags:
            self.tags[name] = clean

    def complete(self, size: int) -> None:
        """Drop values that no recording has, and set the bit rate of a file of this size from its duration."""
        if self.duration is not None:
            self.duration = round(self.duration, 3) if 0 < self.duration < _MAX_DURATION else None
            self.duration = self.duration or None
        if not (0 < (self.width or 0) < _MAX_SIDE and 0 < (self.height or 0) < _MAX_SIDE):
            self.width = self.height = None
        if self.bitrate is None and self.duration:
            self.bitrate = round(size * 8 / self.duration)
        if not 0 < (self.bitrate or 0) < _MAX_BITRATE:
            self.bitrate = None
