"""docs/performance.md: its tables are what the program made of the measurements, and both are whole."""

import json

import pytest

from tools import performance

RESULTS = {
    "date": "2026-01-02",
    "machine": "2-CPU machine",
    "benchmarks": {
        "peers": {
            "seconds": 3,
            "notes": ["quiet"],
            "rows": [
                {"case": "a", "beside": "b", "best": 0.05, "median": 0.1, "low": 0.02, "high": 0.5, "goal": 1 / 15}
                | {"at_least": False, "unit": ""},
            ],
        },
        "drain": {
            "seconds": 3,
            "notes": [],
            "rows": [
                {"case": "rate", "beside": "", "best": 10.0, "median": 9.0, "low": 8.0, "high": 10.0, "goal": 8}
                | {"at_least": True, "unit": "M events/s"},
            ],
        },
    },
}


def test_the_tables_of_the_page_are_made_of_the_results_beside_the_benchmarks() -> None:
    """Nobody typed a figure: the page is what its program makes of bench/results.json."""
    page = performance.PAGE.read_text(encoding="utf-8")
    results = json.loads(performance.RESULTS.read_text(encoding="utf-8"))
    assert performance.page_with(page, performance.tables(results)) == page
    assert set(results["benchmarks"]) <= set(performance.MAIN)


def test_a_row_says_whether_its_median_meets_the_goal() -> None:
    """Limits from above and from below; ratios below a half as one in so many."""
    made = performance.tables(RESULTS)
    assert "| a | b | 1/20.0 | 1/10.0 | 1/50.0 to 0.5 | ≤ 1/15 | **not met** |" in made
    assert "| rate | – | 10 M events/s | 9 M events/s | 8 to 10 | ≥ 8 M events/s | met |" in made
    assert "* quiet" in made


def test_a_page_without_a_place_for_the_tables_is_refused() -> None:
    """Rather than written over."""
    with pytest.raises(ValueError, match="has no part between"):
        performance.page_with("# a page", "tables")
