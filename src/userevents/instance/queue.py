"""The stream of an instance: frames waiting for one reader, acknowledged when it comes back for more.

What was read stays here until the reader reads again: only then did it surely arrive, and only then is
`on_ack` told, so that whoever produced the frames can give up its own copy.
"""

import errno
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ..buffer.stream import FRAME, MAGIC, START
from ..errors import Refused

STREAM_LIMIT: Final = 64 << 20
"""Bytes kept for a reader before new frames are refused."""


class _Item(NamedTuple):
    """One `push`: whole frames, and what to acknowledge once they arrived."""

    frames: bytes | memoryview
    mark: object


class StreamQueue:
    """A bounded queue of frames with one producer and one reader, in one thread."""

    def __init__(self, limit: int = STREAM_LIMIT) -> None:
        self.limit = limit
        self.on_ack: Callable[[object], None] | None = None
        """Told each mark, in order, once its frames were read and the reader came back."""
        self.missed = 0
        """Records in refused frames: handed to nobody, because the reader was too slow."""
        self.size = 0
        """Bytes held, those that wait to be acknowledged included."""
        self.finished = False
        """No more frames will come."""
        self.closed = False
        self.taken = False
        """Whether somebody is its reader."""
        self._waiting: deque[_Item] = deque()
        self._read: list[_Item] = []

    def push(self, frames: bytes, mark: object, count: int) -> bool:
        """Queue whole frames holding `count` records; False, and counted as missed, when full or closed.

        `mark` goes to `on_ack` later; None stands for "nothing to acknowledge".
        """
        if self.closed or self.finished or self.size + len(frames) > self.limit:
            self.missed += count
            return False
        self._waiting.append(_Item(frames, mark))
        self.size += len(frames)
        return True

    def push_all(self, frames: Sequence[bytes], mark: object) -> bool:
        """Queue all of these frames, the last of them with `mark`; False, and none of them, when full or closed."""
        if self.closed or self.finished or self.size + sum(map(len, frames)) > self.limit:
            return False
        for number, each in enumerate(frames, 1):
            self.push(each, mark if number == len(frames) else None, 0)
        return True

    def readable(self) -> bool:
        """Whether a read has something to say: frames, or that the end is reached."""
        return bool(self._waiting) or self.finished or self.closed

    def read(self, size: int) -> bytes:
        """Take as many whole frames as fit `size`, at least one, and acknowledge those of the read before.

        ``b""`` means nothing now or, when `readable`, the end.
        """
        self._acknowledge()
        room = size
        while self._waiting and len(self._waiting[0].frames) <= room:
            item = self._waiting.popleft()
            room -= len(item.frames)
            self._read.append(item)
        if not self._read and self._waiting:
            self._read.append(self._split_head(size))
        if len(self._read) == 1 and isinstance(whole := self._read[0].frames, bytes):
            return whole
        return b"".join(item.frames for item in self._read)

    def acquire(self) -> None:
        """Become the reader; EBUSY while there is one."""
        if self.taken:
            raise Refused(errno.EBUSY, "the stream has a reader; make an instance of your own")
        self.taken = True

    def let_go(self, *, arrived: bool) -> None:
        """Stop being the reader; `arrived` tells whether what was read last reached its goal."""
        self.taken = False
        if arrived:
            self._acknowledge()
        else:
            self.rewind()

    def rewind(self) -> None:
        """Offer again what was read and never acknowledged: the reader died with it."""
        self._waiting.extendleft(reversed(self._read))
        self._read = []

    def finish(self) -> None:
        """No more frames: the reader gets what is left, then the end."""
        self.finished = True

    def close(self) -> None:
        """Nobody will read any more: acknowledge everything and drop it."""
        self.closed = True
        self._read += self._waiting
        self._waiting.clear()
        self._acknowledge()

    def _acknowledge(self) -> None:
        arrived, self._read = self._read, []
        for item in arrived:
            self.size -= len(item.frames)
            if item.mark is not None and self.on_ack is not None:
                self.on_ack(item.mark)

    def _split_head(self, size: int) -> _Item:
        """Take of a push that is larger than the read the frames that fit; the mark stays with the rest."""
        head = self._waiting.popleft()
        frames = memoryview(head.frames)
        cut = _last_boundary(frames, size)
        if cut == len(frames):
            return head
        self._waiting.appendleft(_Item(frames[cut:], head.mark))
        return _Item(frames[:cut], None)


def _last_boundary(frames: memoryview, limit: int) -> int:
    """The end of the last whole frame within `limit` bytes, or of the first one if that is longer."""
    end = 0
    while end < len(frames):
        size = START.size if bytes(frames[end : end + len(MAGIC)]) == MAGIC else FRAME.unpack_from(frames, end)[0]
        if end and end + size > limit:
            break
        end += size
    return end
