"""The JSON API: movies below ``/api``, with the same rows as the admin.

Its functions are not coroutines, because database and storage block: FastAPI runs each request in a thread.
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
from movies.schemas import MovieSchema, PageSchema


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _same_origin(request: Request) -> None:
    """Refuse changes that pages of other sites send through the browser of a user (CSRF)."""
    if request.method != "GET" and request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        raise HTTPException(403, "changes from pages of other sites are refused")


router = APIRouter(prefix="/api", dependencies=[Depends(_same_origin)])
Data = Annotated[Database, Depends(_database)]
Upload = Annotated[UploadFile | None, File()]
Uploads = Annotated[list[UploadFile], File()]
Title = Annotated[str, Form(min_length=1, max_length=200)]
Year = Annotated[int, Form(ge=1888, le=2100)]


class UploadRequest(BaseModel):
    """A file that a browser is about to send."""

    filename: str


class Adoption(BaseModel):
    """The token of a completed direct upload."""

    token: str


def _locked_movie(session: Session, movie_id: int) -> Movie:
    """Return a movie with its row locked, so that concurrent requests append to its list one after the other."""
    return session.get_one(Movie, movie_id, with_for_update=True)


@router.get("/movies")
def list_movies(
    data: Data, page: Annotated[int, Query(ge=1, le=1_000_000)] = 1, size: Annotated[int, Query(ge=1, le=100)] = 20
) -> PageSchema:
    """Return one page of the movies, with two queries and no request to the storage."""
    with data.reading() as session:
        total = session.scalar(select(func.count()).select_from(Movie)) or 0
        found = session.scalars(select(Movie).order_by(Movie.id).offset((page - 1) * size).limit(size))
        movies = [MovieSchema.of(each) for each in found]
    return PageSchema(movies=movies, page=page, pages=max(1, -(-total // size)), total=total)


@router.get("/movies/{movie_id}")
def get_movie(data: Data, movie_id: int) -> MovieSchema:
    """Return a movie."""
    with data.reading() as session:
        return MovieSchema.of(session.get_one(Movie, movie_id))


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
) -> MovieSchema:
    """Create a movie from a form with files."""
    files = {"poster": poster, "trailer": trailer, "soundtrack": soundtrack, "script": script}
    with data.writing.begin() as session:
        movie = Movie(title=title, year=year, screenshots=screenshots, **files)
        session.add(movie)
        session.flush()  # stores the files, and gives the movie its id
        return MovieSchema.of(movie)


@router.put("/movies/{movie_id}/poster")
def replace_poster(data: Data, movie_id: int, poster: UploadFile) -> MovieSchema:
    """Replace the poster of a movie; the old file is deleted after COMMIT."""
    with data.writing.begin() as session:
        movie = _locked_movie(session, movie_id)
        movie.poster = UploadedImage(poster)
        session.flush()
        return MovieSchema.of(movie)


@router.post("/movies/{movie_id}/screenshots")
def add_screenshots(data: Data, movie_id: int, screenshots: Uploads) -> MovieSchema:
    """Append screenshots to those of a movie."""
    with data.writing.begin() as session:
        movie = _locked_movie(session, movie_id)
        movie.screenshots += [UploadedImage(each) for each in screenshots]
        session.flush()
        return MovieSchema.of(movie)


@router.delete("/movies/{movie_id}", status_code=204)
def delete_movie(data: Data, movie_id: int) -> None:
    """Delete a movie and all its files."""
    with data.writing.begin() as session:
        session.delete(_locked_movie(session, movie_id))


@router.post("/uploads")
def ticket(upload: UploadRequest) -> dict[str, Any]:
    """Return a ticket with which a browser sends a trailer directly to the storage."""
    return upload_ticket(max_size=TRAILER_SIZE, content_type="video/*", filename=upload.filename).as_dict()


@router.put("/movies/{movie_id}/trailer")
def adopt_trailer(data: Data, movie_id: int, adoption: Adoption) -> MovieSchema:
    """Give a movie the trailer that was sent with a ticket."""
    with data.writing.begin() as session:
        movie = _locked_movie(session, movie_id)
        movie.trailer = adoption.token  # type: ignore[assignment]  # the attribute accepts tokens
        session.flush()
        return MovieSchema.of(movie)
