"""Files in the answers of APIs: Pydantic, FastAPI, SQLModel, Flask, Litestar, msgspec, marshmallow and Strawberry."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import OrderedDict
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import httpx
import msgspec
import orjson
import pytest
import strawberry
from fastapi import FastAPI
from flask import Flask, jsonify
from litestar import get
from litestar.testing import create_test_client
from marshmallow import Schema
from marshmallow import ValidationError as MarshmallowError
from marshmallow import fields as marshmallow_fields
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column
from sqlalchemy.pool import StaticPool
from sqlmodel import Field, SQLModel
from sqlmodel import Session as SQLModelSession

from depot_lite import Crop, DepotManager, UploadedFile, UploadedFileField, UploadedImage
from depot_lite.contrib.flask import FileJSONProvider
from depot_lite.contrib.marshmallow import File as FileField
from depot_lite.contrib.pydantic import AsDict
from depot_lite.contrib.strawberry import File
from depot_lite.fields.analyzers import Analyzer
from depot_lite.fields.schema import FileData
from depot_lite.fields.validators import Candidate
from depot_lite.testing import temporary_depots
from tests.support.files import png

OUTSIDE = {
    *(
        "url",
        "filename",
        "content_type",
        "size",
        "checksum",
        "width",
        "height",
        "uploaded_at",
        "variants",
        "meta",
        "facts",
    )
}


class Base(DeclarativeBase):
    """The parent of the ordinary models."""


class Letters(Analyzer):
    """The number of bytes."""

    def facts_of(self, file: Candidate) -> dict[str, Any]:
        return {"letters": file.size}


class Movie(Base):
    """A file, an image with a variant, and a list."""

    __tablename__ = "api_movie"
    id: Mapped[int] = mapped_column(primary_key=True)
    trailer: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(analyzers=[Letters()]))
    poster: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"small": Crop(4, 4)})
    )
    shots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))


class Dataclasses(MappedAsDataclass, DeclarativeBase):
    """The parent of models that are dataclasses."""


class Note(Dataclasses):
    """A dataclass with files."""

    __tablename__ = "api_note"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=None)
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True), default_factory=list)


class Novel(SQLModel, table=True):
    """A model of SQLModel, without ``arbitrary_types_allowed``."""

    id: int | None = Field(default=None, primary_key=True)
    cover: UploadedFile | None = Field(default=None, sa_type=UploadedFileField)
    pages: list[UploadedFile] = Field(default_factory=list, sa_type=UploadedFileField(multiple=True))


class MovieOut(BaseModel):
    """An answer in which files are `UploadedFile`."""

    model_config = ConfigDict(from_attributes=True)
    id: int
    trailer: UploadedFile | None
    poster: UploadedImage | None
    shots: list[UploadedFile]


class FileOut(BaseModel):
    """A file in one's own words."""

    filename: str
    url: str | None


class OwnOut(BaseModel):
    """An answer in which files are in one's own words."""

    model_config = ConfigDict(from_attributes=True)
    trailer: Annotated[FileOut, AsDict] | None
    shots: Annotated[list[FileOut], AsDict]


