"""An admin of movies: every kind of file column, rows within rows, and rules that can be broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import jinja2
from sqlalchemy import Engine, ForeignKey
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from starlette.applications import Starlette
from starlette_admin.contrib.sqla import Admin, InlineModelView, ModelView

from depot_lite.asgi import DepotASGI
from depot_lite.contrib.starlette_admin import DepotPlugin
from depot_lite.fields.analyzers import Dimensions, Duration, PdfPages
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import ContentTypes, MaxCount, Size
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager

KEY: Final = "the key of the admin's tests"

#: starlette-admin asks another machine for a font.
FONTS: Final = {"base.html": '{% extends "@core/base.html" %}{% block fonts %}{% endblock %}'}


class Base(DeclarativeBase):
    """The parent of the models of the admin."""


class Movie(Base):
    """With a poster, pictures, and something of every kind."""

    __tablename__ = "movie"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column()
    poster: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(
            upload_type=UploadedImage,
            variants={"thumb": Thumbnail(96, 96, format="PNG")},
            validators=[Size("20 kB"), ContentTypes("image/*")],
        )
    )
    shots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True, validators=[MaxCount(4)]))
    media: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(analyzers=[Dimensions(), Duration(), PdfPages()])
    )
    scenes: Mapped[list[Scene]] = relationship(back_populates="movie", cascade="all, delete-orphan")


class Scene(Base):
    """Edited within the form of its movie; its picture is required."""

    __tablename__ = "scene"
    id: Mapped[int] = mapped_column(primary_key=True)
    movie_id: Mapped[int] = mapped_column(ForeignKey("movie.id"))
    movie: Mapped[Movie] = relationship(back_populates="scenes")
    name: Mapped[str | None]
    picture: Mapped[UploadedFile] = mapped_column(UploadedFileField(validators=[ContentTypes("image/*")]))


class Scenes(InlineModelView):
    """The scenes of a movie."""

    model = Scene  # type: ignore[misc]  # as starlette-admin's manual says
    fields = ("id", "name", "picture")  # type: ignore[assignment]  # names will do
    extra = 0


class Movies(ModelView):
    """Has scenes within; whom the test tells may not write."""

    fields = ("id", "title", "poster", "shots", "media")  # type: ignore[assignment]  # names will do
    inlines = (Scenes,)
    writable = True

    def can_create(self, request: Any) -> bool:
        return self.writable

    def can_edit(self, request: Any) -> bool:
        return self.writable


def configure(folder: Path) -> None:
    """Configure a private depot."""
    DepotManager.configure("default", LocalFileStorage(folder, durable=False), visibility="private")
    DepotManager.configure_signing(KEY)


def site(engine: Engine | AsyncEngine, **options: Any) -> tuple[Starlette, Admin]:
    """Return an application with an admin at ``/admin``.

    Args:
        options: those of the plugin.
    """
    app = Starlette()
    files = DepotASGI()
    app.mount("/depot", files)
    if not DepotManager._state.middleware:
        DepotManager.set_middleware(files)
    loader = jinja2.DictLoader(FONTS)
    admin = Admin(
        engine, secret_key=KEY, plugins=[DepotPlugin(**options)], templates_dir="/nowhere", additional_loaders=[loader]
    )
    admin.add_view(Movies(Movie))
    admin.mount_to(app)
    return app, admin
