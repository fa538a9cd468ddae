"""What is about to be stored, held against the validators of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from depot_lite.fields.columns import FileColumn


def check(waiting: Sequence[tuple[FileColumn, Any]]) -> None:
    """Raise the ValidationError of the first object whose files break rules."""
