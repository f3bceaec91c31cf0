"""The tables of docs/performance.md, made of what `./dev bench --json FILE` wrote: no figure there is typed by hand."""

import json
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "performance.md"
RESULTS: Final = ROOT / "bench" / "results.json"
MAIN: Final = (
    *("peers", "producers", "overhead", "integrations", "drain", "read", "query"),
    *("fleet", "fleet_enable", "instructions"),
)
"""The benchmarks that the page shows, in this order."""
_BEGIN, _END = "<!-- made by ./dev bench --page; do not edit -->", "<!-- end -->"
_TITLES: Final = {
    "peers": "One event, beside its peers",
    "producers": "Two programs at once",
    "overhead": "A service that is recorded",
    "integrations": "A request through the middleware, a log call, a span, a bound field",
    "drain": "Draining",
    "read": "Reading a million events of eight programs",
    "query": "Asking ten million events",
    "fleet": "Sending a host's records to a broker",
    "fleet_enable": "From an enable over the fleet to the first event",
    "instructions": "Instructions per event",
}


def tables(results: dict[str, Any]) -> str:
    """Return the part of the page that is made: when and where, then a table for each benchmark."""
    parts = [f"Measured {results['date']} on a {results['machine']}."]
    for name in MAIN:
        if found := results["benchmarks"].get(name):
            parts += [f"### {_TITLES[name]}", _counts(found) if name == "instructions" else _table(found)]
            parts += [f"* {note}" for note in found["notes"]]
    return "\n\n".join(parts).replace("\n\n* ", "\n* ")


def _table(found: dict[str, Any]) -> str:
    lines = ["| what | beside | best | median | range | goal | |", "|---|---|---|---|---|---|---|"]
    lines += [_line(row) for row in found["rows"]]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    unit = f" {row['unit']}" if row["unit"] else ""
    best, median, low, high = (_shown(row[key], row["unit"]) for key in ("best", "median", "low", "high"))
    goal, verdict = "", ""
    if row["goal"] is not None:
        wanted = f"{row['goal']:g}" if row["unit"] or row["goal"] >= 0.5 else f"1/{round(1 / row['goal'])}"
        goal = f"{'≥' if row['at_least'] else '≤'} {wanted}{unit}"
        kept = row["median"] >= row["goal"] if row["at_least"] else row["median"] <= row["goal"]
        verdict = "met" if kept else "**not met**"
    beside = row["beside"] or "–"
    return f"| {row['case']} | {beside} | {best}{unit} | {median}{unit} | {low} to {high} | {goal} | {verdict} |"


def _shown(value: float, unit: str) -> str:
    if unit or value >= 0.5:
        return f"{value:.3g}"
    return f"1/{1 / value:.1f}" if value > 0 else "0"


def _counts(found: dict[str, Any]) -> str:
    lines = ["| case | instructions |", "|---|---|"]
    lines += [f"| {row['case']} | {row['median']:,.0f} |" for row in found["rows"]]
    return "\n".join(lines) + "\n"


def page_with(page: str, made: str) -> str:
    """Return the page with this part made anew."""
    before, _, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"'{PAGE}' has no part between '{_BEGIN}' and '{_END}'")
    return f"{before}{_BEGIN}\n\n{made}\n\n{_END}{after}"


def write(results: Path) -> int:
    """Make the page's tables of these results, and keep the results beside the benchmarks."""
    try:
        text = results.read_text(encoding="utf-8")
        made = tables(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"./dev bench: '{results}' is not what './dev bench --json FILE' writes: {error!r}", file=sys.stderr)
        return 1
    RESULTS.write_text(text, encoding="utf-8")
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} and {RESULTS.relative_to(ROOT)} are written")
    return 0
