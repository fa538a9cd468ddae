"""Models of SQLModel's, which writes values into an instance's ``__dict__`` after SQLAlchemy's event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from sqlalchemy import Column, Engine
from sqlalchemy.orm import Session, registry
from sqlmodel import Field, SQLModel

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from tests.fields.own_tables import OwnWorld, own_world
from tests.fields.session_ends import end
from tests.fields.values import read

outcome = pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
ROW = 1_000_001


class SQLModelBase(SQLModel, registry=registry()):
    """The parent of the models of SQLModel's."""


class Paper(SQLModelBase, table=True):
    """A list and a single file; SQLModel writes assigned values into ``__dict__`` after SQLAlchemy's event."""

    __tablename__ = "paper_of_sqlmodel"
    model_config: ClassVar[Any] = {"arbitrary_types_allowed": True}
    id: int | None = Field(default=None, primary_key=True)
    cover: UploadedFile | None = Field(default=None, sa_column=Column(UploadedFileField))
    pages: list[UploadedFile] = Field(default_factory=list, sa_column=Column(UploadedFileField(multiple=True)))


@pytest.fixture
def papers(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[OwnWorld]:
    with own_world(engine, depots, SQLModelBase.metadata, "paper_of_sqlmodel.cover", "paper_of_sqlmodel.pages") as made:
        yield made


def _values(*contents: bytes) -> list[UploadedFile]:
    return [UploadedFile(each) for each in contents]


@outcome
def test_sqlmodel_inserts(papers: OwnWorld, commit: bool) -> None:
    with papers.session() as session:
        session.add(Paper(id=ROW, cover=UploadedFile(b"c"), pages=_values(b"1", b"2")))
        session.add(Paper())
        end(session, commit)
    papers.check(*(b"c", b"1", b"2") if commit else ())
    if commit:
        with papers.session() as session:
            found = session.get_one(Paper, ROW)
            assert read([found.cover, *found.pages]) == [b"c", b"1", b"2"]


SQLMODEL_CHANGES: dict[str, tuple[Callable[[Session, Paper], Any], tuple[bytes, ...]]] = {
    "another list": (lambda session, paper: setattr(paper, "pages", _values(b"new")), (b"c", b"new")),
    "a list of bytes": (lambda session, paper: setattr(paper, "pages", [b"new"]), (b"c", b"new")),
    "a list that keeps one": (
        lambda session, paper: setattr(paper, "pages", [UploadedFile(b"new"), paper.pages[1]]),
        (b"c", b"new", b"2"),
    ),
    "the same list": (lambda session, paper: setattr(paper, "pages", paper.pages), (b"c", b"1", b"2")),
    "no files": (lambda session, paper: setattr(paper, "pages", []), (b"c",)),
    "an append": (lambda session, paper: paper.pages.append(UploadedFile(b"new")), (b"c", b"1", b"2", b"new")),
    "a removal": (lambda session, paper: paper.pages.pop(0), (b"c", b"2")),
    "another file": (lambda session, paper: setattr(paper, "cover", UploadedFile(b"new")), (b"new", b"1", b"2")),
    "bytes": (lambda session, paper: setattr(paper, "cover", b"new"), (b"new", b"1", b"2")),
    "no file": (lambda session, paper: setattr(paper, "cover", None), (b"1", b"2")),
    "a page as cover": (lambda session, paper: setattr(paper, "cover", paper.pages[0]), (b"1", b"1", b"2")),
    "the end of the row": (lambda session, paper: session.delete(paper), ()),
}


@pytest.mark.parametrize(("change", "leaves"), SQLMODEL_CHANGES.values(), ids=list(SQLMODEL_CHANGES))
@outcome
def test_sqlmodel_changes(
    papers: OwnWorld, change: Callable[[Session, Paper], Any], leaves: tuple[bytes, ...], commit: bool
) -> None:
    with papers.session() as session:
        session.add(Paper(id=ROW, cover=UploadedFile(b"c"), pages=_values(b"1", b"2")))
        session.commit()
    with papers.session() as session:
        change(session, session.get_one(Paper, ROW))
        end(session, commit)
    papers.check(*leaves if commit else (b"c", b"1", b"2"))


def test_sqlmodel_appends_after_an_assignment(papers: OwnWorld) -> None:
    """In the same transaction, before and after the flush."""
    with papers.session() as session:
        paper = Paper(id=ROW)
        paper.pages = _values(b"1")
        paper.pages.append(UploadedFile(b"2"))
        session.add(paper)
        session.flush()
        paper.pages.append(UploadedFile(b"3"))
        session.commit()
        paper.pages = _values(b"4")
        session.flush()
        paper.pages.append(UploadedFile(b"5"))
        session.commit()
        assert read(paper.pages) == [b"4", b"5"]
    papers.check(b"4", b"5")
