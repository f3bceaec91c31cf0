"""`userevents html`: the page's numbers are the file's, it asks nobody for anything, and no text of a trace runs."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.browser import Browser, browser
from tests.formats.maker import Maker
from userevents.buffer import stream as wire
from userevents.cli.html import html
from userevents.formats import open_trace
from userevents.formats.page.density import Bounds, density
from userevents.formats.page.latency import bucket_of, bucket_start, percentile
from userevents.formats.page.picture import strides

EVIL = "</script><script>document.title = 'run'</script><img src=http://127.0.0.1:9/x onerror=\"document.title='run'\">"
EVENTS = {
    20: "begin u32 id; __rel_loc char[] path",
    21: "end u32 id",
    22: "rare __rel_loc char[] text",
}


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trace of two processes on two CPUs, with spans, losses, and text that would rather be code."""
    maker = Maker()
    one, two = maker.session(100, EVIL, EVENTS), maker.session(200, "other", EVENTS)
    for number in range(600):
        now = 10**12 + number * 50_000 + number * number * 300
        one.add_values(now, 20, number, f"/{number % 7}", cpu=number % 2)
        if number % 50:
            one.add_values(now + 1000 + number * 40, 21, number, cpu=0)
        if number % 3 == 0:
            two.add_values(now + 7, 20, number, "/other", cpu=1)
    two.add_values(10**12 + 10**8 * 2, 22, f"{EVIL}\x1b[31m\n\u2028\u202e")
    one.close(drops={20: {"ring_full": 12}})
    two.close()
    path = tmp_path_factory.mktemp("html") / "t.dat"
    maker.trace(path)
    return path


def test_the_page_never_takes_the_place_of_its_trace(trace: Path) -> None:
    """Naming it twice would lose what it holds."""
    before = trace.read_bytes()
    done = CliRunner().invoke(html, [str(trace), "-o", f"{trace.parent}/./{trace.name}"])
    assert (done.exit_code, "is the trace itself" in done.stderr) == (2, True)
    assert trace.read_bytes() == before


def test_a_file_may_be_called_like_a_part_of_the_page(trace: Path, tmp_path: Path) -> None:
    """What stands where in the page is not looked for in what was put there."""
    odd = tmp_path / "@DATA@@SCRIPT@.dat"
    odd.write_bytes(trace.read_bytes())
    page = write(odd)
    assert "<title>@DATA@@SCRIPT@.dat · userevents</title>" in page
    assert shown_in(page)["about"]["file"] == odd.name


def write(trace: Path, *arguments: str) -> str:
    """Return the page that the verb writes."""
    done = CliRunner().invoke(html, [*arguments, "-o", "-", str(trace)])
    assert done.exit_code == 0, done.output
    return done.stdout


def shown_in(page: str) -> dict[str, Any]:
    """Return the data in a page."""
    found = re.search(r'<script type="application/json" id="data">([^<]*)</script>', page)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def counted(data: dict[str, Any]) -> Counter[tuple[int, str, int]]:
    """Return the records of a page by PID, event and bin."""
    found: Counter[tuple[int, str, int]] = Counter()
    for process, event, sparse in data["counts"]:
        for bin_, number in zip(sparse[::2], sparse[1::2], strict=True):
            found[data["processes"][process][0], data["events"][event], bin_] += number
    return found


