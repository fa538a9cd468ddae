"""Processes that are killed in the middle of their work."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from tests.conftest import sqlite_engine
from tests.support.models import Document

HERE = 1_000_001


GONE = 1_000_002


OLD, OTHER, NEW = b"the old file", b"the file of a deleted row", b"the new file"


LARGE = 8 << 20


def wait_to_be_killed() -> NoReturn:
    print("here", flush=True)  # noqa: T201  # the pipe to the parent
    sys.stdin.read()
    raise SystemExit("nobody killed me")


class Endless(io.RawIOBase):
    """An upload that stops coming once some of it was read."""

    def __init__(self) -> None:
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        assert isinstance(buffer, memoryview | bytearray)
        if self._read >= LARGE:
            wait_to_be_killed()
        self._read += len(buffer)
        return len(buffer)


class NeverDeletes(LocalFileStorage):
    """Comes to the point where it should delete."""

    def _delete(self, file_id: str) -> None:
        wait_to_be_killed()


def change_everything(session: Session) -> None:
    """Replace a file, delete a row, add one, and flush."""
    session.get_one(Document, HERE).content = UploadedFile(NEW)
    session.delete(session.get_one(Document, GONE))
    session.add(Document(content=NEW, report=NEW))
    session.flush()


def killed_before_commit(session: Session) -> None:
    change_everything(session)
    wait_to_be_killed()


def killed_during_upload(session: Session) -> None:
    session.get_one(Document, HERE).content = UploadedFile(Endless())
    session.commit()


def killed_after_commit(session: Session) -> None:
    change_everything(session)
    session.commit()


CHILDREN: dict[str, Callable[[Session], None]] = {
    each.__name__: each for each in (killed_before_commit, killed_during_upload, killed_after_commit)
}


def child(name: str, url: str, media: str) -> None:
    """Do the job of the parent's request; called in a process of its own."""
    for depot in ("default", "archive"):
        DepotManager.configure(depot, NeverDeletes(Path(media) / depot))
    engine = sqlite_engine(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else create_engine(url)
    with Session(engine) as session:
        CHILDREN[name](session)
