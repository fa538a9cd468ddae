"""Sound, films and PDFs made by hand: a few hundred bytes, with every number in its place and nothing to play."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

# --- MP4 --------------------------------------------------------------------------------------------------------------

#: Matrices of tkhd: a, b, u, c, d, v, x, y, w.
UPRIGHT: Final = (1, 0, 0, 0, 1, 0, 0, 0, 0.25)
TURNED: Final = (0, 1, 0, -1, 0, 0, 0, 0, 0.25)
HALVED: Final = (0.5, 0, 0, 0, 0.5, 0, 0, 0, 0.25)


def box(name: bytes, *contents: bytes, wide: bool = False) -> bytes:
    content = b"".join(contents)
    if wide:
        return struct.pack(">I4sQ", 1, name, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), name) + content


def full(name: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(name, struct.pack(">I", version << 24 | flags), content)


def times(name: bytes, scale: int, duration: int, rest: bytes = b"", version: int = 0) -> bytes:
    form = ">QQIQ" if version else ">IIII"
    return full(name, struct.pack(form, 0, 0, scale, duration) + rest, version)


def track(
    number: int = 1,
    size: tuple[float, float] = (640, 360),
    matrix: Iterable[float] = UPRIGHT,
    kind: bytes = b"vide",
    scale: int = 1000,
    version: int = 0,
) -> bytes:
    sides = [round(each * 65536) for each in (*matrix, *size)]
    placed = (
        struct.pack(">QQIIQ" if version else ">IIIII", 0, 0, number, 0, 0) + bytes(16) + struct.pack(">11i", *sides)
    )
    media = box(b"mdia", times(b"mdhd", scale, 0, version=version), full(b"hdlr", bytes(4) + kind + bytes(13)))
    return box(b"trak", full(b"tkhd", placed, version, 3), media)


def itunes(tags: Mapping[bytes, bytes]) -> bytes:
    entries = [box(name, box(b"data", struct.pack(">II", 1, 0), text)) for name, text in tags.items()]
    return box(b"udta", full(b"meta", full(b"hdlr", bytes(20)) + box(b"ilst", *entries)))


def mp4(*movie: bytes, brand: bytes = b"isom", before: bytes = b"", wide: bool = False) -> bytes:
    """Return a film whose header stands behind its content, as cameras write it."""
    header = box(b"moov", *(movie or (times(b"mvhd", 1000, 2500), track())), wide=wide)
    return box(b"ftyp", brand, bytes(4), b"mp41") + before + box(b"mdat", bytes(100)) + header


def fragment(number: int, start: int, durations: Iterable[int] = (), count: int = 0, version: int = 1) -> bytes:
    """Return a fragment with the durations of its samples, or their number."""
    listed = list(durations)
    samples = struct.pack(f">{2 * len(listed)}I", *(n for each in listed for n in (each, 7)))
    run = struct.pack(">Ii", len(listed) or count, 0) + samples
    begin = full(b"tfdt", struct.pack(">Q" if version else ">I", start), version)
    header = full(b"tfhd", struct.pack(">I", number), 0, 0x20000)
    return box(b"moof", box(b"traf", header, begin, full(b"trun", run, 0, 0x301 if listed else 1)))


def fragmented(whole: int = 0, *, index: bool = False, trailing: bytes = b"") -> bytes:
    """Return a film in three fragments of a second each, of 25 samples of 40 milliseconds."""
    defaults = full(b"trex", struct.pack(">5I", 1, 1, 40, 0, 0))
    extends = box(b"mvex", *([full(b"mehd", struct.pack(">I", whole))] if whole else []), defaults)
    made = box(b"ftyp", b"iso6", bytes(4)) + box(b"moov", times(b"mvhd", 1000, 0), track(), extends)
    positions = []
    for second, each in enumerate(([40] * 25, [40] * 25, [])):
        positions.append(len(made))
        made += fragment(1, 1000 * second, each, 25) + box(b"mdat", bytes(50))
    if index:
        entries = b"".join(struct.pack(">IIBBB", 0, each, 1, 1, 1) for each in positions)
        table = full(b"tfra", struct.pack(">III", 1, 0, len(positions)) + entries)
        made += box(b"mfra", table, full(b"mfro", struct.pack(">I", len(table) + 24)))
    return made + trailing


# --- Matroska ---------------------------------------------------------------------------------------------------------

UNKNOWN: Final = b"\x01" + b"\xff" * 7


def element(number: int, content: bytes, size: bytes | None = None) -> bytes:
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + (struct.pack(">Q", len(content) | 1 << 56) if size is None else size) + content


def uint(number: int, value: int) -> bytes:
    return element(number, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def webm(
    duration: float | None = 2500.0,
    video: bytes = uint(0xB0, 640) + uint(0xBA, 360),
    *,
    size: bytes | None = None,
    tags: Mapping[str, str] | None = None,
    scale: int = 1_000_000,
) -> bytes:
    """Return a film; its tags stand behind the pictures, where only the index leads to them."""
    form = b"" if duration is None else element(0x4489, struct.pack(">d", duration))
    info = element(0x1549A966, uint(0x2AD7B1, scale) + form)
    tracks = element(0x1654AE6B, element(0xAE, uint(0xD7, 1) + uint(0x83, 1) + element(0xE0, video)))
    cluster = element(0x1F43B675, uint(0xE7, 0) + element(0xA3, b"\x81\x00\x00\x80" + bytes(60)))
    simple = [
        element(0x67C8, element(0x45A3, name.encode()) + element(0x4487, text.encode()))
        for name, text in (tags or {}).items()
    ]
    behind = element(0x1254C367, element(0x7373, b"".join(simple)))
    # The index has a fixed length: its own, and what stands before the tags.
    seek_length = 12 + 9 + 2 + 8 + 4 + 2 + 8 + 8
    position = seek_length + len(info + tracks + cluster)
    entry = element(0x53AB, bytes.fromhex("1254c367")) + element(0x53AC, struct.pack(">Q", position))
    seek = element(0x114D9B74, element(0x4DBB, entry))
    assert len(seek) == len(element(0x114D9B74, element(0x4DBB, entry)))
    position += len(seek) - seek_length
    entry = element(0x53AB, bytes.fromhex("1254c367")) + element(0x53AC, struct.pack(">Q", position))
    seek = element(0x114D9B74, element(0x4DBB, entry))
    head = element(0x1A45DFA3, element(0x4282, b"webm"))
    return head + element(0x18538067, seek + info + tracks + cluster + behind, size)


# --- RIFF -------------------------------------------------------------------------------------------------------------


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", name, len(content) if size is None else size) + content + b"\0" * (len(content) % 2)


def riff(kind: bytes, *parts: bytes, mark: bytes = b"RIFF") -> bytes:
    return chunk(mark, kind + b"".join(parts))


def wave_format(rate: int = 8000) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16))


def avi(frames: int = 75, whole: int | None = None) -> bytes:
    header = struct.pack("<10I", 40_000, 0, 0, 0, frames, 0, 1, 0, 640, 360) + bytes(16)
    longer = [] if whole is None else [chunk(b"LIST", b"odml" + chunk(b"dmlh", struct.pack("<I", whole)))]
    return riff(b"AVI ", chunk(b"LIST", b"hdrl" + chunk(b"avih", header) + b"".join(longer)), chunk(b"LIST", b"movi"))


# --- sound ------------------------------------------------------------------------------------------------------------


def comments(tags: Mapping[str, str], vendor: bytes = b"by hand") -> bytes:
    texts = [f"{name}={text}".encode() for name, text in tags.items()]
    listed = b"".join(struct.pack("<I", len(each)) + each for each in texts)
    return struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(texts)) + listed


def flac(samples: int = 20_000, rate: int = 8000, tags: Mapping[str, str] | None = None, content: bytes = b"") -> bytes:
    info = bytes(10) + (rate << 44 | 15 << 36 | samples).to_bytes(8, "big") + bytes(16)
    listed = comments(tags or {})
    return b"fLaC\0" + len(info).to_bytes(3, "big") + info + b"\x84" + len(listed).to_bytes(3, "big") + listed + content


#: MPEG 1, layer 3, 128 kbit/s, 44,100 samples a second: 417 bytes, and 1152 samples.
FRAME: Final = b"\xff\xfb\x90\x00" + bytes(413)


def mp3(frames: int = 100, header: bytes = b"") -> bytes:
    """Return frames; the first has the header of an encoder in it."""
    first = (FRAME[:36] + header).ljust(len(FRAME), b"\0")
    return (first if header else b"") + FRAME * frames


def xing(frames: int, size: int, added: int = 0) -> bytes:
    return b"Xing" + struct.pack(">III", 3, frames, size) + b"LAME by me" + bytes(11) + (added << 12).to_bytes(3, "big")


def vbri(frames: int, size: int) -> bytes:
    return b"VBRI" + bytes(6) + struct.pack(">II", size, frames)


def id3(frames: Mapping[str, bytes], version: int = 3, flags: int = 0, padding: int = 10) -> bytes:
    made = b""
    for name, text in frames.items():
        size = seven(len(text)) if version == 4 else len(text).to_bytes(3 if version == 2 else 4, "big")
        made += name.encode() + size + (b"" if version == 2 else b"\0\0") + text
    return b"ID3" + bytes((version, 0, flags)) + seven(len(made) + padding) + made + bytes(padding)


def seven(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3v1(title: bytes) -> bytes:
    return b"TAG" + title.ljust(30, b"\0") + bytes(95)


def page(stream: int, position: int, content: bytes, kind: int = 0) -> bytes:
    lengths = b"\xff" * (len(content) // 255) + bytes((len(content) % 255,))
    return struct.pack("<4sBBQIIIB", b"OggS", 0, kind, position, stream, 0, 0, len(lengths)) + lengths + content


def vorbis(samples: int = 20_000, rate: int = 8000, tags: Mapping[str, str] | None = None) -> bytes:
    first = page(5, 0, b"\x01vorbis" + struct.pack("<IBI", 0, 1, rate) + bytes(14), 2)
    header = page(5, 0, b"\x03vorbis" + comments(tags or {}) + b"\x01")
    return first + header + page(5, 4000, bytes(300)) + page(5, samples, bytes(300), 4)


def opus(samples: int = 120_312, tags: Mapping[str, str] | None = None) -> bytes:
    first = page(5, 0, b"OpusHead\x01\x01" + struct.pack("<HIHB", 312, 44_100, 0, 0), 2)
    return first + page(5, 0, b"OpusTags" + comments(tags or {})) + page(5, samples, bytes(300), 4)


def theora() -> bytes:
    """Return a film with sound, whose pages alternate."""
    picture = b"\x80theora\x03\x02\x01" + bytes(4) + (640).to_bytes(3, "big") + (360).to_bytes(3, "big") + bytes(20)
    return page(9, 0, picture, 2) + vorbis() + page(9, 77, bytes(300), 4)


# --- PDF --------------------------------------------------------------------------------------------------------------


def packed_pdf(pages: int = 7, *, predictor: int = 12, before: bytes = b"", later: bytes = b"") -> bytes:
    """Return a PDF whose catalog is in a stream of objects, and whose cross-references are a stream, as of PDF 1.5."""
    catalog, tree = b"<< /Type /Catalog /Pages 2 0 R >>", b"<</Type/Pages/Kids[]/Count %d>>" % pages
    numbers = b"1 0 2 %d " % (len(catalog) + 1)
    objects = zlib.compress(numbers + catalog + b" " + tree)
    made = b"%PDF-1.5\n"
    first = len(made)
    made += (
        b"3 0 obj\n<< /Type /ObjStm /N 2 /First %d /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream\nendobj\n"
        % (
            len(numbers),
            len(objects),
            objects,
        )
    )
    start = len(made)
    rows = [(2, 3, 0), (2, 3, 1), (1, first, 0), (1, start, 0)]
    entries = [struct.pack(">BHB", *each) for each in rows]
    if predictor >= 10:
        above = [bytes(4), *entries]
        entries = [_predicted(*each, predictor - 10) for each in zip(entries, above, strict=False)]
    data = zlib.compress(b"".join(entries))
    parameters = b"/DecodeParms << /Columns 4 /Predictor %d >>" % predictor
    made += (
        b"4 0 obj\n<< /Type /XRef /W [1 2 1] /Index [1 4] /Size 5 /Root 1 0 R %s /Filter /FlateDecode /Length %d >>\n"
        % (
            parameters,
            len(data),
        )
    )
    made += b"stream\n" + data + b"\nendstream\nendobj\n"
    return before + made + later + b"startxref\n%d\n%%%%EOF\n" % start


def _predicted(row: bytes, above: bytes, kind: int) -> bytes:
    before = {0: bytes(len(row)), 1: b"\0" + row[:-1], 2: above}.get(kind, above)
    return bytes((kind,)) + bytes((one - two) & 0xFF for one, two in zip(row, before, strict=True))


def saved_again(pdf: bytes, pages: int) -> bytes:
    """Return a PDF with a newer table of pages behind it, as editors append it."""
    previous = int(pdf[pdf.rindex(b"startxref") + 9 :].split()[0])
    start = len(pdf)
    tree = b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count %d >>\nendobj\n" % pages
    table = b"xref\n2 1\n%010d 00000 n \n" % start
    trailer = b"trailer\n<< /Size 5 /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n" % (previous, start + len(tree))
    return pdf + tree + table + trailer
