"""Relocation: copies of the files of a row, and its JSON data after its files were copied or moved to other paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from depot_lite.depots import Depots
from depot_lite.io.content import Content
from depot_lite.io.fileid import FILE_ID, new_file_id


def copied(
    keys: dict[str, Any],
    paths: Iterable[str],
    depot_name: str,
    file_id: str,
    announce: Callable[[str], None],
    labels: tuple[str | None, str | None] = (None, None),
) -> dict[str, Any]:
    """Copy the files of a stored value, and return its keys with the paths and ids of the copies.

    Args:
        keys: the value's keys.
        paths: of all its files.
        depot_name: the depot of the copies.
        file_id: the id of the copy of the main file; the others get new ones.
        announce: called with the path of each copy before its first byte moves.
        labels: another name and type for the copy of the main file; its bytes then pass through this process.
    """
    moved, target = dict[str, str](), Depots.get(depot_name)
    for path in paths:
        old_depot, _, old_id = path.partition("/")
        is_main = path == keys["path"]
        new_id = file_id if is_main else new_file_id()
        moved[path] = f"{depot_name}/{new_id}"
        announce(moved[path])
        source = Depots.get(old_depot)
        if source is target and not (is_main and any(labels)):
            source.save_copy(old_id, file_id=new_id)
        else:
            with source.get(old_id) as stored:
                target.save(Content.of(stored, *(labels if is_main else ())), file_id=new_id)
    return {**relocated(keys, moved), "depot_name": depot_name}


def relocated(data: Any, moved: Mapping[str, str]) -> Any:
    """Return the data with new paths and ids in place of the old ones.

    Old paths and ids are replaced anywhere in a string, ``depot_name`` if the file named beside it moved, and the
    public URLs of the former storage (``_public_url``, ``_thumb_public_url``) by URLs of the new one.

    Args:
        moved: old path -> new path. A path that is mapped to itself stays, and so does the id in it.
    """
    ids = {old.partition("/")[2]: new.partition("/")[2] for old, new in moved.items() if old != new}
    return _relocated(data, moved, ids) if ids else data


def _relocated(data: Any, moved: Mapping[str, str], ids: Mapping[str, str]) -> Any:
    if isinstance(data, dict):
        result = {key: _relocated(each, moved, ids) for key, each in data.items()}
        for key in data:
            id_key = "file_id" if key == "depot_name" else _id_key_of_url(key)
            old = f"{data.get('depot_name')}/{data.get(id_key)}"
            new = old if id_key is None else moved.get(old, old)
            if new != old:
                depot_name, _, file_id = new.partition("/")
                result[key] = depot_name if key == "depot_name" else Depots.get(depot_name).url_for_row(file_id)
        return result
    if isinstance(data, list):
        return [_relocated(each, moved, ids) for each in data]
    return _renamed(data, moved, ids) if isinstance(data, str) else data


def _renamed(text: str, moved: Mapping[str, str], ids: Mapping[str, str]) -> str:
    parts, done = [], 0
    for match in _ANY_FILE_ID.finditer(text):
        if match[0] in ids:
            # Two depots may have files of the same id, and one depot's name may end with the other's: the longest
            # matching path is the right one.
            path = max((old for old in moved if text.endswith(old, done, match.end())), key=len, default="")
            parts += [text[done : match.end() - len(path or match[0])], moved[path] if path else ids[match[0]]]
            done = match.end()
    return "".join(parts) + text[done:]


_ANY_FILE_ID: Final = re.compile(FILE_ID)


def _id_key_of_url(key: str) -> str | None:
    """Return the key of the file id that belongs to a key of a public URL; None for any other key."""
    if key == "_public_url":
        return "file_id"
    return f"{key[1:-11]}_id" if key.startswith("_") and key.endswith("_public_url") else None
