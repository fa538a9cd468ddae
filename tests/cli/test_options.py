"""Options of all commands: the configuration file, engines of the application, the log, JSON, completion."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from depot_lite.cli.arguments import parse_arguments
from depot_lite.cli.errors import WrongUsage
from depot_lite.errors import ConfigurationError
from tests.cli.conftest import ASYNC, DEADLINE, Shop
from tests.cli.model import Product

#: A line of a log.
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "DEPOT_LITE_APP", "DEPOT_LITE_ENGINE", "DEPOT_LITE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class TestTheConfigurationFile:
    TEXT = """
        app = "shop"
        engine = "shop:engine"
        quiet = true
        [unused]
        older-than = "2d"
        protect = ["a.b", "c.d"]
        [copy]
        workers = 3
        dry_run = false
    """

    def test_it_has_the_options_that_are_not_given(self, folder: Path) -> None:
        (folder / "depot-lite.toml").write_text(self.TEXT)
        found = parse_arguments(["unused", "photos"])
        assert (found.app, found.engine, found.url, found.quiet) == ("shop", "shop:engine", None, True)
        assert (found.older_than.days, found.protect) == (2, ["a.b", "c.d"])
        assert parse_arguments(["--app", "x", "unused", "--older-than=3d"]).older_than.days == 3
        copy = parse_arguments(["--json", "--url=sqlite://", "copy", "unused", "copy"])
        assert (copy.workers, copy.dry_run, copy.source, copy.url, copy.engine) == (
            3,
            False,
            "unused",
            "sqlite://",
            None,
        )

    def test_the_environment_comes_before_it(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "depot-lite.toml").write_text(self.TEXT)
        monkeypatch.setenv("DATABASE_URL", "sqlite://")
        monkeypatch.setenv("DEPOT_LITE_APP", "other")
        found = parse_arguments(["unused"])
        assert (found.app, found.url, found.engine) == ("other", "sqlite://", None)

    def test_pyproject_may_contain_it(self, folder: Path) -> None:
        (folder / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
        assert parse_arguments(["unused"]).app is None
        (folder / "pyproject.toml").write_text(
            '[tool.depot_lite]\napp = "shop"\n[tool.depot_lite.stats]\nlargest = 3\n'
        )
        assert (parse_arguments(["stats"]).app, parse_arguments(["stats"]).largest) == ("shop", 3)
        (folder / "depot-lite.toml").write_text('app = "first"')
        assert parse_arguments(["stats"]).app == "first"
        assert parse_arguments(["stats", "--config", "pyproject.toml"]).app == "shop"

    def test_it_may_be_elsewhere(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "etc").mkdir()
        (folder / "etc" / "shop.toml").write_text('app = "shop"')
        assert parse_arguments(["stats", "--config=etc/shop.toml"]).app == "shop"
        monkeypatch.setenv("DEPOT_LITE_CONFIG", "etc/shop.toml")
        assert parse_arguments(["stats"]).app == "shop"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("app = ", "configuration depot-lite.toml cannot be read: "),
            ("app = 1", "configuration depot-lite.toml: app: expected a string, got 1"),
            ('url = "a"\nengine = "b"', "configuration depot-lite.toml: expected url or engine, got both"),
            ("[unuse]\nx = 1", "configuration depot-lite.toml: there is no command 'unuse'; commands: "),
            ("[unused]\ndelete = true", "configuration depot-lite.toml: --delete is accepted on the command line only"),
            ("[copy]\nprune = true", "configuration depot-lite.toml: --prune is accepted on the command line only"),
            (
                "[claim]\nreplace = true",
                "configuration depot-lite.toml: --replace is accepted on the command line only",
            ),
            ("[unused.x]\ny = 1", "configuration depot-lite.toml: x: expected a string, a number or true, got "),
        ],
    )
    def test_errors_in_it(self, folder: Path, text: str, said: str) -> None:
        (folder / "depot-lite.toml").write_text(text)
        with pytest.raises(ConfigurationError) as raised:
            parse_arguments(["unused"])
        assert str(raised.value).startswith(said)

    def test_wrong_options_in_it_are_named_with_the_file(self, folder: Path) -> None:
        (folder / "depot-lite.toml").write_text("[unused]\nolder = 3\n")
        with pytest.raises(WrongUsage, match=r"--older=3 .*; depot-lite\.toml contains --older=3"):
            parse_arguments(["unused"])
        with pytest.raises(ConfigurationError, match=r"configuration nope\.toml cannot be read"):
            parse_arguments(["unused", "--config", "nope.toml"])

    def test_a_limit_of_pruning_is_for_pruning(self, folder: Path) -> None:
        """Somebody who gives it alone thinks that it prunes; in the file it is for each run that does."""
        copy = ["copy", "photos", "archive"]
        with pytest.raises(WrongUsage, match="--max-prune: expected --prune with it"):
            parse_arguments([*copy, "--max-prune=3"])
        assert parse_arguments([*copy, "--prune", "--max-prune", "0"]).max_prune == 0
        (folder / "depot-lite.toml").write_text("[copy]\nmax-prune = 7\n")
        assert parse_arguments(copy).prune is False
        assert parse_arguments([*copy, "--prune"]).max_prune == 7

    def test_one_database_at_most(self, folder: Path) -> None:
        with pytest.raises(WrongUsage, match="--url and --engine: expected one of them"):
            parse_arguments(["unused", "--url", "sqlite://", "--engine", "a:b"])


ENGINES = """
    import os
    from sqlalchemy import create_engine
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
    from sqlalchemy.orm import Session, scoped_session, sessionmaker
    from tests.cli.model import Base, Product

    URL, ASYNC = {url!r}, {awaited!r}

    def engine(): return create_engine(URL)
    def maker(): return sessionmaker(engine())
    def scoped(): return scoped_session(maker())
    def session(): return Session(engine())
    def several(): return {{Base: engine()}}
    def async_engine(): return create_async_engine(ASYNC)
    def async_maker(): return async_sessionmaker(async_engine())
    def async_session(): return AsyncSession(async_engine())
    def async_several(): return {{Base: async_engine()}}
    def translated():
        return engine().execution_options(schema_translate_map={{None: "tenant"}})
    class Inner:
        engine = create_engine(URL)
    async def awaited(): ...
    def nothing(): return "sqlite://"
    def broken(): raise RuntimeError("no password here")
