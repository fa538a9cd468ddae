"""The application: depots, database, API and admin, from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.exc import NoResultFound

from depot_lite import DepotManager, InvalidContent, ValidationError
from movies import api
from movies.admin import add_admin
from movies.database import Database
from movies.seed import seed
from movies.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the application; call it once per process, because `DepotManager` is global."""
    configure_depots(settings)
    database = Database.open(settings.engine_url)
    if settings.samples:
        seed(database.writing)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        database.engine.dispose()

    # Without FastAPI's docs page, which loads scripts from another host; /openapi.json is available.
    app = FastAPI(title="Movies", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.database = database
    app.mount("/depot", DepotManager.make_asgi_middleware())
    app.include_router(api.router)
    app.add_api_route("/", _home, include_in_schema=False)
    app.add_exception_handler(ValidationError, _refused)
    app.add_exception_handler(InvalidContent, _unreadable)
    app.add_exception_handler(NoResultFound, _missing)
    add_admin(app, database.engine, settings.key())
    return app


def configure_depots(settings: Settings) -> None:
    """Configure the local depot and, if a bucket is given, one on S3 for new files."""
    DepotManager.configure_signing(settings.key())
    # Even with S3: rows from an earlier start may name files in this depot.
    DepotManager.configure("local", {"depot.storage_path": str(settings.media), "depot.visibility": "private"})
    if settings.s3_bucket:
        options = {
            "depot.backend": "depot_lite.io.boto3.S3Storage",
            "depot.bucket": settings.s3_bucket,
            "depot.prefix": "movies/",
            "depot.visibility": "private",
        }
        if settings.s3_endpoint_url:
            options["depot.endpoint_url"] = settings.s3_endpoint_url
        DepotManager.configure("s3", options)
        DepotManager.set_default("s3")


def _home() -> RedirectResponse:
    return RedirectResponse("/admin/")


# Handlers get the errors that they are registered for, but FastAPI types them as Exception.


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ValidationError)
    return JSONResponse({"detail": error.by_field}, 422)


def _unreadable(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


def _missing(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "there is no such movie"}, 404)
