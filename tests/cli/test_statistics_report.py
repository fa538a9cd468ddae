"""The report of `depot-lite stats`: durations are shown if rows know some, and are keys of the JSON in any case."""

from __future__ import annotations

from depot_lite.cli.reports.searches import statistics_report
from depot_lite.maintenance.statistics import Amount, ColumnStatistics, DepotStatistics, StatisticsReport


def report(duration: float | None) -> StatisticsReport:
    found = DepotStatistics(2, 300, by_type={"video/mp4": Amount(1, 100, duration), "text/plain": Amount(1, 200)})
    return StatisticsReport({"films": found}, {"movie.trailer": ColumnStatistics(2, 2, 300, duration)})


def test_durations_are_in_words_for_people_and_in_seconds_for_programs() -> None:
    shown = statistics_report(report(11523.25))
    lines = [" ".join(line.split()) for line in shown.lines]
    assert lines[0] == "Depot 'films': 2 files, 300 bytes, 3 h 12 min of sound and films"
    assert "type files size duration" in lines
    assert "video/mp4 1 100 bytes 3 h 12 min" in lines
    assert "text/plain 1 200 bytes" in lines
    assert "movie.trailer 2 2 300 bytes 3 h 12 min" in lines
    depot, column = shown.data["depots"]["films"], shown.data["columns"]["movie.trailer"]
    assert (depot["duration"], column["duration"]) == (11523.25, 11523.25)
    assert [each["duration"] for each in depot["by_type"].values()] == [11523.25, None]


def test_without_facts_the_report_has_no_such_column() -> None:
    shown = statistics_report(report(None))
    text = "\n".join(shown.lines)
    assert "duration" not in text
    assert "sound" not in text
    assert shown.data["depots"]["films"]["duration"] is None
