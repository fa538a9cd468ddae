"""The command on a terminal: bars and questions, and its message if nobody can answer."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from depot_lite.cli.phases import Position
from tests.cli.conftest import CONSENT, ROOT, Shop
from tests.cli.model import Product

#: The characters of a bar.
BAR = re.compile("[━╸╺]")


def screens_of(written: str) -> Iterator[list[str]]:
    """Yield the lines of a terminal of any height after each part of the output."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif part.endswith("A"):
            row -= int(part[2:-1] or 1)
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
        yield [line.rstrip() for line in lines]


class TestBars:
    @pytest.mark.matrix
    @pytest.mark.parametrize("columns", [120, 50])
    def test_a_job_has_one_bar_in_one_line_and_nothing_of_it_stays(self, local_shop: Shop, columns: int) -> None:
        local_shop.unused(3)
        done = local_shop.on_terminal("copy", "photos", "archive", env={"COLUMNS": str(columns)})
        screens = list(screens_of(done.out))
        bars = [[line for line in screen if BAR.search(line)] for screen in screens]
        assert done.code == 0
        assert max(map(len, bars)) == 1
        shown = [line for lines in bars for line in lines]
        steps = list(dict.fromkeys(line.split("…")[0].split(" ")[0] for line in shown))
        assert steps == ["1/2", "2/2"]
        if columns == 120:
            assert any("2/2 copying" in line and "3/3 files" in line and "18 bytes" in line for line in shown)
        assert [line for line in screens[-1] if line][1:2] == [
            "'photos' to 'archive': 3 files copied, 18 bytes",
        ]
        assert bars[-1] == []

    @pytest.mark.matrix
    def test_a_step_whose_total_is_not_known_has_no_share(self, local_shop: Shop) -> None:
        """The total of the step before is not its own."""
        local_shop.add(Product(manual=b"manual"))
        done = local_shop.on_terminal("verify", "photos")
        shown = [line for screen in screens_of(done.out) for line in screen if BAR.search(line)]
        assert [line for line in shown if "2/3 listing" in line]
        assert any("3/3 reading files" in line and "%" in line for line in shown)
        assert not [line for line in shown if "2/3 listing" in line and "%" in line]

    def test_the_phases_of_a_job_are_counted(self) -> None:
        """A step for each depot or column is in the same phase; one that was not foreseen in the one before it."""
        position = Position(("listing", "reading ", "waiting", "reading ", "reading files"))
        steps = ("listing", "reading a.b", "reading a.c", "looking again", "waiting", "reading a.b", "reading files")
        assert [position.label(each).split(" ")[0] for each in steps] == [
            "1/5",
            "2/5",
            "2/5",
            "2/5",
            "3/5",
            "4/5",
            "5/5",
        ]
        assert Position(("copying",)).label("copying") == "copying"

    @pytest.mark.matrix
    def test_a_terminal_that_draws_nothing_gets_lines(self, local_shop: Shop) -> None:
        local_shop.unused(1)
        for words, env in ((["--quiet"], {}), ([], {"TERM": "dumb"})):
            done = local_shop.on_terminal("copy", "photos", "archive", *words, env=env)
            assert (done.code, "\x1b" in done.out) == (0, False)
            assert ("listing photos: 1 file, in " in done.out) == (not words)

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

    @pytest.mark.matrix
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
        assert (done.code, done.out) == (0, "0 files missing of 1 that 1 row names\n"), done.err

    @pytest.mark.matrix
    def test_names_with_commands_for_a_terminal_are_shown_as_text(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"here"))
        with local_shop.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE shop_product SET manual = json_set(manual, '$.content_type', 'x/' || char(27) || '[2Jy')"
            )
        done = local_shop.run("stats")
        assert "\x1b" not in done.out
        assert "x/\\x1b[2Jy" in done.out
