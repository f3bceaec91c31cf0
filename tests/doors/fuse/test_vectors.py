"""Recorded scenarios with real processes through the mounted tree: the quick part of `./dev vectors --door fuse`."""

from pathlib import Path

import pytest

from tests.kernel.replay import scenarios
from tools import door_vectors, vectors

VECTORS = Path(__file__).parents[2] / "vectors" / "linux-6.12"
QUICK = ("del", "multi", "status", "unreg", "write")


@pytest.mark.parametrize("name", QUICK)
def test_real_processes_get_what_the_kernel_gave(fuse: None, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every scenario of the file goes as recorded, but for those that no FUSE server can do; each of these is named."""
    count = door_vectors.replay(list(scenarios(VECTORS / f"{name}.jsonl")), "v6.12")
    told = capsys.readouterr().out
    assert count.failed == 0, told
    assert count.passed > count.skipped
    assert told.count(": skipped: ") == count.skipped


def test_a_wrong_recording_is_found_and_counted(fuse: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The comparison can fail, and the last line says how many did."""
    good = (VECTORS / "status.jsonl").read_text(encoding="utf-8")
    bad = tmp_path / "bad.jsonl"
    bad.write_text(good.replace('"write_index": 2', '"write_index": 3'), encoding="utf-8")
    assert vectors.main(["--door", "fuse", str(bad)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "1 failed" in last
    assert last.endswith("skipped")
