"""How the demo starts: the first time, again, twice at once, and as a command."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from movies import seed as seeding
from movies.command import listen, main
from movies.films import FILMS, Film
from movies.models import Movie
from movies.settings import Settings
from sqlalchemy import select

from depot_lite.fields.columns import columns_of_mapper, paths_of
from tests.examples.running import Demo, started

ROOT = Path(__file__).parents[2]
DEADLINE = 60


def named(demo: Demo) -> set[str]:
    """Return the paths of all files that rows name."""
    columns = columns_of_mapper(Movie.__mapper__).values()
    with demo.database.reading() as session:
        values = [value for column in columns for value in session.scalars(select(column.column))]
    return {path for value in values for path in paths_of(value)}


def test_an_archive_that_is_new_gets_its_films_and_later_starts_change_nothing(settings: Settings) -> None:
    with started(settings) as demo:
        first = demo.list()
        files = demo.stored()
        assert [each["title"] for each in first] == [film.title for film in FILMS]
        assert all(each["poster"] and each["soundtrack"] and each["script"] for each in first)
        assert {each["script"]["content_type"] for each in first} == {"application/pdf", "text/plain"}
        assert {each["trailer"]["content_type"] for each in first if each["trailer"]} == {"video/webm"}
        assert named(demo) == files
        demo.ask("DELETE", f"/api/movies/{first[0]['id']}")
    with started(settings) as demo:
        assert [each["id"] for each in demo.list()] == [each["id"] for each in first[1:]]
        assert named(demo) == demo.stored() < files
        for movie in demo.list():
            demo.ask("DELETE", f"/api/movies/{movie['id']}")
    with started(settings) as demo:
        assert (demo.list(), demo.stored()) == ([], set())


def test_links_outlive_a_restart(settings: Settings) -> None:
    with started(replace(settings, samples=False)) as demo:
        movie = demo.create(script=("a.txt", b"INT. NIGHT", "text/plain"))
    with started(replace(settings, samples=False)) as demo:
        assert demo.read(movie["script"]["url"]) == b"INT. NIGHT"


def test_the_key_is_for_nobody_else(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "home")
    key = settings.key()
    assert len(key) > 40
    assert settings.key() == key
    assert stat.S_IMODE((settings.home / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert [each.name for each in settings.home.iterdir()] == ["key"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> tuple[Film, ...]:
    """Some of the films, which do not take so long, in place of all."""
    monkeypatch.setattr(seeding, "FILMS", FILMS[:3])
    return FILMS[:3]


def test_films_are_put_in_all_or_none(
    settings: Settings, few: tuple[Film, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the third film is broken, the first two are not put in either; the next start puts all in."""

    def broken(film: Film) -> bytes:
        return b"\x89PNG\r\n\x1a\n" if film is few[2] else b"a text"

    with started(replace(settings, samples=False)) as demo:
        with monkeypatch.context() as patch:
            patch.setattr(seeding, "script_pdf", broken)
            with pytest.raises(ValueError, match=r"Movie\.script"):
                seeding.seed(demo.database.writing)
        assert (demo.list(), demo.stored()) == ([], set())
        assert seeding.seed(demo.database.writing)
        assert len(demo.list()) == len(few)


def test_two_that_start_at_once_put_the_films_in_once(settings: Settings, few: tuple[Film, ...]) -> None:
    with started(replace(settings, samples=False)) as demo, ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: seeding.seed(demo.database.writing), range(2)))
        assert sorted(done) == [False, True]
        assert len(demo.list()) == len(few)
        assert named(demo) == demo.stored()


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    assert Settings.of({"XDG_DATA_HOME": str(tmp_path)}).home == tmp_path / "depot_lite-movies"
    assert Settings.of({}).home == Path.home() / ".local" / "share" / "depot_lite-movies"
    settings = Settings.of({"MOVIES_HOME": str(tmp_path), "MOVIES_S3_BUCKET": "attachments"})
    assert settings == Settings(tmp_path, s3_bucket="attachments")
    assert settings.engine_url == f"sqlite:///{tmp_path}/movies.db"
    assert Settings.of({"MOVIES_HOME": "/elsewhere"}, tmp_path).home == tmp_path


def test_the_readme_tells_every_variable() -> None:
    """And no other."""
    folder = ROOT / "examples" / "movies"
    read = set(re.findall(r"MOVIES_[A-Z0-9_]+", (folder / "settings.py").read_text()))
    assert set(re.findall(r"MOVIES_[A-Z0-9_]+", (folder / "README.md").read_text())) == read


def test_a_port_that_is_taken_is_passed_over() -> None:
    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        ports = [each.getsockname()[1] for each in (first, second)]
    assert 8000 <= ports[0] < ports[1] < 8100


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"port {port}: Address already in use"):
            main(["--port", str(port), "--home", str(tmp_path / "home")])
    assert not (tmp_path / "home").exists()


@contextmanager
def running(home: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start ``python examples/movies`` and give the process and the lines that it prints before it serves."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "movies"), "--port", "0"],
        env={**os.environ, "MOVIES_HOME": str(home), "MOVIES_DATABASE_URL": "", "MOVIES_S3_BUCKET": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home.parent,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("Ctrl-C"):
                break
        yield process, lines
    finally:
        process.kill()
        process.communicate()


def test_the_command_prints_its_address_and_a_signal_ends_it(tmp_path: Path) -> None:
    with running(tmp_path / "home") as (process, lines):
        found = re.fullmatch(r"Admin: +(http://127\.0\.0\.1:\d+/admin)", lines[0] if lines else "")
        assert found, (lines, process.communicate(timeout=DEADLINE))
        assert any(str(tmp_path / "home") in each for each in lines)
        with urllib.request.urlopen(found[1], timeout=DEADLINE) as answer:
            assert answer.status == 200
            assert b"Movies" in answer.read()
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, rest, errors) == (0, "", "")
