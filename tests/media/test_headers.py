"""The headers of sound, films and PDFs: each number is found where its format has it."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest

from depot_lite.media import Recording, Unreadable, count_pages, read_recording
from tests.media import samples as of
from tests.support import files

TAGS = {"title": "Töne", "artist": "Die Band", "album": "Platte"}


def read(data: bytes) -> Recording:
    return read_recording(io.BytesIO(data))


def found(data: bytes) -> tuple[Any, ...]:
    """Return the duration and the size."""
    each = read(data)
    assert each.problem is None
    return each.duration, each.width, each.height


# --- MP4 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("brand", [b"isom", b"qt  ", b"M4V "])
@pytest.mark.parametrize("wide", [False, True])
def test_an_mp4_lasts_as_long_as_its_movie(brand: bytes, wide: bool) -> None:
    assert found(of.mp4(brand=brand, wide=wide)) == (2.5, 640, 360)


def test_an_mp4_may_have_no_brand_and_times_of_64_bits() -> None:
    long = of.box(b"moov", of.times(b"mvhd", 1000, 2**32 * 1000, version=1), of.track(version=1))
    assert found(of.box(b"mdat", bytes(9)) + long) == (None, 640, 360)  # 136 years: no duration
    assert found(of.box(b"wide") + of.box(b"moov", of.times(b"mvhd", 50, 125, version=1))) == (2.5, None, None)


@pytest.mark.parametrize(
    ("matrix", "size"),
    [
        (of.UPRIGHT, (640, 360)),
        (of.TURNED, (360, 640)),
        ((0, -1, 0, 1, 0, 0, 0, 0, 0.25), (360, 640)),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 0.25), (640, 360)),
        (of.HALVED, (640, 360)),  # a layout: players show the film in full
        ((0,) * 9, (640, 360)),
    ],
)
def test_a_film_that_was_turned_has_the_sides_after_turning(matrix: Any, size: tuple[int, int]) -> None:
    assert found(of.mp4(of.times(b"mvhd", 1, 3), of.track(matrix=matrix)))[1:] == size


def test_the_first_track_of_pictures_has_the_size() -> None:
    sound, text = of.track(1, (9, 9), kind=b"soun"), of.track(2, (0, 0), kind=b"vide")
    assert found(of.mp4(of.times(b"mvhd", 1, 3), sound, text, of.track(3), of.track(4, (8, 8)))) == (3, 640, 360)


def test_a_fragmented_film_lasts_as_long_as_its_header_says() -> None:
    assert found(of.fragmented(2500)) == (2.5, 640, 360)


@pytest.mark.parametrize("trailing", [b"", of.box(b"mdat", bytes(20))])
@pytest.mark.parametrize("index", [False, True])
def test_a_fragmented_film_lasts_as_long_as_its_fragments(index: bool, trailing: bytes) -> None:
    assert found(of.fragmented(index=index, trailing=trailing)) == (3, 640, 360)


def test_of_an_indexed_film_only_the_last_fragments_are_read() -> None:
    film = of.fragmented(index=True)
    first = film.index(b"moof")
    spoilt = film[:first] + b"free" + film[first + 4 :]
    assert found(spoilt) == (3, 640, 360)


def test_an_index_that_leads_elsewhere_is_not_used() -> None:
    film = of.fragmented(index=True)
    table = film.index(b"tfra")
    wrong = film[:table] + film[table:].replace(struct.pack(">I", film.rindex(b"moof") - 4), b"\0\0\0\x09")
    assert found(wrong) == (3, 640, 360)


def test_tags_of_itunes() -> None:
    tags = {b"\xa9nam": "Töne".encode(), b"\xa9ART": b"Die Band", b"\xa9alb": b"Platte", b"\xa9cmt": b"no"}
    assert read(of.mp4(of.times(b"mvhd", 1, 3), of.itunes(tags), brand=b"M4A ")).tags == TAGS


# --- Matroska ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, of.UNKNOWN])
def test_a_webm_has_its_duration_size_and_tags(size: bytes | None) -> None:
    film = of.webm(size=size, tags={"TITLE": "Töne", "ARTIST": "Die Band", "ALBUM": "Platte", "URL": "no"})
    assert (found(film), read(film).tags) == ((2.5, 640, 360), TAGS)


def test_a_webm_may_count_in_other_units() -> None:
    assert found(of.webm(25.0, scale=100_000_000))[0] == 2.5


def test_a_webm_without_a_duration_has_none() -> None:
    assert found(of.webm(None)) == (None, 640, 360)
    assert read(of.webm(None)).bitrate is None


def test_a_webm_is_displayed_in_pixels_or_as_a_ratio() -> None:
    pixels, shown = of.uint(0xB0, 640) + of.uint(0xBA, 360), of.uint(0x54B0, 480) + of.uint(0x54BA, 360)
    assert found(of.webm(video=pixels + shown))[1:] == (480, 360)
    ratio = of.uint(0x54B0, 4) + of.uint(0x54BA, 3) + of.uint(0x54B2, 3)
    assert found(of.webm(video=pixels + ratio))[1:] == (640, 360)


# --- RIFF -------------------------------------------------------------------------------------------------------------


def test_a_wave_file_lasts_as_long_as_its_samples() -> None:
    sound = read(files.wav(2.5))
    assert (sound.duration, sound.bitrate) == (2.5, 128_000)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 2**31, None])
def test_a_wave_file_lasts_no_longer_than_the_file(size: int | None) -> None:
    assert found(of.riff(b"WAVE", of.wave_format(), of.chunk(b"data", bytes(40_000), size)))[0] == 2.5


def test_a_long_wave_file_has_its_size_elsewhere() -> None:
    sizes = of.chunk(b"ds64", struct.pack("<QQQI", 0, 40_000, 0, 0))
    data, behind = of.chunk(b"data", bytes(40_000), 0xFFFFFFFF), bytes(500)
    assert found(of.riff(b"WAVE", sizes, of.wave_format(), data, behind, mark=b"RF64"))[0] == 2.5


def test_tags_of_a_wave_file() -> None:
    texts = {b"INAM": "Töne".encode("latin-1") + b"\0", b"IART": b"Die Band\0", b"IPRD": b"Platte" + b"\0"}
    listed = of.chunk(b"LIST", b"INFO" + b"".join(of.chunk(name, text) for name, text in texts.items()))
    assert read(of.riff(b"WAVE", of.wave_format(), listed, of.chunk(b"data", bytes(100)))).tags == TAGS


def test_an_avi_has_its_duration_and_size() -> None:
    assert found(of.avi()) == (3, 640, 360)
    assert found(of.avi(75, 100)) == (4, 640, 360)


# --- sound ------------------------------------------------------------------------------------------------------------


def test_a_flac_has_its_duration_and_tags() -> None:
    sound = read(of.flac(tags={"Title": "Töne", "ARTIST": "Die Band", "album": "Platte"}, content=bytes(5000)))
    assert (sound.duration, sound.bitrate, sound.tags) == (2.5, 16_000, TAGS)


def test_a_flac_of_unknown_length_has_no_duration() -> None:
    assert (found(of.flac(0))[0], read(of.flac(0)).bitrate) == (None, None)


def test_an_mp3_of_a_constant_rate_lasts_as_long_as_its_bytes() -> None:
    sound = read(of.mp3(100) + of.id3v1(b"Title"))
    assert (sound.duration, sound.bitrate, sound.tags) == (2.606, 128_000, {"title": "Title"})


def test_an_mp3_of_a_variable_rate_lasts_as_long_as_its_frames() -> None:
    assert found(of.mp3(10, of.xing(1000, 250_000)))[0] == round(1000 * 1152 / 44_100, 3)
    assert read(of.mp3(10, of.xing(1000, 250_000))).bitrate == round(250_000 * 8 * 44_100 / 1_152_000)
    assert found(of.mp3(10, of.xing(1000, 250_000, added=576)))[0] == round((1_152_000 - 576) / 44_100, 3)
    assert found(of.mp3(10, of.vbri(1000, 250_000)))[0] == round(1000 * 1152 / 44_100, 3)


@pytest.mark.parametrize(
    ("version", "names", "flags"),
    [(2, ("TT2", "TP1", "TAL"), 0), (3, ("TIT2", "TPE1", "TALB"), 0), (4, ("TIT2", "TPE1", "TALB"), 0)],
)
def test_tags_of_id3(version: int, names: tuple[str, ...], flags: int) -> None:
    texts = (b"\x01" + "Töne".encode("utf-16"), b"\x00Die Band\0more", b"\x03" + b"Platte")
    frames = {"XXX" if version == 2 else "TXXX": b"\x00" + bytes(300), **dict(zip(names, texts, strict=True))}
    sound = read(of.id3(frames, version, flags) + of.mp3())
    assert (sound.tags, sound.duration) == (TAGS, 2.606)


def test_bytes_that_id3_has_put_in_are_left_out() -> None:
    text = b"\x01" + "Töne".encode("utf-16-le").join((b"\xff\x00\xfe", b""))
    assert read(of.id3({"TIT2": text}, 3, 0x80) + of.mp3()).tags == {"title": "Töne"}


def test_an_extended_header_and_a_footer_of_id3_are_passed_over() -> None:
    plain = of.id3({"TIT2": b"\x00Title"}, 4)
    extended = plain[:5] + b"\x50" + of.seven(len(plain) - 4) + of.seven(6) + b"\x01\x00" + plain[10:]
    sound = read(extended + b"3DI" + bytes(7) + of.mp3())
    assert (sound.tags, sound.duration) == ({"title": "Title"}, 2.606)


def test_a_flac_may_stand_behind_id3() -> None:
    sound = read(of.id3({"TIT2": b"\x00Title"}) + of.flac(tags={"title": "no", "album": "Album"}))
    assert (sound.duration, sound.tags) == (2.5, {"title": "Title", "album": "Album"})


@pytest.mark.parametrize("make", [of.vorbis, of.opus])
def test_an_ogg_lasts_up_to_its_last_position(make: Any) -> None:
    sound = make(tags={"TITLE": "Töne", "artist": "Die Band", "ALBUM": "Platte"})
    assert (found(sound)[0], read(sound).tags) == (2.5, TAGS)


def test_an_ogg_with_a_film_has_its_size_and_the_duration_of_its_sound() -> None:
    assert found(of.theora()) == (2.5, 640, 360)


def test_a_page_of_an_ogg_may_have_no_position() -> None:
    assert found(of.vorbis() + of.page(5, 2**64 - 1, bytes(40)))[0] == 2.5


# --- values -----------------------------------------------------------------------------------------------------------


def test_the_bit_rate_of_a_film_is_that_of_the_whole_file() -> None:
    film = of.mp4()
    assert read(film).bitrate == round(len(film) * 8 / 2.5)


def test_tags_are_short_printable_text() -> None:
    sound = read(of.flac(tags={"title": "\x1b[31m two \t lines\n\u202e", "artist": "x" * 5000, "album": "\0"}))
    assert sound.tags == {"title": "[31m two lines", "artist": "x" * 200}


@pytest.mark.parametrize("data", [b"", b"text", b"%PDF-1.4", bytes(5000), b"\xff" * 70_000])
def test_other_files_have_nothing(data: bytes) -> None:
    try:
        sound = read(data)
    except Unreadable:
        return
    assert (sound.duration, sound.width, sound.tags) == (None, None, {})
    assert sound.problem


@pytest.mark.parametrize(
    "data", [of.mp4(), of.fragmented(), of.webm(), files.wav(), of.avi(), of.flac(), of.mp3(), of.vorbis(), of.opus()]
)
def test_a_file_that_breaks_off_anywhere_is_read_up_to_there(data: bytes) -> None:
    for end in range(12, min(len(data), 700)):
        read(data[:end])


# --- PDF --------------------------------------------------------------------------------------------------------------


def pages(data: bytes) -> int:
    return count_pages(io.BytesIO(data))


def test_a_pdf_with_a_table_has_its_pages() -> None:
    assert pages(files.pdf()) == 1


@pytest.mark.parametrize("predictor", [1, 10, 11, 12])
def test_a_pdf_with_streams_has_its_pages(predictor: int) -> None:
    assert pages(of.packed_pdf(7, predictor=predictor)) == 7


def test_a_pdf_may_have_other_bytes_in_front() -> None:
    assert pages(of.packed_pdf(7, before=b"mail header\n" * 20)) == 7


def test_the_latest_version_of_a_pdf_counts() -> None:
    assert pages(of.saved_again(files.pdf(), 12)) == 12
    assert pages(of.saved_again(of.saved_again(of.packed_pdf(7), 8), 9)) == 9


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-1.4\n",
        files.pdf()[:-20],
        files.pdf().replace(b"/Count 1", b"/Count 0"),
        files.pdf().replace(b"/Count 1", b"/Count -"),
        files.pdf().replace(b"/Pages 2 0 R", b"/Pages 9 0 R"),
        files.pdf().replace(b"/Root 1 0 R", b"/Root (1)  "),
        files.pdf().replace(b"2 0 obj", b"7 0 obj"),
        of.packed_pdf(predictor=13),
        of.packed_pdf().replace(b"/FlateDecode", b"/LZWDecodeX_"),
        of.packed_pdf().replace(b"/W [1 2 1]", b"/W [0 0 0]"),
    ],
)
def test_a_broken_pdf_has_none(data: bytes) -> None:
    with pytest.raises(Unreadable):
        pages(data)


def test_cross_references_may_lead_in_a_circle() -> None:
    twice = of.saved_again(files.pdf(), 12)
    start = int(twice[twice.rindex(b"startxref") + 9 :].split()[0])
    first = twice[twice.rindex(b"/Prev") :].split()[1]
    with pytest.raises(Unreadable, match="missing"):
        pages(twice.replace(b"/Prev %s" % first, b"/Prev %d" % start))
