"""What all admins need in tests."""

from __future__ import annotations

import tempfile
from typing import Any

import pytest


class _Unminded(tempfile.SpooledTemporaryFile[Any]):
    """Is closed by the garbage collector without a word."""

    def __del__(self) -> None:
        self.close()


@pytest.fixture(autouse=True)
def _uploads_are_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Starlette nor the admins on it close the files of a form. Files of depot_lite left open still count."""
    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", _Unminded)
