"""Commands that cannot run: one clear line, the exit code 2, and nothing changed."""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

import pytest

from depot_lite.cli.application import load_application
from depot_lite.cli.database import with_database
from depot_lite.cli.errors import ApplicationFailed
from depot_lite.testing import temporary_depots
from tests.cli.conftest import CONSENT, Shop
from tests.cli.model import Product

#: Applications that cannot be used, and the message about each.
WRONG_APPS = {
    "nowhere": "--app 'nowhere': there is no module 'nowhere', neither in ",
    "shop.inner": "--app 'shop.inner': there is no module 'shop.inner', neither in ",
    "../shop": "--app: expected package.module or package.module:factory, got '../shop'",
    "shop:": "--app: expected package.module or package.module:factory, got 'shop:'",
    "shop:make": "--app 'shop:make': the module has no 'make'",
    "shop:APP": "--app 'shop:APP': expected 'APP' to be a function, got int",
    "broken": "--app 'broken': ZeroDivisionError: division by zero (broken.py, line 3)",
    "untaught": "--app 'untaught': ModuleNotFoundError: No module named 'no_such_library' (untaught.py, line 1)",
    "unspoken": "--app 'unspoken': SyntaxError: '(' was never closed (unspoken.py, line 2)",
    "leaving": "--app 'leaving': SystemExit: 3 (leaving.py, line 2)",
    "misled": "--app 'misled': ConfigurationError: depot 'photos' (depot_lite.io.local.LocalFileStorage): unknown",
    "late:make": "--app 'late:make': RuntimeError: a message of two lines (late.py, line 2)",
    "late:awaited": "--app 'late:awaited': expected 'awaited' to be a plain function, got a coroutine function",
}

MODULES = {
    "broken": "\n\n1 / 0\n",
    "untaught": "import no_such_library\n",
    "unspoken": "\nprint(\n",
    "leaving": "import sys\nsys.exit(3)\n",
    "misled": (
        "from depot_lite.manager import DepotManager\n"
        "DepotManager.configure('photos', {'depot.backend': 'depot_lite.io.local.LocalFileStorage', 'depot.x': 1})\n"
    ),
    "late": "def make():\n    raise RuntimeError('a message\\nof two lines')\nasync def awaited(): ...\n",
}


def error_of(shop: Shop, *words: object, **named: object) -> str:
    """Return the line that says why a command could not run; a line before it reports the work done until then."""
    done = shop.run(*words, **named)  # type: ignore[arg-type]
    assert (done.code, done.out) == (2, ""), done
    lines = [line for line in done.err.splitlines() if line != "the application says hello"]
    if lines[0].startswith("depot-lite: progress of "):
        lines = lines[1:]
    assert [line.startswith("depot-lite: error: ") for line in lines] == [True], done.err
    return lines[0].removeprefix("depot-lite: error: ")


class TestTheApplication:
    @pytest.mark.parametrize("app", WRONG_APPS)
    def test_what_is_wrong_with_it_is_said(self, app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, source in {**MODULES, "shop": "APP = 1\n"}.items():
            (tmp_path / f"{name}.py").write_text(source)
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        with temporary_depots(), pytest.raises(ApplicationFailed) as raised:
            load_application(app)
        said = str(raised.value)
        assert said.startswith(WRONG_APPS[app])
        assert "\n" not in said
        assert app != "misled" or said.endswith("(misled.py, line 2)")
        for name in (*MODULES, "shop"):
            sys.modules.pop(name, None)

    def test_an_error_in_it_is_one_line(self, local_shop: Shop) -> None:
        local_shop.write("broken", MODULES["broken"])
        said = "--app 'broken': ZeroDivisionError: division by zero (broken.py, line 3) (--traceback shows more)"
        assert error_of(local_shop, "missing", app="broken") == said

    @pytest.mark.matrix
    def test_it_may_be_named_by_the_environment(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"here"))
        command = [sys.executable, "-m", "depot_lite", "missing", "--quiet"]
        named = {"DEPOT_LITE_APP": "shop:configure", "DATABASE_URL": local_shop.url}
        assert local_shop.run(*command, words_are_all=True, env=named).code == 0
        assert error_of(local_shop, *command, words_are_all=True).startswith(
            "no application given: --app package.module"
        )
        only_app = {"DEPOT_LITE_APP": "shop:configure"}
        said = error_of(local_shop, *command, words_are_all=True, env=only_app)
        assert said == "no database given: --url URL, --engine package.module:name, or DATABASE_URL in the environment"


