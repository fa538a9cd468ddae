"""Two runs of one job: the second one is refused, on every database."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from depot_lite.cli.errors import ApplicationFailed, JobRunning
from depot_lite.cli.locks import only_run
from tests.cli.conftest import Shop
from tests.cli.model import Base, Product


class TestOnlyRun:
    def test_a_job_runs_once_at_a_time(self, shop: Shop) -> None:
        other = create_engine(shop.url)
        with ExitStack() as closing:
            closing.callback(other.dispose)
            with only_run("migrate a b", shop.engine):
                for bind in (other, Session(other), Session(binds={Base: other})):
                    with (
                        pytest.raises(JobRunning, match="`migrate a b` is running already"),
                        only_run("migrate a b", bind),
                    ):
                        pytest.fail("it ran twice")
                with only_run("migrate a c", other):
                    pass
            with only_run("migrate a b", other):
                pass
            with only_run("migrate a b", shop.engine):
                pass

    def test_a_job_without_a_database(self) -> None:
        with only_run("copy test-a test-b", None), pytest.raises(JobRunning), only_run("copy test-a test-b", None):
            pytest.fail("it ran twice")
        with only_run("copy test-a test-b", None):
            pass

    def test_the_file_beside_the_database_goes_with_the_lock(self, local_shop: Shop) -> None:
        with only_run("migrate a b", local_shop.engine):
            assert [each.name for each in local_shop.folder.glob("*.lock")] == ["shop.db.migrate-a-b.lock"]
        assert list(local_shop.folder.glob("*.lock")) == []

    def test_a_lock_that_cannot_be_made(self, local_shop: Shop) -> None:
        (local_shop.folder / "shop.db.migrate.lock").symlink_to("nowhere")
        with (
            pytest.raises(ApplicationFailed, match=r"the lock .* cannot be made"),
            only_run("migrate", local_shop.engine),
        ):
            pytest.fail("it ran")

    def test_a_database_in_memory_is_nobody_elses(self) -> None:
        engine = create_engine("sqlite://")
        with only_run("migrate", engine), only_run("migrate", engine):
            engine.dispose()


class TestTheCommand:
    @pytest.mark.matrix
    def test_the_second_run_says_so(self, shop: Shop) -> None:
        """Also if it calls a depot by an alias; a dry run is not refused."""
        shop.add(Product(manual=b"manual"))
        shop.write(
            "aliased",
            """
            import shop
            from depot_lite.manager import DepotManager

            def configure():
                shop.configure()
                DepotManager.alias("pictures", "photos")
            """,
        )
        with only_run("migrate photos archive", shop.engine):
            done = shop.run("migrate", "pictures", "archive", "--json", app="aliased:configure")
            assert (done.code, done.json["error"]["type"]) == (75, "JobRunning")
            assert done.err.splitlines()[-1] == (
                "depot-lite: error: `migrate photos archive` is running already, in another process; "
                "this one has changed nothing"
            )
            assert shop.run("migrate", "photos", "archive", "--dry-run").code == 0
        assert shop.run("migrate", "pictures", "archive", app="aliased:configure").code == 0
