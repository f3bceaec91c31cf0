"""The package builds with and without a compiler, and a wheel says truly where it runs."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import require_native
from tests.house.sources import ROOT

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.mark.time_limit(240)  # it compiles all there is
@pytest.mark.parametrize(("has_compiler", "tag"), [(True, "cp311-abi3-linux"), (False, "py3-none-any")])
def test_a_wheel_holds_what_could_be_built_and_is_tagged_for_it(tmp_path: Path, has_compiler: bool, tag: str) -> None:
    """One file for 3.11 and all that follow; without a compiler no failure, and the pure package for everywhere."""
    if has_compiler:
        require_native()
    ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignored)
    shutil.copytree(ROOT / "man", tmp_path / "man")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0\n')  # it is to build, not to be fast
    compiler.chmod(0o755)
    env = {**os.environ, "CC": str(compiler) if has_compiler else "/no/such/compiler"}
    command = [sys.executable, "-c", BUILD, str(tmp_path / "dist")]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    assert f"-{tag}" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        built = [name for name in archive.namelist() if name.endswith(".so")]
        assert any(name.endswith("/share/man/man1/userevents-record.1") for name in archive.namelist())
    assert bool(built) is has_compiler
    assert "is left out, its twin in pure Python is used" in done.stderr + done.stdout or has_compiler