class TestTheDatabase:
    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("sqlite:///nowhere.db", "database sqlite:///nowhere.db cannot be reached: there is no file 'nowhere.db'"),
            (
                "postgresql+psycopg://joe:secret@127.0.0.1:1/shop?password=secret",
                "database postgresql+psycopg://joe:***@127.0.0.1:1/shop cannot be reached: ",
            ),
            (
                "postgresql+asyncpg://joe:secret@127.0.0.1:1/shop",
                "database postgresql+asyncpg://joe:***@127.0.0.1:1/shop cannot be reached: ",
            ),
            (
                "mariadb+pymysql://joe:secret@127.0.0.1:1/shop",
                "database mariadb+pymysql://joe:***@127.0.0.1:1/shop cannot be reached: ",
            ),
            (
                "mysql+aiomysql://joe:secret@127.0.0.1:1/shop",
                "database mysql+aiomysql://joe:***@127.0.0.1:1/shop cannot be reached: ",
            ),
            (
                "postgresql://joe:sec:ret:@host:port/shop",
                "the database URL cannot be parsed: expected dialect+driver://",
            ),
            ("secret", "the database URL cannot be parsed: expected dialect+driver://"),
            ("nosql://joe:secret@host/shop", "SQLAlchemy knows no database 'nosql'"),
            ("mysql+mysqldb://joe:secret@host/shop", "'mysql+mysqldb' needs the module 'MySQLdb'"),
        ],
    )
    def test_what_is_wrong_with_it_is_said_without_its_password(
        self, url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ApplicationFailed) as raised:
            with_database(url, lambda bind: pytest.fail("it was reached"))
        line = str(raised.value)
        assert line.startswith(said)
        assert "secret" not in line
        assert "\n" not in line
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.matrix
    def test_an_incomplete_installation_is_an_error_of_its_own(self, local_shop: Shop) -> None:
        """Python would end with 1, which means that something was found."""
        program = (
            "import sys, runpy; sys.modules['sqlalchemy'] = None; runpy.run_module('depot_lite', None, '__main__')"
        )
        done = local_shop.run(sys.executable, "-c", program, words_are_all=True)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("depot-lite: error: the installation is incomplete: ")

    @pytest.mark.matrix
    def test_only_asynchronous_drivers_need_greenlet(self, local_shop: Shop) -> None:
        """SQLAlchemy 2.1 installs it with ``SQLAlchemy[asyncio]`` only."""
        program = "import sys; sys.modules['greenlet'] = None; from depot_lite.cli.main import main; sys.exit(main())"
        words = [sys.executable, "-c", program, "--app", "shop:configure", "--quiet"]
        found = local_shop.run(*words, "--url", local_shop.url, "missing", words_are_all=True)
        assert found.code == 0, found.err
        said = error_of(
            local_shop, *words, "--url", local_shop.url_with("sqlite+aiosqlite"), "missing", words_are_all=True
        )
        assert "greenlet" in said

    @pytest.mark.parametrize("driver", ["mariadb+pymysql", "postgresql+asyncpg"])
    def test_an_unreachable_one_is_one_line(self, local_shop: Shop, driver: str) -> None:
        """Before anything is listed, and without the password."""
        line = error_of(local_shop, "unused", url=f"{driver}://joe:secret@127.0.0.1:1/shop")
        assert line.startswith(f"database {driver}://joe:***@127.0.0.1:1/shop cannot be reached: ")
        assert "secret" not in line

    @pytest.mark.matrix
    def test_a_table_that_is_not_there(self, local_shop: Shop) -> None:
        with local_shop.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE shop_product RENAME TO elsewhere")
        said = error_of(local_shop, "unused", "--quiet")
        assert said == "shop_product.manual cannot be read: no such table: shop_product (--traceback shows more)"
        more = local_shop.run("unused", "--quiet", "--traceback")
        assert more.err.count("Traceback (most recent call last)") >= 1
        with local_shop.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO shop_product")


