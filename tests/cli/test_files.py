"""The commands for single files of a depot, and `restore`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from depot_lite.io.fileid import new_file_id
from tests.cli.conftest import DEADLINE, Done, Shop
from tests.cli.model import Product
from tests.support.files import wav

#: An id that no file has.
NOBODYS = "2f4c2a9e-5d0c-4f0e-9d0b-0f6f2f7c9a11"


def without_database(shop: Shop, *words: object, app: str = "shop:configure") -> Done:
    """Run a command that is given no database."""
    return shop.run(*shop.words(app=app)[:5], *words, words_are_all=True)


def message(done: Done) -> str:
    """Return the last line on stderr."""
    return done.err.splitlines()[-1].removeprefix("depot-lite: ")


# Each test starts processes.
pytestmark = pytest.mark.matrix


class TestLs:
    def test_depots_are_listed(self, local_shop: Shop) -> None:
        done = without_database(local_shop, "ls")
        assert done.code == 0
        assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [
            ["photos", "unlisted"],
            ["archive", "unlisted"],
        ]
        found = without_database(local_shop, "ls", "--json").json
        assert [(each["name"], each["default"]) for each in found["depots"]] == [("photos", True), ("archive", False)]

    def test_files_are_listed_all_of_them(self, local_shop: Shop) -> None:
        stored = local_shop.unused(30)
        lines = without_database(local_shop, "ls", "photos").out.splitlines()
        assert sorted(line.split()[0] for line in lines) == stored
        assert {line.split()[1] for line in lines} == {"6"}
        some = without_database(local_shop, "ls", "photos", "--limit", "3", "--json").json
        assert [set(each) for each in some["files"]] == [{"id", "size", "time"}] * 3

    def test_a_storage_that_cannot_be_listed_is_an_error(self, local_shop: Shop) -> None:
        photos = local_shop.folder / "media" / "photos"
        photos.mkdir(parents=True, exist_ok=True)
        (photos / "0a").symlink_to(photos / "0a")
        done = without_database(local_shop, "ls", "photos", "--json")
        assert (done.code, done.json["error"]["type"]) == (2, "StorageFailed")


class TestInfo:
    def test_a_file_is_described(self, local_shop: Shop) -> None:
        file_id = local_shop.depots["photos"].create(b"x" * 2048, "a.txt")
        done = without_database(local_shop, "info", f"photos/{file_id}")
        assert done.code == 0
        assert "  size      2,048 bytes (2 KiB)\n" in done.out
        assert "  name      a.txt\n" in done.out
        found = without_database(local_shop, "info", f"photos/{file_id}", "--json").json
        assert (found["size"], found["rows"]) == (2048, None)

    def test_its_facts_are_read(self, local_shop: Shop) -> None:
        file_id = local_shop.depots["photos"].create(wav(83), "a.wav")
        done = without_database(local_shop, "info", f"photos/{file_id}")
        assert "  duration  1:23\n  bitrate   128 kbit/s\n" in done.out
        found = without_database(local_shop, "info", f"photos/{file_id}", "--json").json
        assert found["facts"] == {"duration": 83.0, "bitrate": 128_000}

    def test_the_rows_that_name_it(self, shop: Shop) -> None:
        (key,) = shop.add(Product(manual=b"named"))
        (path,) = shop.rows()
        done = shop.run("info", path, "--rows", "--json")
        assert (done.code, done.json["rows"]) == (0, [f"shop_product.manual of the row {key}, path"])
        (left,) = shop.unused(1)
        done = shop.run("info", f"photos/{left}", "--rows")
        assert (done.code, done.out.endswith("\nNamed by no row.\n")) == (1, True)

    def test_rows_need_a_database(self, local_shop: Shop) -> None:
        (left,) = local_shop.unused(1)
        done = without_database(local_shop, "info", f"photos/{left}", "--rows")
        assert (done.code, message(done).startswith("error: --rows needs a database")) == (2, True)

    @pytest.mark.matrix
    @pytest.mark.parametrize("path", ["photos", "photos/nonsense", f"photos/{NOBODYS}", f"nix/{NOBODYS}"])
    def test_a_path_that_leads_nowhere(self, local_shop: Shop, path: str) -> None:
        for command in ("info", "cat", "get"):
            done = without_database(local_shop, command, path)
            assert (done.code, done.out) == (2, "")
            assert done.err.count("depot-lite: error: ") == 1


class TestCatAndGet:
    @pytest.mark.matrix
    def test_bytes_come_out_as_they_are(self, local_shop: Shop) -> None:
        data = bytes(range(256)) * 5000
        ids = [local_shop.depots["photos"].create(part) for part in (data, b"\xff")]
        words = [*local_shop.words(app="shop:configure")[:5], "cat", *(f"photos/{each}" for each in ids)]
        done = subprocess.run(
            words, cwd=local_shop.folder, env=local_shop.environment(), capture_output=True, timeout=DEADLINE
        )
        assert (done.returncode, done.stdout == data + b"\xff") == (0, True)

    def test_nothing_is_written_if_one_of_them_is_missing(self, local_shop: Shop) -> None:
        (left,) = local_shop.unused(1)
        done = without_database(local_shop, "cat", f"photos/{left}", f"photos/{new_file_id()}")
        assert (done.code, done.out) == (2, "")

    @pytest.mark.matrix
    def test_a_file_is_written_once(self, local_shop: Shop) -> None:
        path = f"photos/{local_shop.depots['photos'].create(b'first', 'a.txt')}"
        assert without_database(local_shop, "get", path, "--dry-run").out == (
            "a.txt: 5 bytes (nothing was written, this was a dry run)\n"
        )
        assert not (local_shop.folder / "a.txt").exists()
        assert without_database(local_shop, "get", path).out == "a.txt: 5 bytes\n"
        assert (local_shop.folder / "a.txt").read_bytes() == b"first"
        again = without_database(local_shop, "get", path)
        assert (again.code, message(again)) == (2, "error: a.txt exists: --force replaces it")
        (local_shop.folder / "a.txt").write_bytes(b"changed")
        assert without_database(local_shop, "get", path, "--force").code == 0
        assert (local_shop.folder / "a.txt").read_bytes() == b"first"
        (local_shop.folder / "into").mkdir()
        assert without_database(local_shop, "get", path, "into", "--json").json["target"] == "into/a.txt"
        assert not list(local_shop.folder.rglob(".depot-lite-*"))

    @pytest.mark.matrix
    @pytest.mark.parametrize("name", ["../../evil.txt", "..\\evil.txt", "..", "a\x1b[2J.txt"])
    def test_names_of_users_never_lead_out_of_the_folder(self, local_shop: Shop, name: str) -> None:
        file_id = local_shop.depots["photos"].create(b"data", name)
        (local_shop.folder / "into").mkdir()
        target = Path(without_database(local_shop, "get", f"photos/{file_id}", "into", "--json").json["target"])
        assert (target.parent, target.name.isprintable()) == (Path("into"), True)
        assert [each.name for each in (local_shop.folder / "into").iterdir()] == [target.name]

    def test_a_folder_that_does_not_exist_is_an_error(self, local_shop: Shop) -> None:
        (left,) = local_shop.unused(1)
        done = without_database(local_shop, "get", f"photos/{left}", "nowhere/a.txt")
        assert (done.code, "nowhere/a.txt cannot be written: No such file or directory" in done.err) == (2, True)


class TestPut:
    def test_files_are_stored(self, local_shop: Shop) -> None:
        (local_shop.folder / "a.csv").write_text("a;b\n")
        (local_shop.folder / "b.txt").write_text("b")
        dry = without_database(local_shop, "put", "photos", "a.csv", "--dry-run")
        assert dry.out == "a.csv (nothing was stored, this was a dry run)\n"
        assert list(local_shop.depots["photos"].list()) == []
        done = without_database(local_shop, "put", "photos", "a.csv", "b.txt")
        found = [local_shop.depots["photos"].get(path.removeprefix("photos/")) for path in done.out.split()]
        assert [(each.filename, each.read()) for each in found] == [("a.csv", b"a;b\n"), ("b.txt", b"b")]
        for each in found:
            each.close()

    @pytest.mark.matrix
    def test_standard_input_a_name_and_an_id(self, local_shop: Shop) -> None:
        file_id = new_file_id()
        words = [*local_shop.words(app="shop:configure")[:5], "put", "photos", "-", "--name=c.txt", f"--id={file_id}"]
        done = local_shop.run(*words, words_are_all=True, stdin=None, input="from a pipe")
        assert done.out == f"photos/{file_id}\n"
        with local_shop.depots["photos"].get(file_id) as stored:
            assert (stored.filename, stored.read()) == ("c.txt", b"from a pipe")
        again = local_shop.run(*words, words_are_all=True, stdin=None, input="other")
        assert (again.code, f"depot 'photos' has a file {file_id} already" in again.err) == (2, True)

    def test_all_or_nothing_can_be_read(self, local_shop: Shop) -> None:
        (local_shop.folder / "a.txt").write_text("a")
        done = without_database(local_shop, "put", "photos", "a.txt", "nope.txt")
        assert (done.code, "nope.txt cannot be read, or does not exist: nothing was stored" in done.err) == (2, True)
        done = without_database(local_shop, "put", "photos", "a.txt", "media")
        assert (done.code, "media is a folder, expected files: nothing was stored" in done.err) == (2, True)
        assert without_database(local_shop, "put", "photos", "a.txt", "a.txt", "--name", "b").code == 2
        assert list(local_shop.depots["photos"].list()) == []


class TestRestore:
    def lost(self, shop: Shop) -> dict[str, bytes]:
        """Back up a depot with files of rows and of nobody, and lose some; return those that rows name."""
        shop.add(*(Product(manual=f"manual {number}".encode()) for number in range(4)))
        shop.unused(2)
        assert without_database(shop, "copy", "photos", "archive").code == 0
        rows = shop.rows()
        for file_id in list(shop.depots["photos"].list()):
            if f"photos/{file_id}" not in list(rows)[:1]:
                shop.depots["photos"].delete(file_id)
        return rows

    @pytest.mark.matrix
    def test_files_of_rows_come_back(self, shop: Shop) -> None:
        rows = self.lost(shop)
        dry = shop.run("restore", "archive", "photos", "--dry-run", "--json")
        assert (dry.code, dry.json["restored"], len(list(shop.depots["photos"].list()))) == (0, 3, 1)
        one = shop.run("restore", "archive", "photos", "--limit", "1", "--workers", "4")
        assert (one.code, one.out.startswith("'archive' to 'photos': 1 file restored, 8 bytes")) == (0, True)
        done = shop.run("restore", "archive", "photos", "--json")
        assert (done.code, done.json["restored"], done.json["present"]) == (0, 2, 2)
        assert shop.rows() == rows
        assert len(list(shop.depots["photos"].list())) == 4

    @pytest.mark.matrix
    def test_all_files_of_the_backup_come_back(self, local_shop: Shop) -> None:
        self.lost(local_shop)
        done = without_database(local_shop, "restore", "archive", "photos")
        assert (done.code, "--all restores every file" in done.err) == (2, True)
        done = without_database(local_shop, "restore", "archive", "photos", "--all", "--json")
        assert (done.code, done.json["restored"], done.json["present"]) == (0, 5, 1)
        assert sorted(local_shop.depots["photos"].list()) == sorted(local_shop.depots["archive"].list())

    @pytest.mark.matrix
    def test_what_the_depot_has_stays_as_it_is(self, local_shop: Shop) -> None:
        """Also if the backup has other bytes under the same id, as after filedepot's `replace`."""
        local_shop.add(Product(manual=b"first"))
        ((path, _),) = local_shop.rows().items()
        without_database(local_shop, "copy", "photos", "archive")
        local_shop.depots["photos"].replace(path.removeprefix("photos/"), b"newer, and longer")
        done = without_database(local_shop, "restore", "archive", "photos", "--all", "--json")
        assert (done.code, done.json["restored"]) == (0, 0)
        assert local_shop.rows() == {path: b"newer, and longer"}

    @pytest.mark.matrix
    def test_what_is_in_neither_is_told(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"gone"))
        ((path, _),) = local_shop.rows().items()
        local_shop.depots["photos"].delete(path.removeprefix("photos/"))
        done = local_shop.run("restore", "archive", "photos")
        assert done.code == 1
        assert path.removeprefix("photos/") in done.out
        assert local_shop.run("restore", "archive", "photos", "--json").json["lost"] == [path.removeprefix("photos/")]
