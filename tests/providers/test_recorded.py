"""`userevents record` on programs that nobody changed, and what is in the file afterwards."""

import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import userevents
from userevents.formats.trace import open_trace

SOURCE = Path(userevents.__file__).parents[1]
EXAMPLES = SOURCE.parent / "examples"


class Recorded:
    """What a recording of a program holds, and what the program and the recorder said."""

    def __init__(self, done: "subprocess.CompletedProcess[str]", trace: Path) -> None:
        self.code, self.output, self.errors = done.returncode, done.stdout, done.stderr
        self.records = list(open_trace(str(trace)).records())

    def values(self, event: str, **wanted: Any) -> list[dict[str, Any]]:
        """Return the field values of each record of `event` that has the `wanted` ones."""
        found = [dict(record.values) for record in self.records if record.event.name == event]
        return [values for values in found if wanted.items() <= values.items()]


def record(directory: Path, *argv: str, options: tuple[str, ...] = ()) -> Recorded:
    """Record `python argv...` in `directory` with the userevents under test."""
    trace = directory / "trace.dat"
    tool = "import sys; from userevents.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", tool, "record", "-q", "-o", str(trace), *options, "--", sys.executable, *argv]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=50)
    assert trace.exists(), done.stderr
    return Recorded(done, trace)


PROGRAM = """
import logging, multiprocessing, os, subprocess, sys

def work():
    open("by the child.txt", "w").close()

if __name__ == "__main__":
    log = logging.getLogger("shop")
    log.addHandler(logging.NullHandler())
    log.error("sold %d", 3)
    open(b"caf\\xe9", "w").close()
    child = multiprocessing.get_context(sys.argv[1]).Process(target=work)
    child.start()
    child.join()
    subprocess.run([sys.executable, "-I", "-c", "import time; time.sleep(1)"])
    print(child.pid)
    sys.exit(4)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_an_unmodified_program_and_its_children_do_is_in_the_file(
    runtime_dir: Path, tmp_path: Path, method: str
) -> None:
    """Each under its own process number, none of it userevents' own doing; who could not be reached is named."""
    (tmp_path / "main.py").write_text(PROGRAM)
    got = record(tmp_path, "main.py", method)
    assert got.code == 4
    assert "was started with -I, which ignores PYTHONPATH: what it logs and does is not recorded\n" in got.errors
    assert got.errors.count("\n") == 1
    child = int(got.output)
    (said,) = got.values("py_log")
    assert (said["level"], said["logger"], said["message"]) == (logging.ERROR, "shop", "sold 3")
    assert got.values("py_open", mode="w", path="caf\\xe9")
    opened = [each.pid for each in got.records if dict(each.values).get("path") == "by the child.txt"]
    assert opened == [child]
    assert [each["reached"] for each in got.values("py_popen") if " -I " in str(each["args"])] == [0]
    paths = [str(path) for each in got.records for name, path in each.values.items() if name in ("path", "new_path")]
    assert [path for path in paths if path.startswith(str(runtime_dir))] == []


def test_the_collector_is_recorded_for_who_asks(runtime_dir: Path, tmp_path: Path) -> None:
    """And then nothing else is."""
    got = record(tmp_path, "-c", "import gc; gc.collect(); gc.collect(1)", options=("--provider", "gc"))
    assert got.errors == ""
    assert {record.event.name for record in got.records} == {"py_gc"}
    assert {2, 1} <= {values["generation"] for values in got.values("py_gc")}
    assert all(values["duration_ns"] > 0 for values in got.values("py_gc"))


def test_the_shop_is_recorded_beside_the_unmodified_server(runtime_dir: Path, tmp_path: Path) -> None:
    """Every request from both sides; a program with events of its own, and one without."""
    got = record(tmp_path, str(EXAMPLES / "demo_workload.py"))
    assert (got.code, got.errors) == (0, "")
    requests = got.values("request")
    assert [values["id"] for values in requests] == list(range(1, len(requests) + 1))
    assert f"shop: {len(requests)} requests" in got.output
    assert all(values["latency_ns"] > 0 for values in requests)
    assert [values["name"] for values in got.values("stage")] == ["browse", "compare", "checkout"]
    assert len(got.values("py_connect", address="127.0.0.1")) == len(requests)
    shop = Counter(record.pid for record in got.records if record.event.name == "request")
    server = Counter(record.pid for record in got.records if record.event.name == "py_bind")
    assert len(shop) == len(server) == 1
    assert set(shop) != set(server)
    served = Counter(str(values["path"]).rpartition("/")[2] for values in got.values("py_open", mode="r"))
    asked = Counter(str(values["path"])[1:] or "index.html" for values in requests if values["path"] != "/basket/")
    assert {name: min(served[name], count) for name, count in asked.items()} == asked
