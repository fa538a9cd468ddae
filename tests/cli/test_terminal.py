"""The command on a terminal: bars, questions, and what it says where nobody could answer."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import CONSENT, ROOT, Shop
from tests.cli.model import Product


class TestBars:
    @pytest.mark.matrix
    def test_a_bar_is_drawn_for_each_step_and_the_report_is_plain(self, local_shop: Shop) -> None:
        local_shop.unused(3)
        done = local_shop.on_terminal("copy", "photos", "archive")
        bars, report = done.out.rsplit("\x1b", 1)[0], done.out.rsplit("\x1b", 1)[1]
        assert done.code == 0
        for step in ("listing ", "copying "):
            assert step in bars
        assert "3 files" in bars
        assert "18 bytes" in bars
        assert "'photos' to 'archive': 3 files copied, 18 bytes\n" in report

    @pytest.mark.matrix
    def test_a_terminal_that_draws_nothing_gets_lines(self, local_shop: Shop) -> None:
        local_shop.unused(1)
        for words, env in ((["--quiet"], {}), ([], {"TERM": "dumb"})):
            done = local_shop.on_terminal("copy", "photos", "archive", *words, env=env)
            assert (done.code, "\x1b" in done.out) == (0, False)
            assert ("listing: 1 file, in " in done.out) == (not words)

    @pytest.mark.matrix
    def test_without_rich_it_says_what_to_install(self, local_shop: Shop) -> None:
        """Only where bars would be drawn: everything else works without."""
        (local_shop.folder / "rich.py").write_text("raise ImportError('no rich')")
        without = {"PYTHONPATH": f"{local_shop.folder}:{ROOT}"}
        done = local_shop.on_terminal("stats", env=without)
        assert done.code == 2
        assert "depot-lite: error: progress bars need rich: pip install 'depot_lite[cli]'" in done.out
        assert "Traceback" not in done.out
        assert local_shop.run("stats", env=without).code == 0
        assert local_shop.on_terminal("stats", "--quiet", env=without).code == 0


class TestQuestions:
    @pytest.mark.matrix
    @pytest.mark.parametrize(("answer", "code", "left"), [("yes", 0, 0), ("y", 2, 1), ("\x04", 2, 1)])
    def test_who_deletes_young_files_is_asked(self, local_shop: Shop, answer: str, code: int, left: int) -> None:
        local_shop.unused(1)
        done = local_shop.on_terminal("unused", "--older-than=0s", *CONSENT, answer=answer)
        assert "Files of transactions that last longer than 0s and have not committed will be lost.\n" in done.out
        assert done.code == code
        assert len(list(local_shop.depots["photos"].list())) == left
        assert ("depot-lite: error: nothing was deleted" in done.out) == bool(left)

    def test_where_nobody_can_be_asked_it_is_refused(self, local_shop: Shop) -> None:
        local_shop.unused(1)
        done = local_shop.run("unused", "--older-than=59s", *CONSENT)
        assert done.code == 2
        assert done.err.startswith("depot-lite: error: --delete --older-than 59s may delete files of transactions")
        assert len(list(local_shop.depots["photos"].list())) == 1

    def test_a_dry_run_deletes_nothing_and_asks_nobody(self, local_shop: Shop) -> None:
        local_shop.unused(1)
        done = local_shop.run("unused", "--older-than=0s", "--delete", "--dry-run")
        assert (done.code, done.out.startswith("Depot 'photos': 1 file of 1 unused")) == (1, True)
        assert len(list(local_shop.depots["photos"].list())) == 1

    def test_nobody_is_asked_about_a_minute(self, local_shop: Shop) -> None:
        assert local_shop.run("unused", "--older-than=1m", *CONSENT).code == 0


class TestWords:
    @pytest.mark.matrix
    def test_the_installed_command_does_the_same(self, local_shop: Shop) -> None:
        script = shutil.which("depot-lite", path=str(Path(sys.executable).parent))
        if script is None:
            pytest.skip("depot-lite is not installed beside this Python: pip install -e .")
        local_shop.add(Product(manual=b"here"))
        words = local_shop.words("missing", "--quiet")[3:]
        done = local_shop.run(script, *words, words_are_all=True)
        assert (done.code, done.out) == (0, "0 files missing of 1 that 1 row name\n"), done.err

    def test_names_with_commands_for_a_terminal_are_shown_as_text(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"here"))
        with local_shop.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE shop_product SET manual = json_set(manual, '$.content_type', 'x/' || char(27) || '[2Jy')"
            )
        done = local_shop.run("stats")
        assert "\x1b" not in done.out
        assert "x/\\x1b[2Jy" in done.out
