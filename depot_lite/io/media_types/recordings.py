"""Looking into sound and moving pictures: the containers MP4, Matroska and Ogg, and streams without a header."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from depot_lite.io.media_types.sample import Finding, Sample, is_text

_MP4: Final = ("~mp4",)
_MOOV_SIZE: Final = 64 * 1024
_BRANDS: Final = {
    **dict.fromkeys(("avif", "avis"), "image/avif"),
    **dict.fromkeys(("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs"), "image/heic"),
    **dict.fromkeys(("avci", "avcs"), "image/avci"),
    "crx ": "image/x-canon-cr3",
    "qt  ": "video/quicktime",
    **dict.fromkeys(("M4A ", "M4B ", "M4P "), "audio/mp4"),
    **dict.fromkeys(("M4V ", "M4VH", "M4VP"), "video/x-m4v"),
    **dict.fromkeys(("aax ", "aaxc"), "audio/aax"),
    "jp2 ": "image/jp2",
    "jpx ": "image/jpx",
    "jpm ": "image/jpm",
    "mjp2": "video/mj2",
    "jph ": "image/jph",
    "jxl ": "image/jxl",
}
# Their kind is named by the other brands.
_GENERAL_IMAGES: Final = ("mif1", "mif2", "msf1", "miaf")


def iso_media(sample: Sample) -> Finding | None:
    """Return the type by the brands of MP4, QuickTime, HEIF and AVIF files (ISO 14496-12, section 4.3).

    The size of the box comes first. ``<!--ftypisom--><script>`` has none, so it is a page and no film.
    """
    head = sample.head
    if _PRINTABLE.match(head[:4]):
        return None
    major = head[8:12].decode("latin-1")
    if major in _GENERAL_IMAGES:
        end = min(int.from_bytes(head[:4], "big"), 256)
        others = [head[start : start + 4].decode("latin-1") for start in range(16, end, 4)]
        return Finding(
            next((_BRANDS[each] for each in others if _BRANDS.get(each, "").startswith("image/")), "image/heif")
        )
    if major in _BRANDS:
        return Finding(_BRANDS[major])
    if major.startswith(("3g2", "kddi")):
        return Finding("video/3gpp2", _MP4)
    if major.startswith("3g"):
        return Finding("video/3gpp", _MP4)
    return Finding("audio/mp4" if _is_sound(sample) else "video/mp4", _MP4)


def _is_sound(sample: Sample) -> bool:
    """Return whether the ``moov`` box of an MP4 file has tracks of sound and none of pictures."""
    position = 0
    for _ in range(16):
        header = sample.at(position, 16)
        if len(header) < 8:
            return False
        size = int.from_bytes(header[:4], "big")
        if size == 1 and len(header) == 16:
            size = int.from_bytes(header[8:], "big")
        if header[4:8] == b"moov":
            moov = sample.at(position, min(size, _MOOV_SIZE))
            return b"soun" in moov and b"vide" not in moov
        if size < 8:
            return False
        position += size
    return False


def quicktime(sample: Sample) -> Finding | None:
    """Return the type of a file without brands; the size in front of the box's name is no text."""
    return None if _PRINTABLE.match(sample.head[:4]) else Finding("video/quicktime", _MP4)


_PRINTABLE: Final = re.compile(rb"[\t\n\r -~]+")


def segment(sample: Sample) -> Finding | None:
    """Return the type of a part of a stream in MP4."""
    return None if _PRINTABLE.match(sample.head[:4]) else Finding("video/iso.segment", _MP4)


def jpeg_2000(sample: Sample) -> Finding:
    """Return the type by the brand of a JPEG 2000 file."""
    brand = _BRANDS.get(sample.head[20:24].decode("latin-1")) if sample.head[16:20] == b"ftyp" else None
    return Finding(brand or "image/jp2", () if brand else ("~jpeg2000",))


def matroska(sample: Sample) -> Finding | None:
    """Return the type by the DocType (0x4282) of the EBML header (RFC 8794, section 11.2.6) and the codecs."""
    doc_type = re.search(rb"\x42\x82[\x81-\x90](webm|matroska)", sample.head[:256])
    if doc_type is None:
        return None
    is_sound = b"A_" in sample.head and b"V_" not in sample.head
    if doc_type[1] == b"webm":
        return Finding("audio/webm" if is_sound else "video/webm", ("audio/webm", "video/webm"))
    return Finding("audio/x-matroska" if is_sound else "video/x-matroska", ("audio/x-matroska", "video/x-matroska"))