@pytest.fixture
def session() -> Iterator[Session]:
    """A session with one row of each model, loaded anew."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    Dataclasses.metadata.create_all(engine)
    SQLModel.metadata.create_all(engine)
    with temporary_depots():
        DepotManager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
        DepotManager.make_middleware(lambda environ, start: [])
        with Session(engine) as session:
            trailer = UploadedFile(b"trailer", filename="trailer.txt", meta={"alt": "A cat"})
            shots = [UploadedFile(b"1", filename="1.txt"), UploadedFile(b"2", filename="2.txt")]
            poster = UploadedImage(png(8, 6), filename="poster.png")
            session.add(Movie(id=1, trailer=trailer, poster=poster, shots=shots))
            session.add(Note(content=UploadedFile(b"note", filename="note.txt"), pages=[UploadedFile(b"page")]))
            session.add(Novel(cover=UploadedFile(b"cover", filename="cover.txt"), pages=[UploadedFile(b"page")]))
            session.commit()
            yield session
    engine.dispose()


def movie(session: Session) -> Movie:
    """Return the row, just loaded."""
    session.expunge_all()
    return session.scalars(select(Movie)).one()


# --- as_dict ----------------------------------------------------------------------------------------------------------


def test_the_outside_dictionary_has_no_depots_and_no_paths(session: Session) -> None:
    found = movie(session)
    assert found.trailer is not None
    assert found.poster is not None
    data, image = found.trailer.as_dict(), found.poster.as_dict()
    assert set(data) == set(image) == OUTSIDE
    assert data["url"] == f"/depot/{found.trailer.path}"
    assert (data["filename"], data["size"], data["meta"], data["width"]) == ("trailer.txt", 7, {"alt": "A cat"}, None)
    assert (data["facts"], image["facts"]) == ({"letters": 7}, {})
    assert data["uploaded_at"] == found.trailer.uploaded_at.isoformat()  # type: ignore[union-attr]
    assert str(data["uploaded_at"]).endswith("+00:00")
    assert (image["width"], image["height"], data["variants"]) == (8, 6, {})
    small = image["variants"]["small"]
    assert set(small) == {"url", "filename", "content_type", "size", "width", "height"}
    assert (small["url"], small["width"]) == (found.poster.variants["small"].url, 4)
    assert json.loads(json.dumps(data)) == json.loads(orjson.dumps(data)) == data


def test_a_pending_file_and_a_file_that_nothing_serves_have_no_url() -> None:
    with temporary_depots():
        DepotManager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
        value = UploadedFile(b"x", filename="x.txt")
        assert (value.as_dict()["url"], value.as_dict()["uploaded_at"]) == (None, None)
        value.store()
        assert (value.as_dict()["url"], value.as_dict()["size"]) == (None, 1)


def test_a_file_of_a_depot_that_became_private_has_no_url_without_a_middleware() -> None:
    with temporary_depots():
        settings = {"depot.backend": "depot_lite.io.memory.MemoryFileStorage", "depot.visibility": "private"}
        DepotManager.configure("default", settings)
        value = UploadedFile(b"x", filename="x.txt")
        value.store()
        assert UploadedFile({**value, "_public_url": "https://cdn.example.org/x.txt"}).as_dict()["url"] is None


# --- Pydantic and FastAPI ---------------------------------------------------------------------------------------------


def test_pydantic_writes_files_as_outside_dictionaries(session: Session) -> None:
    found = movie(session)
    out = MovieOut.model_validate(found)
    expected = {
        "id": 1,
        "trailer": found.trailer and found.trailer.as_dict(),
        "poster": found.poster and found.poster.as_dict(),
        "shots": [each.as_dict() for each in found.shots],
    }
    assert out.model_dump() == json.loads(out.model_dump_json()) == expected
    assert TypeAdapter(list[UploadedFile]).dump_python(found.shots) == expected["shots"]


def test_pydantic_takes_contents_and_no_dictionary() -> None:
    adapter = TypeAdapter(UploadedFile | None)
    with temporary_depots():
        DepotManager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
        value = UploadedFile(b"x")
        assert adapter.validate_python(value) is value
        assert adapter.validate_python(None) is None
        pending = adapter.validate_python(b"bytes")
        assert pending is not None
        assert (pending.pending, pending.original_content) == (True, b"bytes")
        keys = {"depot_name": "default", "file_id": "1", "path": "default/1", "files": ["default/1"]}
        for refused in (keys, OrderedDict(keys), (each for each in keys.items()), "text", 5, "depot-upload:forged"):
            with pytest.raises(ValidationError):
                adapter.validate_python(refused)
        with pytest.raises(ValidationError, match="text is not a file: expected an upload, bytes or the token"):
            adapter.validate_python("text")


def test_pydantic_includes_and_excludes_keys_of_files(session: Session) -> None:
    out = MovieOut.model_validate(movie(session))
    assert out.model_dump(include={"trailer": {"filename"}}) == {"trailer": {"filename": "trailer.txt"}}
    assert json.loads(out.model_dump_json(include={"shots": {"__all__": {"size"}}}))["shots"][0].keys() == {"size"}
    assert out.model_dump(exclude={"trailer": {"url"}})["trailer"].keys() == OUTSIDE - {"url"}


class CaptionData(FileData):
    """A file with a key of one's own."""

    caption: str


class CaptionedFile(UploadedFile):
    """A file whose answers have a key of their own."""

    __slots__ = ()

    def as_dict(self) -> CaptionData:
        return {**super().as_dict(), "caption": "A cat"}


