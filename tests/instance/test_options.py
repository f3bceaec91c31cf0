"""Trace options: whose they are, what a new instance begins with, and the one that exactly one instance has."""

import pytest

from tests.engine.world import refused
from userevents.instance.options import Destination, Options

DEST = "trace_printk_dest"


def test_a_new_instance_begins_with_what_is_on_at_the_top() -> None:
    """But without event-fork; later changes stay apart, and three options have no file of their own there."""
    shared = Destination()
    top = Options(shared)
    for text in ("verbose", "event-fork", "nooverwrite", "norecord-cmd"):
        top.apply(text)
    lower = Options(shared, top=False)
    assert (lower["verbose"], lower["overwrite"], lower["record-cmd"], lower["event-fork"]) == (
        True,
        False,
        False,
        False,
    )
    lower.apply("noverbose")
    assert top["verbose"]
    assert set(top.names()) - set(lower.names()) == {"trace_printk", "printk-msg-only", "record-cmd"}
    assert "norecord-cmd\n" in lower.text()


def test_the_destination_of_kernel_messages_is_one_instance() -> None:
    """Setting it takes it from the other; giving it up gives it to the top, which cannot give it up."""
    shared = Destination()
    top, one, two = Options(shared), Options(shared, top=False), Options(shared, top=False)
    assert [options[DEST] for options in (top, one, two)] == [True, False, False]
    assert refused(lambda: top.apply(f"no{DEST}")) == "EINVAL"
    one.apply(DEST)
    two.apply(DEST)
    two.apply(f"no{DEST}")
    assert [options[DEST] for options in (top, one, two)] == [True, False, False]
    one.apply(DEST)
    one.release()
    assert top[DEST]


@pytest.mark.parametrize("text", ["bogus", "", "no", "nonoverbose", "VERBOSE", "test_nop_refuse", "notest_nop_refuse"])
def test_what_is_no_option_is_refused(text: str) -> None:
    """So is the one that is there to be refused, on or off; nothing changes."""
    options = Options()
    before = options.text()
    assert refused(lambda: options.apply(text)) == "EINVAL"
    assert options.text() == before
