"""The sample media: their kinds, and that they come out the same at every start."""

from __future__ import annotations

import io
import wave

import pytest
from movies.films import FILMS, Film
from movies.motifs import MOTIFS
from movies.pictures import poster, screenshot
from movies.scripts import script_pdf, script_text
from movies.seed import TRAILER
from movies.sounds import soundtrack
from PIL import Image

from depot_lite.io.media_types.detection import content_type_of

each_film = pytest.mark.parametrize("film", FILMS, ids=[film.slug for film in FILMS])


def type_of(data: bytes) -> str:
    return content_type_of(data[:8192], None, None)


@each_film
def test_pictures_are_images_of_their_size(film: Film) -> None:
    for data, size in ((poster(film), (480, 720)), (screenshot(film, 0.5), (640, 360))):
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("JPEG", size)
        assert len(data) < 150_000


def test_the_same_film_gives_the_same_bytes() -> None:
    film = FILMS[1]
    assert poster(film) == poster(film)
    assert screenshot(film, 0.1) == screenshot(film, 0.1) != screenshot(film, 0.9)


@each_film
def test_a_soundtrack_is_as_long_as_its_theme(film: Film) -> None:
    data = soundtrack(film)
    assert type_of(data) == "audio/wav"
    with wave.open(io.BytesIO(data)) as sound:
        assert sound.getnframes() / sound.getframerate() == pytest.approx(len(film.theme) / 2, abs=0.01)
        samples = sound.readframes(sound.getnframes())
    assert max(samples) > 0


def test_scripts_hold_the_first_line() -> None:
    assert b"Nobody has called this frequency" in script_text(FILMS[0])
    data = script_pdf(FILMS[1])
    assert type_of(data) == "application/pdf"
    assert b"You folded the wings" in data
    assert b"/Count 2" in data
    # Every offset of the table leads to its object.
    table = data[data.rindex(b"\nxref") + 1 :].split(b"\n")[3:]
    offsets = [int(line[:10]) for line in table if line.endswith(b"n ")]
    assert all(data[offset:].startswith(b"%d 0 obj" % number) for number, offset in enumerate(offsets, 1))
    assert len(offsets) == 7


def test_the_trailer_is_a_small_video() -> None:
    data = TRAILER.read_bytes()
    assert type_of(data) == "video/webm"
    assert len(data) < 60_000


def test_every_motif_has_its_film() -> None:
    assert [film.motif for film in FILMS] == list(MOTIFS)
