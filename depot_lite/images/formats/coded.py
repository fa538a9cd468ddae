"""The largest frame that a stream of AV1 or HEVC declares in its headers."""

from __future__ import annotations

from collections.abc import Iterator

from depot_lite.images.formats.measures import Steps, broken

#: OBU types (AV1 specification, section 6.2.2) and the NAL unit type of a sequence parameter set (H.265, table 7-1).
_OBU_SEQUENCE, _OBU_FRAME_HEADER, _OBU_FRAME = 1, 3, 6
_NAL_SPS = 33
#: The NAL unit types below are slices of pictures.
_NAL_SLICES = 32


class _Bits:
    """Reads numbers of single bits, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the number in the next bits."""
        self._left -= count
        if self._left < 0:
            raise broken("is broken or truncated")
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """Return the next Exp-Golomb number (H.265, section 9.2; AV1's uvlc())."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise broken("is broken or truncated")
        return (1 << zeros) - 1 + self.take(zeros)


def av1_extent(data: bytes, steps: Steps, most: int) -> tuple[int, int, int]:
    """Return the largest width and height of the sequence headers, and the number of frames (AV1, section 5).

    Raises:
        ImageRefused: also if there are more frames than ``most``, all of which a decoder decodes to show one.
    """
    width = height = frames = 0
    for kind, payload in _obus(data, steps):
        if kind == _OBU_SEQUENCE:
            wide, high = _av1_size(_Bits(payload[:64]))
            width, height = max(width, wide), max(height, high)
        frames += kind in (_OBU_FRAME, _OBU_FRAME_HEADER)
        if frames > most:
            raise broken("has too many frames")
    return width, height, frames


def _obus(data: bytes, steps: Steps) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        steps.part()
        head = data[position]
        position += 2 if head & 4 else 1
        length = len(data) - position
        if head & 2:
            length = 0
            for shift in range(0, 56, 7):
                byte = data[position] if position < len(data) else 0
                length |= (byte & 0x7F) << shift
                position += 1
                if not byte & 0x80:
                    break
        yield head >> 3 & 15, data[position : position + min(length, 64)]
        position += length


def _av1_size(bits: _Bits) -> tuple[int, int]:
    bits.take(4)
    if bits.take(1):  # a still picture with a short header
        bits.take(5)
    else:
        delay = _timing(bits) if bits.take(1) else None
        display_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay is not None and bits.take(1):
                bits.take(2 * delay + 1)
            if display_delay and bits.take(1):
                bits.take(4)
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(wide) + 1, bits.take(high) + 1


def _timing(bits: _Bits) -> int | None:
    """Skip the timing; return the bits of a delay if the decoder's model follows."""
    bits.take(64)
    if bits.take(1):
        bits.golomb()
    if not bits.take(1):
        return None
    delay = bits.take(5) + 1
    bits.take(42)
    return delay


def hevc_extent(units: Iterator[bytes], steps: Steps, most: int) -> tuple[int, int]:
    """Return the largest width and height of the sequence parameter sets among NAL units (H.265, section 7.3.2.2).

    Raises:
        ImageRefused: also if there are more pictures than ``most``.
    """
    width = height = pictures = 0
    for unit in units:
        steps.part()
        # The first bit behind the header tells the first slice of a picture.
        pictures += len(unit) > 2 and unit[0] >> 1 & 63 < _NAL_SLICES and unit[2] >> 7
        if pictures > most:
            raise broken("has too many frames")
        if unit and unit[0] >> 1 & 63 == _NAL_SPS:
            wide, high = _hevc_size(_Bits(unit[2:512].replace(b"\0\0\3", b"\0\0")))
            width, height = max(width, wide), max(height, high)
    return width, height


def _hevc_size(bits: _Bits) -> tuple[int, int]:
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 96)
    flags = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for profile, level in flags:
        bits.take(88 * profile + 8 * level)
    bits.golomb()
    if bits.golomb() == 3:
        bits.take(1)
    return bits.golomb(), bits.golomb()