class LooseFile(UploadedFile):
    """A file whose answers have any keys."""

    __slots__ = ()

    def as_dict(self) -> Any:
        return {"caption": "A dog"}


def test_pydantic_writes_the_keys_of_subclasses() -> None:
    with temporary_depots():
        DepotManager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
        captioned, loose = TypeAdapter(CaptionedFile), TypeAdapter(LooseFile)
        assert captioned.dump_python(CaptionedFile(b"x"))["caption"] == "A cat"
        assert captioned.json_schema(mode="serialization")["properties"]["caption"]["type"] == "string"
        assert (
            loose.dump_python(LooseFile(b"x")) == json.loads(loose.dump_json(LooseFile(b"x"))) == {"caption": "A dog"}
        )


def test_an_input_model_is_stored(session: Session) -> None:
    class MovieIn(BaseModel):
        trailer: UploadedFile | None = None
        shots: list[UploadedFile] = []

    data = MovieIn.model_validate({"trailer": b"new"})
    assert data.model_dump()["trailer"]["url"] is None
    made = Movie(**dict(data))
    session.add(made)
    session.commit()
    assert made.trailer is not None
    assert (made.trailer.file.read(), made.shots) == (b"new", [])


def test_models_of_ones_own_get_names_and_urls(session: Session) -> None:
    found = movie(session)
    assert found.trailer is not None
    assert OwnOut.model_validate(found).model_dump() == {
        "trailer": {"filename": "trailer.txt", "url": found.trailer.url},
        "shots": [{"filename": each.filename, "url": each.url} for each in found.shots],
    }
    found.trailer = None
    assert OwnOut.model_validate(found).trailer is None


def ask(app: Any, path: str) -> httpx.Response:
    """Return the answer of an ASGI application."""

    async def _ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get(path)

    return asyncio.run(_ask())


