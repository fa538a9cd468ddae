"""Each command as a process, on each of the three databases, and with drivers that are awaited."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.cli.conftest import ASYNC, CONSENT, Shop
from tests.cli.model import Product
from tests.media.samples import packed_pdf

#: Drivers that are awaited, by the names of the databases.


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(stream, "PNG")
    return stream.getvalue()


def async_url(shop: Shop) -> str:
    name = shop.engine.dialect.name
    return shop.url_with(ASYNC["mysql" if name == "mariadb" else name])


def only_file(depot: FileStorage) -> Path:
    """Return where the only file of a depot is on the disk."""
    (file_id,) = depot.list()
    path = depot.get(file_id).local_path
    assert path is not None
    return path


class TestUnused:
    @pytest.mark.matrix
    def test_unused_files_are_found_and_then_deleted(self, shop: Shop) -> None:
        """A dry run finds and changes nothing; --delete deletes exactly that; then nothing is left to find."""
        shop.add(Product(manual=b"named"))
        left = shop.unused(22)
        found = shop.run("unused", "--older-than", "0s", "--max-delete", "100%", "--allow-newer")
        assert found.code == 1
        assert found.out.startswith("Depot 'photos': 22 files of 23 unused, 132 bytes\n")
        assert "\n  ... and 2 more: --json shows all\n" in found.out
        assert "--delete marks them, and deletes them 7d later" in found.out
        assert "reading shop_product.manual: 1 row, in " in found.err
        assert "\x1b" not in found.out + found.err
        deleted = shop.run("unused", "photos", "--older-than=0s", *CONSENT, "--yes", "--json", "--quiet")
        assert (deleted.code, deleted.json["deleted"], deleted.json["failed"]) == (0, 22, [])
        assert sorted(each["id"] for each in deleted.json["files"]) == left
        assert deleted.err == "the application says hello\n"
        assert sorted(shop.rows()) == [f"photos/{each}" for each in shop.depots["photos"].list()]

    @pytest.mark.matrix
    def test_a_database_is_awaited(self, shop: Shop) -> None:
        shop.add(Product(manual=b"named"))
        (left,) = shop.unused(1)
        done = shop.run("--json", "unused", "--older-than", "0s", url=async_url(shop))
        assert done.code == 1
        assert [each["id"] for each in done.json["files"]] == [left]

    @pytest.mark.matrix
    def test_what_is_young_and_what_is_protected_is_spared(self, local_shop: Shop) -> None:
        (left,) = local_shop.unused(1)
        young = local_shop.run("unused", *CONSENT)
        assert (young.code, "young   1  named by no row, younger than 24h" in young.out) == (0, True)
        with local_shop.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE note (text VARCHAR(100))")
            connection.exec_driver_sql(f"INSERT INTO note VALUES ('see {left}')")
        kept = local_shop.run("unused", "--older-than", "0s", "--protect", "note.text")
        assert (kept.code, "unused  0" in kept.out) == (0, True)

    @pytest.mark.matrix
    def test_files_are_marked_undeleted_and_logged(self, local_shop: Shop) -> None:
        """--delete marks, and says so; undelete takes the marks off; the log names what happened."""
        local_shop.add(Product(manual=b"named"))
        (left,) = local_shop.unused(1)
        marked = local_shop.run("unused", "--older-than=0s", "--delete", "--yes", "--log=log", "--allow-empty=photos")
        assert (marked.code, marked.err.count("error")) == (0, 0)
        assert marked.out.startswith("Depot 'photos': 1 marked and 0 files deleted of 1 file unused, 6 bytes\n")
        assert f" mark photos/{left} 6\n" in (local_shop.folder / "log").read_text()
        waiting = local_shop.run("unused", "--older-than=0s")
        assert "  waiting  1  marked less than 7d ago\n" in waiting.out
        assert "--delete marks 0, deletes 0, and leaves 1 marked." in waiting.out
        newer = local_shop.run("unused", "--older-than=0s", "--trash=0")
        assert "  newer    1  than every file that a row names, not deleted at once\n" in newer.out
        assert "--delete marks 0, deletes 0, and leaves 1 marked." in newer.out
        at_once = local_shop.run("unused", "--older-than=0s", "--trash=0", "--allow-newer")
        assert "--delete deletes them." in at_once.out
        dry = local_shop.run("undelete", "photos", "--dry-run")
        assert (dry.code, dry.out.splitlines()[0]) == (0, "Depot 'photos': 1 file no longer marked")
        assert dry.out.endswith("\nNothing was changed, this was a dry run.\n")
        undone = local_shop.run("undelete", "photos")
        assert (undone.code, undone.out.splitlines()[0]) == (0, "Depot 'photos': 1 file no longer marked")
        unknown = local_shop.run("undelete", "photos", left, "--json")
        assert (unknown.code, unknown.json["unknown"]) == (1, [left])
        assert "1 file neither marked, nor kept" in local_shop.run("undelete", "photos", left).out

    @pytest.mark.matrix
    def test_reasons_to_stop_are_told_in_a_dry_run_and_stop_a_deletion(self, local_shop: Shop) -> None:
        """With what allows it."""
        local_shop.unused(1)
        found = local_shop.run("unused", "--older-than=0s")
        assert found.code == 1
        assert "With --delete, it would stop:\n- no row names a file in depot 'photos', which lists 1" in found.out
        stopped = local_shop.run("unused", "--older-than=0s", "--delete", "--yes")
        assert stopped.code == 2
        assert "--allow-empty photos" in stopped.err
        assert "--allow-empty shop_product" in stopped.err

    @pytest.mark.matrix
    def test_a_depot_is_claimed(self, local_shop: Shop) -> None:
        """Again, without a change; by this database alone."""
        again = local_shop.run("claim", "photos")
        assert (again.code, again.out.splitlines()[0]) == (0, "Depot 'photos' belongs to:")
        assert "(new)" not in again.out
        note = b'{"version": 1, "owners": [{"database": "another"}]}'
        local_shop.depots["photos"].write_note("owners", note)
        dry = local_shop.run("claim", "photos", "--replace", "--dry-run")
        assert dry.out.endswith("and no longer to:\n  another\n\nNothing was changed, this was a dry run.\n")
        assert local_shop.depots["photos"].read_note("owners") == note
        alone = local_shop.run("claim", "photos", "--replace")
        assert "(new)\nand no longer to:\n  another\n" in alone.out


class TestMissing:
    @pytest.mark.matrix
    def test_a_row_without_its_file_is_found(self, shop: Shop) -> None:
        key, _ = shop.add(Product(manual=b"gone"), Product(manual=b"here"))
        path = next(path for path, data in shop.rows().items() if data == b"gone")
        shop.depots["photos"].delete(path.partition("/")[2])
        done = shop.run("missing", "--json")
        assert done.code == 1
        assert done.json["files"] == [{"column": "shop_product.manual", "key": [key], "path": path, "part": "path"}]

    @pytest.mark.matrix
    def test_a_part_of_the_rows(self, shop: Shop) -> None:
        """--columns and --where restrict the rows that are read; a condition needs the columns of one table."""
        keys = shop.add(*(Product(manual=b"gone", photo=picture()) for _ in range(3)))
        shop.depots["photos"].delete_many(list(shop.depots["photos"].list()))
        words = ("missing", "--json", "--columns", "shop_product.manual", "--where", f"id <> {keys[1]}")
        found = shop.run(*words).json
        assert [(each["column"], each["key"]) for each in found["files"]] == [
            ("shop_product.manual", [keys[0]]),
            ("shop_product.manual", [keys[2]]),
        ]
        assert found["rows"] == 2
        wrong = shop.run("missing", "--columns", "shop_product.nope")
        assert (wrong.code, "columns: there is no file column 'shop_product.nope'; there is " in wrong.err) == (2, True)
        nonsense = shop.run("missing", "--where", "no_such_column = 1")
        assert (nonsense.code, "cannot be read: " in nonsense.err) == (2, True)

    def test_they_are_shown(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"gone"), Product(photo=picture()))
        (path,) = local_shop.rows()
        local_shop.depots["photos"].delete(path.partition("/")[2])
        read = local_shop.run("missing", "photos")
        assert read.out.startswith("1 file missing of 3 that 2 rows name\n")
        assert path in read.out

    @pytest.mark.matrix
    def test_nothing_is_missing(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"here"))
        done = local_shop.run("missing", url=local_shop.url_with("sqlite+aiosqlite"))
        assert (done.code, done.out) == (0, "0 files missing of 1 that 1 row names\n")


class TestVerify:
    @pytest.mark.matrix
    def test_a_damaged_file_is_found(self, shop: Shop) -> None:
        (key,) = shop.add(Product(manual=b"what it was"))
        only_file(shop.depots["photos"]).write_bytes(b"what it is!")
        done = shop.run("verify", "photos", "--state", "state.json", "--workers", "2", "--rate", "20MB", "--json")
        (found,) = done.json["files"]
        assert (done.code, found["kind"]) == (1, "damaged")
        assert found["rows"] == [f"shop_product.manual of the row {key}"]
        assert not (shop.folder / "state.json").exists()

    def test_without_a_database_the_storage_alone_is_asked(self, local_shop: Shop) -> None:
        local_shop.depots["photos"].create(b"whatever")
        command = [*local_shop.words(app="shop:configure")[:5], "verify", "photos", "--sample", "50%"]
        done = local_shop.run(*command, words_are_all=True)
        assert done.code == 0
        assert done.out.startswith("Depot 'photos': nothing wrong, 1 of 1 file read, 8 bytes\n")
        assert "Without a database (--url)" in done.out


class TestStats:
    def test_files_are_counted(self, shop: Shop) -> None:
        shop.add(Product(manual=b"12345", photo=picture()))
        shop.unused(2)
        done = shop.run("stats", "--largest", "1", "--json")
        photos = done.json["depots"]["photos"]
        assert (done.code, photos["files"], photos["unnamed"]) == (0, 5, {"files": 2, "bytes": 12, "duration": None})
        assert len(photos["largest"]) == 1
        assert done.json["columns"]["shop_product.manual"] == {"rows": 1, "files": 1, "bytes": 5, "duration": None}

    def test_they_are_shown(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"12345", photo=picture()))
        local_shop.unused(2)
        read = local_shop.run("stats", "photos")
        assert read.out.startswith("Depot 'photos': 5 files, ")
        assert "image/png" in read.out
        assert "archive" not in read.out


class TestMigrate:
    @pytest.mark.parametrize("awaited", [False, True])
    @pytest.mark.matrix
    def test_rows_name_the_copies(self, shop: Shop, awaited: bool) -> None:
        shop.add(*(Product(manual=f"manual {number}".encode()) for number in range(5)))
        before, url = shop.rows(), async_url(shop) if awaited else shop.url
        done = shop.run("migrate", "photos", "archive", "--workers", "2", "--rate", "1MB", "--json", url=url)
        assert (done.code, done.json["rows"], done.json["failed"]) == (0, 5, [])
        after = shop.rows()
        assert sorted(after.values()) == sorted(before.values())
        assert {path.partition("/")[0] for path in after} == {"archive"}
        assert len(list(shop.depots["photos"].list())) == 5

    @pytest.mark.matrix
    def test_a_part_of_the_rows_is_moved(self, shop: Shop) -> None:
        keys = shop.add(*(Product(manual=f"manual {number}".encode()) for number in range(5)))
        words = ("migrate", "photos", "archive", "--json", "--columns", "shop_product.manual")
        some = shop.run(*words, "--where", f"id >= {keys[3]}")
        assert (some.code, some.json["rows"]) == (0, 2), some.err
        assert [path.partition("/")[0] for path in shop.rows()].count("archive") == 2
        assert shop.run(*words, "--limit", "2", "--dry-run").json["rows"] == 2
        assert shop.run(*words, "--limit", "2").json["rows"] == 2
        assert [path.partition("/")[0] for path in shop.rows()].count("archive") == 4

    @pytest.mark.matrix
    @pytest.mark.parametrize("awaited", [False, True])
    def test_processes_share_it(self, local_shop: Shop, awaited: bool) -> None:
        local_shop.add(*(Product(manual=f"manual {number}".encode()) for number in range(5)))
        url = async_url(local_shop) if awaited else local_shop.url
        missing = local_shop.run("migrate", "photos", "archive", "--share", url=url)
        assert (missing.code, "`depot-lite create-units` makes it" in missing.err) == (2, True)
        assert local_shop.run("create-units", url=url).out == "The table depot_lite_units is there.\n"
        done = local_shop.run("migrate", "photos", "archive", "--share", "--json", url=url)
        assert (done.code, done.json["rows"], done.json["units_left"]) == (0, 5, 0)
        wrong = local_shop.run("migrate", "photos", "archive", "--share", "--part", "1/2", url=url)
        assert (wrong.code, "--share: expected none of --part, --dry-run and --limit" in wrong.err) == (2, True)
        copied = local_shop.run("copy", "archive", "photos", "--share", "--json", url=url)
        assert (copied.code, copied.json["copied"], copied.json["units_left"]) == (0, 5, 0)
        wrong = local_shop.run("copy", "archive", "photos", "--share", "--prune", url=url)
        assert (wrong.code, "--share: expected none of --part, --dry-run and --prune" in wrong.err) == (2, True)

    def test_a_dry_run_moves_nothing(self, local_shop: Shop) -> None:
        local_shop.add(*(Product(manual=f"manual {number}".encode()) for number in range(5)))
        before = local_shop.rows()
        dry = local_shop.run("migrate", "photos", "archive", "--dry-run")
        assert (dry.code, local_shop.rows()) == (0, before)
        assert dry.out.startswith("'photos' to 'archive': 5 rows with 5 files to be moved, 40 bytes\n")
        assert list(local_shop.depots["archive"].list()) == []

    @pytest.mark.matrix
    @pytest.mark.parametrize(("changes", "room", "code"), [(7, 100, 0), (100, 100, 1), (100, 7, 2)])
    def test_rows_that_change_all_the_time_are_tried_again(
        self, local_shop: Shop, changes: int, room: int, code: int
    ) -> None:
        """A few changes are no failure: the application goes on while files move.

        If a further run fails, as the disk is full then, the rows that the first one has moved are reported.
        """
        local_shop.add(*(Product(manual=f"manual {number}".encode()) for number in range(3)))
        local_shop.write(
            "busy",
            f"""
            import shop
            from sqlalchemy import create_engine, select
            from sqlalchemy.orm import Session
            from depot_lite.errors import StorageFull
            from depot_lite.io.local import LocalFileStorage
            from tests.cli.model import Product

            class Busy(LocalFileStorage):
                left = {changes}
                room = {room}

                def _save_from(self, source, source_id, file_id):
                    if self.left and str(self).endswith("archive')"):
                        self.left -= 1
                        with Session(create_engine({local_shop.url!r})) as session:
                            session.scalars(select(Product)).first().manual = f"changed {{self.left}}".encode()
                            session.commit()
                            session.get_bind().dispose()
                    self.room -= 1
                    if self.room < 0:
                        raise StorageFull("the disk is full")
                    return super()._save_from(source, source_id, file_id)

            def configure():
                shop.configure(Busy)
            """,
        )
        done = local_shop.run("migrate", "photos", "archive", "--workers", "1", "--json", app="busy:configure")
        report = done.json["partial"] if code == 2 else done.json
        assert (done.code, report["changed"], report["rows"]) == (code, code % 2, 3 - min(code, 1)), done.err
        assert len(local_shop.rows()) == 3

    @pytest.mark.matrix
    def test_a_row_whose_file_is_gone_is_told(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"gone"))
        (file_id,) = local_shop.depots["photos"].list()
        local_shop.depots["photos"].delete(file_id)
        done = local_shop.run("migrate", "photos", "archive")
        assert done.code == 1
        assert "1 row could not be moved and is as it was" in done.out
        assert f"photos/{file_id}" in done.out


class TestCopy:
    @pytest.mark.matrix
    def test_all_files_are_copied_without_a_database(self, local_shop: Shop) -> None:
        files = local_shop.unused(3)
        command = [*local_shop.words()[:5], "copy", "photos", "archive"]
        dry = local_shop.run(*command, "--dry-run", words_are_all=True)
        assert (dry.code, list(local_shop.depots["archive"].list())) == (0, [])
        assert dry.out.startswith("'photos' to 'archive': 3 files to be copied, 18 bytes\n")
        done = local_shop.run(*command, "--workers", "1", words_are_all=True)
        assert (done.code, sorted(local_shop.depots["archive"].list())) == (0, files)
        again = local_shop.run(*command, "--json", words_are_all=True)
        assert (again.code, again.json["copied"], again.json["unchanged"]) == (0, 0, 3)
        local_shop.depots["photos"].delete_many(files)
        empty = local_shop.run(*command, words_are_all=True)
        assert (empty.code, "may not be mounted" in empty.err) == (2, True)
        prune = [*local_shop.words("copy", "photos", "archive"), "--allow-empty", "--prune", "--part", "1/1"]
        owned = local_shop.run(*prune, words_are_all=True)
        assert (owned.code, "'archive' is no backup, it belongs to" in owned.err) == (2, True)
        local_shop.depots["archive"].write_note("owners", b"")
        blind = local_shop.run(*command, "--allow-empty", "--prune", words_are_all=True)
        assert (blind.code, "there is no database to look: give it (bind, --url" in blind.err) == (2, True)
        pruned = local_shop.run(*prune, words_are_all=True)
        assert (pruned.code, list(local_shop.depots["archive"].list())) == (0, [])
        assert "pruned     3" in pruned.out


class TestMayGo:
    @pytest.mark.matrix
    def test_a_depot_may_go_once_another_has_its_files(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"one"), Product(manual=b"two"))
        no = local_shop.run("may-go", "photos", "archive")
        assert no.code == 1
        assert no.out.startswith("Depot 'photos' may NOT go: 0 of 2 files that rows name are whole in 'archive'")
        assert "missing  it does not exist  shop_product.manual of the row" in no.out
        local_shop.run("copy", "photos", "archive")
        yes = local_shop.run("may-go", "photos", "archive")
        assert (yes.code, yes.out.splitlines()[0][:22]) == (0, "Depot 'photos' may go:")
        assert "2 references use the name 'photos'" in yes.out
        assert local_shop.run("may-go", "photos", "archive", "--json").json["may_go"] is True


class TestRegenerate:
    @pytest.mark.matrix
    def test_variants_of_a_former_recipe_are_made_anew(self, shop: Shop) -> None:
        shop.add(Product(photo=picture()), Product(photo=picture()), Product(manual=b"no image"))
        new = {"SHOP_WIDTH": "8"}
        dry = shop.run("regenerate", "shop_product.photo", "--dry-run", env=new)
        assert (dry.code, dry.out.splitlines()[0]) == (0, "2 rows of 2 with variants of a former recipe")
        one = shop.run("regenerate", "--limit", "1", "--batch", "1", "--json", env=new)
        assert (one.code, one.json["regenerated"]) == (0, 1)
        rest = shop.run("regenerate", "--json", env=new, url=async_url(shop))
        assert (rest.code, rest.json["outdated"], rest.json["regenerated"], rest.json["failed"]) == (0, 1, 1, [])


class TestVariants:
    @pytest.mark.matrix
    def test_missing_variants_are_made_and_no_others(self, shop: Shop) -> None:
        shop.add(Product(photo=picture()), Product(photo=picture()), Product(manual=b"no image"))
        before = set(shop.depots["photos"].list())
        new = {"SHOP_WIDTH": "8", "SHOP_NEW": ""}
        assert shop.run("variants", env=new).code == 2
        dry = shop.run("variants", "--missing", "--dry-run", env=new)
        assert (dry.code, dry.out.splitlines()[0]) == (0, "2 rows of 2 with variants that are missing")
        one = shop.run("variants", "shop_product.photo", "--missing", "--limit", "1", "--json", env=new)
        assert (one.code, one.json["command"], one.json["missing"], one.json["made"]) == (0, "variants", 1, 1)
        rest = shop.run("variants", "--missing", env=new, url=async_url(shop))
        assert (rest.code, rest.out.splitlines()[0]) == (0, "1 row with variants made, of 2")
        after = set(shop.depots["photos"].list())
        assert (len(after - before), before - after) == (2, set())


class TestFacts:
    @pytest.mark.matrix
    def test_rows_from_before_get_facts_and_files_that_cannot_be_read_are_named(
        self, local_shop: Shop, tmp_path: Path
    ) -> None:
        shop = local_shop
        shop.add(Product(manual=packed_pdf(3)), Product(manual=b"%PDF-1.4 broken"), Product(manual=b"text"))
        new = {"SHOP_ANALYZERS": ""}
        assert shop.run("facts", env=new).code == 2
        dry = shop.run("facts", "--missing", "--dry-run", env=new)
        assert (dry.code, dry.out.splitlines()[0]) == (0, "2 rows of 3 with files to analyze")
        one = shop.run("facts", "shop_product.manual", "--missing", "--limit", "1", "--json", env=new)
        assert (one.code, one.json["command"], one.json["missing"], one.json["added"]) == (0, "facts", 1, 1)
        log = tmp_path / "facts.log"
        rest = shop.run("facts", "--missing", "--log", str(log), env=new, url=async_url(shop))
        assert (rest.code, rest.out.splitlines()[0]) == (0, "1 row with files analyzed, of 3")
        assert "1 file without facts, which analyzers cannot read:" in rest.out
        assert "analyzing shop_product.manual: 3 files" in rest.err
        assert "no facts of photos/" in log.read_text()
        again = shop.run("facts", "--missing", "--json", env=new).json
        assert (again["rows"], again["missing"], again["unreadable"]) == (3, 0, [])


@pytest.mark.server
def test_depots_on_s3(local_shop: Shop) -> None:
    """The same on a real S3 server: unused files go, rows are migrated from the disk, and all is verified."""
    from tests.io.s3_server import real_server

    server = real_server()
    local_shop.add(Product(manual=b"manual"))
    with server.bucket() as bucket:
        local_shop.write(
            "cloud",
            f"""
            import shop
            from depot_lite.io.boto3 import S3Storage
            from depot_lite.manager import DepotManager

            shop.configure()
            DepotManager.configure("cloud", S3Storage(
                bucket={bucket!r}, endpoint_url={server.url!r}, access_key_id={server.access_key!r},
                secret_access_key={server.secret_key!r}, region_name="us-east-1",
            ))
            """,
        )
        moved = local_shop.run("migrate", "photos", "cloud", "--json", app="cloud")
        assert (moved.code, moved.json["rows"]) == (0, 1), moved.err
        storage = server.storage(bucket)
        storage.create(b"unused")
        assert local_shop.run("verify", "cloud", app="cloud").code == 0
        assert local_shop.run("claim", "cloud", app="cloud").code == 0
        swept = local_shop.run("unused", "cloud", "--older-than=0s", *CONSENT, "--yes", "--json", app="cloud")
        assert (swept.code, swept.json["deleted"]) == (0, 1)
        with temporary_depots():
            DepotManager.configure("cloud", storage)
            assert list(local_shop.rows().values()) == [b"manual"]
