"""The examples of the test kit's and the integrations' pages run, as somebody would who follows them from the top."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import ROOT

_PYTHON: Final = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE: Final = re.compile(r"# (\S+\.py)\n")
PAGES: Final = [
    ROOT / "docs" / "testing.md",
    ROOT / "docs" / "context.md",
    *sorted((ROOT / "docs" / "integrations").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, runtime_dir: Path) -> None:
    """Blocks that begin with a file's name are that file, tests among them pass; the others run one after another."""
    blocks = _PYTHON.findall(page.read_text(encoding="utf-8"))
    assert blocks
    program = []
    for block in blocks:
        name = _FILE.match(block)
        if name:
            (tmp_path / name[1]).write_text(block, encoding="utf-8")
        else:
            program.append(block)
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if list(tmp_path.glob("test_*.py")):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "userevents.testing.plugin", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
