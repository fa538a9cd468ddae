"""The options of a `FileServer`, which .ini files and the environment give as strings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from depot_lite.errors import ConfigurationError
from depot_lite.io.interfaces import FileStorage
from depot_lite.registry import check_name


def mountpoint_of(mountpoint: str) -> str:
    """Return the mountpoint without a trailing slash."""
    if not mountpoint.startswith("/"):
        raise ConfigurationError(f"mountpoint={mountpoint!r}: expected an absolute path such as '/depot'")
    parts = mountpoint.rstrip("/").split("/")[1:]
    if not parts or any(part in {"", ".", ".."} for part in parts):
        raise ConfigurationError(
            f"mountpoint={mountpoint!r}: expected a path such as '/depot', without empty parts, '.' or '..'; "
            "'/' would leave no request to the application"
        )
    return "/" + "/".join(parts)


def depots_of(depots: Mapping[str, FileStorage]) -> dict[str, FileStorage]:
    """Return the storages by their names, after checking them."""
    if not isinstance(depots, Mapping):
        raise ConfigurationError(f"depots={depots!r}: expected a dictionary of names and storages")
    for name, storage in depots.items():
        check_name(name)
        if not isinstance(storage, FileStorage):
            raise ConfigurationError(
                f"depots={{{name!r}: {storage!r}}}: expected a storage, such as DepotManager.from_config returns"
            )
    return dict(depots)


def seconds_of(value: int | str) -> int:
    """Return the option ``cache_max_age``."""
    try:
        return int(value)
    except ValueError:
        raise ConfigurationError(f"cache_max_age={value!r}: expected a number of seconds") from None


def locations_of(given: Mapping[str, str] | str | None) -> dict[Path, str]:
    """Return the internal location of each folder, for ``x_accel_redirect``."""
    pairs = dict([given.split("=", 1)]) if isinstance(given, str) and "=" in given else given or {}
    if isinstance(pairs, str):
        raise ConfigurationError(f"x_accel_redirect={given!r}: expected 'folder=location' or a mapping")
    for folder, location in pairs.items():
        if not Path(folder).is_absolute() or not location.startswith("/"):
            raise ConfigurationError(
                f"x_accel_redirect={given!r}: expected an absolute folder and a location such as '/protected'"
            )
    return {Path(folder).resolve(): location.rstrip("/") for folder, location in pairs.items()}
