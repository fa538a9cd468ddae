"""Values where no event sees them, and their bytes."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import attributes


def plant(target: Any, **values: Any) -> None:
    """Write values where no event sees it."""
    target.__dict__.update(values)
    if attributes.instance_state(target).key is not None:
        for key in values:
            attributes.flag_modified(target, key)


def read(values: Any) -> list[bytes]:
    """Return the bytes of stored values."""
    found = []
    for each in values:
        with each.file as stored:
            found.append(stored.read())
    return found
