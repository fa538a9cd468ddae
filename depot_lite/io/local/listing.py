"""The files in the folder of a `LocalFileStorage`, by the names in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from depot_lite.io.fileid import ID_LENGTH, is_file_id
from depot_lite.io.local.disk import id_of_name, names_in

_SHARD: Final = re.compile(r"[0-9a-f]{2}")


def found_files(root: str) -> Iterator[tuple[str, str, bool]]:
    """Yield each file once: its id, the path by which it was found, and whether it is unfinished."""
    shards, folders = [], False
    for name in names_in(root):
        if _SHARD.fullmatch(name):
            shards.append(name)
        elif is_file_id(name) and os.path.isdir(f"{root}/{name}"):
            folders = True
            yield name, f"{root}/{name}/file", False
    for shard in shards:
        for file_id, path, unfinished in _found_in_shard(f"{root}/{shard}", shard):
            if not (folders and os.path.isdir(f"{root}/{file_id}")):
                yield file_id, path, unfinished


def _found_in_shard(folder: str, shard: str) -> Iterator[tuple[str, str, bool]]:
    # The ids are remembered, since an id may have a sidecar and one or more data files.
    complete: set[str] = set()
    data: dict[str, str] = {}
    for name in names_in(folder):
        file_id = name[:ID_LENGTH]
        if file_id in complete:
            continue
        if file_id not in data and (id_of_name(name) is None or file_id[:2] != shard or not is_file_id(file_id)):
            continue
        if name[ID_LENGTH:] != ".json":
            data.setdefault(file_id, name)
            continue
        complete.add(file_id)
        yield file_id, f"{folder}/{name}", False
    for file_id, name in data.items():
        if file_id not in complete:
            yield file_id, f"{folder}/{name}", True
