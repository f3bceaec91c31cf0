"""Mutated trace files: some thousands with every run of the tests, a million by ./dev fuzz formats."""

import random

from tests.formats import fuzzing

RUNS = 2000


def test_mutated_files_are_read_or_refused() -> None:
    """Each ends in records, a partial result with notes, or an error of ours; soon, and in little memory."""
    first = random.SystemRandom().getrandbits(40)
    found = fuzzing.run(iter(range(first, first + RUNS)))
    kinds = {kind for kind, _ in fuzzing.seeds()}
    assert {what.partition(":")[0] for what in found} == kinds
    assert {what.partition(": ")[2] for what in found} == {"refused", "read with notes", "read"}


def test_good_files_are_read_without_a_note() -> None:
    """What is mutated is good to begin with: else the fuzzing would prove little."""
    for kind, data in fuzzing.seeds():
        trace = fuzzing.opened(kind, data)
        assert sum(1 for _ in trace.records()) > 2, kind
        assert not trace.notes, (kind, trace.notes)