class TestWhatIsThere:
    @pytest.mark.matrix
    def test_a_row_that_cannot_be_read_stops_a_deletion(self, shop: Shop) -> None:
        """It may name anything."""
        shop.add(Product(manual=b"named"))
        shop.unused(1)
        with shop.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE shop_product SET manual = '{\"nonsense\": 1}'")
        said = error_of(shop, "unused", "--older-than=0s", *CONSENT, "--yes", "--quiet")
        assert said.startswith("shop_product.manual of the row ")
        assert len(list(shop.depots["photos"].list())) == 2
        missing = shop.run("missing", "--json")
        assert (missing.code, len(missing.json["damaged"])) == (1, 1)

    @pytest.mark.matrix
    def test_an_unknown_depot(self, local_shop: Shop) -> None:
        for words in (["unused", "nix"], ["copy", "photos", "nix"]):
            assert error_of(local_shop, *words) == "there is no depot 'nix'; configured: 'photos', 'archive'"

    @pytest.mark.matrix
    def test_a_storage_that_cannot_be_read(self, local_shop: Shop) -> None:
        """A folder in it is a link that leads to itself: the system says ELOOP, also to root."""
        local_shop.add(Product(manual=b"somewhere"))
        shards = local_shop.folder / "media" / "photos"
        shard = next(each for each in (shards / "0a", shards / "0b") if not each.exists())
        shard.symlink_to(shard)
        for command in ("unused", "verify"):
            said = error_of(local_shop, command, "photos", "--quiet")
            assert "Too many levels of symbolic links" in said
            assert str(shard) in said


@pytest.mark.matrix
def test_a_signal_while_a_connection_is_reset_is_no_traceback(local_shop: Shop) -> None:
    """The pool of SQLAlchemy logs what ends a rollback."""
    local_shop.write(
        "stopping",
        f"""
        import os, signal
        from sqlalchemy import create_engine, event
        from shop import configure

        def make():
            engine = create_engine({local_shop.url!r})
            event.listen(engine, "reset", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            return engine
        """,
    )
    words = [*local_shop.words()[:3], "--app", "shop:configure", "--engine", "stopping:make", "missing", "--quiet"]
    done = local_shop.run(*words, words_are_all=True)
    assert (done.code, done.out) == (143, "")
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1].startswith("depot-lite: stopped by SIGTERM")


