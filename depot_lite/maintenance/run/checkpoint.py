"""Checkpoints: a small file from which an interrupted job resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from depot_lite.errors import ConfigurationError, MaintenanceStopped

_VERSION: Final = 1


class Checkpoint:
    """A JSON file that is replaced atomically.

    Args:
        path: the file; its folder has to exist.
        job: the name and the arguments of the job. The file of another job is refused.
    """

    def __init__(self, path: str | Path, job: Mapping[str, Any]) -> None:
        self._path = Path(path)
        self._partial = self._path.with_name(self._path.name + ".part")
        self._job = {"version": _VERSION, **job}

    def load(self) -> dict[str, Any] | None:
        """Return the progress saved last, or None without a file.

        Raises:
            ConfigurationError: the file belongs to another job, is not a checkpoint, or cannot be read.
        """
        if self._path.exists() and not self._path.is_file():  # a device may have no end
            raise ConfigurationError(f"state: expected the path of a regular file, got {self._path}")
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"state {self._path} cannot be read: {error}") from error
        job, progress = (data.get("job"), data.get("progress")) if isinstance(data, dict) else (None, None)
        if not isinstance(job, dict) or not isinstance(progress, dict):
            raise ConfigurationError(f"state: expected the state file of a job, got {self._path}")
        if job != self._job:
            raise ConfigurationError(
                f"state {self._path}: expected the state of {_describe(self._job)}, got {_describe(job)}; "
                "delete it to start over"
            )
        return progress

    def save(self, progress: Mapping[str, Any]) -> None:
        """Replace the saved progress.

        Raises:
            MaintenanceStopped: the file cannot be written.
        """
        text = json.dumps({"job": self._job, "progress": progress})
        try:
            with open(self._partial, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # otherwise a power failure could leave an empty file under this name
            os.replace(self._partial, self._path)
        except OSError as error:
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)
            raise MaintenanceStopped(f"state {self._path} cannot be written: {error}") from error

    def remove(self) -> None:
        """Delete the file of a finished job."""
        for path in (self._path, self._partial):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _describe(job: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in job.items())
