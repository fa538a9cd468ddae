"""The command as a process, with an application of its own: piped, and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session

from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import claim
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.cli.model import Base, Product
from tests.conftest import sqlite_engine
from tests.forks import Forks

ROOT = Path(__file__).parents[2]
DEADLINE = 60

#: The asynchronous drivers of the databases.
ASYNC = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mysql": "mysql+aiomysql"}

_NOT_HANDED_ON = {"DATABASE_URL", "DEPOT_LITE_APP", "PYTHONDONTWRITEBYTECODE"}

#: The application. Its output must not get into a report.
APP = """
from pathlib import Path
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from tests.cli.model import Product

print("the application says hello")

def configure(storage=LocalFileStorage):
    for name in ("photos", "archive"):
        DepotManager.configure(name, storage(Path("media", name), durable=False))
"""


@dataclass
class Done:
    """The output and the exit code of a process."""

    code: int
    out: str
    err: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.out)


#: The table may be empty, and any number of files may go.
CONSENT = (
    "--delete",
    "--trash=0",
    "--max-delete=100%",
    "--allow-newer",
    "--allow-empty=shop_product",
    "--allow-empty=photos",
    "--allow-empty=cloud",
)


@dataclass
class Shop:
    """An application in a folder, its database, and the files of its depots."""

    folder: Path
    engine: Engine
    forks: Forks
    depots: dict[str, FileStorage] = field(default_factory=dict)

    def write(self, module: str, source: str) -> None:
        """Write a module into the folder."""
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))

    @property
    def url(self) -> str:
        return self.engine.url.render_as_string(hide_password=False)

    def url_with(self, driver: str) -> str:
        """Return the URL of the same database through another driver."""
        return make_url(self.url).set(drivername=driver).render_as_string(hide_password=False)

    def words(self, *words: object, app: str | None = "shop:configure", url: str | None = None) -> list[str]:
        """Return the command: its words, behind the application and the database."""
        given = [] if app is None else ["--app", app]
        return [sys.executable, "-m", "depot_lite", *given, "--url", url or self.url, *map(str, words)]

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the process."""
        known = {name: value for name, value in os.environ.items() if name not in _NOT_HANDED_ON}
        # Their compiled modules are kept, so that each but the first starts quickly.
        cache = {"PYTHONPYCACHEPREFIX": str(self.forks.cache), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
        return {**known, **cache, "TERM": "xterm", "COLUMNS": "120", **more}

    def run(
        self, *words: object, env: dict[str, str] | None = None, words_are_all: bool = False, **options: Any
    ) -> Done:
        """Run the command, piped, to its end."""
        named = {key: options.pop(key) for key in ("app", "url") if key in options}
        command = list(map(str, words)) if words_are_all else self.words(*words, **named)
        environment = self.environment(**(env or {}))
        python, *arguments = command
        # Only the start of Python is left out. The variables that it reads by itself are not in `env`.
        if python == sys.executable and arguments[0] == "-m" and not options and not _has_python_in(env or {}):
            with self.forks.start(*arguments[1:], cwd=self.folder, env=environment) as fork:
                out, err = fork.communicate(DEADLINE)
                return Done(fork.returncode, out, err)
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            text=True,
            timeout=DEADLINE,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *words: object, **named: Any) -> subprocess.Popen[str]:
        """Start the command, piped on all three sides."""
        return subprocess.Popen(
            self.words(*words, **named),
            cwd=self.folder,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE,
            # Who runs the tests in the background, as CI may, has SIGINT ignored, which is inherited.
            preexec_fn=_heed_interrupts,
        )

    def on_terminal(self, *words: object, answer: str = "", env: dict[str, str] | None = None) -> Done:
        """Run the command on a terminal, and answer its question."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            self.words(*words),
            cwd=self.folder,
            env=self.environment(**(env or {})),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as process:
            os.close(theirs)
            said = b""
            try:
                while part := os.read(ours, 65536):
                    said += part
                    if answer and b"Type yes" in said:
                        os.write(ours, answer.encode() + b"\n")
                        answer = ""
            except OSError:  # EIO: the other end is closed
                pass
            finally:
                os.close(ours)
            return Done(process.wait(DEADLINE), said.decode().replace("\r\n", "\n"))

    def add(self, *products: Product) -> list[int]:
        """Add products and commit, and return their keys."""
        with Session(self.engine) as session:
            session.add_all(products)
            session.commit()
            return [each.id for each in products]

    def unused(self, count: int) -> list[str]:
        """Store files that no row names."""
        return sorted(self.depots["photos"].create(b"unused", f"{n}.txt") for n in range(count))

    def rows(self) -> dict[str, bytes]:
        """Return path and bytes of every manual that a row names."""
        with Session(self.engine) as session:
            manuals = [each.manual for each in session.query(Product) if each.manual is not None]
            return {each.path: each.file.read() for each in manuals}


@pytest.fixture
def local_shop(tmp_path: Path, forks: Forks) -> Iterator[Shop]:
    """An application on SQLite."""
    engine = sqlite_engine(tmp_path / "shop.db")
    yield from _opened(tmp_path, engine, forks)
    engine.dispose()


@pytest.fixture
def shop(tmp_path: Path, engine: Engine, forks: Forks) -> Iterator[Shop]:
    """An application on each of the three databases."""
    yield from _opened(tmp_path, engine, forks)


def _opened(folder: Path, engine: Engine, forks: Forks) -> Iterator[Shop]:
    Base.metadata.create_all(engine)
    with temporary_depots():
        depots: dict[str, FileStorage] = {
            name: DepotManager.configure(name, LocalFileStorage(folder / "media" / name, durable=False))
            for name in ("photos", "archive")
        }
        for name in depots:
            claim(engine, name, models=[Base])
        made = Shop(folder, engine, forks, depots)
        made.write("shop", APP)
        yield made
    with engine.begin() as connection:
        connection.execute(Product.__table__.delete())  # type: ignore[attr-defined]


def _has_python_in(environment: dict[str, str]) -> bool:
    return any(name.startswith("PYTHON") for name in environment)


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
