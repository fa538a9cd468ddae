"""The decisions at the end of a transaction, without a database: errors of COMMIT, and files that are deleted."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from depot_lite.fields.tracking import transfers
from depot_lite.fields.tracking.outcomes import surely_failed
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots


class DriversError(Exception):
    """An error with the attributes of a driver's."""

    def __init__(self, *args: object, **attributes: object) -> None:
        super().__init__(*args)
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("original", "failed"),
    [
        (DriversError("serialization failure", sqlstate="40001"), True),
        (DriversError("deadlock", pgcode="40P01"), True),
        (DriversError(1213, "Deadlock found"), True),
        (DriversError(2006, "server has gone away"), True),
        (DriversError(0, "the socket is closed"), True),
        (DriversError(2013, "lost connection during query"), False),
        (DriversError("connection reset"), False),
        (DriversError(True), False),
        (DriversError(), False),
    ],
)
def test_a_commit_has_surely_failed_if_the_server_says_so_or_never_got_it(original: Any, failed: bool) -> None:
    error: DBAPIError = OperationalError("COMMIT", None, original)
    assert surely_failed(error) is failed
    assert not surely_failed(original)


class Interrupted(MemoryFileStorage):
    """A storage that somebody interrupts."""

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        raise KeyboardInterrupt


def test_an_interrupt_of_deletions_is_logged_with_the_path_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with temporary_depots():
        path = f"default/{DepotManager.configure('default', Interrupted()).create(b'x')}"
        with caplog.at_level(logging.ERROR, "depot_lite"), pytest.raises(KeyboardInterrupt):
            transfers.delete_at_end([path], [])
    assert f"left to maintenance: {path}" in caplog.text


def test_without_an_event_loop_there_is_no_task_to_cancel() -> None:
    """A session may end outside of the loop whose cancellation it has put off."""
    transfers.uncancel()
    transfers.cancel(asyncio.CancelledError("late"))


def test_a_cancellation_that_was_put_off_reaches_the_task_with_its_message() -> None:
    async def main() -> None:
        transfers.cancel(asyncio.CancelledError("scope 1"))
        with pytest.raises(asyncio.CancelledError, match="scope 1"):
            await asyncio.sleep(0)
        transfers.uncancel()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())
