"""Commands that are ended while they read: they report how far they came, and their findings until then."""

from __future__ import annotations

import json
import resource
import signal
from typing import Any

import pytest
from sqlalchemy import text

from depot_lite.io.fileid import new_file_id
from tests.cli.conftest import ASYNC, Done, Shop
from tests.cli.model import Product

#: An application that stops before it reads the second column, until something is written to it.
PAUSING = """
import sys
import shop
from sqlalchemy import Engine, event

def pause(connection, cursor, statement, *rest):
    if "FROM shop_product" in statement and "photo" in statement:
        print("here", file=sys.stderr, flush=True)
        sys.stdin.readline()

def configure():
    shop.configure()
    event.listen(Engine, "before_cursor_execute", pause)
"""

#: An application that stops as long while a sweep waits for transactions, and whose files are old.
WAITING = """
import sys
from datetime import UTC, datetime, timedelta
import shop
from depot_lite.maintenance import deletion, unused

def wait(seconds):
    print("here", file=sys.stderr, flush=True)
    sys.stdin.readline()

def configure():
    shop.configure()
    deletion.sleep = wait
    unused._limit = lambda *_: datetime.now(UTC) + timedelta(hours=1)
"""

#: The commands that read rows, with their findings after the first of two columns, as text and as JSON.
SEARCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "missing photos": ("names no file", {"rows": 3, "named": 2, "files": []}),
    "may-go photos archive": ("Rows may name other files: 1 damaged row.", {"may_go": False, "damaged_rows": 1}),
    "verify photos": ("damaged rows  1", {"damaged_rows": 1, "read": 0, "files": []}),
    "stats": ("Depot 'photos': 2 files listed", {"damaged_rows": 1}),
    "check": ("configuration  photos   ok", {"command": "check"}),
}


@pytest.fixture
def pausing(local_shop: Shop) -> Shop:
    filled(local_shop)
    return local_shop


def filled(shop: Shop) -> None:
    """Add three rows; one of them cannot be understood."""
    keys = shop.add(*(Product(manual=b"manual") for _ in range(2)))
    with shop.engine.begin() as connection:
        json_value = "'{\"nonsense\": 1}'"
        connection.execute(text(f"INSERT INTO shop_product (id, manual) VALUES ({max(keys) + 1}, {json_value})"))
    shop.write("pausing", PAUSING)


def ended(shop: Shop, *words: str, number: int | None = None, url: str | None = None, before: str = "") -> Done:
    """Run a command until it has read the first column, and end it there by a signal or a statement."""
    with shop.start(*words, app="pausing:configure", url=url) as process:
        assert process.stderr is not None
        assert "here\n" in iter(process.stderr.readline, "")
        if number is not None:
            process.send_signal(number)
        if before:
            shop.engine.dispose()  # its other connections may be lost, too
            with shop.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql(before)
        out, err = process.communicate("go on\n", timeout=60)
    return Done(process.returncode, out, err)


def lines_of(done: Done) -> list[str]:
    return done.err.splitlines()


@pytest.mark.matrix
@pytest.mark.parametrize("command", SEARCHES)
def test_a_search_that_is_stopped_says_what_it_has_found(pausing: Shop, command: str) -> None:
    """On stderr, and in the document."""
    number, code = (signal.SIGINT, 130) if command == "check" else (signal.SIGTERM, 143)
    done = ended(pausing, *command.split(), "--quiet", "--json", number=number)
    *before, last = lines_of(done)
    assert last.startswith(f"depot-lite: stopped by {number.name}: nothing was changed")
    assert f"depot-lite: progress of {command}: " in done.err
    assert "reading shop_product.manual: 3 rows" in done.err
    assert "depot-lite: found until then, which is not all:" in before
    said, partial = SEARCHES[command]
    assert any(said in line for line in before), done.err
    assert "may go" not in done.err
    document = done.json
    assert (done.code, document["job"], document["exit"]) == (code, command, code)
    assert document["error"]["type"] == "Stopped"
    assert ("reading shop_product.manual", 3) in [(each["step"], each["done"]) for each in document["progress"]]
    assert partial.items() <= document["partial"].items()
    if command == "stats":
        assert document["partial"]["depots"]["photos"]["files"] == 2
        assert document["partial"]["columns"]["shop_product.manual"]["rows"] == 2
    if command == "missing photos":
        assert [each["column"] for each in document["partial"]["damaged"]] == ["shop_product.manual"]


