"""The JSON API: movies below ``/api``, beside the admin and on the same rows.

Its functions are no coroutines: database and storage block, so each request has a thread, which may wait for them.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, Query, Request, UploadFile
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from depot_lite import UploadedImage, upload_ticket
from movies.database import Database
from movies.models import TRAILER_SIZE, Movie
from movies.shown import ShownMovie, ShownPage


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _from_here(request: Request) -> None:
    """Refuse a change that a page of another site sends through the browser of who looks at it."""
    if request.method != "GET" and request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        raise HTTPException(403, "changes are not taken from pages of other sites")


router = APIRouter(prefix="/api", dependencies=[Depends(_from_here)])
Data = Annotated[Database, Depends(_database)]
Upload = Annotated[UploadFile | None, File()]
Uploads = Annotated[list[UploadFile], File()]
Title = Annotated[str, Form(min_length=1, max_length=200)]
Year = Annotated[int, Form(ge=1888, le=2100)]


class About(BaseModel):
    """What a browser tells of a file before it sends it."""

    filename: str


class Adopted(BaseModel):
    """The token of a direct upload that was sent."""

    token: str


def _changing(session: Session, movie_id: int) -> Movie:
    """Return a movie that nobody else changes meanwhile: of two who append to its list, the second sees the first."""
    return session.get_one(Movie, movie_id, with_for_update=True)


@router.get("/movies")
def list_movies(
    data: Data, page: Annotated[int, Query(ge=1, le=1_000_000)] = 1, size: Annotated[int, Query(ge=1, le=100)] = 20
) -> ShownPage:
    """Return one page of the movies, in two queries and without a question to the storage."""
    with data.reading() as session:
        total = session.scalar(select(func.count()).select_from(Movie)) or 0
        found = session.scalars(select(Movie).order_by(Movie.id).offset((page - 1) * size).limit(size))
        movies = [ShownMovie.of(each) for each in found]
    return ShownPage(movies=movies, page=page, pages=max(1, -(-total // size)), total=total)


@router.get("/movies/{movie_id}")
def get_movie(data: Data, movie_id: int) -> ShownMovie:
    """Return a movie."""
    with data.reading() as session:
        return ShownMovie.of(session.get_one(Movie, movie_id))


@router.post("/movies", status_code=201)
def create_movie(
    data: Data,
    title: Title,
    year: Year,
    poster: Upload = None,
    screenshots: Uploads = [],  # noqa: B006  # FastAPI copies it
    trailer: Upload = None,
    soundtrack: Upload = None,
    script: Upload = None,
) -> ShownMovie:
    """Make a movie of a form, with whatever files it has."""
    files = {"poster": poster, "trailer": trailer, "soundtrack": soundtrack, "script": script}
    with data.writing.begin() as session:
        movie = Movie(title=title, year=year, screenshots=screenshots, **files)
        session.add(movie)
        session.flush()  # the bytes are stored, and the movie has its number
        return ShownMovie.of(movie)


@router.put("/movies/{movie_id}/poster")
def replace_poster(data: Data, movie_id: int, poster: UploadFile) -> ShownMovie:
    """Give a movie another poster; the one before goes with the COMMIT."""
    with data.writing.begin() as session:
        movie = _changing(session, movie_id)
        movie.poster = UploadedImage(poster)
        session.flush()
        return ShownMovie.of(movie)


@router.post("/movies/{movie_id}/screenshots")
def add_screenshots(data: Data, movie_id: int, screenshots: Uploads) -> ShownMovie:
    """Append screenshots to those that a movie has."""
    with data.writing.begin() as session:
        movie = _changing(session, movie_id)
        movie.screenshots += [UploadedImage(each) for each in screenshots]
        session.flush()
        return ShownMovie.of(movie)


@router.delete("/movies/{movie_id}", status_code=204)
def delete_movie(data: Data, movie_id: int) -> None:
    """Delete a movie and all its files."""
    with data.writing.begin() as session:
        session.delete(_changing(session, movie_id))


@router.post("/uploads")
def ticket(about: About) -> dict[str, Any]:
    """Return a ticket, by which a browser sends one trailer straight to the storage."""
    return upload_ticket(max_size=TRAILER_SIZE, content_type="video/*", filename=about.filename).as_dict()


@router.put("/movies/{movie_id}/trailer")
def adopt_trailer(data: Data, movie_id: int, adopted: Adopted) -> ShownMovie:
    """Give a movie the trailer that was sent with a ticket."""
    with data.writing.begin() as session:
        movie = _changing(session, movie_id)
        movie.trailer = adopted.token  # type: ignore[assignment]  # the attribute makes a file of it
        session.flush()
        return ShownMovie.of(movie)