class TestAFullDisk:
    @pytest.mark.matrix
    def test_the_report_cannot_be_written(self, local_shop: Shop) -> None:
        for json in ([], ["--json"]):
            with open("/dev/full", "w") as full:
                done = local_shop.run("stats", "--quiet", *json, stdout=full)
            assert done.code == 2
            assert done.err.splitlines()[-1:] == [
                "depot-lite: error: the work is done, but the report cannot be written: No space left on device"
            ]

    @pytest.mark.matrix
    def test_the_log_cannot_be_written(self, local_shop: Shop) -> None:
        """The work is done, and the exit code says how it went; it was a traceback."""
        done = local_shop.run("ls", "--log", "/dev/full")
        assert (done.code, done.err.splitlines()[-1:]) == (
            0,
            ["depot-lite: warning: --log /dev/full is not complete: No space left on device"],
        )
        left = local_shop.unused(1)
        done = local_shop.run("unused", "photos", *CONSENT, "--older-than=0", "--yes", "--log", "/dev/full", "--quiet")
        assert done.code == 2
        assert "depot-lite: error: log /dev/full cannot be written: No space left on device" in done.err
        assert local_shop.depots["photos"].exists(left[0])

    @pytest.mark.matrix
    def test_the_state_cannot_be_written(self, local_shop: Shop) -> None:
        local_shop.unused(1)

        def no_file_grows() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

        environment = {"PYTHONDONTWRITEBYTECODE": "1"}
        done = local_shop.run(
            "verify", "photos", "--state", "state.json", "--quiet", env=environment, preexec_fn=no_file_grows
        )
        assert done.code == 2
        assert "depot-lite: error: state state.json cannot be written: " in done.err
        assert not list(local_shop.folder.glob("state.json*"))

    @pytest.mark.matrix
    @pytest.mark.parametrize("command", ["copy", "migrate"])
    def test_the_target_is_full(self, local_shop: Shop, command: str) -> None:
        """It stops, and rows name the same files as before."""
        local_shop.add(*(Product(manual=b"manual") for _ in range(3)))
        before = local_shop.rows()
        local_shop.write(
            "full",
            """
            import errno, os, shop
            from depot_lite.io.local import LocalFileStorage
            from depot_lite.errors import StorageFull

            class Full(LocalFileStorage):
                def _save(self, file_id, content):
                    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    raise StorageFull(f"file {file_id} cannot be stored: {error}") from error

                def _save_from(self, source, source_id, file_id):
                    self._save(file_id, None)

            def configure():
                shop.configure(Full)
            """,
        )
        done = local_shop.run(command, "photos", "archive", "--quiet", "--log", "files.log", app="full:configure")
        assert (done.code, done.out) == (2, "")
        assert "No space left on device" in done.err.splitlines()[-1]
        if command == "copy":
            assert "\ndepot-lite: progress of copy photos archive: listing photos: 3 files" in done.err
        assert "No space left on device" in (local_shop.folder / "files.log").read_text()
        assert local_shop.rows() == before
        assert list(local_shop.depots["archive"].list()) == []

    @pytest.mark.matrix
    @pytest.mark.parametrize("command", ["copy", "migrate", "restore"])
    def test_what_failed_before_is_named(self, local_shop: Shop, command: str) -> None:
        """With the reason, in the message, in the log and in JSON."""
        local_shop.add(*(Product(manual=b"manual") for _ in range(3)))
        local_shop.write(
            "filling",
            """
            import shop
            from depot_lite.io.local import LocalFileStorage
            from depot_lite.errors import StorageFailed, StorageFull

            class Filling(LocalFileStorage):
                tries = 0

                def _save_from(self, source, source_id, file_id):
                    Filling.tries += 1
                    raise StorageFailed("a bad block") if Filling.tries == 1 else StorageFull("the disk is full")

            def configure():
                shop.configure(Filling)
            """,
        )
        words = [command, "photos", "archive", "--quiet", "--workers", "1", *["--all"] * (command == "restore")]
        done = local_shop.run(*words, "--log", "files.log", app="filling:configure")
        (named,) = (line for line in done.err.splitlines() if "failed before: " in line)
        assert named.endswith(": a bad block")
        if command == "migrate":
            assert "shop_product.manual of the row " in named
        assert named.removeprefix("depot-lite: ") in (local_shop.folder / "files.log").read_text()
        (failed,) = local_shop.run(*words, "--json", app="filling:configure").json["failed"]
        assert (failed["error"], bool(failed["name"])) == ("a bad block", True)


