"""The README and pages of the documentation: their code runs, and imports from where docs/api.md says."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import depot_lite
from depot_lite import ConfigurationError, DepotManager, UploadedFile, UploadedFileField, ValidationError
from depot_lite.fields import validators
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.testing import temporary_depots
from tests.fields.contents import PNG
from tests.fields.images import image

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *sorted(f"docs/{each.name}" for each in (ROOT / "docs").glob("*.md")))

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
#: ``from depot_lite.x import a, b``, also over several lines.
IMPORT = re.compile(r"^from (depot_lite[\w.]*) import (?:\(([^)]*)\)|(.*))", re.MULTILINE)


def blocks(page: str, *words: str) -> list[str]:
    """Return the Python on a page, or one block for each of these words that it contains."""
    found = BLOCK.findall((ROOT / page).read_text())
    if not words:
        return found
    return [next(each for each in found if word in each) for word in words]


def run(source: str, page: str, names: dict[str, Any]) -> dict[str, Any]:
    """Execute a block as if the reader had copied it."""
    exec(compile(source, page, "exec", dont_inherit=True), names)
    return names


@pytest.fixture
def depots() -> Iterator[None]:
    """Begin without a configuration."""
    with temporary_depots():
        yield


@pytest.fixture
def disposed() -> Iterator[dict[str, Any]]:
    """Names for blocks; their engine is disposed of at the end."""
    names: dict[str, Any] = {"__name__": "__main__"}
    yield names
    names["engine"].dispose()


# --- imports ----------------------------------------------------------------------------------------------------------


def imported(code: str) -> dict[str, set[str]]:
    """Return the names that code imports from our modules: name -> modules."""
    found: dict[str, set[str]] = {}
    for module, several, one in IMPORT.findall(code):
        for name in re.findall(r"\w+", re.sub(r"#.*", "", several or one)):
            found.setdefault(name, set()).add(module)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_imports_what_it_uses_from_where_applications_do(page: str) -> None:
    code = "\n".join(blocks(page))
    found = imported(code)
    exported = dict.fromkeys(depot_lite.__all__, "depot_lite") | dict.fromkeys(validators.__all__, validators.__name__)
    bare = re.sub(r"#.*|\"[^\"\n]*\"", "", code)
    used = {name for name in exported if re.search(rf"(?<![\w.]){name}\b(?!=)", bare)}
    missing = used - {*found} - ({"Image"} if page == "docs/images.md" else set())
    assert sorted(missing) == []
    assert {name: where for name, where in found.items() if name in exported and where != {exported[name]}} == {}


def test_the_api_page_lists_all_public_names() -> None:
    text = (ROOT / "docs/api.md").read_text().partition("## depot_lite\n")[0]
    assert sorted({*depot_lite.__all__} - {*re.findall(r"`(\w+)`", text), "__version__"}) == []
    groups = {each for each in validators.__all__ if each.endswith("_EXTENSIONS")}
    assert sorted({*validators.__all__} - {*re.findall(r"`(\w+)`", text)} - groups) == []


def test_the_api_page_has_every_name_of_the_modules_that_it_lists() -> None:
    text = (ROOT / "docs/api.md").read_text()
    described = {
        module
        for module, options in re.findall(r"automodule:: ([\w.]+)\n((?: +:.*\n)*)", text)
        if ":no-members:" not in options
    }
    named = {*re.findall(r"`(\w+)`", text), *re.findall(r"auto\w+:: [\w.]+\.(\w+)\n", text)}
    missing = []
    listed = {*re.findall(r"`(depot_lite[\w.]*)`", text), *re.findall(r"automodule:: ([\w.]+)", text)}
    for name in sorted(listed - {"depot_lite"}):
        try:
            if importlib.util.find_spec(name) is None:  # the class of a storage
                continue
            module = importlib.import_module(name)
        except (ImportError, ConfigurationError) as error:  # the library of an extra, which the quick tests do without
            if isinstance(error, ImportError) and str(error.name).startswith("depot_lite"):
                raise
            continue
        for public in getattr(module, "__all__", ()):
            homes = {name, getattr(getattr(module, public), "__module__", name)}
            if public not in named and not homes & described:
                missing.append(f"{name}.{public}")
    assert missing == []
    assert len(listed) > 60


def test_the_api_page_lists_what_the_page_about_apis_imports() -> None:
    text = (ROOT / "docs/api.md").read_text().partition("## depot_lite\n")[0]
    listed = {*re.findall(r"`([\w.]+)`", text)}
    for name, modules in imported("\n".join(blocks("docs/values.md"))).items():
        assert {name, *modules} <= listed


def test_samples_of_progress_have_the_time_that_is_printed() -> None:
    """Only a terminal shows none, and it shows a bar."""
    lines = re.findall(
        r"^.*: [\d,]+ (?:files|rows)\b.*, in [\d.]+ s$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE
    )
    assert len(lines) > 2
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line)] == []


def test_imports_are_recognised() -> None:
    code = "from depot_lite import (\n    A,\n    B,  # x\n)\nfrom depot_lite.io import C, D\nfrom os import path\n"
    assert imported(code) == {"A": {"depot_lite"}, "B": {"depot_lite"}, "C": {"depot_lite.io"}, "D": {"depot_lite.io"}}


# --- README -----------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depots: None, disposed: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = blocks("README.md")
    names = run(first, "README.md", disposed)
    with Session(names["engine"]) as session:
        document = session.scalars(select(names["Document"])).one()
        assert (document.content.filename, document.content.file.read()) == ("plan.pdf", b"%PDF-1.7 ...")
    models, _, statements = second.rpartition("\n\n\n")
    names = run(models, "README.md", names)
    names["Base"].metadata.create_all(names["engine"])
    DepotManager.make_middleware(lambda environ, start_response: [])
    with Session(names["engine"]) as session:
        names["movie"] = names["Movie"](poster=UploadedFile(image(), filename="a.jpg"))
        names["upload"] = PNG
        session.add(names["movie"])
        session.commit()
        run(statements, "README.md", names)
        session.commit()
        assert [each.size for each in names["movie"].screenshots] == [len(PNG)]


# --- tutorial ---------------------------------------------------------------------------------------------------------

SHOP = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from depot_lite import DepotManager

DepotManager.configure("default", {"depot.storage_path": "/nowhere", "depot.visibility": "private"})
DepotManager.configure_signing("the key of the application")


async def add(request):
    async with request.form() as form:
        file_id = await DepotManager.get().aio.create(form["poster"])
    return JSONResponse({"url": DepotManager.url_for(f"default/{file_id}", expires_in=60)})


app = DepotManager.make_asgi_middleware(Starlette(routes=[Route("/posters", add, methods=["POST"])]))
"""


