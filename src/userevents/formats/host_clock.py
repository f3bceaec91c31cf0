"""One host's clock against the clock of a trace: offset, drift and how far both may be wrong, at any moment.

A sample says that when the trace's clock showed `here_ns` the host's showed `there_ns`, to within `uncertainty_ns`:
half the round trip of the question, so the truth lies inside. Two clocks do not part faster than `DRIFT_MAX`, so a
sample whose answer was slow is narrowed by its neighbours. Between samples the offset is on the line from one to the
next.
"""

from bisect import bisect_right
from typing import Final, NamedTuple

DRIFT_MAX: Final = 1e-4
"""How fast the clocks of two machines part: quartz is within 50 ppm of the truth, each."""
_BEND: Final = 1e-5
"""How far the offset may be off the line between two samples, for each ns to the nearer one."""
MAX_SAMPLES: Final = 1 << 16


class Sample(NamedTuple):
    """One comparison of the clocks."""

    here_ns: int
    there_ns: int
    uncertainty_ns: int


class Reading(NamedTuple):
    """What to add to a host's time to have the trace's, and how far that may be wrong; None: nobody knows."""

    shift_ns: int
    uncertainty_ns: int | None


class HostClock:
    """Turns a host's times into the trace's. Without samples it goes by `guess_ns`, of unknown uncertainty."""

    def __init__(self, samples: list[Sample], guess_ns: int = 0) -> None:
        self.samples = _narrowed(sorted(set(_fewer(samples)), key=lambda sample: sample.there_ns))
        self._times = [sample.there_ns for sample in self.samples]
        self._guess_ns = guess_ns

    def at(self, there_ns: int) -> Reading:
        """Return the shift at a moment of the host's clock."""
        if not self.samples:
            return Reading(self._guess_ns, None)
        after = bisect_right(self._times, there_ns)
        if after == 0 or after == len(self._times):
            edge = self.samples[0 if after == 0 else -1]
            away_ns = abs(there_ns - edge.there_ns)
            along_ns = int((there_ns - edge.there_ns) * self.drift)
            return Reading(edge.here_ns - edge.there_ns + along_ns, edge.uncertainty_ns + int(away_ns * DRIFT_MAX))
        first, second = self.samples[after - 1 : after + 1]
        part = (there_ns - first.there_ns) / (second.there_ns - first.there_ns)
        shift, other = first.here_ns - first.there_ns, second.here_ns - second.there_ns
        nearer_ns = min(there_ns - first.there_ns, second.there_ns - there_ns)
        wide = first.uncertainty_ns + (second.uncertainty_ns - first.uncertainty_ns) * part + nearer_ns * _BEND
        return Reading(shift + int((other - shift) * part), int(wide))

    def samples_since(self, there_ns: int) -> list[Sample]:
        """Return those samples that say as much of any moment from `there_ns` of the host on as all of them do."""
        first = bisect_right(self._times, there_ns) - 1
        return self.samples if first <= 1 else [self.samples[0], *self.samples[first:]]

    @property
    def drift(self) -> float:
        """How fast the trace's clock runs away from the host's: ns a ns, over all samples."""
        if len(self.samples) < 2:
            return 0.0
        first, last = self.samples[0], self.samples[-1]
        there_ns = last.there_ns - first.there_ns
        moved_ns = (last.here_ns - first.here_ns) - there_ns
        if abs(moved_ns) <= first.uncertainty_ns + last.uncertainty_ns:
            return 0.0  # no more than what the samples may be wrong
        return max(min(moved_ns / there_ns, DRIFT_MAX), -DRIFT_MAX)

    @property
    def uncertainty_ns(self) -> int | None:
        """The widest uncertainty of a sample: what holds all through them."""
        return max((sample.uncertainty_ns for sample in self.samples), default=None)


def _fewer(samples: list[Sample]) -> list[Sample]:
    """Return at most `MAX_SAMPLES`: where there are more, the best of each few that follow each other."""
    each = -(-len(samples) // MAX_SAMPLES)
    if each <= 1:
        return samples
    groups = (samples[at : at + each] for at in range(0, len(samples), each))
    return [min(group, key=lambda sample: sample.uncertainty_ns) for group in groups]


def _narrowed(samples: list[Sample]) -> list[Sample]:
    """Return the samples, each no wider than its neighbours and the drift allow. Those that contradict stay."""
    low = [sample.here_ns - sample.there_ns - sample.uncertainty_ns for sample in samples]
    high = [sample.here_ns - sample.there_ns + sample.uncertainty_ns for sample in samples]
    numbers = range(len(samples))
    for order in (numbers, reversed(numbers)):
        before = None
        for number in order:
            if before is not None:
                apart_ns = abs(samples[number].there_ns - samples[before].there_ns)
                room = int(apart_ns * DRIFT_MAX) + 1
                least, most = max(low[number], low[before] - room), min(high[number], high[before] + room)
                if least <= most:
                    low[number], high[number] = least, most
            before = number
    found = []
    for sample, least, most in zip(samples, low, high, strict=True):
        wide = (most - least + 1) // 2
        found.append(Sample(sample.there_ns + (least + most) // 2, sample.there_ns, wide))
    return found