def test_the_pages_numbers_are_the_files(trace: Path) -> None:
    """Every count in its bin, by process, event and CPU; spans with exact percentiles; the ledger; all records."""
    data = shown_in(write(trace, "--pair", "begin:end:id"))
    start, width, bins = data["bounds"]
    with open_trace(str(trace)) as opened:
        records = list(opened.records())
        losses = opened.losses()
    assert counted(data) == Counter((each.pid, each.event.name, (each.ts_ns - start) // width) for each in records)
    cpus: Counter[tuple[int, int]] = Counter((each.cpu, (each.ts_ns - start) // width) for each in records)
    assert {
        (cpu, at): number for cpu, sparse in data["cpus"] for at, number in zip(sparse[::2], sparse[1::2], strict=True)
    } == cpus
    assert max(at for _, at in cpus) < bins <= 1200
    assert (data["about"]["records"], data["losses"]) == (len(records), losses)
    assert dict(data["ledger"]["lines"])["lost"] == 12
    (spans,) = data["latencies"]
    took = sorted(1000 + number * 40 for number in range(600) if number % 50)
    assert (spans["spans"], spans["min"], spans["max"]) == (len(took), took[0], took[-1])
    assert spans["percentiles"]["0.5"] == took[len(took) // 2 - 1]
    assert (spans["begins_alone"], spans["ends_alone"]) == (12 + 200, 0)
    assert sum(number for _, _, number in spans["buckets"]) == len(took)
    assert [row[0] + start for row in data["table"]["rows"]] == [each.ts_ns for each in records]
    assert data["table"]["how"] == []


def test_a_sample_keeps_rare_events_whole_and_says_what_it_left_out(trace: Path) -> None:
    """Timeline and counts stay complete."""
    data = shown_in(write(trace, "--rows", "100"))
    shown = Counter(data["events"][row[4]] for row in data["table"]["rows"])
    assert shown["rare"] == 1
    assert 60 <= shown.total() <= 101
    assert data["table"]["total"] == data["about"]["records"] == sum(counted(data).values())
    assert data["table"]["how"] == [f"every {n} {name}" for n, name in (("12th", "end"), ("16th", "begin"))]


@given(st.dictionaries(st.integers(0, 9), st.integers(1, 10**6), max_size=6), st.integers(1, 10**5))
def test_a_sample_is_about_as_large_as_was_asked(totals: dict[int, int], limit: int) -> None:
    """Never more, but for one record of each event; half at least of what could be shown."""
    found = strides(totals, limit)
    shown = sum(-(-totals[event] // stride) for event, stride in found.items())
    assert shown <= limit + len(totals)
    assert shown >= min(sum(totals.values()), limit) / 2


@given(st.integers(0, 2**63))
def test_a_bucket_is_at_most_a_quarter_of_its_value_wide(value: int) -> None:
    """And holds its value."""
    bucket = bucket_of(value)
    low, high = bucket_start(bucket), bucket_start(bucket + 1)
    assert low <= value < high
    assert high - low <= max(1, low / 4)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_a_percentile_is_the_least_that_covers_its_part(values: list[int], part: float) -> None:
    """By counting."""
    ordered = sorted(values)
    found = percentile(values, Counter(map(bucket_of, values)), part)
    assert sum(value <= found for value in ordered) >= len(ordered) * part
    assert sum(value < found for value in ordered) < len(ordered) * part


@pytest.mark.parametrize("bins", [1, 3, 7, 100, 5000])
def test_every_record_is_in_the_bin_of_its_time_however_wide_bins_are(trace: Path, bins: int) -> None:
    """Whether a page lies in one bin or in many."""
    with open_trace(str(trace)) as opened:
        records = list(opened.records())
        bounds = Bounds.over(records[0].ts_ns, records[-1].ts_ns, bins)
        found = density(opened.source, bounds)
    wanted = Counter(bounds.of(each.ts_ns) for each in records)
    total: Counter[int] = Counter()
    for each in found.by_event.values():
        total.update(each)
    assert total == wanted
    assert set(wanted) <= set(range(bounds.bins))


def test_a_page_is_a_private_file_that_replaces_nothing_unasked(trace: Path, tmp_path: Path) -> None:
    """Beside the trace unless a place is named; a trace without records has a page, too."""
    copy = tmp_path / "c.dat"
    copy.write_bytes(trace.read_bytes())
    done = CliRunner().invoke(html, [str(copy)])
    assert (done.exit_code, "c.dat.html" in done.stderr) == (0, True)
    assert (tmp_path / "c.dat.html").stat().st_mode & 0o777 == 0o600
    assert CliRunner().invoke(html, [str(copy)]).exit_code == 2
    maker = Maker()
    maker.session(1).close()
    maker.trace(tmp_path / "empty.dat")
    assert shown_in(write(tmp_path / "empty.dat"))["about"]["records"] == 0


@pytest.fixture(scope="module")
def seen(trace: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The page in a browser."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(write(trace, "--pair", "begin:end:id"), encoding="utf-8")
    with browser() as page:
        page.go(path.as_uri())
        page.wait("document.documentElement.dataset.drawn === 'yes'")
        yield page


def text(page: Browser, selector: str) -> str:
    """Return the text of an element."""
    return str(page.value(f"document.querySelector({json.dumps(selector)}).textContent"))


def search(page: Browser, words: str) -> None:
    """Type words into the search box."""
    box = "document.querySelector('#search')"
    page.value(f"{box}.value = {json.dumps(words)}; {box}.dispatchEvent(new Event('input'))")


def painted(page: Browser, name: str) -> int:
    """Return how many pixels of a canvas have a colour."""
    script = f"""(() => {{
        const c = document.querySelector({json.dumps(name)});
        const all = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        let n = 0; for (let at = 3; at < all.length; at += 4) n += all[at] > 0; return n; }})()"""
    return int(page.value(script))


def test_nothing_in_a_trace_runs_and_nothing_is_asked_for(seen: Browser) -> None:
    """One request, for the page itself; no error; hostile text is shown as text, control characters escaped."""
    assert len(seen.requests) == 1
    assert seen.problems == []
    assert seen.value("document.title") == "t.dat · userevents"
    assert seen.value("document.images.length + document.querySelectorAll('tbody script').length") == 0
    search(seen, "rare")
    fields = text(seen, "#records tbody tr td:last-child")
    assert fields.startswith("text=</script><script>document.title = 'run'</script><img")
    assert fields.endswith("\\e[31m\\n\\u2028\\u202e")
    refused = "fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')"
    assert seen.value(refused) == "refused"
    assert any("Content Security Policy" in problem for problem in seen.problems)
    seen.problems.clear()
    search(seen, "")


def test_the_page_shows_losses_first_and_draws_its_charts(seen: Browser, trace: Path) -> None:
    """Sentences above all else, counts in the legend, four charts with something on them."""
    assert text(seen, "#losses p") == "12 records were lost: 12 ring full"
    assert seen.value("document.querySelector('#losses').offsetTop < document.querySelector('#timeline').offsetTop")
    assert "begin800" in text(seen, "#legend")
    for canvas in ("#timeline", "#rate", "#latencies canvas", "#latencies .pair div:last-child canvas"):
        assert painted(seen, canvas) > 1000
    assert "588" in text(seen, "#latencies .figures")
    assert "1,389 records" in text(seen, "#about")
    assert "balanced" in text(seen, "#verdict")


def test_the_page_is_used_by_keyboard_search_and_legend(seen: Browser) -> None:
    """Zoom and reset by keys; words, event and process choose; what is hidden counts no more."""
    seen.value("document.querySelector('#timeline').focus()")
    seen.key("+")
    seen.key("ArrowRight")
    zoomed = text(seen, "#range")
    assert "from" in zoomed
    inside = int(zoomed.rpartition(", ")[2].split()[0].replace(",", ""))
    assert 0 < inside < 1389
    assert text(seen, "#found").startswith(f"{inside:,} match")
    seen.key("Escape")
    assert "1,389 records" in text(seen, "#range")
    seen.value("document.querySelector('#legend input').click()")
    assert "589 records" in text(seen, "#range")
    seen.value("document.querySelector('#legend input').click()")
    search(seen, "/3 begin")
    assert text(seen, "#found").startswith("86 match")
    search(seen, "")
    assert seen.value("document.querySelectorAll('#records tbody tr').length") == 100
    seen.value("document.querySelector('#more').click()")
    assert seen.value("document.querySelectorAll('#records tbody tr').length") == 600


def test_texts_of_rules_stand_beside_each_other_never_on_each_other(tmp_path: Path) -> None:
    """Instants that lie close: each rule's text is there once, with how often it held, and none covers another."""
    maker = Maker()
    session = maker.session(100, "shop", EVENTS)
    for number in range(200):
        session.add_values(10**12 + number * 10**6, 21, number)
    session.close()
    rules = ("end if id > 5", "end if id % 2 == 0", "death of shop")
    for number in range(12):
        at = 10**12 + (100_000_000 if number < 9 else 190_000_000) + number * 1_000_000
        maker.frames.append(wire.pack_rule({"rule": rules[number % 3], "mono_ns": at, "what": "x", "pid": 100}))
    maker.trace(tmp_path / "t.dat")
    (tmp_path / "t.html").write_text(write(tmp_path / "t.dat"), encoding="utf-8")
    with browser() as page:
        page.go((tmp_path / "t.html").as_uri())
        page.wait("document.documentElement.dataset.drawn === 'yes'")
        page.value(
            """(() => { const draw = CanvasRenderingContext2D.prototype.fillText; window.texts = [];
            CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
              if (/id|death/.test(text)) window.texts.push([text, x, y, this.measureText(text).width, this.textAlign]);
              draw.call(this, text, x, y); }; })()"""
        )
        page.key("Escape")
        texts = [tuple(each) for each in page.value("document.querySelector('#reset').click(), window.texts")]
    assert sorted(text.strip() for text, *_ in texts) == sorted(
        [f"{rule} ×3" for rule in rules] + ["end if id > 5", "end if id % 2 == 0", "death of shop"]
    )
    for one, other in itertools.combinations(texts, 2):
        assert one[4] == "left"
        apart = one[1] + one[3] <= other[1] or other[1] + other[3] <= one[1] or abs(one[2] - other[2]) >= 12
        assert apart, (one, other)


def test_light_and_dark_differ(seen: Browser) -> None:
    """The page follows what the user likes."""
    background = "getComputedStyle(document.body).backgroundColor"
    seen.dark(True)
    dark = seen.value(background)
    seen.dark(False)
    assert dark != seen.value(background) == "rgb(255, 255, 255)"