@pytest.mark.matrix
def test_the_test_of_the_tutorial_passes(tmp_path: Path) -> None:
    (test,) = blocks("docs/tutorial.md", "import pytest")
    (tmp_path / "test_shop.py").write_text(test)
    (tmp_path / "shop.py").write_text(SHOP)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir=."]
    done = subprocess.run(
        [*command, "test_shop.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


# --- transactions -----------------------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    """The base of the models of a page."""


class Document(Base):
    """The model of docs/transactions.md."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


def test_uploads_outside_a_transaction_run_as_printed(tmp_path: Path, depots: None, disposed: dict[str, Any]) -> None:
    DepotManager.configure("default", MemoryFileStorage())
    upload, counted = blocks("docs/transactions.md", "def replace_content", "def replace_counted")
    page = "from sqlalchemy.orm import *\nfrom sqlalchemy.orm.exc import StaleDataError\nfrom pathlib import Path\n"
    page += f"from typing import Any\n{upload}\n\n{counted}"
    names = disposed
    names |= {"Base": Base, "Document": Document, "engine": create_engine(f"sqlite:///{tmp_path / 'page.db'}")}
    run(page, "docs/transactions.md", names)
    Base.metadata.create_all(names["engine"])
    (tmp_path / "new.txt").write_bytes(b"new")
    with Session(names["engine"]) as session:
        session.add_all([Document(id=1), names["Article"](id=1)])
        session.commit()
    names["replace_content"](1, b"new")
    names["replace_counted"](1, tmp_path / "new.txt")
    with Session(names["engine"]) as session:
        for model in (Document, names["Article"]):
            assert session.get_one(model, 1).content.file.read() == b"new"


# --- lists ------------------------------------------------------------------------------------------------------------


class OneBase(DeclarativeBase):
    """The model of docs/lists.md before."""


class ManyBase(DeclarativeBase):
    """And after."""


class OneShot(OneBase):
    __tablename__ = "docs_movie"
    id: Mapped[int] = mapped_column(primary_key=True)
    screenshots: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class OneShotAsText(OneBase):
    __tablename__ = "docs_movie_text"
    id: Mapped[int] = mapped_column(primary_key=True)
    screenshots: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(text=True))


class ManyShots(ManyBase):
    __tablename__ = "docs_movie"
    id: Mapped[int] = mapped_column(primary_key=True)
    screenshots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True), nullable=True)


class ManyShotsAsText(ManyBase):
    __tablename__ = "docs_movie_text"
    id: Mapped[int] = mapped_column(primary_key=True)
    screenshots: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(text=True, multiple=True), nullable=True)


@pytest.mark.parametrize(
    ("before", "after"), [(OneShot, ManyShots), (OneShotAsText, ManyShotsAsText)], ids=["json", "text"]
)
def test_a_column_of_one_file_is_converted_to_one_of_many(
    engine: Engine, before: Any, after: Any, depots: None
) -> None:
    """By the statement of docs/lists.md, which may be executed twice; files stay where they are."""
    storage = DepotManager.configure("default", MemoryFileStorage())
    statements = re.findall(r"```sql\n(.*?)\n```", (ROOT / "docs/lists.md").read_text(), re.DOTALL)
    postgresql, sqlite, mariadb = statements
    as_text = before is OneShotAsText
    statement = {"postgresql": sqlite if as_text else postgresql, "sqlite": sqlite, "mariadb": mariadb}[
        engine.dialect.name
    ]
    OneBase.metadata.create_all(engine)
    try:
        with Session(engine) as session:
            session.add_all([before(id=1, screenshots=b"one"), before(id=2)])
            session.commit()
            for _ in range(2):
                session.execute(text(statement.replace("UPDATE movie ", f"UPDATE {before.__tablename__} ")))
            session.commit()
        with Session(engine) as session:
            movie = session.get_one(after, 1)
            assert [each.file.read() for each in movie.screenshots] == [b"one"]
            assert list(session.get_one(after, 2).screenshots) == []
            movie.screenshots.append(UploadedFile(b"two"))
            session.commit()
            assert [each.file.read() for each in movie.screenshots] == [b"one", b"two"]
            session.delete(movie)
            session.commit()
        assert list(storage.list()) == []
    finally:
        OneBase.metadata.drop_all(engine)


async def _lists_under_asyncio(path: Path) -> None:
    (read,) = blocks("docs/transactions.md", "aio.read")
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.begin() as connection:
        await connection.run_sync(ManyBase.metadata.create_all)
    async with AsyncSession(engine) as session:
        movie = ManyShots(id=1, screenshots=[b"1"])
        session.add(movie)
        await session.commit()
        await session.refresh(movie)
        movie.screenshots.append(UploadedFile(b"2"))
        await session.commit()
        await session.refresh(movie)
        names: dict[str, Any] = {
            "DepotManager": DepotManager,
            "document": SimpleNamespace(content=movie.screenshots[1]),
        }
        exec(f"async def reading():\n    {read}    return data", names)
        assert await names["reading"]() == b"2"
    async with AsyncSession(engine, expire_on_commit=False) as session:
        movie = await session.get_one(ManyShots, 1)
        await session.commit()
        movie.screenshots += [UploadedFile(b"3")]
        await session.commit()
        assert [each.size for each in movie.screenshots] == [1, 1, 1]
    await engine.dispose()


def test_lists_are_changed_under_asyncio_as_the_page_says(tmp_path: Path, depots: None) -> None:
    """After a refresh, or without expiry; the page also shows how bytes are read in a thread."""
    DepotManager.configure("default", MemoryFileStorage())
    asyncio.run(_lists_under_asyncio(tmp_path / "page.db"))


# --- analyzers --------------------------------------------------------------------------------------------------------


def test_facts_are_found_as_the_page_says(
    tmp_path: Path, depots: None, disposed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    found, later, backfill, renamed = blocks("docs/facts.md")
    names = run(found, "docs/facts.md", disposed)
    (shown,) = re.findall(r"print\(.*\)  # (.*)", found)
    assert capsys.readouterr().out == f"{shown}\n"
    run(later, "docs/facts.md", names)
    assert [each.run for each in names["analyzers"]] == ["now", "later", "later"]
    with Session(names["engine"]) as session:
        session.execute(text("UPDATE item SET content = json_remove(content, '$.facts', '$.analyzed')"))
        session.commit()
        item = session.get_one(names["Item"], 1)
        assert item.content.facts == {}
        run(backfill, "docs/facts.md", names)
        session.refresh(item)
        assert (names["report"].regenerated, item.content.facts) == (1, {"lines": 2})
        assert item.content.file.read() == b"one\ntwo\n"
    assert run(renamed, "docs/facts.md", names)["Lines"].name == "Lines 2"


# --- validators -------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(tmp_path: Path, depots: None, disposed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The first block of docs/validators.md, with a session whose person has a photograph that breaks two rules."""
    DepotManager.configure("default", MemoryFileStorage())
    names = run(blocks("docs/validators.md")[0], "docs/validators.md", disposed)
    names["engine"] = create_engine(f"sqlite:///{tmp_path / 'page.db'}")
    names["Base"].metadata.create_all(names["engine"])
    with Session(names["engine"]) as session:
        names["session"] = session
        photo = UploadedFile(PNG.ljust(12_900_000, b"\0"), filename="me.exe")
        session.add(names["Person"](name="Ada", photo=photo))
        yield names


def test_the_errors_of_the_page_are_those_of_the_validators(people: dict[str, Any]) -> None:
    block, functions = blocks("docs/validators.md", "error.by_field  #", "def is_csv_of_people")
    shown = re.findall(r"^    (?:error\.by_field|\[each.*\])  # (.*)", block, re.MULTILINE)
    with pytest.raises(ValidationError) as caught:
        people["session"].commit()
    people["session"].rollback()
    by_field, rules = (eval(each.replace("...", "")) for each in shown)
    assert [each.rule for each in getattr(caught.value, "errors")] == rules  # noqa: B009  # SeveralRefused has it
    found = caught.value.by_field
    assert {*found} == {*by_field}
    assert all(one.startswith(two) for one, two in zip(found["photo"], by_field["photo"], strict=True))
    names = run(functions, "docs/validators.md", run(block, "docs/validators.md", people))
    check = names["is_csv_of_people"]
    check(validators.Candidate.of(b"name,email\n"))
    with pytest.raises(ValueError, match="has no columns"):
        check(validators.Candidate.of(b"a,b\n"))


@pytest.mark.server
def test_fastapi_reports_errors_as_printed(people: dict[str, Any]) -> None:
    import httpx
    from fastapi import FastAPI

    app = people["app"] = FastAPI()
    run(
        blocks("docs/validators.md", "exception_handler")[0],
        "docs/validators.md",
        people | {"ValidationError": ValidationError},
    )

    @app.post("/people")
    async def create() -> None:
        people["session"].commit()

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
            return await client.post("/people")

    answer = asyncio.run(post())
    people["session"].rollback()
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "photo"]] * 2


