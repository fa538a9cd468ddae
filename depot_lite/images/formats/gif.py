"""The measures of a GIF: the extent of all frames, which may exceed the declared screen, and their number."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, Final

from depot_lite.images.formats.measures import Measures, Steps, exactly

#: The largest number of blocks, of up to 255 bytes each.
_MAX_BLOCKS: Final = 1_000_000
_MAX_COMMENTS: Final = 1_000_000

_COMMENT, _APPLICATION = 0xFE, 0xFF


def measure(file: BinaryIO, size: int) -> Measures:
    """Return the measures of a GIF, read as Pillow reads it: an empty block does not end every extension."""
    steps = Steps(_MAX_BLOCKS, _MAX_COMMENTS)
    file.seek(6)
    width, height, flags = struct.unpack("<HHB2x", exactly(file, 7))
    _skip_palette(file, flags)
    frames = 0
    while (introducer := file.read(1)) not in (b"", b";"):
        steps.part()
        if introducer == b",":
            left, top, wide, high, flags = struct.unpack("<HHHHB", exactly(file, 9))
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            _skip_palette(file, flags)
            exactly(file, 1)
            _skip_blocks(file, steps)
        elif introducer == b"!":
            _skip_extension(file, steps, first=frames == 0)
        else:
            steps.junk()
    return Measures(width, height, max(frames, 1))


def _skip_extension(file: BinaryIO, steps: Steps, *, first: bool) -> None:
    label = exactly(file, 1)[0]
    block = _block(file, steps)
    if label == _COMMENT:
        while block:
            steps.part(len(block))
            block = _block(file, steps)
        return
    if label == _APPLICATION and first and block.startswith(b"NETSCAPE2.0"):
        _block(file, steps)
    _skip_blocks(file, steps)


def _block(file: BinaryIO, steps: Steps) -> bytes:
    """Return the next block; empty for the block that ends a sequence."""
    steps.part()
    size = file.read(1)
    return file.read(size[0]) if size else b""


def _skip_blocks(file: BinaryIO, steps: Steps) -> None:
    while (size := file.read(1)) not in (b"", b"\0"):
        steps.part()
        file.seek(size[0], os.SEEK_CUR)


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, os.SEEK_CUR)
