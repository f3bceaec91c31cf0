"""Batches and the backlog: frames arrive as they were, and what is dropped is counted by session and event."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.formats.maker import Maker
from userevents.buffer import PageBuilder, page_data
from userevents.buffer import stream as wire
from userevents.fleet.batches import BATCH_SIZE, MESSAGE_MAX, Backlog, Batch, Batcher, frames_in
from userevents.fleet.publish import Quota
from userevents.fleet.sequence import Head, Turns, pack_head, parse_head
from userevents.formats import Trace
from userevents.formats.recording import Recording
from userevents.formats.sources import RecordingSource

HEAD = wire.START.size


def run_of(pages: int, *, stream: int = 1, event: int = 20) -> tuple[bytes, int]:
    """Return a run of full pages, and how many records each page has."""
    builder, count = PageBuilder(), 0
    while builder.append(1000 + count, event.to_bytes(2, "little") + bytes(2) + bytes(4) + bytes(24)):
        count += 1
    page = builder.take()
    table = b"".join((number * count).to_bytes(8, "little") + bytes(8) for number in range(pages))
    return wire.pack_run(stream, 1, 0, table, page * pages), count


def part_of(stream: int, seq: int, *events: int) -> bytes:
    """Return a part with one record of each of these events."""
    builder = PageBuilder()
    for number, event in enumerate(events):
        assert builder.append(1000 + number, event.to_bytes(2, "little") + bytes(2) + bytes(4) + bytes(24))
    ts_ns, data = page_data(builder.take())
    return wire.pack_part(stream, 1, 0, seq, ts_ns, 0, bytes(data))


def test_a_run_that_is_too_long_is_cut_between_pages_and_nothing_else_changes() -> None:
    """A recording out of the batches has the pages of the one that went in; records are counted, beginnings marked."""
    long, each = run_of(100)
    maker = Maker()
    maker.session(1, events={20: "tick u64 a; u64 b; u64 c"})
    maker.frames += [long, part_of(1, 100, 20, 20)]
    data = maker.data()
    batcher = Batcher()
    batches = batcher.add(data)
    assert [batch.begins for batch in batches] == [True] + [False] * (len(batches) - 1)
    assert batches[-1].ends
    assert max(batch.size for batch in batches) <= BATCH_SIZE
    assert sum(batch.records for batch in batches) == 100 * each + 2
    whole = Recording.of(data[:HEAD] + b"".join(batch.payload() for batch in batches))
    direct = Recording.of(data)
    assert [whole.page_data(page) for page in range(101)] == [direct.page_data(page) for page in range(101)]
    assert whole.notes == direct.notes == []


def test_the_pages_of_a_batch_are_read_without_those_before() -> None:
    """A page in many parts, of which any batch may be lost: the others have their records, at their times."""
    maker = Maker()
    session = maker.session(1)
    for number in range(40):
        session.add_values(10**9 + number * 1000, 20, number)
    session.flush(cuts=range(16, 640, 16))
    batcher, batches = Batcher(), []
    for frame in maker.frames:
        batches += batcher.add(frame) + batcher.flush()
    facts, parts = batches[:-40], batches[-40:]
    assert [part.records for part in parts] == [1] * 40
    start = maker.frames[0] + b"".join(batch.data for batch in facts)
    for lost in (0, 7, 39):
        data = start + b"".join(part.data for number, part in enumerate(parts) if number != lost)
        trace = Trace("x", RecordingSource(Recording.of(data)), lambda: None)
        found = [(record.ts_ns, record.values["a"]) for record in trace.records()]
        assert found == [(10**9 + number * 1000, number) for number in range(40) if number != lost]


def test_each_recording_begins_a_batch_of_its_own() -> None:
    """A second recording in the stream has the next number, and its HEADER is the first frame of a batch."""
    batcher = Batcher()
    first, second = Maker(), Maker()
    batches = batcher.add(first.data() + second.data()) + batcher.flush()
    assert [(batch.recording, batch.begins, batch.ends) for batch in batches] == [(1, True, True), (2, True, True)]


def test_a_ledger_is_sent_when_it_changed_and_once_in_each_recording() -> None:
    """Tracers tell the counts of every program every second; a program that does nothing sends nothing."""
    ledgers = [wire.pack_ledger(1, {"committed": number // 3}) for number in range(9)]
    first, second = Maker(), Maker()
    first.frames += ledgers
    second.frames += ledgers[-1:]
    batches = Batcher().add(first.data() + second.data())
    kinds = [kind for batch in batches for kind, _, _ in frames_in(batch.payload())]
    assert kinds.count(wire.LEDGER) == 4


def test_a_fact_that_fits_no_message_goes_in_pieces() -> None:
    """A command line of megabytes arrives, whole, as batches that say that they go on."""
    frame = wire.pack_stream(1, {"pid": 1, "cmdline": ["x" * (5 * MESSAGE_MAX // 2)], "nonce": ""})
    batches = Batcher().add(frame)
    assert [batch.more for batch in batches] == [True, True, False]
    turns = Turns()
    ready = []
    for number, batch in enumerate(batches, 1):
        head = Head("a", number, 1, 1, 0, 0, 0, 0, begins=number == 1, more=batch.more)
        ready += turns.add(head, batch.payload())
    assert [each.payload for each in ready] == [frame]


def test_a_full_backlog_drops_the_oldest_pages_and_keeps_every_fact() -> None:
    """With no broker at all the backlog stays within its limit; what is sent at last tells exactly what it gave up."""
    limit = 300_000
    backlog = Backlog(limit)
    batcher = Batcher()
    written: Counter[tuple[int, int]] = Counter()
    data = Maker().data(end=False) + wire.pack_stream(1, {"pid": 1, "nonce": "00"})
    for seq in range(3000):
        events = [20 + (seq + number) % 3 for number in range(5)]
        written.update((1, event) for event in events)
        data += part_of(1, seq, *events) + (wire.pack_ledger(1, {"committed": seq}) if seq % 100 == 0 else b"")
        if seq % 10 == 0:
            for batch in batcher.add(data):
                backlog.add(batch)
            data = b""
            assert backlog.size <= limit
    for batch in batcher.add(data) + batcher.flush():
        backlog.add(batch)
    assert backlog.size == sum(batch.size for batch in backlog._waiting)
    arrived: Counter[tuple[int, int]] = Counter()
    lost: Counter[tuple[int, int]] = Counter()
    kinds: Counter[int] = Counter()
    before = 0
    while (sent := backlog.take()) is not None:
        assert sent.before == before
        before += sent.batch.records
        lost += sent.batch.lost
        kinds.update(kind for kind, _, _ in frames_in(sent.batch.payload()))
        kept = Batch(1, sent.batch.data)
        kept.give_up_pages()
        arrived += kept.lost
        backlog.confirm(sent.seq)
    assert lost.total() == backlog.dropped > 5000
    assert arrived + lost == written
    assert kinds[wire.HEADER] == kinds[wire.STREAM] == 1
    assert kinds[wire.LEDGER] < 20, "of the ledgers that were given up with pages only the last is kept"
    assert backlog.size == 0


def test_facts_without_end_are_given_up_and_a_new_recording_is_asked_for() -> None:
    """Programs that come and go for days while there is no broker do not fill the memory; the sum tells what went."""
    backlog, batcher = Backlog(200_000), Batcher()
    written = 0
    for number in range(3000):
        facts = wire.pack_stream(number + 1, {"pid": number, "cmdline": ["x" * 200], "nonce": "00"})
        for batch in batcher.add(facts + part_of(number + 1, 0, 20)):
            backlog.add(batch)
        written += 1
        if backlog.needs_recording:
            break
    assert backlog.needs_recording
    assert backlog.size <= 200_000
    for batch in batcher.add(part_of(1, 1, 20)) + batcher.flush():
        backlog.add(batch)
    assert len(backlog) == 0, "it could not be read"
    for batch in batcher.add(Maker().data()):
        backlog.add(batch)
    sent = backlog.take()
    assert sent is not None
    assert (sent.batch.begins, sent.before) == (True, written + 1)


def test_what_is_not_confirmed_goes_out_again_in_order_with_its_number() -> None:
    """After a break all that nobody confirmed is taken again, before what is new; `low` is the oldest of it."""
    backlog = Backlog()
    for number in range(6):
        backlog.add(Batch(1, bytes([number])))
    first = [sent for _ in range(4) if (sent := backlog.take())]
    assert [sent.seq for sent in first] == [1, 2, 3, 4]
    backlog.confirm(1)
    backlog.confirm(3)
    assert backlog.low == 2
    backlog.send_again()
    backlog.confirm(4)  # the answer to the first time was late
    again = [sent for _ in range(4) if (sent := backlog.take())]
    assert [sent.seq for sent in again] == [2, 5, 6]
    for seq in (2, 5, 6):
        backlog.confirm(seq)
    assert (backlog.low, backlog.size, len(backlog)) == (7, 0, 0)


@given(st.data())
def test_batches_are_taken_in_turn_each_once_whatever_the_broker_does(data: st.DataObject) -> None:
    """Lost, doubled and swapped messages: what is ready comes in order and once, and the gaps add up to what lacks."""
    count = data.draw(st.integers(1, 25))
    lost = data.draw(st.sets(st.integers(2, count))) if count > 1 else set()
    stored = [seq for seq in range(1, count + 1) if seq not in lost]
    order = list(stored)
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(order) - 1))
        order.insert(data.draw(st.integers(0, len(order))), order[place])
    if len(order) > 2:
        place = data.draw(st.integers(1, len(order) - 1))
        order[place - 1 : place + 1] = reversed(order[place - 1 : place + 1])
    turns, ready = Turns(), []
    for place, seq in enumerate(order):
        still_to_come = [seq, *set(stored).difference(order[:place])]
        low = data.draw(st.integers(1, min(still_to_come)))
        head = Head("a", seq, low, 1, (seq - 1) * 10, 10, 0, 0, begins=seq == 1)
        assert parse_head(pack_head(head)) == head
        ready += turns.add(head, b"%d" % seq)
    ready += turns.give_up()
    taken = [each.head.seq for each in ready]
    assert taken == sorted(set(taken))
    if order.index(1) == 0:
        assert taken == stored
        assert sum(each.missing for each in ready) == stored[-1] - len(stored)
        assert sum(each.missing_records for each in ready) == 10 * (stored[-1] - len(stored))
    assert turns.doubled == len(order) - len(stored) or order.index(1) > 0


def test_one_that_is_not_stored_holds_up_what_no_consumer_would_wait_for() -> None:
    """However many behind it are confirmed, no more go than a window behind the first that is not."""
    backlog = Backlog()
    for _ in range(10):
        backlog.add(Batch(1, b"x"))
    sent = []
    while backlog.room(4):
        one = backlog.take()
        assert one is not None
        sent.append(one.seq)
        if one.seq != 1:
            backlog.confirm(one.seq)
    assert sent == [1, 2, 3, 4]
    backlog.send_again()
    assert backlog.room(4)
    one = backlog.take()
    assert one is not None
    assert one.seq == 1
    backlog.confirm(1)
    assert backlog.room(4)


def test_the_first_records_of_an_enabled_event_wait_for_no_others() -> None:
    """Few go at once, five a second in the long run; after something was enabled the next do, whatever went before."""
    quota = Quota(0.0)
    assert not quota.allows(0, 0.0, 0)
    assert [quota.allows(100, 0.0, 0) for _ in range(6)] == [True] * 4 + [False] * 2
    assert [quota.allows(100, 0.1 * n, 0) for n in range(1, 11)] == [False, True] * 5
    assert [quota.allows(100, 1.0, 1) for _ in range(6)] == [True] * 4 + [False] * 2
    assert [quota.allows(40_000, 1.21, 1) for _ in range(6)] == [True] * 4 + [False] * 2
