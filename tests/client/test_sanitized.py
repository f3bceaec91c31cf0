"""The C code under the compiler's sanitizers: some of what `./dev native sanitize` runs, in each run of the tests."""

import subprocess

import pytest

from tests.conftest import ROOT, require, require_native

CHOSEN = (
    *("outside", "of_both_makes", "integers_that", "emits_while", "its_writers_bell"),
    *("handler_raises", "that_forks", "are_converted", "behind_each_other", "walking_its_page"),
    *("both_are_stored", "in_one_go", "promises_more", "foresaw"),
)
"""Packing, storing, re-entry, forks, reading pages, others' memory and serving writes, by words of the tests' names."""


@pytest.mark.time_limit(240)
def test_the_c_code_does_nothing_undefined_and_stays_in_its_memory() -> None:
    """Built with checks of every access, shift and overflow, a choice of the tests of writer and pages passes."""
    require("gcc")
    require_native()
    writer = ("tests/client/test_native.py", "tests/client/test_stress.py", "tests/buffer/test_run.py")
    doors = ("tests/host/test_remote.py", "tests/doors/fuse/test_serve.py")
    done = subprocess.run(
        [str(ROOT / "dev"), "native", "sanitize", "-k", " or ".join(CHOSEN), *writer, *doors],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert " passed" in done.stdout, done.stdout
    assert " skipped" not in done.stdout, done.stdout
