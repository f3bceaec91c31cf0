"""A host that takes part in a flight, as who asked for it sees it: its clock beside ours, and when it is asked next.

Hosts tell at once what cannot wait, so that they are asked only to renew the flight and to find out what got lost:
twice a second in a small fleet, and all of a large one together about a hundred times a second.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

ASK_S: Final = 0.5
"""So soon a host is asked again at the earliest, and when it did not answer."""
EVERY_MAX_S: Final = 10.0
QUESTIONS_A_SECOND: Final = 100
"""About so many questions go to all hosts together, while nothing happens."""
EXPIRES_S: Final = 5.0
"""A flight ends so long after its last question at the earliest."""
_EXPIRES: Final = 3
"""Or after so many questions that did not come."""
_AGAIN_MAX_S: Final = 4.0
_UNANSWERED_MAX: Final = 4
_SAMPLES: Final = 240
_SAMPLES_NS: Final = 120 * 10**9
_CLOCKS: Final = 40
"""Comparisons of a host's clock that go into a trace."""


def every_s(hosts: int) -> float:
    """How often each of so many hosts is asked.

    >>> every_s(10), every_s(300), every_s(100_000)
    (0.5, 3.0, 10.0)
    """
    return min(max(ASK_S, hosts / QUESTIONS_A_SECOND), EVERY_MAX_S)


def expires_s(hosts: int) -> float:
    """How long each of so many hosts goes on without a question."""
    return max(EXPIRES_S, _EXPIRES * every_s(hosts))


class Sample(NamedTuple):
    """At `here_ns` of this clock a host's showed `there_ns`, give or take."""

    here_ns: int
    there_ns: int
    uncertainty_ns: int


@dataclass
class Host:
    """A host that takes part. `began_ns` is when its flight recording began, by this clock."""

    name: str
    place: int = 0
    """Which one it is, counted from 0."""
    incarnation: str = ""
    began_ns: int = 0
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    best: Sample | None = None
    seen: int = 0
    """The number of the last instant that it told of."""
    is_alive: bool = True
    gone_ns: int = 0
    """Since when it has not been seen alive."""
    trouble: str = ""
    due_ns: int = 0
    """When to ask it next."""
    _again_s: float = ASK_S
    _sent: dict[int, int] = field(default_factory=dict)

    @property
    def offset_ns(self) -> int:
        """What its clock shows beyond this one."""
        return self.best.there_ns - self.best.here_ns if self.best else 0

    def seen_alive(self, now_ns: int, *, is_alive: bool) -> None:
        """Its lease was looked for."""
        if self.is_alive and not is_alive:
            self.gone_ns = now_ns
        self.is_alive = is_alive

    def asked(self, number: int, now_ns: int) -> None:
        """It is asked now: where no answer comes it is asked again soon, and less and less often."""
        self._sent[number] = now_ns
        if len(self._sent) > _UNANSWERED_MAX:
            del self._sent[next(iter(self._sent))]
        self.due_ns = now_ns + int(self._again_s * 1e9)
        self._again_s = min(2 * self._again_s, _AGAIN_MAX_S)

    def answered(self, number: int, now_ns: int, next_s: float) -> int | None:
        """It has answered; returns when it was asked that, None if it was not, or has answered that before."""
        sent_ns = self._sent.pop(number, None)
        if sent_ns is not None:
            self._again_s = ASK_S
            self.due_ns = now_ns + int(next_s * 1e9)
        return sent_ns

    def add(self, sample: Sample) -> None:
        """Compare clocks once more; the best of the last two minutes holds."""
        while self.samples and sample.here_ns - self.samples[0].here_ns > _SAMPLES_NS:
            self.samples.popleft()
        self.samples.append(sample)
        self.best = min(self.samples, key=lambda each: each.uncertainty_ns)

    def clocks(self) -> list[Sample]:
        """The comparisons for a trace: the best of each stretch."""
        every = max(len(self.samples) // _CLOCKS, 1)
        samples = list(self.samples)
        lots = [samples[at : at + every] for at in range(0, len(samples), every)]
        return [min(lot, key=lambda each: each.uncertainty_ns) for lot in lots]
