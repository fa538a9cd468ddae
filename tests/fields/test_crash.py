"""A process that is killed with SIGKILL, at the moments where rows and files could part.

The child is this module too: it does its work with a storage and a database of its own, says over a pipe that it has
come to the point, and waits there to be killed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import World
from tests.fields.crashing import (
    GONE,
    HERE,
    LARGE,
    NEW,
    OLD,
    OTHER,
)
from tests.support.models import Document


@dataclass
class Accident:
    """The world before and after a child was killed in it."""

    world: World
    media: Path
    old: str

    def left_behind(self) -> set[str]:
        """Return the files that listing finds and no row names."""
        return self.world.stored() - set(self.world.rows())

    def sweep(self) -> None:
        """Delete the files left behind, and check that the disk holds only the files of rows."""
        DepotManager.delete_files(self.left_behind())
        assert self.world.stored() == set(self.world.rows())
        ids = {path.partition("/")[2] for path in self.world.rows()}
        assert {each.name[:36] for each in self.media.rglob("*") if each.is_file()} == ids


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return tmp_path / "media"


@pytest.fixture
def depots(media: Path) -> Iterator[dict[str, FileStorage]]:
    """Durable ones, in a folder that parent and child share."""
    with temporary_depots():
        names = ("default", "archive")
        yield {name: DepotManager.configure(name, LocalFileStorage(media / name)) for name in names}


@pytest.fixture
def accident(world: World, media: Path) -> Accident:
    """Two committed rows with a file each."""
    with world.session() as session:
        session.add_all([Document(id=HERE, content=OLD), Document(id=GONE, content=OTHER)])
        session.commit()
    rows = {data: path for path, data in world.rows().items()}
    return Accident(world, media, rows[OLD])


@contextmanager
def running(name: str, engine: Engine, media: Path) -> Iterator[None]:
    """Run the child to its point; kill it at the end."""
    url = engine.url.render_as_string(hide_password=False)
    code = f"from tests.fields.crashing import child; child({name!r}, {url!r}, {str(media)!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            if process.stdout.readline() != b"here\n":
                pytest.fail(process.stderr.read().decode())
            yield
        finally:
            process.kill()


@pytest.mark.matrix
def test_killed_between_flush_and_commit_every_row_keeps_its_file(accident: Accident) -> None:
    """The database forgets the transaction; its three new files are found by listing, and nothing else is."""
    with running("killed_before_commit", accident.world.engine, accident.media):
        assert len(accident.left_behind()) == 3
    assert sorted(accident.world.rows().values()) == sorted([OLD, OTHER])
    assert len(accident.left_behind()) == 3
    accident.sweep()


@pytest.mark.matrix
def test_killed_in_the_middle_of_an_upload_nobody_sees_half_a_file(accident: Accident) -> None:
    """The bytes that had arrived are on the disk, but are no file; listing finds them all the same."""
    with running("killed_during_upload", accident.world.engine, accident.media):
        pass
    assert sorted(accident.world.rows().values()) == sorted([OLD, OTHER])
    (path,) = accident.left_behind()
    name, _, file_id = path.partition("/")
    assert not DepotManager.get(name).exists(file_id)
    assert sum(each.stat().st_size for each in accident.media.rglob(f"{file_id}*")) >= LARGE // 2
    accident.sweep()


@pytest.mark.matrix
def test_killed_after_commit_the_replaced_files_are_all_that_is_left(accident: Accident) -> None:
    """The rows are committed and read their files; those that nobody came to delete are found by listing."""
    before = accident.world.stored()
    with running("killed_after_commit", accident.world.engine, accident.media):
        pass
    assert sorted(accident.world.rows().values()) == [NEW, NEW, NEW]
    assert accident.left_behind() == before
    accident.sweep()
