"""Reading the headers of sound, moving pictures and PDFs, which are not to be trusted.

MP4, M4A, QuickTime (also fragmented), WebM, Matroska, WAV, RF64, AVI, FLAC, MP3, Ogg with Vorbis, Opus, FLAC or Speex,
and PDF; the manual has a table. Nothing is decoded, and no other library is called. Sizes and counts in a file may lie:
of each file at most 16 MiB are read, in at most 20,000 pieces and 5 seconds (`depot_lite.media.reader`), and a value
that no recording has is none.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, Final

from depot_lite.media import flac, matroska, mp4, mpeg, ogg, pdf, riff
from depot_lite.media.reader import Reader, Unreadable
from depot_lite.media.recording import Recording

__all__ = ["Recording", "Unreadable", "count_pages", "read_recording"]

_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")


def read_recording(file: BinaryIO) -> Recording:
    """Return the properties of sound or a moving picture; those that were found before the file turned out broken.

    Args:
        file: a seekable file, which nobody else reads meanwhile; it is left at any position and never closed.

    Raises:
        Unreadable: the format is none of the above.
    """
    reader, found = _reader(file), Recording()
    parse = _parser(reader.at(0, 12))
    try:
        parse(reader, found)
    except Unreadable as error:
        found.problem = str(error)
    found.complete(reader.size)
    return found


def _parser(head: bytes) -> Callable[[Reader, Recording], None]:
    if head[4:8] in _BOXES:
        return mp4.read
    if head.startswith(b"\x1aE\xdf\xa3"):
        return matroska.read
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        return riff.read_wave
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return riff.read_avi
    if head.startswith(b"fLaC"):
        return flac.read
    if head.startswith(b"OggS"):
        return ogg.read
    if head.startswith(b"ID3") or head[:1] == b"\xff":
        return mpeg.read
    raise Unreadable("its format is not known")


def count_pages(file: BinaryIO) -> int:
    """Return the number of pages of a PDF.

    Args:
        file: as for `read_recording`.

    Raises:
        Unreadable: it is no PDF, or it is broken; PDFs whose cross-references are encrypted or must be guessed count
            as broken.
    """
    return pdf.count_pages(_reader(file))


def _reader(file: BinaryIO) -> Reader:
    # A buffer would be filled again, with 256 KiB, for each header.
    return Reader(file.raw if isinstance(file, io.BufferedReader) else file)
