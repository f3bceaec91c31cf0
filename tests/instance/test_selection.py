"""Which processes an instance records."""

import pytest

from userevents.errors import Refused
from userevents.instance import ProcessFacts, Selection

FACTS = ProcessFacts(pid=42, ancestors=(41, 40, 1), run="r7")


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("all", True),
        ("pid 42", True),
        ("pid 41", False),
        ("tree 42", True),
        ("tree 40", True),
        ("tree 43", False),
        ("run r7", True),
        ("run r", False),
        ("pid 1\n\n  run r7  \n", True),
        ("pid 1\npid 2", False),
        ("pid 1\nall", True),
    ],
)
def test_a_process_is_selected_when_any_rule_fits(text: str, selected: bool) -> None:
    """No rule at all selects everything."""
    assert Selection.parse(text).selects(FACTS) is selected


@pytest.mark.parametrize(
    "line", ["pid", "pid x", "pid -1", "pid 99999999999", "tree", "run", "run a b", "everything", "ALL"]
)
def test_a_line_that_is_no_rule_is_refused_and_shown(line: str) -> None:
    """EINVAL with the line and what may stand there."""
    with pytest.raises(Refused, match="write 'all', 'pid N'") as refusal:
        Selection.parse(f"pid 1\n{line}\n")
    assert repr(line)[1:-1] in refusal.value.reason
    assert refusal.value.name == "EINVAL"


@pytest.mark.parametrize("text", ["all\n", "pid 1\n", "pid 1\ntree 2\nrun t\n"])
def test_a_selection_reads_back_as_it_was_written(text: str) -> None:
    """What `text` gives, `parse` takes."""
    assert Selection.parse(text).text == text


def test_no_rule_reads_as_all() -> None:
    """An empty file would not say that everything is recorded."""
    assert Selection().text == "all\n"
