"""Every block of code in the documents is run, page by page, in the order in which a reader would.

A ```python block that begins with the comment `# NAME.py` is that file; other ones are run, as are the commands in
```sh blocks, all in one empty directory in which lies only `trace.dat`, a recording of the demo's programs. Files
called `test_*.py` are run by pytest at the end. Indented code is for reading: usage, and what needs a
terminal or a network. `$PORT` is one that nobody uses.
"""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.system.conftest import COMMAND

BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\S+\.py)\n")
WITH_TESTS_OF_THEIR_OWN = {"docs/recipes/ci.md"}


def pages() -> Iterator[str]:
    """The documents that hold code."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        name = str(path.relative_to(ROOT))
        if BLOCK.search(path.read_text(encoding="utf-8")) and name not in WITH_TESTS_OF_THEIR_OWN:
            yield name


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of the demo's two programs."""
    file = tmp_path_factory.mktemp("recorded") / "trace.dat"
    demo = [sys.executable, str(ROOT / "examples" / "demo_workload.py")]
    done = subprocess.run([*COMMAND, "record", "-q", "-o", str(file), "--", *demo], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture
def reader(tmp_path: Path, recorded: Path, runtime_dir: Path) -> dict[str, str]:
    """The environment of somebody who has installed us, in a directory with a trace."""
    programs = tmp_path / ".bin"
    programs.mkdir()
    for name, words in (("userevents", " ".join(COMMAND)), ("python3", sys.executable), ("python", sys.executable)):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    (tmp_path / "trace.dat").write_bytes(recorded.read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": ".", "PORT": port}


@pytest.mark.time_limit(120)
@pytest.mark.leaves_files("some pages end programs in the background, and kill a recorder")
@pytest.mark.parametrize("page", list(pages()))
def test_the_code_of_a_page_runs_as_it_stands(page: str, reader: dict[str, str], tmp_path: Path) -> None:
    """Whoever copies it, block after block, meets no error."""
    for language, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        named = NAMED.match(text)
        if named is not None:
            (tmp_path / named[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            _run([sys.executable, "-c", text], reader, tmp_path)
        else:
            _run(["sh", "-ec", text], reader, tmp_path)
    if list(tmp_path.glob("test_*.py")):
        _run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."], reader, tmp_path)


def _run(command: list[str], env: dict[str, str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
