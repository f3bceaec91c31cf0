"""docs/providers.md describes every provider, event and field that there is, and none that is not."""

from pathlib import Path

import pytest

from userevents.fields import parse_declaration
from userevents.providers import DEFAULT, PROVIDERS
from userevents.providers.audit import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"


def described() -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Return from the page: provider -> event -> (type, name) of its fields."""
    found: dict[str, dict[str, list[tuple[str, str]]]] = {}
    provider: dict[str, list[tuple[str, str]]] = {}
    fields: list[tuple[str, str]] = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            provider = found.setdefault(line.partition("`")[2].rstrip("`"), {}) if "Provider `" in line else {}
            fields = []
        elif line.startswith("### "):
            fields = provider.setdefault(line.removeprefix("### "), [])
        elif line.startswith("| `") and line.count("|") == 4:
            name, ctype, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            assert meaning
            fields.append((ctype.strip("`"), name.strip("`")))
    return found


def test_the_page_describes_exactly_the_declared_events_and_fields() -> None:
    """In their order, with their types."""
    declared = {}
    for name, provider in PROVIDERS.items():
        events = [parse_declaration(text) for text in provider.events]
        declared[name] = {event.name: [(field.ctype, field.name) for field in event.fields] for event in events}
    page = described()
    assert page == declared
    assert {name: list(events) for name, events in page.items()} == {name: list(e) for name, e in declared.items()}


def test_the_page_introduces_each_provider_in_the_tables_words() -> None:
    """One row each."""
    text = PAGE.read_text()
    assert [name for name, each in PROVIDERS.items() if f"| `{name}` | {each.description} |" not in text] == []


def test_the_default_is_what_the_page_says() -> None:
    """Logging and audit; the collector's events are for who asks."""
    assert DEFAULT == ("logging", "audit")
    assert "the default is `logging` and `audit`" in PAGE.read_text()


def test_every_audit_event_is_emitted_by_some_kind_and_declared() -> None:
    """A row that names an unknown event would break the provider's start."""
    declared = {text.partition(" ")[0] for text in PROVIDERS["audit"].events}
    assert {event for event, _ in KINDS.values()} == declared


@pytest.mark.parametrize("text", [text for provider in PROVIDERS.values() for text in provider.events])
def test_every_declaration_is_portable(text: str) -> None:
    """Names that a kernel and its tools take: short, plain, not one field twice, none of the common fields' names."""
    event = parse_declaration(text)
    names = [field.name for field in event.fields]
    assert len(text) < 512
    assert event.name.startswith("py_")
    assert all(name.isidentifier() and not name.startswith("common_") for name in [event.name, *names])
    assert len(set(names)) == len(names)