def test_fastapi_answers_and_describes_files(session: Session) -> None:
    app = FastAPI()

    @app.get("/movie")
    def read() -> MovieOut:
        return movie(session)  # type: ignore[return-value]  # FastAPI makes the model

    @app.get("/note")
    def note() -> Any:
        session.expunge_all()
        return session.scalars(select(Note)).one()

    answer = ask(app, "/movie")
    assert (answer.status_code, answer.json()["trailer"]["filename"]) == (200, "trailer.txt")
    assert answer.json()["trailer"]["url"].startswith("/depot/default/")
    assert ask(app, "/note").json()["content"]["filename"] == "note.txt"
    schemas = ask(app, "/openapi.json").json()["components"]["schemas"]
    described = {"$ref": "#/components/schemas/FileData"}
    assert schemas["MovieOut"]["properties"]["trailer"]["anyOf"] == [described, {"type": "null"}]
    assert schemas["MovieOut"]["properties"]["shots"]["items"] == described
    assert set(schemas["FileData"]["required"]) == OUTSIDE
    assert schemas["FileData"]["properties"]["size"]["anyOf"][0] == {"type": "integer"}
    assert schemas["FileData"]["properties"]["uploaded_at"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert schemas["FileData"]["properties"]["variants"]["additionalProperties"]["$ref"].endswith("/VariantData")
    assert TypeAdapter(FileData).validate_python(answer.json()["trailer"]) == answer.json()["trailer"]
    taken = MovieOut.model_json_schema(mode="validation")["properties"]["trailer"]["anyOf"][0]
    assert (taken["type"], taken["format"]) == ("string", "binary")


# --- SQLModel ---------------------------------------------------------------------------------------------------------


def test_sqlmodel_stores_and_writes_files(session: Session) -> None:
    session.expunge_all()
    book = session.scalars(select(Novel)).one()
    assert book.cover is not None
    assert (book.cover.file.read(), [each.file.read() for each in book.pages]) == (b"cover", [b"page"])
    assert book.model_dump() == {
        "id": 1,
        "cover": book.cover.as_dict(),
        "pages": [each.as_dict() for each in book.pages],
    }
    made = Novel.model_validate({"cover": b"bytes", "pages": [b"1", b"2"]})
    session.add(made)
    session.commit()
    assert made.cover is not None
    assert (made.cover.file.read(), [each.file.read() for each in made.pages]) == (b"bytes", [b"1", b"2"])
    with SQLModelSession(session.get_bind()) as other:
        contents: Any = {"cover": b"direct", "pages": [b"p"]}
        direct = Novel(**contents)
        other.add(direct)
        other.commit()
        assert direct.cover is not None
        assert direct.cover.file.read() == b"direct"


# --- others -----------------------------------------------------------------------------------------------------------


def test_flask_writes_files_wherever_they_are(session: Session) -> None:
    app = Flask(__name__)
    app.json = FileJSONProvider(app)

    @app.get("/movie")
    def read() -> Any:
        found = movie(session)
        session.scalars(select(Note)).one()
        return jsonify(
            trailer=found.trailer, shots=found.shots, note=session.scalars(select(Note)).one(), other=(1, "a")
        )

    data = app.test_client().get("/movie").get_json()
    assert set(data["trailer"]) == set(data["shots"][1]) == set(data["note"]["content"]) == OUTSIDE
    assert (data["shots"][1]["filename"], data["other"]) == ("2.txt", [1, "a"])


def test_litestar_writes_and_describes_files(session: Session) -> None:
    class Answer(TypedDict):
        id: int
        trailer: FileData | None

    @get("/movie", sync_to_thread=False, signature_types=[Answer])
    def read() -> Answer:
        found = movie(session)
        return {"id": found.id, "trailer": None if found.trailer is None else found.trailer.as_dict()}

    with create_test_client([read]) as client:
        data = client.get("/movie").json()
        assert (set(data["trailer"]), data["trailer"]["filename"]) == (OUTSIDE, "trailer.txt")
        assert "FileData" in str(client.get("/schema/openapi.json").json())


@pytest.mark.parametrize("encode", [json.dumps, orjson.dumps, msgspec.json.encode], ids=["json", "orjson", "msgspec"])
def test_encoders_write_the_keys_of_the_row(session: Session, encode: Any) -> None:
    found = movie(session)
    data = json.loads(encode({"trailer": found.trailer, "shots": found.shots}))
    assert data == {"trailer": found.trailer, "shots": list(found.shots)}
    assert json.loads(encode(found.trailer and found.trailer.as_dict()))["filename"] == "trailer.txt"


def test_dataclasses_keep_their_values(session: Session) -> None:
    session.expunge_all()
    note = session.scalars(select(Note)).one()
    assert note.content is not None
    data = dataclasses.asdict(note)
    assert isinstance(data["content"], UploadedFile)
    assert data["content"].as_dict() == note.content.as_dict()
    assert json.loads(msgspec.json.encode(note))["content"]["filename"] == "note.txt"


def test_marshmallow_writes_and_loads_files(session: Session) -> None:
    class MovieSchema(Schema):
        trailer = FileField(allow_none=True)
        shots = marshmallow_fields.List(FileField())

    found = movie(session)
    written: Any = MovieSchema().dump(found)
    assert written == {
        "trailer": found.trailer and found.trailer.as_dict(),
        "shots": [each.as_dict() for each in found.shots],
    }
    loaded: Any = MovieSchema().load({"trailer": b"new", "shots": [b"1"]})
    assert (loaded["trailer"].pending, loaded["shots"][0].original_content) == (True, b"1")
    assert MovieSchema().load({"trailer": None}) == {"trailer": None}
    with pytest.raises(MarshmallowError, match="a dictionary is not a file: expected an upload, bytes or the token"):
        MovieSchema().load({"trailer": {"path": "default/1"}})


@strawberry.type
class Film:
    """A movie in GraphQL."""

    trailer: File | None
    poster: File | None


def test_strawberry_answers_files(session: Session) -> None:
    @strawberry.type
    class Query:
        @strawberry.field
        def film(self) -> Film:
            found = movie(session)
            return Film(trailer=File.of(found.trailer), poster=File.of(found.poster))

    schema = strawberry.Schema(Query)
    asked = "{ film { trailer { filename url size meta facts } poster { width variants { name width } } } }"
    result = schema.execute_sync(asked)
    assert result.errors is None
    assert result.data is not None
    film = result.data["film"]
    assert (film["trailer"]["filename"], film["trailer"]["size"]) == ("trailer.txt", 7)
    assert (film["trailer"]["meta"], film["trailer"]["facts"]) == ({"alt": "A cat"}, {"letters": 7})
    assert film["poster"] == {"width": 8, "variants": [{"name": "small", "width": 4}]}
    assert File.of(None) is None
