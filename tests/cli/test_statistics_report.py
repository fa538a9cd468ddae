"""The report of `depot-lite stats`: durations that rows know, and who names the largest files."""

from __future__ import annotations

from depot_lite.cli.reports.searches import statistics_report
from depot_lite.io.fileid import derived_id
from depot_lite.maintenance.statistics import (
    Amount,
    ColumnStatistics,
    DepotStatistics,
    LargeFile,
    StatisticsReport,
)


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


def test_a_large_variant_on_demand_is_not_taken_for_a_file_that_rows_have_lost() -> None:
    original = "545f63eb-d653-4225-a6a3-c5397014ecad"
    variant = derived_id(original, "5d7c1a0e93b2")
    largest = [LargeFile(original, 300, "movie.poster of the row 7"), LargeFile(variant, 200, None)]
    largest.append(LargeFile("d87aa96e-7e05-4cab-a7ab-b6faef64e3fe", 100, None))
    shown = statistics_report(StatisticsReport({"films": DepotStatistics(3, 600, largest=largest)}))
    lines = [" ".join(line.split()) for line in shown.lines]
    assert f"{original} 300 bytes movie.poster of the row 7" in lines
    assert f"{variant} 200 bytes no row, made on demand" in lines
    assert "d87aa96e-7e05-4cab-a7ab-b6faef64e3fe 100 bytes no row" in lines
