"""A program as its tracer adopts it: the ring that a forked child is to have."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from userevents.engine import Group
from userevents.errors import Malformed
from userevents.host.program import TracedProgram
from userevents.session import layout, producer
from userevents.session.birth import make_file
from userevents.session.producer import Declared, Session


@pytest.fixture
def child(runtime_dir: Path) -> Iterator[Session]:
    """The session of a forked child: its parent's words and ring size, and no ring yet."""
    (runtime_dir / layout.RINGS).mkdir()
    parent = Session(str(runtime_dir))
    parent.lines[layout.RING_GENERATION // 4] = 3
    parent.lines[layout.RING_PAGES // 4] = 16
    parent.declare(Declared(b"tick u32 a", 0), word=layout.WORD_ENABLED | 7 << layout.WORD_ID_SHIFT)
    parent.unlink()
    session = Session(str(runtime_dir), child_of=parent)
    yield session
    session.unlink()


def test_a_childs_session_is_complete_when_it_gets_its_name(child: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracer that found it without a ring size took what the child wrote meanwhile for older than itself."""
    seen: list[tuple[object, ...]] = []

    def watched(path: str, prepare: Callable[[int], None]) -> int:
        def look(fd: int) -> None:
            prepare(fd)
            raw = os.pread(fd, 1 << 16, 0)
            line = layout.TRACER_LINE_STRUCT.unpack_from(raw, layout.TRACER_LINE)
            seen.append((line, raw[layout.EVENT_COUNT], raw[layout.HEADER_SIZE], b"tick u32 a" in raw))

        return make_file(path, look)

    child.lines[layout.RING_MODE // 4] = layout.MODE_OVERWRITE
    monkeypatch.setattr(producer, "make_file", watched)
    Session(child.directory, child_of=child).unlink()
    assert seen == [((1, 16, layout.MODE_OVERWRITE), 1, layout.WORD_ENABLED, True)]


@pytest.mark.parametrize("mode", layout.MODES)
def test_a_childs_ring_does_when_it_is_full_what_its_parents_does_whoever_makes_it(child: Session, mode: int) -> None:
    """The tracer may be quicker than the child; under a flight recording it must not make a ring that discards."""
    child.lines[layout.RING_MODE // 4] = mode
    program = TracedProgram(child.directory, child.name, 1, Group())
    assert {generation: ring.mode for generation, ring in program.rings.items()} == {1: mode}
    assert os.path.exists(f"{child.directory}/{layout.ring_name(child.name, 1)}")
    program.release(remove=True)


@pytest.mark.parametrize(("pages", "mode"), [(17, 0), (8, 0), (1 << 20, 0), (16, 2)])
def test_a_child_that_asks_for_a_ring_that_cannot_be_is_refused(child: Session, pages: int, mode: int) -> None:
    """Nothing is made for it."""
    child.lines[layout.RING_PAGES // 4], child.lines[layout.RING_MODE // 4] = pages, mode
    with pytest.raises(Malformed, match=f"{pages} pages and mode {mode}"):
        TracedProgram(child.directory, child.name, 1, Group())
    assert not os.listdir(f"{child.directory}/{layout.RINGS}")
