"""Test support: the contract that every storage passes, and depots that last for one test.

The tests of a backend are a factory and the backend's special cases:

    from depot_lite.testing import StorageContract

    class TestMyStorage(StorageContract):
        def make_storage(self, tmp_path):
            return MyStorage(tmp_path / "files")

pytest then runs every rule of `depot_lite.io.interfaces` against it. The factory returns an empty storage on each call;
cleaning up belongs in an autouse fixture of the class. To see the values that an assertion compared, put
``pytest.register_assert_rewrite("depot_lite.testing")`` into ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from depot_lite.manager import DepotManager
from depot_lite.testing.changing import ChangingRules
from depot_lite.testing.content import BreakingFile, some_bytes
from depot_lite.testing.failing import FailingRules
from depot_lite.testing.storing import StoringRules
from depot_lite.testing.transfers import TransferRules

__all__ = ["BreakingFile", "StorageContract", "some_bytes", "temporary_depots"]


@contextmanager
def temporary_depots() -> Iterator[type[DepotManager]]:
    """Provide the `DepotManager` without any configuration, and restore the previous one at the end.

    The middleware, the signing keys and the ``delete_later`` hook are put aside as well as the depots. For an
    application that was made before, pass its middleware to `DepotManager.set_middleware` inside (`get_middleware`
    returns it).

    >>> with temporary_depots() as manager:
    ...     _ = manager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
    ...     manager.get_file("default/" + manager.get().create(b"Hello")).read()
    b'Hello'
    """
    before = DepotManager._snapshot()
    DepotManager._clear()
    try:
        yield DepotManager
    finally:
        DepotManager._restore(before)


class StorageContract(StoringRules, ChangingRules, TransferRules, FailingRules):
    """The contract of a storage as pytest tests; a subclass implements ``make_storage``."""
