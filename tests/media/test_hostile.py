"""Hostile files: whatever their numbers claim, reading them ends within the limits and raises nothing else."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depot_lite.media import Recording, Unreadable, count_pages, read_recording
from depot_lite.media import reader as limits
from tests.media import samples as of
from tests.support import files


class Counted(io.BytesIO):
    """A file that counts what is read of it."""

    reads = taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.reads, self.taken = self.reads + 1, self.taken + len(found)
        return found


class Endless(io.RawIOBase):
    """A file of a terabyte that repeats a few bytes behind its head."""

    def __init__(self, head: bytes, repeated: bytes) -> None:
        self._head, self._repeated = head, repeated
        self._position = self.reads = self.taken = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (2**40 if whence == io.SEEK_END else 0)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        start, size = self._position, len(buffer)
        behind = max(0, start - len(self._head)) % len(self._repeated)
        more = self._repeated * (size // len(self._repeated) + 2)
        found = (self._head[start : start + size] + more[behind:])[:size]
        buffer[:size] = found
        self._position, self.reads, self.taken = start + size, self.reads + 1, self.taken + size
        return size


def check(file: Any) -> Recording | int | None:
    """Read a file as what it begins as, within the limits, and return what was found."""
    found: Recording | int | None = None
    with suppress(Unreadable):
        found = count_pages(file) if file.read(5) == b"%PDF-" else read_recording(file)
    assert file.reads <= limits.MAX_PIECES + 1
    assert file.taken <= limits.MAX_BYTES + 1024**2
    if isinstance(found, Recording):
        assert found.duration is None or 0 < found.duration < 1e8
        assert (found.width is None) == (found.height is None)
        assert all(text.isprintable() and 0 < len(text) <= 200 for text in found.tags.values())
    return found


SAMPLES: Final = (
    of.mp4(),
    of.mp4(of.times(b"mvhd", 1, 3), of.track(matrix=of.TURNED), of.itunes({b"\xa9nam": b"Title"}), wide=True),
    of.fragmented(),
    of.fragmented(index=True),
    of.webm(tags={"TITLE": "Title"}),
    of.webm(size=of.UNKNOWN),
    files.wav(0.1),
    of.riff(b"WAVE", of.chunk(b"ds64", bytes(28)), of.wave_format(), of.chunk(b"data", bytes(90)), mark=b"RF64"),
    of.avi(75, 100),
    of.flac(tags={"title": "Title"}),
    of.mp3(3),
    of.id3({"TIT2": b"\x01\xff\xfeT\0"}, 4) + of.mp3(3, of.xing(1000, 250_000)) + of.id3v1(b"Title"),
    of.vorbis(tags={"title": "Title"}),
    of.opus(tags={"title": "Title"}),
    of.theora(),
    files.pdf(),
    of.packed_pdf(),
    of.saved_again(of.saved_again(of.packed_pdf(), 8), 9),
)

_NUMBERS: Final = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\0\0\0\x01", b"\0\0\0\x08", b"\x01"]),
)
#: Where, what is put there, how much of the present bytes it replaces, and how often.
_CHANGE: Final = st.tuples(st.integers(0, 2000), _NUMBERS, st.integers(0, 8), st.sampled_from([1, 1, 1, 2, 300]))


def changed(data: bytes, changes: list[tuple[int, bytes, int, int]]) -> bytes:
    found = bytearray(data)
    for position, new, replaced, times in changes:
        at = 5 + position % max(1, len(found) - 5)
        found[at : at + replaced] = new * times
    return bytes(found)


def test_the_samples_are_read_as_they_are() -> None:
    for each in SAMPLES:
        assert check(Counted(each)) is not None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SAMPLES), st.lists(_CHANGE, min_size=1, max_size=6))
def test_changed_files(data: bytes, changes: list[tuple[int, bytes, int, int]]) -> None:
    check(Counted(changed(data, changes)))


@pytest.mark.matrix
@settings(max_examples=3_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SAMPLES), st.lists(_CHANGE, min_size=1, max_size=6), st.integers(5, 3000))
def test_many_changed_files(data: bytes, changes: list[tuple[int, bytes, int, int]], end: int) -> None:
    check(Counted(changed(data, changes)[:end]))


_EMPTY_BOXES: Final = of.box(b"free") * 512
_DEEP: Final = b"".join(struct.pack(">I4s", 0, name) for name in (b"moov", b"trak", b"mdia", b"minf") * 500)


@pytest.mark.parametrize(
    "file",
    [
        Endless(of.box(b"ftyp", b"isom"), _EMPTY_BOXES),
        Endless(of.box(b"ftyp", b"isom") + struct.pack(">I4s", 0, b"moov"), _EMPTY_BOXES),
        Endless(of.box(b"ftyp", b"isom") + struct.pack(">I4s", 0, b"moov"), of.track()),
        Endless(of.fragmented(), of.fragment(1, 0, [40] * 25)),
        Endless(of.webm()[:16] + of.element(0x18538067, b"", of.UNKNOWN), of.element(0xEC, b"")),
        Endless(of.webm()[:16] + of.element(0x18538067, b"", of.UNKNOWN), of.element(0x114D9B74, b"")),
        Endless(b"RIFF\xff\xff\xff\xffWAVE", of.chunk(b"junk", b"")),
        Endless(b"RIFF\xff\xff\xff\xffAVI ", of.chunk(b"LIST", b"junk")),
        Endless(b"fLaC", b"\x01\0\0\0"),
        Endless(of.flac()[:42], b"\x04\xff\xff\xff\0\0\0\0\xff\xff\xff\xff" + bytes(1000)),
        Endless(b"ID3\x04\0\0\x7f\x7f\x7f\x7f", b"TXXX\0\0\0\0\0\0"),
        Endless(b"\xff", b"\xff"),
        Endless(of.vorbis(), b"OggS"),
        Endless(of.vorbis(), of.page(7, 0, b"")),
    ],
)
def test_a_terabyte_of_empty_parts_is_not_read_to_its_end(file: Endless) -> None:
    file.seek(0)
    check(file)
    assert file.reads < 5000


@pytest.mark.parametrize(
    "data",
    [
        of.box(b"ftyp", b"isom") + _DEEP,
        of.box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"moov", 2**64 - 1) + of.track(),
        of.box(b"ftyp", b"isom") + struct.pack(">I4s", 7, b"moov"),
        of.fragmented() + of.box(b"moof", of.box(b"traf", of.full(b"trun", b"\xff" * 8, 0, 0xF01))),
        of.fragmented() + of.full(b"mfro", b"\xff" * 4),
        of.fragmented() + of.full(b"mfro", struct.pack(">I", 16)),
        of.fragmented()
        + of.box(b"mfra", of.full(b"tfra", b"\0\0\0\1\0\0\0\0" + b"\xff" * 4), of.full(b"mfro", b"\0\0\0\x28")),
        of.webm(float("inf")),
        of.webm(float("nan")),
        of.webm(1e300),
        of.webm(scale=2**63),
        of.flac(1, 0),
        of.flac(2**36 - 1, 1),
        of.vorbis(2**63, 0),
        of.vorbis(2**63, 1),
        of.mp3(3, of.xing(2**32 - 1, 0)),
        of.avi(2**32 - 1),
    ],
)
def test_numbers_that_lie(data: bytes) -> None:
    check(Counted(data))


def test_an_index_that_leads_to_itself_is_read_once() -> None:
    entry = of.element(0x53AB, bytes.fromhex("114d9b74")) + of.uint(0x53AC, 0)
    film = of.webm()[:16] + of.element(0x18538067, of.element(0x114D9B74, of.element(0x4DBB, entry)) * 100)
    check(Counted(film))


#: What fifty megabytes are compressed to.
ZEROS: Final = zlib.compress(bytes(50_000_000), 1)


def _pdf(content: bytes, start: int = 9) -> bytes:
    return b"%PDF-1.5\n" + content + b"\nstartxref\n%d\n%%%%EOF" % start


def _stream(dictionary: bytes, data: bytes) -> bytes:
    return b"1 0 obj\n<< %s /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (dictionary, len(data), data)


@pytest.mark.parametrize(
    "data",
    [
        _pdf(b"xref\n" + b"0 0\n" * 100_000 + b"trailer << /Root 1 0 R >>"),
        _pdf(b"xref\n0 99999999999999999999\n0000000000 65535 f \ntrailer << >>"),
        _pdf(b"xref\n0 1\n0000000000 65535 f \ntrailer " + b"<< /A " * 20_000),
        _pdf(b"xref\n0 1\n0000000000 65535 f \ntrailer << /Root " + b"(" * 60_000),
        _pdf(b"xref\n0 1\n0000000000 65535 f \ntrailer << /Root " + b"<a" * 30_000),
        _pdf(_stream(b"/W [1 2 1] /Size 99999999999", ZEROS)),
        _pdf(_stream(b"/W [1 0 0] /Root 1 0 R /Index [%s]" % (b"0 9 " * 10_000), ZEROS)),
        _pdf(_stream(b"/W [1 2 1] /Root 1 0 R /Index [0 9]", zlib.compress(b"\2\0\1\0" * 9))),
        _pdf(_stream(b"/W [1 2 1] /DecodeParms << /Predictor 12 /Columns 9999999 >>", zlib.compress(bytes(999)))),
        _pdf(_stream(b"/W [1 2 1] /Size 9 /Root 1 0 R /Prev 9 /XRefStm 9", zlib.compress(bytes(99)))),
    ],
)
def test_hostile_pdfs(data: bytes) -> None:
    file = Counted(data)
    assert check(file) is None
    assert file.reads < 1000


def test_what_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", -1)
    for read in (read_recording, count_pages):
        with pytest.raises(Unreadable, match="too much reading"):
            read(io.BytesIO(of.mp4()))


def test_the_file_of_a_caller_stays_open() -> None:
    file = io.BytesIO(of.mp4())
    read_recording(file)
    assert not file.closed