class TestItsOutput:
    @pytest.mark.matrix
    def test_a_closed_stdout_is_noticed_before_anything_is_done(self, local_shop: Shop) -> None:
        local_shop.unused(1)
        words = local_shop.words("unused", "--older-than=0s", *CONSENT, "--yes")
        done = local_shop.run("/bin/sh", "-c", 'exec "$@" >&-', "sh", *words, words_are_all=True)
        assert done.code == 2
        assert "depot-lite: error: stdout is closed" in done.err
        assert len(list(local_shop.depots["photos"].list())) == 1

    @pytest.mark.matrix
    def test_a_closed_stderr_stops_nothing(self, local_shop: Shop) -> None:
        (left,) = local_shop.unused(1)
        words = local_shop.words("unused", "--older-than=0s", "--json")
        done = local_shop.run("/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *words, words_are_all=True)
        assert (done.code, [each["id"] for each in done.json["files"]]) == (1, [left])

    @pytest.mark.matrix
    def test_who_reads_may_stop_reading(self, local_shop: Shop) -> None:
        """Neither `head` nor a log that went away brings forth a traceback."""
        local_shop.unused(3000)
        words = " ".join(local_shop.words("unused", "--older-than=0s", "--json", "--quiet"))
        done = local_shop.run("/bin/bash", "-c", f"{words} | head -1; exit ${{PIPESTATUS[0]}}", words_are_all=True)
        assert (done.code, done.out, done.err) == (1, "{\n", "the application says hello\n")
        nobody = local_shop.run("/bin/bash", "-c", f"{words} 2>&1 >/dev/null | true", words_are_all=True)
        assert nobody.err == ""


class TestStopping:
    @pytest.mark.matrix
    @pytest.mark.parametrize(
        ("number", "name", "code", "driver"),
        [
            (signal.SIGINT, "SIGINT", 130, "sqlite"),
            (signal.SIGTERM, "SIGTERM", 143, "sqlite"),
            (signal.SIGINT, "SIGINT", 130, "sqlite+aiosqlite"),
            (signal.SIGTERM, "SIGTERM", 143, "sqlite+aiosqlite"),
        ],
    )
    def test_a_migration_ends_what_is_under_way(
        self, local_shop: Shop, number: signal.Signals, name: str, code: int, driver: str
    ) -> None:
        """Rows name files that are there, no copy is left that no row names, and the same command goes on."""
        local_shop.add(*(Product(manual=f"manual {each}".encode()) for each in range(6)))
        before = sorted(local_shop.rows().values())
        local_shop.write(
            "slow",
            """
            import shop, sys
            from depot_lite.io.local import LocalFileStorage

            class Slow(LocalFileStorage):
                saved = 0

                def _save(self, file_id, content):
                    self._wait_for_the_third()
                    return super()._save(file_id, content)

                def _save_from(self, source, source_id, file_id):
                    self._wait_for_the_third()
                    return super()._save_from(source, source_id, file_id)

                def _wait_for_the_third(self):
                    Slow.saved += 1
                    if Slow.saved == 3:
                        print("here", file=sys.stderr, flush=True)
                        sys.stdin.readline()

            def configure():
                shop.configure(Slow)
            """,
        )
        words = ("migrate", "photos", "archive", "--workers", "1", "--quiet")
        with local_shop.start(*words, app="slow:configure", url=local_shop.url_with(driver)) as process:
            assert process.stderr is not None
            assert "here\n" in iter(process.stderr.readline, "")
            process.send_signal(number)
            out, err = process.communicate("go on\n", timeout=60)
        assert (process.returncode, out) == (code, ""), err
        assert err.splitlines()[-1] == (
            f"depot-lite: stopped by {name}: nothing is half done, and the same command goes on with what is left"
        )
        assert [each for each in err.splitlines()[:-1] if each.startswith("depot-lite: ")] in (
            [],  # no copy was counted yet
            ["depot-lite: progress of migrate photos archive: copying: 1 file, 8 bytes"],
            ["depot-lite: progress of migrate photos archive: copying: 2 files, 16 bytes"],
            ["depot-lite: progress of migrate photos archive: copying: 3 files, 24 bytes"],
        )
        rows = local_shop.rows()
        moved = {path for path in rows if path.startswith("archive/")}
        assert sorted(rows.values()) == before
        assert len(moved) < 6
        assert {f"archive/{each}" for each in local_shop.depots["archive"].list()} == moved
        assert local_shop.run(*words).code == 0
        after = local_shop.rows()
        assert (sorted(after.values()), {path.partition("/")[0] for path in after}) == (before, {"archive"})