@pytest.mark.matrix
def test_a_sweep_names_its_depot_and_what_was_listed(local_shop: Shop) -> None:
    """Also the one that is meant if none is given."""
    local_shop.add(Product(manual=b"manual"))
    local_shop.unused(2)
    local_shop.write("pausing", PAUSING)
    for words in ((), ("--delete",)):
        done = ended(local_shop, "unused", *words, "--quiet", "--json", number=signal.SIGTERM)
        assert "progress of unused photos: listing: 3 files; reading shop_product.manual: 1 row" in done.err
        assert (done.code, done.json["job"]) == (143, "unused photos")
        partial = done.json["partial"]
        assert (partial["depot"], partial["listed"], partial["deleted"], partial["files"]) == ("photos", 3, None, [])
    assert len(list(local_shop.depots["photos"].list())) == 3


@pytest.mark.matrix
def test_a_sweep_that_waits_says_what_it_has_found(local_shop: Shop) -> None:
    """It has read all rows by then."""
    local_shop.add(Product(manual=b"manual"))
    left = local_shop.unused(2)
    local_shop.write("pausing", WAITING)
    done = ended(
        local_shop, "unused", "--delete", "--trash=0", "--allow-newer", "--quiet", "--json", number=signal.SIGTERM
    )
    partial = done.json["partial"]
    assert (done.code, partial["dry_run"], partial["deleted"]) == (143, False, 0)
    assert sorted(each["id"] for each in partial["files"]) == left
    assert all(each in done.err for each in left)


@pytest.mark.matrix
def test_a_sweep_with_an_objection_was_no_dry_run(local_shop: Shop) -> None:
    local_shop.add(Product(manual=b"manual"))
    local_shop.unused(2)
    words = ("unused", "--older-than=0s", "--yes", "--max-delete=1", "--json")
    done = local_shop.run(*words, "--delete")
    assert (done.code, done.json["partial"]["dry_run"], len(done.json["partial"]["objections"])) == (2, False, 1)
    assert local_shop.run(*words).json["dry_run"] is True


@pytest.mark.matrix
def test_an_asynchronous_driver_brings_the_same(pausing: Shop) -> None:
    url = pausing.url_with(ASYNC["sqlite"])
    done = ended(pausing, "missing", "photos", "--quiet", number=signal.SIGINT, url=url)
    assert (done.code, done.out) == (130, "")
    assert SEARCHES["missing photos"][0] in done.err


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("command", [each for each in SEARCHES if each != "check"])
def test_a_database_that_is_lost_ends_it_with_what_was_found(shop: Shop, command: str) -> None:
    filled(shop)
    others = (
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    done = ended(shop, *command.split(), "--quiet", "--json", before=others)
    *_, last = lines_of(done)
    assert done.code == 2
    assert last.startswith("depot-lite: error: shop_product.photo cannot be read: "), done.err
    assert f"depot-lite: progress of {command}: " in done.err
    assert SEARCHES[command][0] in done.err
    assert done.json["error"]["type"] == "MaintenanceStopped"
    assert SEARCHES[command][1].items() <= done.json["partial"].items()


@pytest.mark.matrix
def test_a_full_disk_ends_it_with_what_was_found(local_shop: Shop) -> None:
    """The ids of the rows exceed the memory, and the temporary folder takes nothing."""
    value = {"content_type": "text/csv", "size": 3}
    rows = [{"manual": json.dumps({**value, "path": f"photos/{new_file_id()}"})} for _ in range(40_000)]
    with local_shop.engine.begin() as connection:
        connection.execute(text("INSERT INTO shop_product (manual) VALUES (:manual)"), rows)

    def no_file_grows() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    done = local_shop.run(
        *("stats", "--quiet", "--json", "--memory=1MiB"),
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=no_file_grows,
    )
    assert (done.code, done.json["error"]["type"]) == (2, "MaintenanceStopped")
    assert "no temporary file can be made in any folder: " in lines_of(done)[-1]
    assert 0 < done.json["partial"]["columns"]["shop_product.manual"]["rows"] <= 40_000
    assert "depot-lite: progress of stats: reading shop_product.manual: " in done.err
