"""Where the demo keeps its things, from the environment and the command line."""

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
    """What differs between one start and another."""

    #: The folder of the signing key, and of database and files where these are local.
    home: Path
    #: SQLite in the folder where it is empty.
    database_url: str = ""
    #: Files are on the local disk where it is empty.
    s3_bucket: str = ""
    #: Amazon's, or what boto3 finds in its own settings, where it is empty.
    s3_endpoint_url: str = ""
    #: Whether an archive that is new gets the seven films.
    samples: bool = True

    @classmethod
    def of(cls, environment: Mapping[str, str], home: Path | None = None) -> Self:
        """Return the settings in environment variables. A folder that is given goes before ``MOVIES_HOME``."""
        told = environment.get("MOVIES_HOME")
        return cls(
            home=(home or (Path(told) if told else _data_folder(environment))).expanduser().absolute(),
            database_url=environment.get("MOVIES_DATABASE_URL", ""),
            s3_bucket=environment.get("MOVIES_S3_BUCKET", ""),
            s3_endpoint_url=environment.get("MOVIES_S3_ENDPOINT_URL", ""),
        )

    @property
    def engine_url(self) -> str:
        """The database."""
        return self.database_url or f"sqlite:///{self.home / 'movies.db'}"

    @property
    def media(self) -> Path:
        """The folder of files that are on the local disk."""
        return self.home / "media"

    def key(self) -> str:
        """Return the key that signs links, made at the first start and kept: links outlive a restart."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.home / "key"
        if not file.exists():
            # Made aside and linked: nobody sees half of a key, and of two who start at once both use the same.
            with tempfile.NamedTemporaryFile("w", dir=self.home) as made:  # only its owner can read it
                made.write(secrets.token_urlsafe(32))
                made.flush()
                with suppress(FileExistsError):
                    os.link(made.name, file)
        return file.read_text()


def _data_folder(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "depot_lite-movies"
