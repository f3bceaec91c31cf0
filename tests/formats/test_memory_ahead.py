"""Memory of columns that a thread makes ready: the columns are the same with the thread and without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.buffer.made import needs_native
from tests.conftest import require

pytest.importorskip("nanoarrow", reason="nanoarrow comes with ./dev setup")

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

volatile int threads_asked_for, are_refused, is_held;

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *argument)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    threads_asked_for++;
    return are_refused ? EAGAIN : real(thread, how, run, argument);
}

int madvise(void *at, size_t size, int advice)
{
    int (*real)(void *, size_t, int) = dlsym(RTLD_NEXT, "madvise");
    struct timespec moment = {0, 1000000};
    while (advice == 23 && is_held)
        nanosleep(&moment, NULL);
    return real(at, size, advice);
}
"""
COMMON = """
import ctypes, gc, os, signal, struct, sys
from pathlib import Path
import nanoarrow
from tests.formats.test_rows import page_with
from userevents.buffer.merge import interleave
from userevents.buffer.run import Run
from userevents.fields import parse_fields
from userevents.formats.columns import collect_all
from userevents.formats.model import make_event

EVENT = make_event(22, "s", "one", parse_fields("u32 a; __rel_loc char[] text; u64 b"))
PAGES, ROWS = 900, 100
HEADS = [struct.pack("<HHiIIQ", 22, 0, 7, number, (8 << 16) + 8, number) for number in range(ROWS)]
BODIES = [head + b"a%05d\\0\\0" % number for number, head in enumerate(HEADS)]
PAGE, SINCE = page_with(BODIES)

asked_for, are_refused, is_held = (
    ctypes.c_int.in_dll(ctypes.CDLL(None), name) for name in ("threads_asked_for", "are_refused", "is_held")
)

def helpers():
    return [path for path in Path("/proc/self/task").iterdir() if path.name != str(os.getpid())]

def read(look=lambda done: None, progress=lambda done: (done, PAGES)):
    done = 0
    def runs():
        nonlocal done
        for number in range(PAGES):
            done = number
            yield Run(PAGE, SINCE + 10**9 * number, number % 2)
    def told():
        look(done)
        return progress(done)
    (columns,) = collect_all([EVENT], interleave(runs()), lambda *_: (7, True), progress=told)
    (chunk,) = columns.chunks
    view = nanoarrow.c_array(chunk).view()
    return [bytes(buffer) for column in view.children for buffer in column.buffers]

wanted = read(progress=lambda done: (0, 0))
assert len(wanted[1]) == 8 * PAGES * ROWS and not asked_for.value
"""
CASES = """
assert read() == wanted and asked_for.value, "with it"

for told in [(0, 1), (1, 1 << 62), (1, 2), (5, 5), (7, 3), (1 << 62, 1 << 63)]:
    assert read(progress=lambda done: told) == wanted, told

before, are_refused.value = asked_for.value, 1
assert read() == wanted and asked_for.value > before, "where it cannot be started"
are_refused.value = 0

children = []
def fork(done):
    if helpers() and not children:
        children.append(os.fork())
        is_held.value = 0
is_held.value = 1
assert read(fork) == wanted and children, "in a fork's child, which has no such thread"
if not children[0]:
    assert read() == wanted
    os._exit(0)
assert os.waitpid(children[0], 0)[1] == 0

met = []
def interrupt(done):
    met[:] = helpers()
    if met:
        blocked = int((met[0] / "status").read_text().partition("SigBlk:")[2].split()[0], 16)
        is_held.value = 0
        assert blocked >> signal.SIGINT - 1 & 1, "a signal would come to a thread that cannot tell Python"
        os.kill(os.getpid(), signal.SIGINT)
is_held.value = 1
try:
    read(interrupt)
except KeyboardInterrupt as interrupted:
    interrupted.__traceback__ = None
assert met, "nothing was interrupted"
gc.collect()
assert not helpers()
assert read() == wanted, "after it was interrupted"

before = asked_for.value
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
assert read() == wanted and asked_for.value == before, "on one CPU"
"""


@needs_native
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="on one CPU there is no such thread")
def test_columns_are_the_same_whatever_becomes_of_the_thread(tmp_path: Path) -> None:
    """All their bytes: it is there, cannot be started, is not in a fork's child, has one CPU, or Ctrl-C comes."""
    (tmp_path / "shim.c").write_text(SHIM)
    shim = str(tmp_path / "shim.so")
    subprocess.run([require("gcc"), "-shared", "-fPIC", "-o", shim, str(tmp_path / "shim.c"), "-ldl"], check=True)
    preload = " ".join(filter(None, [os.environ.get("LD_PRELOAD"), shim]))
    env = {**os.environ, "LD_PRELOAD": preload, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    done = subprocess.run([sys.executable, "-c", COMMON + CASES], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
