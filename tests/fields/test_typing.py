"""What type checkers see: a project that uses the library, checked as its author would check it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

PROJECT = """
from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

from flask import Flask
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column
from sqlmodel import Field, SQLModel

from depot_lite import (
    DepotManager, FileFilter, FileIntent, FileStorage, StoredFile, UploadedFile, UploadedFileField, UploadedImage
)
from depot_lite.fields.schema import ImageData

assert_type(DepotManager.configure("default", {"depot.storage_path": "./media"}), FileStorage)


class Base(DeclarativeBase):
    pass


class Scan(UploadedFile):
    @property
    def pages(self) -> int:
        return int(self["pages"])


class CountPages(FileFilter):
    def on_save(self, uploaded_file: UploadedFile) -> None:
        uploaded_file["pages"] = len(uploaded_file.files)


class Document(Base):
    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    required: Mapped[UploadedFile] = mapped_column(UploadedFileField(upload_storage="archive"))
    scan: Mapped[Scan | None] = mapped_column(UploadedFileField(filters=[CountPages()], upload_type=Scan, text=True))


class Dataclasses(MappedAsDataclass, DeclarativeBase):
    pass


class Note(Dataclasses):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    picture: Mapped[UploadedImage] = mapped_column(UploadedFileField(upload_type=UploadedImage))
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField, default=None)
    pages: Mapped[list[UploadedFile]] = mapped_column(UploadedFileField(multiple=True), default_factory=list)


class Book(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    cover: UploadedFile | None = Field(default=None, sa_type=UploadedFileField)
    pages: list[UploadedFile] = Field(default_factory=list, sa_type=UploadedFileField(multiple=True))


note = Note(picture=UploadedImage(b"bytes"), pages=[UploadedFile(b"page")])
note.picture = note.picture.with_(filename="a.png", meta={"alt": "A cat"})
note.pages[0] = note.pages[0].with_(meta={"alt": "A cat"})
assert_type(note.picture.with_(filename="a.png"), UploadedImage)
assert_type(note.picture.as_dict(), ImageData)
assert_type(note.picture.as_dict()["url"], str | None)
book = Book(cover=UploadedFile(b"cover"), pages=[UploadedFile(b"page")])
assert_type(book.pages[0].meta["alt"], Any)

site = Flask(__name__)
# Mypy objects to each assignment to a method, whatever its type.
site.wsgi_app = DepotManager.make_middleware(site.wsgi_app)  # type: ignore[method-assign]

document = Document(content=UploadedFile(b"bytes", filename="a.txt", content_type="text/plain"))
document.content = UploadedFile(open("plan.pdf", "rb"))
document.content = UploadedFile(Path("plan.pdf"))
document.content = UploadedFile(FileIntent(b"bytes", "a.txt", "text/plain"), "archive")
document.content = None

with Session(create_engine("sqlite://")) as session:
    found = session.scalars(select(Document).where(Document.content["filename"].as_string() == "a.txt")).one()
    assert_type(found.content, UploadedFile | None)
    assert_type(found.scan, Scan | None)
    if found.content is not None:
        value = found.content
        assert_type(value.filename, str)
        assert_type(value.content_type, str)
        assert_type(value.size, int | None)
        assert_type(value.checksum, str | None)
        assert_type(value.file_id, str)
        assert_type(value.path, str)
        assert_type(value.depot_name, str)
        assert_type(value.uploaded_at, datetime | None)
        assert_type(value.url, str)
        assert_type(value.files, list[str])
        assert_type(value.pending, bool)
        assert_type(value.file, StoredFile)
        assert_type(value.depot, FileStorage)
        with value.file as file:
            assert_type(file.read(), bytes)
    if found.scan is not None:
        assert_type(found.scan.pages, int)
    assert_type(session.scalars(select(Document.required)).one(), UploadedFile)
    assert_type(DepotManager.get(), FileStorage)
    assert_type(DepotManager.get_file(found.required.path), StoredFile)
"""

#: Mistakes that a checker must report, one a line.
MISTAKES = (
    "document.required = None",
    'DepotManager.confgure("default", {})',
    "from depot_lite import UploadedFyle",
    'UploadedFile(b"bytes", filename=5)',
    "UploadedFileField(upload_typ=Scan)",
    "found.content.filename",
)


def checkers() -> list[str]:
    """Return the checkers that are installed."""
    return [name for name in ("mypy", "pyright") if find_spec(name) is not None]


def check(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a checker over the project in this folder, finding depot_lite as an installed package would be."""
    options = {
        "mypy": ["--strict", "--cache-dir", str(folder.parent / "mypy"), "project.py"],
        "pyright": ["--pythonpath", sys.executable, "project.py"],
    }
    environment = {**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(
        [sys.executable, "-m", name, *options[name]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", ["mypy", "pyright"])
@pytest.mark.typing
def test_a_users_project_is_typed(name: str, tmp_path: Path) -> None:
    """Strictly, without one ignore: every attribute has its type, and every mistake is found in its line."""
    if name not in checkers():
        pytest.skip(f"{name} is not installed")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "project.py").write_text(PROJECT)
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "pythonVersion": "3.11"}')
    checked = check(name, folder)
    if name == "pyright" and "node" in checked.stderr.lower() and not checked.stdout:
        pytest.skip(f"pyright cannot run here: {checked.stderr.strip().splitlines()[-1]}")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    first = len(PROJECT.splitlines()) + 1
    (folder / "project.py").write_text(PROJECT + "\n".join(MISTAKES) + "\n")
    found = check(name, folder)
    for number, mistake in enumerate(MISTAKES, first):
        assert f"project.py:{number}" in found.stdout, f"{name} does not object to: {mistake}\n{found.stdout}"
