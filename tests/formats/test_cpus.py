"""Recordings whose records say on which CPU each was written: put there, and the header's two bytes zero again."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.maker import Maker
from tests.formats.test_merge import pages_of, read
from userevents.buffer import records
from userevents.formats import open_trace
from userevents.formats.recording import MAX_CPUS

STEP = st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from([0, 1, 700, 1 << 27]), st.integers(0, 40))


def recorded(steps: list[tuple[int, int, int, int]]) -> tuple[Maker, list[tuple[int, int, int, int]]]:
    """Return a recording of three programs (two say CPUs by the record), and (time, cpu, pid, number) of each."""
    maker = Maker(cpus=2)
    sessions = [maker.session(100 + number, f"p{number}", {20: "e u32 n; __rel_loc char[] s"}) for number in range(3)]
    sessions[0].has_cpus = sessions[1].has_cpus = True
    wanted, now = [], 10**9
    for number, (who, cpu, step, length) in enumerate(steps):
        now += step
        sessions[who].add_values(now, 20, number, "x" * length, cpu=cpu)
        wanted.append((now, cpu, 100 + who, number))
    for session in sessions:
        session.close()
    return maker, wanted


@given(st.lists(STEP, max_size=120))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_record_comes_to_the_cpu_it_was_written_on(tmp_path: Path, steps: list[tuple[int, int, int, int]]) -> None:
    """In exact time order, with its own bytes, in the trace and in the raw recording, and the ledger balances."""
    maker, wanted = recorded(steps)
    path, part = tmp_path / "t.dat", tmp_path / "t.part"
    part.write_bytes(maker.data())
    done = maker.trace(path)
    for file in (path, part):
        found = [(one.ts_ns, one.cpu, one.pid, one.values["n"]) for one in read(file)]
        assert sorted(found) == sorted(wanted)
        assert [one[:2] for one in found] == sorted(one[:2] for one in found)
    assert done.ledger.is_balanced
    assert done.ledger.total("delivered") == len(wanted)
    headers = [
        page[at + 2 : at + 4] for pages in pages_of(path).values() for page in pages for _, at, _ in records(page)
    ]
    assert set(headers) <= {bytes(2)}
    with open_trace(str(part)) as raw:
        assert raw.ledger == done.ledger


def test_cpus_that_no_machine_has_fall_back_to_the_page(tmp_path: Path) -> None:
    """A program may write what it likes there: neither 65,536 CPUs nor one for each record come of it."""
    maker = Maker(cpus=2)
    one = maker.session(1)
    one.has_cpus = True
    one.cpu = 1
    for number, cpu in enumerate((1, MAX_CPUS, 65535)):
        one.add_values(1000 + number, 20, number, cpu=cpu)
    one.flush()
    for number in range(60):
        one.add_values(2000 + number, 20, number, cpu=number + 2)
    one.cpu = 0
    one.close()
    path = tmp_path / "t.dat"
    done = maker.trace(path)
    assert done.cpus == 2
    assert [record.cpu for record in read(path)] == [1, 1, 1] + [0] * 60
