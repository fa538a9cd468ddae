"""docs/runbooks.md: each runbook is run as it stands there, after the accident that it is for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.cli.conftest import DEADLINE, ROOT
from tests.cli.model import Base, Product
from tests.forks import Forks
from tests.io.s3_server import moto_server
from tests.support.databases import own_database

PAGE = (ROOT / "docs" / "runbooks.md").read_text()

pytestmark = [pytest.mark.database, pytest.mark.server]

APP = """
import os
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from tests.cli.model import Product

def configure():
    for name in ("photos", "backup"):
        DepotManager.configure(name, LocalFileStorage(f"media/{name}", durable=False))
    if "BUCKET" in os.environ:
        DepotManager.configure("cloud", {
            "depot.backend": "depot_lite.io.boto3.S3Storage", "depot.bucket": os.environ["BUCKET"],
            "depot.endpoint_url": os.environ["S3_ENDPOINT"], "depot.region_name": "us-east-1",
        })
"""


def blocks(title: str, language: str = "sh") -> list[str]:
    """Return the blocks of code in a section."""
    section = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert section is not None
    found = re.findall(rf"^```{language}\n(.*?)^```$", section[1], re.DOTALL | re.MULTILINE)
    assert found
    return found


class House:
    """A shop on PostgreSQL with two depots, and a shell in its folder."""

    def __init__(self, folder: Path, url: str, cache: Path) -> None:
        self.folder = folder
        self.engine = create_engine(url)
        Base.metadata.create_all(self.engine)
        self.depots = {
            name: DepotManager.configure(name, LocalFileStorage(folder / "media" / name, durable=False))
            for name in ("photos", "backup")
        }
        (folder / "bin").mkdir()
        for name, words in (("depot-lite", "-m depot_lite "), ("python", "")):
            script = folder / "bin" / name
            script.write_text(f'#!/bin/sh\nexec {sys.executable} {words}"$@"\n')
            script.chmod(0o755)
        (folder / "shop").mkdir()
        (folder / "shop" / "files.py").write_text(APP)
        server = make_url(url)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PG")},
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONPYCACHEPREFIX": str(cache),
            "DEPOT_LITE_APP": "shop.files:configure",
            "DATABASE_URL": url,
            "PGHOST": str(server.host),
            "PGPORT": str(server.port),
            "PGUSER": str(server.username),
            "PGPASSWORD": str(server.password or ""),
            "PGDATABASE": str(server.database),
        }

    def run(self, commands: str, between: Callable[[], object] = lambda: None) -> str:
        """Run commands line by line, which all have to succeed, and return their output."""
        out = ""
        for line in commands.splitlines():
            done = subprocess.run(
                ["/bin/bash", "-euo", "pipefail", "-c", line],
                cwd=self.folder,
                env=self.environment,
                text=True,
                capture_output=True,
                timeout=DEADLINE,
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            out += done.stdout
            between()
        return out

    def add(self, *texts: str) -> None:
        """Add rows."""
        with Session(self.engine) as session:
            session.add_all(Product(manual=text.encode()) for text in texts)
            session.commit()

    def remove(self) -> None:
        """Delete the oldest row."""
        with Session(self.engine) as session:
            session.delete(session.query(Product).order_by(Product.id).limit(1).one())
            session.commit()

    def remove_row_only(self) -> None:
        """Delete the oldest row behind the back of the library, so that its file stays."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM shop_product WHERE id = (SELECT min(id) FROM shop_product)")

    def rows(self) -> dict[str, str]:
        """Return path and text of each row's file, read through the depot that the row names."""
        with Session(self.engine) as session:
            found = [each.manual for each in session.query(Product).order_by(Product.id) if each.manual]
            return {each.path: each.file.read().decode() for each in found}


@pytest.fixture
def house(tmp_path: Path, forks: Forks) -> Iterator[House]:
    if shutil.which("pg_dump") is None:
        pytest.skip("no pg_dump (apt-get install postgresql-client)")
    with own_database("postgresql") as url, temporary_depots():
        made = House(tmp_path, url, forks.cache)
        yield made
        made.engine.dispose()


BACKUP = "Backups: the order of dump and copy"


