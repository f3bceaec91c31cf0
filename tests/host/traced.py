"""A session of this process as its tracer sees it, and one instance that wants its event."""

from pathlib import Path

from userevents.buffer.stream import pack_end, pack_header, pack_start
from userevents.engine import Group
from userevents.formats.finish import Finished, merge
from userevents.formats.recording import Recording
from userevents.host.frames import recording_header
from userevents.host.program import TracedProgram
from userevents.host.wish import RingWish
from userevents.instance import Instance
from userevents.session.producer import Declared, Session
from userevents.session.writer import Writer


class Traced:
    """Declares `tick u32 a` in a session, which is adopted; nobody has looked at its instance yet."""

    def __init__(self, directory: Path, wish: RingWish) -> None:
        (directory / "rings").mkdir(exist_ok=True)
        self.session = Session(str(directory))
        self.session.declare(Declared(b"tick u32 a", 0))
        self.writer = Writer(self.session)
        group = Group()
        self.instance = Instance("one", group)
        self.instance.set_patterns(["*"])
        self.program = TracedProgram(str(directory), self.session.name, 1, group)
        self.program.new_declarations()
        self.program.set_words(self.instance.enabled, wish)

    def emit(self, count: int) -> None:
        """Write `count` records."""
        for _ in range(count):
            self.writer.commit(0, (self.session.words[0] >> 16).to_bytes(4, "little") + bytes(8))


def finished(frames: bytes, path: Path) -> tuple[Finished, list[str]]:
    """The trace of what a stream held, and what there was to note."""
    recording = Recording.of(pack_start() + pack_header(recording_header()) + frames + pack_end("finished", 0))
    return merge(recording, str(path)), recording.notes
