"""The programs in examples/, run as a reader would run them."""

import os
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import userevents

EXAMPLES = Path(__file__).parents[2] / "examples"
SOURCE = Path(userevents.__file__).parents[1]


def example(name: str, *argv: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run one example."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **env}
    command = [sys.executable, str(EXAMPLES / name), *argv]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


class Server(NamedTuple):
    """A running `python -m http.server`: its address, and the file with the requests it logged."""

    url: str
    log: Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve the example's site, as the standard library does it."""
    assert example("build_site.py", str(tmp_path / "site")).returncode == 0
    log = tmp_path / "server.log"
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", f"{tmp_path}/site", "0"]
    with log.open("w") as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as running:
        try:
            assert running.stdout is not None
            found = re.search(r"port (\d+)", running.stdout.readline())
            assert found is not None
            yield Server(f"http://127.0.0.1:{found[1]}", log)
        finally:
            running.terminate()


def test_the_site_has_files_of_several_sizes_and_is_always_the_same(tmp_path: Path) -> None:
    """The larger ones are made, not kept in the repository."""
    first, second = (example("build_site.py", str(tmp_path / name)) for name in ("a", "b"))
    assert first.stderr == ""
    sizes = {line.split()[1].rpartition("/")[2]: int(line.split()[0]) for line in first.stdout.splitlines()}
    assert 150_000 < sizes["catalogue.csv"] < 250_000
    assert 10_000 < sizes["stock.json"] < 50_000
    assert all(0 < sizes[name] < 2000 for name in ("index.html", "catalogue.html", "shop.css", "products.txt"))
    assert len(sizes) == 9
    for name in sizes:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert second.returncode == 0


def test_the_shop_makes_as_many_requests_as_it_is_asked_to(server: Server, runtime_dir: Path) -> None:
    """The server counts them; every event fits its declaration, or USEREVENTS_DEBUG would raise."""
    done = example("shop.py", server.url, "50", USEREVENTS_DEBUG="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"shop: 50 requests, 6 not found, slowest \d+\.\d ms\n", done.stdout)
    lines = re.findall(r'"(GET|HEAD) (\S+) HTTP/1.1" (\d+)', server.log.read_text())
    assert len(lines) == 50
    assert Counter(method for method, _, _ in lines) == {"GET": 45, "HEAD": 5}
    assert {path for _, path, status in lines if status == "404"} == {"/basket/"}
    assert list(runtime_dir.glob("*.session")) == []


def test_what_the_shop_asks_for_is_what_the_site_has(server: Server, runtime_dir: Path) -> None:
    """All but the basket, which nobody has built."""
    example("shop.py", server.url, "30")
    asked = {path for path in re.findall(r'"GET (\S+) HTTP', server.log.read_text()) if path != "/basket/"}
    for path in asked:
        with urllib.request.urlopen(server.url + path) as answer:
            assert answer.status == 200
    assert len(asked) == 9


def test_the_shop_says_when_nobody_answers(runtime_dir: Path) -> None:
    """And fails."""
    done = example("shop.py", "http://127.0.0.1:9", "5")
    assert done.returncode == 1
    assert done.stderr.startswith("shop: no answer from 'http://127.0.0.1:9': ")
    assert example("shop.py").stderr == "usage: shop.py URL [REQUESTS]\n"