def test_a_backup_has_the_files_of_its_dump_while_the_application_runs(house: House) -> None:
    """Rows come and go between the three commands; every row of the dump has its file in the backup."""
    house.add("one", "two", "three", "four")

    def work() -> None:
        house.remove()
        house.add("new")

    (commands,) = blocks(BACKUP)
    house.run(commands, between=work)
    house.run('pg_restore --clean --if-exists --dbname="$PGDATABASE" shop.dump')
    shutil.rmtree(house.folder / "media" / "photos")
    house.run("depot-lite restore backup photos --quiet\ndepot-lite missing --quiet")
    assert sorted(house.rows().values()) == ["four", "new", "three", "two"]


def test_the_database_was_restored(house: House) -> None:
    house.add("one", "two")
    house.run(blocks(BACKUP)[0])
    before = house.rows()
    house.remove()
    house.add("after the dump")
    (commands,) = blocks("The database was restored")
    out = house.run(commands)
    assert "1 file missing of 2" in out
    assert "1 file restored" in out
    assert house.rows() == before
    assert len(list(house.depots["photos"].list())) == 3


def test_a_bucket_was_restored(house: House) -> None:
    house.add("old", "stays")
    shutil.copytree(house.folder / "media" / "photos", house.folder / "snapshot")
    house.remove()
    house.add("new")
    house.run(blocks(BACKUP)[0])
    rows = house.rows()
    shutil.rmtree(house.folder / "media" / "photos")
    (house.folder / "snapshot").rename(house.folder / "media" / "photos")
    out = house.run(blocks("A bucket was restored")[0])
    assert "1 file restored" in out
    assert "nothing wrong" in out
    assert house.rows() == rows


def test_a_disk_was_lost(house: House) -> None:
    house.add("one", "two", "three")
    house.run(blocks(BACKUP)[0])
    rows = house.rows()
    shutil.rmtree(house.folder / "media" / "photos")
    assert "3 files restored" in house.run(blocks("A disk was lost")[0])
    assert house.rows() == rows


def test_a_sweep_deleted_the_wrong_files(house: House) -> None:
    """One was marked while its row was away, two are gone."""
    house.add("one", "two", "three", "four")
    house.run(blocks(BACKUP)[0])
    rows = house.rows()
    house.run('pg_dump --format=custom --file=all.dump "$PGDATABASE"\ndepot-lite claim photos')
    house.remove_row_only()
    house.run("depot-lite unused photos --older-than 0s --delete --yes --quiet")
    house.run('pg_restore --clean --if-exists --dbname="$PGDATABASE" all.dump')
    house.depots["photos"].delete_many([path.partition("/")[2] for path in list(rows)[2:]])
    out = house.run(blocks("A sweep deleted the wrong files")[0])
    assert "1 file no longer marked" in out
    assert "2 files missing of 4" in out
    assert "2 files restored" in out
    assert house.rows() == rows


def test_moving_house(house: House) -> None:
    house.add("one", "two", "three")
    texts = sorted(house.rows().values())
    out = house.run(blocks("Moving house")[0])
    assert "3 rows with 3 files to be moved" in out
    assert "3 rows with 3 files moved" in out
    assert "Depot 'photos' may go: 3 of 3 files" in out
    rows = house.rows()
    assert {path.partition("/")[0] for path in rows} == {"backup"}
    assert sorted(rows.values()) == texts
    assert len(list(house.depots["photos"].list())) == 3


def test_a_versioned_bucket(house: House) -> None:
    with moto_server() as server, server.bucket() as bucket:
        client = server.client()
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        house.environment |= {
            "BUCKET": bucket,
            "S3_ENDPOINT": server.url,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        DepotManager.configure("cloud", server.storage(bucket))
        DepotManager.set_default("cloud")
        house.add("one", "two")
        rows = house.rows()
        DepotManager.get("cloud").delete_many(path.partition("/")[2] for path in rows)
        other = DepotManager.get("cloud").create(b"of nobody")
        DepotManager.get("cloud").delete(other)
        (house.folder / "undelete.py").write_text(blocks("A versioned bucket", "python")[0])
        house.run(blocks("A versioned bucket")[0])
        assert house.rows() == rows
        assert len(list(DepotManager.get("cloud").list())) == 2
        # With its versions, or the bucket cannot be deleted.
        page = client.list_object_versions(Bucket=bucket)
        for each in [*page["Versions"], *page.get("DeleteMarkers", ())]:
            client.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])


def test_each_runbook_has_a_test() -> None:
    """A section with commands that no test runs would promise too much."""
    tested = re.findall(r'blocks\("([^"]+)"', Path(__file__).read_text())
    sections = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    with_commands = {title for title, section in sections if "```sh\n" in section}
    assert with_commands == {*tested, BACKUP}
