"""Settings of the demo, from the environment and the command line."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Settings:
    """The settings of one start."""

    #: The folder of the signing key, and of a local database and local files.
    home: Path
    #: Empty for SQLite in that folder.
    database_url: str = ""
    #: Empty to store files on the local disk.
    s3_bucket: str = ""
    #: Empty for Amazon's, or that in the settings of boto3.
    s3_endpoint_url: str = ""
    #: Whether a new archive starts with the seven films.
    samples: bool = True

    @classmethod
    def of(cls, environment: Mapping[str, str], home: Path | None = None) -> Self:
        """Return the settings from environment variables; ``home`` overrides ``MOVIES_HOME``."""
        folder = environment.get("MOVIES_HOME")
        return cls(
            home=(home or (Path(folder) if folder else _data_folder(environment))).expanduser().absolute(),
            database_url=environment.get("MOVIES_DATABASE_URL", ""),
            s3_bucket=environment.get("MOVIES_S3_BUCKET", ""),
            s3_endpoint_url=environment.get("MOVIES_S3_ENDPOINT_URL", ""),
        )

    @property
    def engine_url(self) -> str:
        """The URL of the database."""
        return self.database_url or f"sqlite:///{self.home / 'movies.db'}"

    @property
    def media(self) -> Path:
        """The folder of local files."""
        return self.home / "media"

    def key(self) -> str:
        """Return the signing key, created at the first start and kept, so that links survive a restart."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.home / "key"
        if not file.exists():
            # Created under another name and linked: no process reads a partial key, and concurrent starts use the same.
            with tempfile.NamedTemporaryFile("w", dir=self.home) as made:  # only its owner can read it
                made.write(secrets.token_urlsafe(32))
                made.flush()
                with suppress(FileExistsError):
                    os.link(made.name, file)
        return file.read_text()


def _data_folder(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "depot_lite-movies"