def ogg(sample: Sample) -> Finding:
    """Return the type by the codecs, whose pages come first (RFC 5334)."""
    if re.search(rb"\x80theora|OVP80|\x01video\x00|BBCD\x00|\x01\xccdaala", sample.head[:2048]):
        return Finding("video/ogg")
    if re.search(rb"\x01vorbis|OpusHead|\x7fFLAC|Speex   ", sample.head[:512]):
        return Finding("audio/ogg")
    return Finding("application/ogg", ("~ogg",))


_BEHIND_ID3: Final = (
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), "audio/aac"),
    (re.compile(rb"MAC "), "audio/x-ape"),
    (re.compile(rb"wvpk"), "audio/x-wavpack"),
    (re.compile(rb"TTA1"), "audio/x-tta"),
    (re.compile(rb"MPCK|MP\+"), "audio/x-musepack"),
    (re.compile(rb"\xff[\xe2-\xff]"), "audio/mpeg"),
)


def mpeg_sound(sample: Sample) -> Finding | None:
    """Return the type of a file with ID3 tags, by the bytes behind them, or of two frames of MPEG sound."""
    head = sample.head
    if head.startswith(b"ID3"):
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        behind = sample.at(size + (20 if head[5:6] and head[5] & 0x10 else 10), 16)
        found = next((media_type for pattern, media_type in _BEHIND_ID3 if pattern.match(behind)), None)
        return Finding(found) if found else Finding("audio/mpeg", tuple(each for _, each in _BEHIND_ID3))
    frame = mpeg_frame(head, 0)
    return Finding("audio/mpeg") if frame is not None and mpeg_frame(head, frame.length) is not None else None


# By version (1, 2 or 2.5) and layer: kbit/s.
_BIT_RATES: Final = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES: Final = (44100, 48000, 32000)


class MpegFrame(NamedTuple):
    """A frame of MPEG sound: its bytes, samples, samples per second and kbit/s, and the bytes behind its header."""

    length: int
    samples: int
    hertz: int
    kbits: int
    side_info: int


def mpeg_frame(head: bytes, position: int) -> MpegFrame | None:
    """Return the frame of MPEG sound at a position (ISO 11172-3, section 2.4.2.3), None if it has no frame."""
    header = head[position : position + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate, sampling = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3), header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or rate in (0, 15) or sampling == 3:
        return None
    is_first = version == 3
    kbits = _BIT_RATES[(1 if is_first else 2, layer if is_first else min(layer, 2))][rate - 1]
    hertz = _SAMPLE_RATES[sampling] >> (0 if is_first else 1 if version == 2 else 2)
    padding, is_mono = header[2] >> 1 & 1, header[3] >> 6 == 3
    side_info = (17 if is_mono else 32) if is_first else (9 if is_mono else 17)
    if layer == 1:
        return MpegFrame((12000 * kbits // hertz + padding) * 4, 384, hertz, kbits, side_info)
    samples = 576 if layer == 3 and not is_first else 1152
    return MpegFrame(samples * 125 * kbits // hertz + padding, samples, hertz, kbits, side_info)


def adts(sample: Sample) -> Finding | None:
    """Return the type of two frames of AAC."""
    head = sample.head
    if head.startswith(b"ADIF"):
        return Finding("audio/aac")
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5 if len(head) > 5 else 0
    following = head[length : length + 2]
    is_next = len(following) == 2 and following[0] == 0xFF and following[1] & 0xF6 == 0xF0
    return Finding("audio/aac") if length > 6 and is_next else None


def ac3(sample: Sample) -> Finding | None:
    """Return the type of two frames of AC-3 or E-AC-3."""
    head = sample.head
    following = head.find(b"\x0bw", 64, 6144)
    if len(head) < 6 or following < 0:
        return None
    return Finding("audio/eac3" if head[5] >> 3 > 10 else "audio/ac3", ("audio/ac3", "audio/eac3"))


# Three packets, in AVCHD with four bytes before each. The fourth byte is not a letter; in a DNA sequence it would be.
_PACKETS: Final = re.compile(
    rb"(?:G..[\x10-\x3f\x50-\x7f\x90-\xbf\xd0-\xff].{184}){2}G"
    rb"|.{4}(?:G..[\x10-\x3f\x50-\x7f\x90-\xbf\xd0-\xff].{188}){2}G",
    re.DOTALL,
)


def transport_stream(sample: Sample) -> Finding | None:
    """Return the type of three packets."""
    return Finding("video/mp2t") if _PACKETS.match(sample.head) and not is_text(sample.head) else None


def flic(sample: Sample) -> Finding | None:
    """Return the type of an animation with an existing depth of colours."""
    return Finding("video/x-flic") if sample.head[12:14] in (b"\x08\x00", b"\x00\x00", b"\x10\x00") else None


def asf(sample: Sample) -> Finding:
    """Return the type of a container for Windows Media; the name tells sound from pictures."""
    return Finding("video/x-ms-asf", ("~asf",))
