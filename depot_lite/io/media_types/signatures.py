"""The signatures of common formats: the bytes that their files begin with."""

from __future__ import annotations

import re
from typing import Final

# (offset, signature, type), with the registered name if there is one. No text begins like this by chance.
_SIGNATURES: Final = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"8BPS\x00\x01\x00\x00\x00\x00\x00\x00", "image/vnd.adobe.photoshop"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"{\\rtf1", "application/rtf"),
    (0, b"%!PS-Adobe-", "application/postscript"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"7z\xbc\xaf'\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"MSCF\x00\x00\x00\x00", "application/vnd.ms-cab-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"ID3\x02\x00", "audio/mpeg"),
    (0, b"ID3\x03\x00", "audio/mpeg"),
    (0, b"ID3\x04\x00", "audio/mpeg"),
    (0, b"fLaC\x00", "audio/flac"),
    (0, b"MThd\x00\x00\x00\x06", "audio/midi"),
    (0, b"#!AMR\n", "audio/amr"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"\x00\x00\x01\xb3", "video/mpeg"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"OTTO\x00", "font/otf"),
    (0, b"ttcf\x00", "font/collection"),
    (128, b"DICM", "application/dicom"),
)

# Formats with short signatures, of which the header has to match too.
_HEADERS: Final = (
    # Two reserved words of zero, and the size of one of the seven existing headers.
    (re.compile(rb"BM.{4}\x00{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00{3}", re.DOTALL), "image/bmp"),
    # At least one image, and the zero byte of its entry.
    (re.compile(rb"\x00\x00\x01\x00[^\x00]\x00.{3}\x00", re.DOTALL), "image/vnd.microsoft.icon"),
    (re.compile(rb"P[14]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s"), "image/x-portable-bitmap"),
    (re.compile(rb"P[25]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s+\d+\s"), "image/x-portable-graymap"),
    (re.compile(rb"P[36]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s+\d+\s"), "image/x-portable-pixmap"),
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), "application/x-bzip2"),
    (re.compile(rb"[FCZ]WS[\x01-\x33].{3}[\x00-\x08]", re.DOTALL), "application/x-shockwave-flash"),
    (re.compile(rb"\x00\x01\x00\x00\x00.{7}(?:[A-Za-z/0-9 ]{4}.{12}){2}", re.DOTALL), "font/ttf"),
    # Three packets. The fourth byte is not a letter; in a DNA sequence it would be.
    (re.compile(rb"(?:G..[\x10-\x3f].{184}){2}G", re.DOTALL), "video/mp2t"),
)


def signature_type(head: bytes, claims: list[str]) -> str | None:
    """Return the type of a common format by its first bytes, whatever is claimed about them."""
    for offset, signature, media_type in _SIGNATURES:
        if head.startswith(signature, offset):
            return media_type
    if head.startswith(b"MZ") and head.startswith(b"PE\x00\x00", int.from_bytes(head[60:64], "little")):
        return "application/vnd.microsoft.portable-executable"
    return next((media_type for header, media_type in _HEADERS if header.match(head)), None)
