"""The sample data of the first start: seven films with generated files and a trailer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from depot_lite import FileIntent
from movies.films import FILMS, Film
from movies.models import Movie, Seeding
from movies.pictures import poster, screenshot
from movies.scripts import script_pdf, script_text
from movies.sounds import soundtrack

TRAILER: Final = Path(__file__).with_name("trailer.webm")
_MOMENTS: Final = (0.1, 0.5, 0.9)


def seed(writing: sessionmaker[Session]) -> bool:
    """Add the films in one transaction, unless they were added before; return whether they were added."""
    try:
        with writing.begin() as session:
            if session.get(Seeding, 1) is not None:
                return False
            session.add(Seeding(id=1))
            session.flush()  # a concurrent start waits here before it stores any file
            session.add_all(movie_of(film) for film in FILMS)
    except IntegrityError:
        return False
    return True


def movie_of(film: Film) -> Movie:
    """Return a movie with pending files."""
    as_text = film.year < 1970
    return Movie(
        title=film.title,
        year=film.year,
        poster=FileIntent(poster(film), f"{film.slug}.jpg", "image/jpeg"),
        screenshots=[
            FileIntent(screenshot(film, moment), f"{film.slug}-{number}.jpg", "image/jpeg")
            for number, moment in enumerate(_MOMENTS, 1)
        ],
        trailer=FileIntent(TRAILER, f"{film.slug}.webm", "video/webm") if film.trailer else None,
        soundtrack=FileIntent(soundtrack(film), f"{film.slug}.wav", "audio/wav"),
        script=FileIntent(script_text(film), f"{film.slug}.txt", "text/plain")
        if as_text
        else FileIntent(script_pdf(film), f"{film.slug}.pdf", "application/pdf"),
    )
