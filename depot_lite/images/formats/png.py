"""The measures of a PNG or APNG, from its chunks (the PNG specification, third edition)."""

from __future__ import annotations

from typing import BinaryIO, Final

from depot_lite.images.formats.measures import Measures, Steps, broken, exactly

#: The largest number of chunks; those with pixels have 8 KB and more.
_MAX_CHUNKS: Final = 100_000
_MAX_METADATA: Final = 32_000_000


def measure(file: BinaryIO, size: int) -> Measures:
    """Return the measures of a PNG, and refuse one of very many chunks or with much metadata.

    The largest chunk with pixels determines the memory: Pillow reads the rest behind the last pixel at once.
    """
    steps = Steps(_MAX_CHUNKS, _MAX_METADATA)
    width = height = announced = controls = largest = 0
    position, before = 8, b""
    while position < size:
        file.seek(position)
        head = file.read(8)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if name == b"fdAT" or (name == b"IDAT" and before in (name, b"")):
            steps.part()
            largest = max(largest, min(length, size) * (2 if name == b"fdAT" else 1))
        else:
            # Pillow reads a second row of IDAT at once.
            steps.part(length)
        if name == b"IHDR":
            if width:
                raise broken("has two headers")
            data = exactly(file, 8)
            width, height = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
        elif name == b"acTL":
            announced = int.from_bytes(file.read(4), "big")
        elif name == b"fcTL":
            controls += 1
        elif name == b"IEND" or len(head) < 8:
            break
        if before or name == b"IDAT":
            before = name
        position += length + 12
    return Measures(width, height, max(1, min(announced, controls)), memory=largest)
