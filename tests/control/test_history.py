"""What a tracer remembers, read from its file."""

import pytest

from tests.doors.conftest import Server
from userevents.control import FilesAccess, SocketAccess
from userevents.control.history import Entry, parse_history, read_history
from userevents.errors import Malformed


def test_what_the_tree_tells_is_read_back(server: Server, access: SocketAccess) -> None:
    """Living and gone, with times, words and names."""

    def live() -> None:
        server.world.register("tick u32 count")
        server.world.register("tock", 1)
        server.world.group.unregister(server.world.mm, 0x1000, 1)

    server.loop.call(live)
    history = read_history(access)
    assert history is not None
    assert history.now_ns == 4
    assert history.events == {
        "user_events:tick": (Entry(1, "registered", "pid 1"),),
        "user_events:tock": (Entry(2, "registered", "pid 1"), Entry(3, "unregistered", "pid 1")),
    }
    server.loop.call(server.world.leave)
    server.loop.call(server.world.group.run_work)
    history = read_history(access)
    assert history is not None
    assert not history.events
    assert [(gone.event, gone.id, gone.fields) for gone in history.gone] == [
        ("user_events:tick", 20, "u32 count"),
        ("user_events:tock", 21, ""),
    ]
    assert history.gone[0].entries[-1].what == "destroyed"


def test_a_kernel_remembers_nothing(tmp_path: object) -> None:
    """It has no such file."""
    assert read_history(FilesAccess(str(tmp_path))) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "user_events:t id=20\n",
        "# now 5\n",
        "# now 5.000000000\n  1.000000000 registered: x\n",
        "# now 5.000000000\nuser_events:t\n",
        "# now 5.000000000\nuser_events:t id=x\n",
        "# now 5.000000000\nuser_events:t id=20 dead\n",
        "# now 5.000000000\nuser_events:t id=20\n  soon registered\n",
        "# now 5.000000000\nuser_events:t id=20\n\n",
    ],
)
def test_nonsense_is_malformed(text: str) -> None:
    """Whatever stands there, nothing else is raised."""
    with pytest.raises(Malformed):
        parse_history(text)
