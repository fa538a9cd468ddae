"""Where the files of these tests are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import IN_MEMORY


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory, where the system has a disk there: ten thousand tests make some files each.

    What concerns the disk is in tests/io, and there on one.
    """
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        yield Path(folder)