@pytest.mark.server
def test_flask_shows_the_form_again_as_printed(people: dict[str, Any]) -> None:
    from flask import Flask
    from jinja2 import DictLoader

    people["session"].rollback()
    app = people["app"] = Flask("shop")
    (form,) = re.findall(r"```html\n(.*?)```", (ROOT / "docs/validators.md").read_text(), re.DOTALL)
    app.jinja_loader = DictLoader({"person.html": form})
    app.add_url_rule("/", "people", lambda: "")
    run(
        blocks("docs/validators.md", "def create_person")[0],
        "docs/validators.md",
        people | {"db": SimpleNamespace(session=people["session"]), "ValidationError": ValidationError},
    )
    with app.test_client() as client:
        sent = {"name": "Ada", "photo": (io.BytesIO(b"MZ, a program"), "me.exe")}
        answer = client.post("/people", data=sent)
    assert answer.status_code == 422
    assert answer.text.count('<p class="error">') == 2


# --- docs/images.md ---------------------------------------------------------------------------------------------------


def test_the_program_whose_crops_follow_a_point(tmp_path: Path) -> None:
    """An original keeps its URL, and each of its crops gets another one."""
    [program] = blocks("docs/images.md", "# portraits.py")
    (tmp_path / "portraits.py").write_text(program)
    (tmp_path / "group.jpg").write_bytes(image())
    done = subprocess.run(
        [sys.executable, "portraits.py", "group.jpg"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.stdout) == ("", "the same original: True\nanother icon: True\nanother banner: True\n")
    assert len(list((tmp_path / "media").rglob("*.json"))) == 2  # one beside each file: the photo and its icon
