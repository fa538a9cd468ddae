"""Tables that keep former versions of rows, and the files that only those still name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from sqlalchemy import JSON, Connection, Engine, String, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from tests.support.sweeps import sweep

NOW = timedelta(0)


class Base(DeclarativeBase):
    """The parent of the models here."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Novel(Base):
    """A row with a history."""

    __tablename__ = "history_novel"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class NovelVersion(Base):
    """A former version of a row, written by a listener, with a column that knows nothing of files."""

    __tablename__ = "history_novel_version"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[Any] = mapped_column(JSON(none_as_null=True))


def _keep_version(mapper: Mapper[Any], connection: Connection, novel: Novel) -> None:
    connection.execute(NovelVersion.__table__.insert().values(text=dict(novel.text) if novel.text else None))  # type: ignore[attr-defined]


@pytest.fixture
def history(engine: Engine, depots: dict[str, FileStorage]) -> Iterator[Engine]:
    Base.metadata.create_all(engine)
    event.listen(Novel, "after_insert", _keep_version)
    event.listen(Novel, "after_update", _keep_version)
    yield engine
    event.remove(Novel, "after_insert", _keep_version)
    event.remove(Novel, "after_update", _keep_version)
    Base.metadata.drop_all(engine)


@pytest.mark.matrix
def test_versions_keep_their_files_by_the_two_hooks(history: Engine, depots: dict[str, FileStorage]) -> None:
    """As docs/maintenance.md has it: nothing of a depot goes at COMMIT, and the sweep knows the versions' column."""

    def keep_versioned(paths: Iterable[str]) -> None:
        DepotManager.delete_files(path for path in paths if not path.startswith("default/"))

    DepotManager.set_delete_later(keep_versioned)
    with Session(history) as session:
        session.add(novel := Novel(text=b"first"))
        session.commit()
        novel.text = b"second"  # type: ignore[assignment]  # what is assigned becomes one
        session.commit()
        left = depots["default"].create(b"left")
        report = sweep(session, protect=["history_novel_version.text"], models=[Base])
        assert [each.file_id for each in report.files] == [left]
        contents = []
        for version in session.query(NovelVersion).order_by(NovelVersion.id):
            with DepotManager.get_file(version.text["path"]) as stored:
                contents.append(stored.read())
        assert contents == [b"first", b"second"]
        # When the versions go, their files are unused.
        session.query(NovelVersion).delete()
        session.commit()
        assert sweep(session, models=[Base]).deleted == 1
        assert [str(each) for each in depots["default"].list()] == [novel.text.file_id]  # type: ignore[union-attr]
