"""The application: the files, the API and the admin, on what the settings name."""

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
    """Return the application, once in a process, as there is one `DepotManager` in it."""
    configure_depots(settings)
    database = Database.open(settings.engine_url)
    if settings.samples:
        seed(database.writing)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        database.engine.dispose()

    # Without FastAPI's page of documentation, whose scripts come from another host; /openapi.json is there.
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
    """Configure the local depot, and the one on S3, which gets the new files where a bucket is named."""
    DepotManager.configure_signing(settings.key())
    # Also beside S3: rows name their depot, and those of an earlier start go on finding their files.
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


# The types of the handlers' errors are those that they are registered for; FastAPI promises any.


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ValidationError)
    return JSONResponse({"detail": error.by_field}, 422)


def _unreadable(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


def _missing(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "there is no such movie"}, 404)
