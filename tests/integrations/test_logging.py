"""logging and structlog: each record an event, formatted only while somebody listens."""

import logging

import pytest
import structlog

from userevents import context
from userevents.integrations.logging import UserEventsHandler
from userevents.integrations.structlog import UserEventsProcessor
from userevents.testing import PrivateTracer


class Counted:
    """An argument that counts how often it is formatted."""

    times = 0

    def __str__(self) -> str:
        self.times += 1
        return "counted"


@pytest.fixture
def logger() -> logging.Logger:
    """A logger with our handler and no other."""
    made = logging.Logger("shop.cart")
    made.addHandler(UserEventsHandler())
    return made


def test_a_record_is_an_event_with_its_context(user_events: PrivateTracer, logger: logging.Logger) -> None:
    """Level, logger, message, place, exception, and what is bound."""
    with context(request=7):
        try:
            raise KeyError("tea")
        except KeyError:
            logger.exception("no %s", "tea")
    (record,) = user_events["log_record"]
    assert (record.level, record.logger, record.message) == (logging.ERROR, "shop.cart", "no tea")
    assert record.pathname == __file__
    assert record.function == "test_a_record_is_an_event_with_its_context"
    assert record.exception == "KeyError: 'tea'"
    assert record.context == "request=7"
    assert record.lineno > 0


def test_nothing_is_formatted_while_nobody_listens(user_events: PrivateTracer, logger: logging.Logger) -> None:
    """Nor is a filter asked."""
    asked: list[int] = []

    def ask(record: logging.LogRecord) -> bool:
        asked.append(1)
        return True

    logger.handlers[0].addFilter(ask)
    argument = Counted()
    user_events.enable("something_else")
    logger.info("%s", argument)
    assert (argument.times, asked) == (0, [])
    user_events.enable("log_record")
    logger.info("%s", argument)
    assert (argument.times, asked) == (1, [1])


def test_level_filters_and_formatter_are_obeyed(user_events: PrivateTracer, logger: logging.Logger) -> None:
    """As of any handler."""
    handler = logger.handlers[0]
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.info("low")
    logger.warning("a secret")
    logger.warning("seen")
    assert [record.message for record in user_events["log_record"]] == ["WARNING: seen"]


def test_a_record_that_cannot_be_formatted_raises_nothing(user_events: PrivateTracer, logger: logging.Logger) -> None:
    """The template is told as it stands."""
    logger.info("%d pieces", "two")
    assert user_events["log_record"].last.message == "%d pieces"


def _structlog(processor: UserEventsProcessor, lines: list[str]) -> structlog.typing.BindableLogger:
    def collect(logger: object, name: str, fields: structlog.typing.EventDict) -> str:
        lines.append(str(fields["event"]))
        raise structlog.DropEvent

    made: structlog.typing.BindableLogger = structlog.wrap_logger(
        None, processors=[structlog.stdlib.add_log_level, processor, collect]
    )
    return made


def test_a_structlog_call_is_an_event(user_events: PrivateTracer) -> None:
    """Its pairs, and what is bound on either side, are the context; the chain goes on."""
    lines: list[str] = []
    log = _structlog(UserEventsProcessor(), lines).bind(user="ann")
    with context(request=7):
        log.warning("sold out", what="tea")  # type: ignore[attr-defined]
    (record,) = user_events["log_record"]
    assert (record.level, record.message, record.context) == (30, "sold out", "request=7 user=ann what=tea")
    assert lines == ["sold out"]


def test_a_structlog_call_can_end_with_the_event(user_events: PrivateTracer) -> None:
    """With drop nothing else logs it, whether somebody listens or not."""
    lines: list[str] = []
    log = _structlog(UserEventsProcessor(drop=True), lines)
    log.info("one")  # type: ignore[attr-defined]
    user_events.enable("something_else")
    log.info("two")  # type: ignore[attr-defined]
    assert [record.message for record in user_events["log_record"]] == ["one"]
    assert lines == []


def test_a_value_that_cannot_be_shown_raises_nothing(user_events: PrivateTracer) -> None:
    """Its type is told instead."""

    class Mute:
        def __str__(self) -> str:
            raise ValueError

    _structlog(UserEventsProcessor(), []).info("odd", value=Mute())  # type: ignore[attr-defined]
    assert "value=<" in str(user_events["log_record"].last.context)
