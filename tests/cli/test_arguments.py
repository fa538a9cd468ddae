"""Arguments, lines and documents, without a process."""

from __future__ import annotations

import errno
import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from depot_lite.cli.arguments import make_parser, parse_arguments
from depot_lite.cli.errors import WrongUsage
from depot_lite.cli.output import json_document
from depot_lite.cli.progress import LineWriter
from depot_lite.cli.values import parse_rate, parse_share
from depot_lite.durations import format_duration, format_elapsed, parse_duration
from depot_lite.errors import ConfigurationError
from depot_lite.maintenance.run.reports import Progress

COMMANDS = [
    *("ls", "info", "cat", "get", "put", "check", "unused", "claim", "undelete", "missing", "verify", "stats"),
    *("migrate", "copy", "create-units", "may-go", "restore", "regenerate", "variants", "facts", "completion"),
]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90), ("90s", 90), ("1.5m", 90), ("24H", 86400), ("7d", 604800), ("2w", 1209600)),
        *(("PT90S", 90), ("P1DT1H1M1.5S", 90061.5), ("P1W", 604800), ("0s", 0)),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "-1s", "1y", "P", "PT", "P1DT", "1e3s", "nan", "inf", "1000000d", "٣s"])
def test_durations_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a duration such as 90s, 10m, 24h, 7d or PT1H30M, got"):
        parse_duration(text)


def test_shares_and_rates() -> None:
    assert [parse_share(text) for text in ("1%", "0.5", "100%", "1")] == [0.01, 0.5, 1, 1]
    assert [parse_rate(text) for text in ("20MB", "1 KiB/s", "7")] == [20_000_000, 1024, 7]


@pytest.mark.parametrize("text", ["0", "101%", "-1", "nan", "half", ""])
def test_shares_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a share"):
        parse_share(text)


@pytest.mark.parametrize("text", ["0", "-1", "fast", "1 TB"])
def test_rates_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_rate(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--app", "shop", "--json", "unused", "photos", "--quiet", "--url", "sqlite://"],
        ["unused", "--app", "shop", "--json", "--quiet", "--url", "sqlite://", "photos"],
        ["--app=shop", "--json", "--quiet", "--url=sqlite://", "unused", "photos"],
    ],
)
def test_options_stand_before_and_after_the_command(arguments: list[str]) -> None:
    found = parse_arguments(arguments)
    assert (found.app, found.json, found.quiet, found.url, found.depot) == ("shop", True, True, "sqlite://", "photos")
    assert found.older_than == timedelta(hours=24)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["unused", "--del"],  # half a word is no option
        ["unused", "--older-than", "soon"],
        ["verify"],
        ["verify", "photos", "--sample", "0%"],
        ["migrate", "photos"],
        ["migrate", "photos", "archive", "--workers", "0"],
        ["copy", "photos", "archive", "--rate", "0"],
        ["copy", "photos", "archive", "--part", "3"],
        ["migrate", "photos", "archive", "--part", "4/3"],
        ["regenerate", "--limit", "-1"],
        ["stats", "photos", "archive"],
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str]) -> None:
    with pytest.raises(WrongUsage) as raised:
        parse_arguments(arguments)
    assert "\n" not in str(raised.value)
    assert "--help)" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [(["stats", "photos", "archive"], "depot-lite stats"), (["--memory", "much", "ls"], "depot-lite")],
)
def test_wrong_usage_refers_to_the_help_of_its_command(arguments: list[str], command: str) -> None:
    """However the command was started: `python -m depot_lite` would be ``__main__.py``."""
    with pytest.raises(WrongUsage) as raised:
        parse_arguments(arguments)
    assert str(raised.value).endswith(f"({command} --help)")


def test_no_largest_file_may_be_asked_for() -> None:
    assert parse_arguments(["stats", "--largest", "0"]).largest == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_help_states_the_guarantee_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args([command, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert any(
        each in said
        for each in ("It never touches", "It only reads", "It never deletes", "It only writes to standard output")
    )
    assert "exit codes: 0 " in said
    assert "; 3 `check` found" in said


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_every_ten_seconds_and_at_the_end() -> None:
    clock, stream = Clock(), io.StringIO()
    lines = LineWriter(stream, clock, clock)
    for second in range(26):
        clock.now = float(second)
        lines(Progress("copying", second * 10, 1000, bytes=second * 1024**2))
    lines(Progress("copying", 1000, 1000, bytes=100 * 1024**2, finished=True))
    lines(Progress("copying", 1, finished=True))
    assert stream.getvalue().splitlines() == [
        "1970-01-01T00:00:10Z copying: 100 of 1,000 files, 10 MiB, 1 MiB/s, 1:30 min left ...",
        "1970-01-01T00:00:20Z copying: 200 of 1,000 files, 20 MiB, 1 MiB/s, 1:20 min left ...",
        "1970-01-01T00:00:25Z copying: 1,000 files, 100 MiB, 4 MiB/s, in 25 s",
        "1970-01-01T00:00:25Z copying: 1 file, in 0.0 s",
    ]


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, text)


def test_a_log_that_went_away_stops_nothing() -> None:
    stream = Gone()
    LineWriter(stream)(Progress("copying", 1, finished=True))
    assert stream.getvalue() == ""


def test_a_document_is_written_in_parts_and_is_json() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    parts = json_document(
        {"none": None, "time": when, "files": ({"id": n} for n in range(2)), "empty": iter(()), "é": "\x1b"}
    )
    assert next(parts) == "{"
    whole = "{" + "".join(parts)
    assert whole.isascii()
    assert json.loads(whole) == {
        "none": None,
        "time": "2026-01-02T00:00:00+00:00",
        "files": [{"id": 0}, {"id": 1}],
        "empty": [],
        "é": "\x1b",
    }


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0.0 s"), (9.9, "9.9 s"), (59.6, "1:00 min"), (60, "1:00 min"), (3600, "1:00 h")]
)
def test_times_as_people_read_them(seconds: float, shown: str) -> None:
    assert format_elapsed(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0s"), (90, "90s"), (5400, "90m"), (86400, "24h"), (172800, "2d")])
def test_durations_as_they_are_written(seconds: float, shown: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == shown
