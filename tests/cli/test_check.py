"""`check`, for monitoring: its findings, its exit codes, and that it changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests.cli.conftest import Done, Shop
from tests.cli.model import Product


def states(done: Done) -> dict[str, str]:
    """Return the states of the checks: ``missing`` or ``unused photos`` -> state."""
    return {f"{each['check']} {each['depot'] or ''}".strip(): each["state"] for each in done.json["checks"]}


def counts(done: Done, check: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in done.json["checks"] if each["check"] == check)
    return found


class TestCheck:
    @pytest.mark.matrix
    def test_all_is_well(self, shop: Shop) -> None:
        shop.add(Product(manual=b"here"))
        done = shop.run("check")
        assert (done.code, done.out.startswith("ok: nothing found\n")) == (0, True)
        found = shop.run("check", "--json")
        assert (found.code, found.json["state"], set(states(found).values())) == (0, "ok", {"ok"})
        assert set(states(found)) == {
            *("configuration photos", "configuration archive", "missing", "unused photos", "unused archive"),
            *("verify photos", "verify archive"),
        }
        assert counts(found, "verify")["read"] == 1

    @pytest.mark.matrix
    def test_unused_files_are_a_warning(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"named"))
        left = local_shop.unused(2)
        found = local_shop.run("check", "photos", "--older-than", "0s", "--sample", "0", "--json")
        assert (found.code, found.json["state"]) == (1, "warning")
        assert states(found) == {"configuration photos": "ok", "missing photos": "ok", "unused photos": "warning"}
        assert {*local_shop.depots["photos"].list()} > {*left}
        enough = local_shop.run("check", "photos", "--older-than", "0s", "--max-unused", "2")
        assert (enough.code, "2 files of 3, 12 bytes, older than 0s" in enough.out) == (0, True)

    @pytest.mark.matrix
    def test_files_that_wait_for_their_deletion_are_no_warning(self, local_shop: Shop) -> None:
        """Nor is what `unused` is told to accept."""
        local_shop.add(Product(manual=b"named"))
        local_shop.unused(2)
        check = ("check", "photos", "--older-than=0s", "--json")
        assert local_shop.run("unused", "--older-than=0s", "--yes", "--delete").code == 0
        found = local_shop.run(*check)
        assert (found.code, counts(found, "unused")["unused"], counts(found, "unused")["waiting"]) == (0, 2, 2)
        assert ", 2 marked" in counts(found, "unused")["detail"]
        (new,) = local_shop.unused(1)
        with local_shop.engine.begin() as connection:
            connection.execute(text("CREATE TABLE old (path TEXT)"))
            connection.execute(text("INSERT INTO old VALUES (:path)"), {"path": new})
        objected = local_shop.run(*check, "--max-unused=1")
        assert (objected.code, len(counts(objected, "unused")["objections"])) == (1, 1)
        assert local_shop.run(*check, "--max-unused=1", "--ignore-column=old.path").code == 0
        assert local_shop.run(*check, "--max-unused=1", "--protect=old.path").code == 0
        assert local_shop.run(*check, "--trash=0", "--protect=old.path").code == 1

    @pytest.mark.matrix
    def test_missing_files_are_critical(self, shop: Shop) -> None:
        shop.add(Product(manual=b"gone"), Product(manual=b"here"))
        path = next(path for path, data in shop.rows().items() if data == b"gone")
        shop.depots["photos"].delete(path.partition("/")[2])
        found = shop.run("check", "--json")
        assert (found.code, found.json["state"], counts(found, "missing")["missing"]) == (3, "critical", 1)
        shown = shop.run("check")
        assert shown.out.startswith("critical: 1 check of 7 found something\n")
        assert "1 file missing, of 2 that 2 rows name" in shown.out

    @pytest.mark.matrix
    def test_damaged_files_are_critical(self, local_shop: Shop) -> None:
        (left,) = local_shop.unused(1)
        path = local_shop.depots["photos"].get(left).local_path
        assert path is not None
        path.write_bytes(b"changed bytes")
        found = local_shop.run("check", "photos", "--sample", "100%", "--json")
        assert (found.code, counts(found, "verify")["state"]) == (3, "critical")
        assert left in counts(found, "verify")["detail"]

    def test_a_check_that_cannot_run_stops_no_other(self, local_shop: Shop) -> None:
        local_shop.add(Product(manual=b"here"))
        archive = local_shop.folder / "media" / "archive"
        archive.mkdir(parents=True, exist_ok=True)
        (archive / "0a").symlink_to(archive / "0a")
        found = local_shop.run("check", "--json")
        assert (found.code, found.json["state"]) == (2, "failed")
        assert states(found)["configuration archive"] == "failed"
        assert states(found)["verify photos"] == "ok"
        assert "symbolic links" in next(
            each["detail"] for each in found.json["checks"] if each["depot"] == "archive" and each["state"] == "failed"
        )

    @pytest.mark.matrix
    def test_two_depots_with_the_same_files(self, local_shop: Shop) -> None:
        local_shop.write(
            "twice",
            """
            import shop
            from pathlib import Path
            from depot_lite.io.local import LocalFileStorage
            from depot_lite.manager import DepotManager

            def configure():
                shop.configure()
                DepotManager.configure("again", LocalFileStorage(Path("media", "photos")))
                DepotManager.configure("hidden", LocalFileStorage(Path("media", "hidden")), visibility="private")
            """,
        )
        found = local_shop.run("check", "--json", app="twice:configure")
        assert states(found)["configuration again"] == "warning"
        assert states(found)["configuration hidden"] == "failed"
        assert found.code == 2
