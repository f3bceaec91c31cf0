"""How long spans took: exact percentiles, a histogram whose buckets grow with the value, and one over time."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

from ..pairs import Matcher, Pair, Span
from .density import Bounds

_STEPS: Final = 4
"""Buckets for each power of two: a bucket is at most a quarter of its value wide."""
PERCENTILES: Final = (0.5, 0.9, 0.99, 0.999)


def bucket_of(value: int) -> int:
    """Return the bucket of a value of 0 or more.

    >>> [bucket_of(value) for value in (0, 1, 7, 8, 9, 10, 1000)]
    [0, 1, 7, 8, 8, 9, 35]
    """
    if value < 2 * _STEPS:
        return value
    octave = value.bit_length() - _STEPS.bit_length()
    return (octave + 1) * _STEPS + (value >> octave) - _STEPS


def bucket_start(bucket: int) -> int:
    """Return the lowest value of a bucket.

    >>> [bucket_start(bucket_of(value)) for value in (0, 7, 9, 10, 1000)]
    [0, 7, 8, 10, 896]
    """
    if bucket < 2 * _STEPS:
        return bucket
    octave = bucket // _STEPS - 1
    return (_STEPS + bucket % _STEPS) << octave


class Latencies:
    """The spans of one pair, as they are added."""

    def __init__(self, pair: Pair, bounds: Bounds) -> None:
        self.pair = pair
        self._bounds = bounds
        self._all = array("q")
        self._over_time: dict[tuple[int, int], int] = {}

    def add(self, span: Span) -> None:
        """Count one."""
        took = max(span.duration_ns, 0)
        self._all.append(took)
        place = (self._bounds.of(span.start_ns), bucket_of(took))
        self._over_time[place] = self._over_time.get(place, 0) + 1

    def facts(self, matcher: Matcher) -> dict[str, object]:
        """Return what the page shows."""
        tally = matcher.tallies[self.pair]
        took = self._all
        counts: dict[int, int] = {}
        for (_, bucket), number in self._over_time.items():
            counts[bucket] = counts.get(bucket, 0) + number
        return {
            "name": self.pair.name,
            "begin": self.pair.begin,
            "end": self.pair.end,
            "key": ", ".join(self.pair.keys),
            "spans": tally.spans,
            "begins_alone": tally.begins_alone,
            "ends_alone": tally.ends_alone,
            "min": min(took) if took else None,
            "max": max(took) if took else None,
            "mean": sum(took) / len(took) if took else None,
            "percentiles": {str(part): percentile(took, counts, part) for part in PERCENTILES} if took else {},
            "buckets": [[bucket_start(at), bucket_start(at + 1), counts[at]] for at in sorted(counts)],
            "over_time": [[at, bucket_start(bucket), n] for (at, bucket), n in sorted(self._over_time.items())],
            "bins": self._bounds.bins,
        }


def percentile(values: Sequence[int], counts: Mapping[int, int], part: float) -> int:
    """Return the least value that at least this part of the values do not exceed (nearest rank).

    `counts` are of the values by bucket: only those of one bucket are put in order, which takes less memory than all.

    >>> percentile([4, 1, 3, 2], {1: 1, 2: 1, 3: 1, 4: 1}, 0.5)
    2
    """
    left = max(-int(-len(values) * part // 1), 1)
    for bucket in sorted(counts):
        if left <= counts[bucket]:
            low, high = bucket_start(bucket), bucket_start(bucket + 1)
            return sorted(value for value in values if low <= value < high)[left - 1]
        left -= counts[bucket]
    return max(values)
