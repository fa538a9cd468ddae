"""A tour: attaches files to rows, and prints rows and files after each step.

    python examples/quickstart.py

It uses SQLite and the local disk in a temporary folder.
"""

from __future__ import annotations

import io
import logging
import tempfile
import wave
from pathlib import Path
from typing import Any

from sqlalchemy import String, create_engine, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite import DepotManager, StoredFileNotFound, UploadedFile, UploadedFileField


class Base(DeclarativeBase):
    """The base class of the models."""


class Document(Base):
    """A row with two files: one in the default depot, and one in the depot ``archive``."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    recording: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="archive"))


def make_engine(folder: Path) -> Any:
    """Return an engine for SQLite whose savepoints and rollbacks work (SQLAlchemy's documented recipe)."""
    engine = create_engine(f"sqlite:///{folder / 'quickstart.db'}")

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def letter(text: str) -> bytes:
    """Return a small PDF, so that the content type can be read from the bytes."""
    stream = f"BT /F1 18 Tf 40 100 Td ({text}) Tj ET".encode("ascii")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 150] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + trailer


def tone() -> io.BytesIO:
    """Return a quarter of a second of sound as an open file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(bytes((128 + 100 * (i % 18 < 9)) for i in range(2000)))
    return file


def count(depot: str) -> int:
    """Return the number of files in a depot."""
    return sum(1 for _ in DepotManager.get(depot).list())


def show(title: str, engine: Any) -> None:
    """Print the committed rows with their files, and the number of files in the depots."""
    print(f"\n{title}")
    with Session(engine) as session:
        for row in session.scalars(select(Document).order_by(Document.id)):
            for value in (row.content, row.recording):
                if value is not None:
                    with value.file as stored:
                        read = len(stored.read())
                    kind = f"{value.content_type}, {read} bytes"
                    print(f"  row {row.id} {row.name!r}: {value.filename} ({kind}) at {value.path}")
        rows = session.scalar(select(func.count()).select_from(Document))
    print(f"  committed rows: {rows}; files on disk: {count('default')} in default, {count('archive')} in archive")


def main() -> None:
    """Attach, commit, read back, replace, roll back, delete."""
    logging.basicConfig(level=logging.INFO)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        DepotManager.configure("default", {"depot.storage_path": str(folder / "media")})
        DepotManager.configure("archive", {"depot.storage_path": str(folder / "archive")})
        engine = make_engine(folder)
        Base.metadata.create_all(engine)
        journey(engine, folder)
        engine.dispose()


def journey(engine: Any, folder: Path) -> None:
    """Walk through the life of a file."""
    plan = folder / "plan.pdf"
    plan.write_bytes(letter("The plan"))

    with Session(engine) as session:
        document = Document(name="plan", content=plan)
        assert document.content is not None
        value = document.content
        print(f"1. Assigned: {value.filename}, {value.content_type}, {value.size} bytes, to be at {value.path}.")
        print(f"   Files on disk so far: {count('default')}")
        session.add(document)
        session.commit()
    show("2. Committed: the bytes were stored, then the row.", engine)

    with Session(engine) as session:
        document = session.scalars(select(Document)).one()
        document.recording = UploadedFile(tone(), filename="tone.wav")
        document.content = UploadedFile(letter("A better plan"), filename="plan-2.pdf")
        session.flush()
        print(f"\n3. Replaced and flushed, not committed: {count('default')} files in default, old and new")
        session.commit()
    show("4. Committed: the old file has gone with the row that named it.", engine)

    with Session(engine) as session:
        document = session.scalars(select(Document)).one()
        with session.begin_nested() as savepoint:
            document.content = UploadedFile(b"scribbled over")
            session.flush()
            savepoint.rollback()
        session.add(Document(name="never", content=b"never committed"))
        session.flush()
        session.rollback()
    show("5. Rolled back, a savepoint and a transaction: rows and files are as before.", engine)

    with Session(engine) as session:
        original = session.scalars(select(Document)).one()
        session.add(Document(name="copy of the plan", content=original.content))
        session.commit()
    show("6. Assigned to a second row: each row owns a file of its own.", engine)

    with Session(engine) as session:
        document = session.scalars(select(Document).order_by(Document.id).limit(1)).one()
        assert document.content is not None
        path = document.content.path
        session.delete(document)
        session.commit()
    show("7. Deleted the first row: its files are gone, the copy lives.", engine)
    try:
        DepotManager.get_file(path)
    except StoredFileNotFound as error:
        print(f"  reading the old file now raises: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
