"""The programs of docs/values.md, as they are printed there."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any

import fastapi  # noqa: F401  # the programs need it
import flask  # noqa: F401
import httpx
import litestar
import pytest
import sqlmodel
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from depot_lite import UploadedFile, UploadedImage
from depot_lite.testing import temporary_depots
from tests.support.files import png

PAGE = Path(__file__).parents[1] / "docs" / "values.md"


class Answer(BaseModel):
    """An answer of Litestar."""

    trailer: UploadedFile | None
    shots: list[UploadedImage]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, in which the programs make their databases and depots."""
    monkeypatch.chdir(tmp_path)
    with temporary_depots():
        yield tmp_path
    sys.modules.pop("program", None)


def programs(title: str) -> list[str]:
    """Return the blocks of a section."""
    section = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [each.partition("```")[0] for each in section.split("```python\n")[1:]]


def run(*sources: str) -> dict[str, Any]:
    """Run programs one after the other in one module, and return its names."""
    program = ModuleType("program")
    sys.modules["program"] = program  # where frameworks look for the names in annotations
    for source in sources:
        exec(compile(source, str(PAGE), "exec", dont_inherit=True), vars(program))  # our own page
    return vars(program)


def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """Return the answer of an ASGI application."""

    async def _ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(_ask())


def test_a_list_with_a_damaged_row() -> None:
    """None stands in its place, or the error names table, column and key, also after the session was closed."""
    names = run(*programs("FastAPI and Pydantic"), *programs("Damaged rows"))
    with names["engine"].begin() as connection:
        rows = "VALUES (2, 'Dogs', NULL, '[]'), (3, 'Cats', 'trailer.mp4', '[]')"
        connection.exec_driver_sql(f"INSERT INTO movie (id, title, trailer, screenshots) {rows}")

    def answers(kind: str) -> Any:
        with Session(names["engine"]) as session:
            return [names[kind].model_validate(each) for each in session.scalars(select(names["Movie"]))]

    for path, kind in (("/whole", "WholeOut"), ("/all", "MovieOut")):
        names["app"].get(path, response_model=GenericAlias(list, (names[kind],)))(partial(answers, kind))
    assert ask(names["app"], "GET", "/whole").json() == [{"id": 2, "trailer": None}, {"id": 3, "trailer": None}]
    place = r"movie.trailer of the row with the primary key \(3,\): expected JSON .*, got 'trailer.mp4'"
    with pytest.raises(ValueError, match=f"DamagedReference: {place}"):
        ask(names["app"], "GET", "/all")


def test_fastapi_and_pydantic() -> None:
    names = run(*programs("FastAPI and Pydantic"))
    files = {"trailer": ("trailer.txt", b"a trailer", "text/plain")}
    made = ask(names["app"], "POST", "/movies", params={"title": "Cats"}, files=files)
    assert made.status_code == 201
    found = ask(names["app"], "GET", f"/movies/{made.json()['id']}").json()
    assert (found["title"], found["trailer"]["filename"], found["screenshots"]) == ("Cats", "trailer.txt", [])
    assert ask(names["app"], "GET", found["trailer"]["url"]).content == b"a trailer"
    with Session(names["engine"]) as session:
        movie = session.get_one(names["Movie"], found["id"])
        out = names["TitleOut"].model_validate(movie).model_dump()
    assert out["trailer"] == {"filename": "trailer.txt", "url": found["trailer"]["url"]}
    names["engine"].dispose()


def test_sqlmodel(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(sqlmodel.SQLModel.metadata.tables)
    try:
        names = run(*programs("SQLModel"))
        assert capsys.readouterr().out == "unnamed 2 7\n"
        names["engine"].dispose()
    finally:
        for name in set(sqlmodel.SQLModel.metadata.tables) - before:
            sqlmodel.SQLModel.metadata.remove(sqlmodel.SQLModel.metadata.tables[name])


def test_flask() -> None:
    names = run(*programs("Flask"))
    data = {"trailer": (io.BytesIO(b"a trailer"), "trailer.txt")}
    client = names["app"].test_client()
    made = client.post("/movies", data=data)
    assert (made.status_code, made.get_json()["trailer"]["filename"]) == (201, "trailer.txt")
    assert client.get(made.get_json()["trailer"]["url"]).data == b"a trailer"
    names["engine"].dispose()


def test_litestar() -> None:
    names = run(*programs("Litestar"))
    with Session(names["engine"]) as session:
        session.add(names["Movie"](id=1, trailer=b"a trailer"))
        session.commit()
    found = ask(names["app"], "GET", "/movies/1").json()
    assert ask(names["app"], "GET", found["trailer"]["url"]).content == b"a trailer"
    names["engine"].dispose()
    assert os.listdir("media")


def test_litestar_describes_the_files_of_pydantic_models() -> None:
    names = run(*programs("Litestar"))

    @litestar.get("/", sync_to_thread=False)
    def read() -> Answer:
        value = UploadedImage(png(8, 6))
        value.store()
        return Answer(trailer=None, shots=[value])

    app = litestar.Litestar([read], plugins=[names["FileSchemas"]()])
    schemas = app.openapi_schema.to_schema()["components"]["schemas"]
    described = {"$ref": "#/components/schemas/FileData"}
    assert schemas["Answer"]["properties"]["trailer"]["oneOf"] == [described, {"type": "null"}]
    assert schemas["Answer"]["properties"]["shots"]["items"] == described
    (written,) = ask(app, "GET", "/").json()["shots"]
    assert set(written) == set(schemas["FileData"]["properties"])
    names["engine"].dispose()