"""


def with_engines(shop: Shop) -> None:
    name = shop.engine.dialect.name
    shop.write(
        "bases", ENGINES.format(url=shop.url, awaited=shop.url_with(ASYNC["mysql" if name == "mariadb" else name]))
    )


class TestEngines:
    @pytest.mark.parametrize(
        "name",
        [
            "maker",
            *(
                pytest.param(each, marks=pytest.mark.matrix)
                for each in (
                    *("async_several", "engine", "scoped", "session", "several", "Inner.engine"),
                    *("async_engine", "async_maker", "async_session"),
                )
            ),
        ],
    )
    @pytest.mark.matrix
    def test_the_application_gives_its_database(self, shop: Shop, name: str) -> None:
        with_engines(shop)
        shop.add(Product(manual=b"here"))
        words = [*shop.words()[:5], "--engine", f"bases:{name}"]
        done = shop.run(*words, "missing", "--json", words_are_all=True)
        assert (done.code, done.json["named"]) == (0, 1), done.err
        moved = shop.run(*words, "migrate", "photos", "archive", "--json", words_are_all=True)
        assert (moved.code, moved.json["rows"]) == (0, 1), moved.err
        made = shop.run(*words, "create-units", words_are_all=True)
        assert (made.code, made.out) == (0, "The table depot_lite_units is there.\n"), made.err
        moved = shop.run(*words, "migrate", "archive", "photos", "--share", "--json", words_are_all=True)
        assert (moved.code, moved.json["rows"]) == (0, 1), moved.err

    @pytest.mark.database
    def test_tables_in_the_schema_of_a_tenant(self, shop: Shop) -> None:
        if shop.engine.dialect.name != "postgresql":
            pytest.skip("only PostgreSQL has several schemas in a database")
        with_engines(shop)
        shop.add(Product(manual=b"of nobody"))
        with shop.engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA IF EXISTS tenant CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA tenant")
            connection.exec_driver_sql("CREATE TABLE tenant.shop_product AS SELECT * FROM shop_product LIMIT 0")
        words = [*shop.words()[:5], "--engine", "bases:translated", "--json", "missing"]
        done = shop.run(*words, words_are_all=True)
        assert (done.code, done.json["rows"]) == (0, 0), done.err

    @pytest.mark.matrix
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("bases", "--engine: expected package.module:name, got 'bases'"),
            ("bases:nope", "--engine 'bases:nope': the module has no 'nope'"),
            (
                "bases:awaited",
                "--engine 'bases:awaited': expected 'awaited' to be a plain function, got a coroutine function",
            ),
            (
                "bases:nothing",
                "--engine 'bases:nothing': expected an engine, a session, a sessionmaker, or a dictionary of ",
            ),
            ("bases:broken", "--engine 'bases:broken': RuntimeError: no password here (bases.py, line "),
            ("nowhere:engine", "--engine 'nowhere:engine': there is no module 'nowhere', neither in "),
        ],
    )
    def test_what_is_wrong_with_it_is_said(self, local_shop: Shop, name: str, said: str) -> None:
        with_engines(local_shop)
        done = local_shop.run(*local_shop.words()[:5], "--engine", name, "missing", words_are_all=True)
        assert done.code == 2
        assert done.err.splitlines()[-1].startswith(f"depot-lite: error: {said}")


class TestTheLog:
    def test_it_has_what_happened_with_times(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"here"))
        assert local_shop.run("missing", "--quiet", "--log", "files.log").code == 0
        assert local_shop.run("missing", "nope", "--quiet", "--log", "files.log").code == 2
        lines = (local_shop.folder / "files.log").read_text().splitlines()
        assert all(LINE.match(line) for line in lines)
        said = [line[21:] for line in lines]
        assert said[0].startswith("depot-lite 0.")
        assert "missing --quiet" in said[0]
        assert "//" not in said[0].replace("sqlite://...", "")
        assert any(line.startswith("reading shop_product.manual: 1 row, in ") for line in said)
        assert "0 files missing of 1 that 1 row names" in said
        assert said[-2:] == ["error: there is no depot 'nope'; configured: 'photos', 'archive'", "exit code 2"]

    @pytest.mark.matrix
    def test_a_log_that_cannot_be_written_is_an_error(self, local_shop: Shop) -> None:
        done = local_shop.run("missing", "--log", "nowhere/files.log")
        assert (done.code, "--log nowhere/files.log: No such file or directory" in done.err) == (2, True)

    @pytest.mark.matrix
    def test_progress_on_stderr_has_times(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"here"))
        lines = local_shop.run("missing").err.splitlines()
        assert all(LINE.match(line) for line in lines if line != "the application says hello")


class TestJson:
    @pytest.mark.matrix
    def test_documents_have_the_version_of_their_schema(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"here"))
        for words in (["missing"], ["stats"], ["unused"], ["ls"], ["check"]):
            document = local_shop.run(*words, "--json").json
            assert (document["schema"], document["command"]) == (1, words[0])

    def test_errors_are_documents_too(self, local_shop: Shop) -> None:
        done = local_shop.run("missing", "nope", "--json")
        assert done.code == 2
        assert done.json == {
            "schema": 1,
            "command": "missing",
            "job": "missing nope",
            "error": {"type": "UnknownDepot", "message": "there is no depot 'nope'; configured: 'photos', 'archive'"},
            "exit": 2,
            "progress": [],
            "failed": [],
            "partial": None,
        }
        assert done.err.splitlines()[-1] == f"depot-lite: error: {done.json['error']['message']}"

    @pytest.mark.matrix
    def test_wrong_usage_is_a_document(self, local_shop: Shop) -> None:
        done = local_shop.run("nonsense", "--json")
        assert (done.code, done.json["command"], done.json["error"]["type"]) == (2, None, "WrongUsage")

    @pytest.mark.matrix
    def test_what_was_reached_before_an_error(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"here"))
        local_shop.unused(2)
        with local_shop.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE shop_product SET manual = '{\"nonsense\": 1}'")
        done = local_shop.run("unused", "photos", "--json")
        assert done.code == 2
        listing = done.json["progress"][0]
        assert (listing["step"], listing["done"], listing["finished"]) == ("listing", 3, True)
        assert "depot-lite: progress of unused photos: listing: 3 files" in done.err


class TestVersionAndCompletion:
    def test_the_version(self, local_shop: Shop) -> None:
        done = local_shop.run(sys.executable, "-m", "depot_lite", "--version", words_are_all=True)
        assert (done.code, re.fullmatch(r"depot-lite \d+\.\d+\.\d+\n", done.out) is not None) == (0, True)

    @pytest.mark.matrix
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_scripts_for_shells(self, local_shop: Shop, shell: str) -> None:
        """No application is needed for it."""
        pytest.importorskip("shtab")
        done = local_shop.run(sys.executable, "-m", "depot_lite", "completion", shell, words_are_all=True)
        assert done.code == 0
        assert all(word in done.out for word in ("older-than", "unused", "migrate"))

    @pytest.mark.matrix
    def test_bash_completes_commands_and_options(self, local_shop: Shop) -> None:
        pytest.importorskip("shtab")
        script = local_shop.run(sys.executable, "-m", "depot_lite", "completion", "bash", words_are_all=True).out
        (local_shop.folder / "complete").write_text(
            f"{script}\nCOMP_WORDS=(depot-lite unused --older); COMP_CWORD=2\n"
            '$(complete -p depot-lite | sed "s/.*-F \\([^ ]*\\).*/\\1/")\necho "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(
            ["/bin/bash", "complete"], cwd=local_shop.folder, capture_output=True, text=True, timeout=DEADLINE
        )
        assert done.stdout.split() == ["--older-than"], done.stderr

    @pytest.mark.matrix
    def test_without_shtab_it_says_what_to_install(self, local_shop: Shop) -> None:
        program = "import sys; sys.modules['shtab'] = None; from depot_lite.cli.main import main; sys.exit(main())"
        done = local_shop.run(sys.executable, "-c", program, "completion", "bash", words_are_all=True)
        assert (done.code, "completion needs shtab: pip install 'depot_lite[cli]'" in done.err) == (2, True)


@pytest.mark.matrix
def test_memory_is_limited(shop: Shop) -> None:
    """The ids beyond it are on disk, and the result is the same; too little is refused."""
    shop.unused(3)
    done = shop.run("unused", "--older-than=0s", "--memory", "1 MiB", "--json")
    assert (done.code, len(done.json["files"])) == (1, 3)
    for size, message in (("10 kB", "memory"), ("much", "--memory='much': expected a number of bytes")):
        refused = shop.run("unused", "--memory", size)
        assert (refused.code, message in refused.err) == (2, True), refused.err
