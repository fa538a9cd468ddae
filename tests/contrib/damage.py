"""Rows whose columns of files hold something else."""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Engine, text

from depot_lite.io.fileid import new_file_id


def _reference(**keys: object) -> str:
    file_id = new_file_id()
    whole = {"depot_name": "default", "file_id": file_id, "path": f"default/{file_id}", "files": [f"default/{file_id}"]}
    return json.dumps({**whole, "filename": "a.png", "content_type": "image/png", "size": 1, **keys})


#: Texts in the place of a reference.
DAMAGE: Final = {
    "cut off": '{"depot_name": "default", "fi',
    "a name": "trailer.mp4",
    "markup": '"><script>document.title="it ran"</script><img src=x onerror=document.title="it-ran">',
    "a number": "5",
    "a list of numbers": "[5, null, 5]",
    "an empty dictionary": "{}",
    "deep": "[" * 100_000,
    "deep in a reference": _reference()[:-1] + ', "meta": ' + "[" * 900 + "]" * 900 + "}",
    "a name without end": _reference(filename="n" * 100_000),
    "no name": json.dumps({"depot_name": "default", "file_id": "x", "path": "default/x"}),
    "keys of other types": _reference(depot_name=1, file_id=None, path={}),
    "odd values": _reference(filename=[1], content_type=None, size="big", uploaded_at="yesterday", checksum=5, meta=[]),
    "odd variants": _reference(variants={"a": 5, "b": {"width": "x"}}),
    "variants that are a list": _reference(variants=[1, 2]),
    "files that are a number": _reference(files=7),
    "an id that is none": _reference(file_id="x\0y", path="default/../../etc/passwd", files=["default/\0"]),
    "another depot": _reference(depot_name="no such depot"),
    "a depot with slashes": _reference(depot_name="../..", path="../../etc"),
    "a size without end": _reference(size=10**400),
    "sizes that are none": _reference(size=-5, width=-1, height="x", uploaded_at=7),
}


def damage(engine: Engine, row: int = 1, **columns: str) -> None:
    """Write texts to the columns of a movie, past us."""
    with engine.begin() as connection:
        for name, value in columns.items():
            connection.execute(text(f"UPDATE movie SET {name} = :value WHERE id = :row"), {"value": value, "row": row})


def held(engine: Engine, name: str) -> str | None:
    """Return the value of a column of the first movie."""
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT {name} FROM movie WHERE id = 1")).scalar()
    return None if found is None else str(found)  # SQLite makes a number of what looks like one
