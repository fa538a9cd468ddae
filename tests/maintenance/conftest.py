"""Fixtures of the tests of maintenance: models of every kind that may name a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Integer, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImageWithThumb
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from tests.conftest import DATABASES, empty, engine_for

#: Old enough for every file that has just been stored.
NOW = timedelta(0)


class Base(DeclarativeBase):
    """The parent of the models here."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Film(Base):
    """One file, many files, an image with a thumbnail, and a reference that is kept as text."""

    __tablename__ = "upkeep_film"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    poster: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    shots: Mapped[FileList[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    cover: Mapped[UploadedImageWithThumb | None] = mapped_column(UploadedFileField(upload_type=UploadedImageWithThumb))
    script: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(text=True, upload_storage="archive"))


class Short(Film):
    """A subclass with a table of its own, and a file in it."""

    __tablename__ = "upkeep_short"
    id: Mapped[int] = mapped_column(ForeignKey(Film.id), primary_key=True)
    clip: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Scene(Base):
    """Two columns are its primary key."""

    __tablename__ = "upkeep_scene"
    film: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    take: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


#: No class is mapped to it, and it has no primary key.
LOG = Table(
    "upkeep_log", Base.metadata, Column("number", Integer), Column("attachment", UploadedFileField, nullable=True)
)


@pytest.fixture(scope="session", params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine for each of the three databases, without other tables: a sweep searches all."""
    with engine_for(request.param, tmp_path_factory.mktemp("maintenance")) as made:
        yield made


@pytest.fixture
def database(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[Engine]:
    """Empty tables for the models here, on each of the three databases."""
    Base.metadata.create_all(engine)
    yield engine
    empty(engine, Base.metadata)


@pytest.fixture
def committed(database: Engine) -> Callable[..., None]:
    """Add objects and commit; they may be looked at afterwards."""

    def add(*objects: Any) -> None:
        with Session(database, expire_on_commit=False) as session:
            session.add_all(objects)
            session.commit()

    return add
