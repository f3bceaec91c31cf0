"""Bound fields: what `context` binds, events take, through blocks, tasks and threads, in C and in pure Python alike."""

from typing import Final

import pytest

from tests.conftest import require_native
from userevents.testing import PrivateTracer

HEAD: Final = """
import asyncio, contextvars, threading, warnings
from userevents import context, event, from_context, u32
warnings.simplefilter("ignore")

class Unprintable:
    def __str__(self): raise ValueError

@event
def query(
    sql: str,
    user: str = from_context(),
    shop: u32 = from_context("shop_id", default=5),
    *,
    every: str = from_context("*"),
) -> None: ...

@event
def kinds(
    i: int = from_context(), f: float = from_context(), b: bytes = from_context(), t: str = from_context()
) -> None: ...
"""

USE: Final = (
    ("nothing is bound", "query('a')", ("a", "", 5, "")),
    ("bound around", "with context(user='u', shop_id=9): query('a')", ("a", "u", 9, "user=u shop_id=9")),
    ("passed by position", "with context(user='u'): query('a', 'given')", ("a", "given", 5, "user=u")),
    ("passed by name", "with context(user='u'): query('a', shop=3, every='mine')", ("a", "u", 3, "mine")),
    ("all by name", "with context(user='u'): query(sql='a')", ("a", "u", 5, "user=u")),
    ("an inner block", "with context(user='u', x=1), context(user='v'): query('a')", ("a", "v", 5, "user=v x=1")),
    ("after the block", "with context(user='u'): pass\nquery('a')", ("a", "", 5, "")),
    ("long text", "with context(user='u' * 300): query('a')", ("a", "u" * 300, 5, "user=" + "u" * 300)),
    ("no text to be had", "with context(x=Unprintable()): query('a')", ("a", "", 5, "x=<Unprintable>")),
    (
        "in a task, also after the block that made it",
        """
async def work():
    await asyncio.sleep(0)
    query('a')
async def main():
    with context(user='one'):
        task = asyncio.create_task(work())
    with context(user='two'):
        await task
asyncio.run(main())
""",
        ("a", "one", 5, "user=one"),
    ),
    (
        "in a thread that asyncio starts",
        """
async def main():
    with context(user='u'):
        await asyncio.to_thread(query, 'a')
asyncio.run(main())
""",
        ("a", "u", 5, "user=u"),
    ),
    (
        "in a thread that is given the context",
        """
with context(user='u'):
    thread = threading.Thread(target=contextvars.copy_context().run, args=(query, 'a'))
    thread.start()
    thread.join()
""",
        ("a", "u", 5, "user=u"),
    ),
    (
        "in a generator's block that another task closes",
        """
async def numbers():
    with context(user='inner'):
        yield 1
async def main():
    made = numbers()
    await asyncio.create_task(made.__anext__())
    await asyncio.create_task(made.aclose())
    query('a')
asyncio.run(main())
""",
        ("a", "", 5, ""),
    ),
    (
        "in a forked child",
        """
import os
with context(user='u'):
    pid = os.fork()
    if pid == 0:
        query('a')
        os._exit(0)
os.waitpid(pid, 0)
""",
        ("a", "u", 5, "user=u"),
    ),
)


@pytest.fixture(params=["C", "pure Python"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both makes of the writer, in programs that are started."""
    if request.param == "C":
        require_native()
    monkeypatch.setenv("USEREVENTS_NATIVE", "1" if request.param == "C" else "0")


@pytest.mark.usefixtures("make")
def test_an_event_takes_what_is_bound_where_nothing_is_passed(user_events: PrivateTracer) -> None:
    """Each case twice: the first call of an event and the later ones go different ways."""
    program = HEAD + "".join(f"{code}\n{code}\n" for _, code, _ in USE)
    done = user_events.run(["python", "-c", program])
    assert (done.returncode, done.stderr) == (0, "")
    found = [tuple(record.fields.values()) for record in user_events["query"]]
    expected = [values for _, _, values in USE for _ in range(2)]
    for number, (got, wanted) in enumerate(zip(found, expected, strict=True)):
        assert got == wanted, USE[number // 2][0]


@pytest.mark.usefixtures("make")
def test_a_field_of_each_kind_is_nothing_where_nothing_is_bound(user_events: PrivateTracer) -> None:
    """Zero for numbers, empty for text and data; and a value of each kind where there is one."""
    user_events.run(["python", "-c", HEAD + "kinds()\nkinds()\nwith context(i=-1, f=0.5, b=b'x', t='y'): kinds()"])
    nothing = {"i": 0, "f": 0.0, "b": b"", "t": ""}
    assert [record.fields for record in user_events["kinds"]] == [
        nothing,
        nothing,
        {"i": -1, "f": 0.5, "b": b"x", "t": "y"},
    ]


@pytest.mark.usefixtures("make")
def test_a_bound_value_of_a_wrong_type_is_counted_as_invalid(user_events: PrivateTracer) -> None:
    """As an argument of a wrong type is: nothing is raised in a running service, and the loss is told."""
    code = "with context(shop_id='nine'):\n    query('a'); query('b')\nquery('c')"
    assert user_events.run(["python", "-c", HEAD + code]).returncode == 0
    assert [record.sql for record in user_events["query"]] == ["c"]
    assert user_events.lost == 2
