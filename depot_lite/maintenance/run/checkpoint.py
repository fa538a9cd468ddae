"""How far a job is, in a small file: whoever was killed goes on from there."""

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
    """A JSON file that is there whole or not at all.

    Args:
        path: the file; its folder has to be there.
        job: what the job is and how it was asked for. A file that another job has left is refused.
    """

    def __init__(self, path: str | Path, job: Mapping[str, Any]) -> None:
        self._path = Path(path)
        self._partial = self._path.with_name(self._path.name + ".part")
        self._job = {"version": _VERSION, **job}

    def load(self) -> dict[str, Any] | None:
        """Return what was saved last, None where there is nothing.

        Raises:
            ConfigurationError: the file is another job's, or none of ours, or cannot be read.
        """
        if self._path.exists() and not self._path.is_file():  # a device may have no end
            raise ConfigurationError(f"state {self._path} is no file: another path is wanted")
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"state {self._path} cannot be read: {error}") from error
        job, progress = (data.get("job"), data.get("progress")) if isinstance(data, dict) else (None, None)
        if not isinstance(job, dict) or not isinstance(progress, dict):
            raise ConfigurationError(f"state {self._path} is no state of a job: another file is wanted")
        if job != self._job:
            raise ConfigurationError(
                f"state {self._path} is that of {_shown(job)}, not of {_shown(self._job)}: delete it to begin anew"
            )
        return progress

    def save(self, progress: Mapping[str, Any]) -> None:
        """Remember how far the job is, in the place of what was remembered before.

        Raises:
            MaintenanceStopped: it cannot be written.
        """
        text = json.dumps({"job": self._job, "progress": progress})
        try:
            with open(self._partial, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # or a power failure could leave an empty file under the name
            os.replace(self._partial, self._path)
        except OSError as error:
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)
            raise MaintenanceStopped(f"state {self._path} cannot be written: {error}") from error

    def remove(self) -> None:
        """Forget the job, which is done."""
        for path in (self._path, self._partial):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _shown(job: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in job.items())
