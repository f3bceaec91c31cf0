"""The site and the man pages are made of the documents, the help and the docstrings, and whole."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, require
from userevents import cli
from userevents.cli.fleet import FLEET_VERBS

LOADED = re.compile(
    r"""<(?:script|img|iframe)[^>]+src="?(https?:|//)|<link[^>]+rel="?stylesheet"?[^>]+href="?(https?:|//)"""
)


@pytest.mark.time_limit(180)
def test_the_site_is_built_without_a_warning_and_asks_nobody(tmp_path: Path) -> None:
    """A broken link, a missing heading or an undocumented name ends the build; no page loads from elsewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {str(path.relative_to(tmp_path / "site")): path.read_text() for path in tmp_path.rglob("*.html")}
    assert [name for name, page in pages.items() if LOADED.search(page)] == []
    for verb in cli.VERBS:
        assert f'id="{verb}"' in pages["reference/help.html"]
    assert "from_context" in pages["reference/python.html"]
    written = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [str(path) for path in written if path.parts[0] != "notes" and f": {path}\n" not in menu] == []
    assert pages["notes/index.html"].count('href="00') >= len(list((ROOT / "docs" / "notes").glob("0*.md")))


def test_the_man_pages_that_are_installed_say_what_the_help_says(tmp_path: Path) -> None:
    """A verb that changed has its page made anew: `./dev docs man man`."""
    subprocess.run(
        [sys.executable, "-m", "tools.manpages", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "man").iterdir()}
    assert kept == made


def test_every_man_page_is_good_troff(tmp_path: Path) -> None:
    """groff has nothing to say of them, and shows each option of each verb."""
    groff = require("groff")
    command = [sys.executable, "-m", "tools.manpages", str(tmp_path)]
    pages = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(pages) == len(cli.VERBS) + len(FLEET_VERBS) + 1
    for page in pages:
        done = subprocess.run([groff, "-man", "-ww", "-Tascii", page], capture_output=True, text=True, check=True)
        assert done.stderr == "", page
    shown = subprocess.run(
        [groff, "-man", "-Tascii", "-P-cbou", str(tmp_path / "userevents-record.1")], capture_output=True, text=True
    ).stdout
    assert {"--event", "--output", "--flight"} <= set(re.findall(r"--[a-z]+", shown))
